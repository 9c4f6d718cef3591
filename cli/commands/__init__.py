"""The commands of `kyma-upgrade`: options and help.

Each imports its work from `cli.actions` when it runs. Nothing here may import a client of Temporal or Kubernetes
before that.
"""
