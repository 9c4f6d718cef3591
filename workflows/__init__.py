"""Durable workflows: the upgrade, its waves, remediation items, and the watch that serves them.

Deterministic: they import temporalio, mesh and the signatures of activities, and read no clock, environment or cluster.
"""
