"""Temporal's sandbox around workflows: it refuses what would not be the same in a replay. Workers do without it."""

from __future__ import annotations

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

#: What workflow code shares with the process instead of importing it again for each run: pure or typed parts.
_PASSED_THROUGH = (
    "mesh",
    "activities",
    "workflows.activity_options",  # by tests that shorten a time-out
    "pydantic",
    "pydantic_core",
    "msgspec",
    "yaml",
    "annotated_types",
)


def strict_runner() -> SandboxedWorkflowRunner:
    """In which every test runs and replays workflows."""
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*_PASSED_THROUGH))
