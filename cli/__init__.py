"""The command `kyma-upgrade`, for operators and pipelines.

Holds command lines, their output and their exit codes; may not decide anything about an upgrade.
"""
