//go:build tools

// Package tools pins the command packages that the local mesh builds.
package tools

import (
	_ "github.com/argoproj/argo-rollouts/cmd/rollouts-controller"
)
