"""Kyma's module management: its custom resources, the targets that it can reach, and when it has reached one.

Knows the control plane alone; sidecars are the survey's.
"""
