"""The durable story of an upgrade: deterministic Temporal workflows.

Imports temporalio, mesh and the signatures of activities, nothing else; reads no clock, environment or cluster.
"""
