"""Time-outs and retries of activities, named by purpose.

Long activities have no limit in all: they end when nothing moves any more, and their heartbeats show that they run.
"""

from __future__ import annotations

from datetime import timedelta

from mesh.identity import ClusterRef
from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityConfig

#: Characters of a summary; Temporal allows 200 bytes.
SUMMARY_LIMIT = 200
#: For activities that outlast trouble (unreachable, overloaded) for hours. An error that a retry cannot help is
#: non-retryable, and pauses the upgrade at once.
_UNLIMITED_RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=30)
)
#: For a step that an operator watches: after these tries the upgrade pauses and says why.
_EIGHT_ATTEMPTS = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=20),
    maximum_attempts=8,
)
#: After this time without a heartbeat the worker is dead, and another takes its activity over.
_HEARTBEAT = timedelta(seconds=20)
#: A hundred activities at once send heartbeats less often; a dead worker is still noticed within a minute.
_HEARTBEAT_AMONG_MANY = timedelta(seconds=30)
#: After this time in the task queue no worker serves the cluster, and the upgrade says so.
_UNSERVED = timedelta(seconds=25)


def short(cluster: ClusterRef, summary: str) -> ActivityConfig:
    """Returns options for a few requests that take seconds, and that an upgrade waits for."""
    return {**short_queued(cluster, summary), "schedule_to_start_timeout": _UNSERVED}


def short_queued(cluster: ClusterRef, summary: str) -> ActivityConfig:
    """Returns the options of `short` for what may wait for a worker without limit."""
    return {
        "summary": summary[:SUMMARY_LIMIT],
        "task_queue": cluster.activity_queue,
        "start_to_close_timeout": timedelta(minutes=2),
        "heartbeat_timeout": _HEARTBEAT,
        "retry_policy": _EIGHT_ATTEMPTS,
    }


def survey(cluster: ClusterRef, summary: str) -> ActivityConfig:
    """Returns options for a reading of the whole cluster, which takes seconds to minutes."""
    return {**short(cluster, summary), "start_to_close_timeout": timedelta(minutes=15)}


def long_running(cluster: ClusterRef, summary: str) -> ActivityConfig:
    """Returns options for what waits for the cluster as long as it moves, and that an upgrade waits for."""
    return {**long_running_queued(cluster, summary), "schedule_to_start_timeout": _UNSERVED}


def long_running_queued(cluster: ClusterRef, summary: str) -> ActivityConfig:
    """Returns the options of `long_running` for what may wait for a worker without limit."""
    return {
        "summary": summary[:SUMMARY_LIMIT],
        "task_queue": cluster.activity_queue,
        "start_to_close_timeout": timedelta(days=7),
        "heartbeat_timeout": _HEARTBEAT_AMONG_MANY,
        "retry_policy": _UNLIMITED_RETRIES,
    }
