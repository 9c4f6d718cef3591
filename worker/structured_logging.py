"""Logs: one line per event, JSON unless on a terminal, rendered at the root handler.

Workflow code logs by `workflow.logger`, which is silent in replay; structlog itself must not be used there, because
the sandbox would import it a second time, unconfigured. So everything goes through the standard library, and
structlog's formatter renders it with Temporal's own context (which workflow, which activity, which attempt).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog
from temporalio import activity, workflow

from worker.settings import WorkerSettings

_CONTEXT = ("workflow_id", "run_id", "workflow_type", "activity_id", "activity_type", "attempt", "task_queue")


def configure_logging(settings: WorkerSettings) -> None:
    """Configures the root handler to write to stderr."""
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=_colours())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[
                temporal_context,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([structlog.processors.format_exc_info] if as_json else []),
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    # The context has fields of its own; without this, the SDK would also append it to the text.
    for adapter in (workflow.logger, activity.logger):
        adapter.workflow_info_on_message = False  # type: ignore[union-attr]
        adapter.activity_info_on_message = False  # type: ignore[union-attr]


def temporal_context(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Adds Temporal's context and our own fields of the log record to the event."""
    record = event.get("_record")
    for name in ("temporal_workflow", "temporal_activity"):
        context = getattr(record, name, None)
        if isinstance(context, Mapping):
            event.update({key: context[key] for key in _CONTEXT if key in context})
    event.update(getattr(record, "fields", None) or {})
    return event


def _colours() -> bool:
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ
