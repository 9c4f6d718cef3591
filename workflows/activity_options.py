"""Time-outs and retries of activities, named by purpose. Time-outs mean: no progress for, seen by heartbeats."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from mesh.identity import ClusterRef
from temporalio.common import RetryPolicy

#: Trouble of the moment (unreachable, overloaded) is waited out for hours; what retrying cannot help comes back
#: at once as non-retryable and pauses the upgrade.
_PATIENT = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=30)
)
#: A worker that says nothing for this long is dead, and another takes over what it did.
_DEAD = timedelta(seconds=20)
#: A step that an operator watches: after these tries the upgrade pauses and says why.
_BRIEF = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=20),
    maximum_attempts=8,
)


#: Nobody takes an activity up for this long: there is no worker for the cluster, and an upgrade says so.
_UNSERVED = timedelta(seconds=25)
#: A hundred restarts at the same time beat less often, and a dead worker is still noticed within a minute.
_DEAD_AMONG_MANY = timedelta(seconds=30)


def short(cluster: ClusterRef) -> dict[str, Any]:
    """A few requests: seconds."""
    return {**short_queued(cluster), "schedule_to_start_timeout": _UNSERVED}


def short_queued(cluster: ClusterRef) -> dict[str, Any]:
    """The same, and it may wait for a worker as long as it takes."""
    return {
        "task_queue": cluster.activity_queue,
        "start_to_close_timeout": timedelta(minutes=2),
        "heartbeat_timeout": _DEAD,
        "retry_policy": _BRIEF,
    }


def survey(cluster: ClusterRef) -> dict[str, Any]:
    """A reading of the whole cluster: seconds to minutes."""
    return {
        "task_queue": cluster.activity_queue,
        "start_to_close_timeout": timedelta(minutes=15),
        "schedule_to_start_timeout": _UNSERVED,
        "heartbeat_timeout": _DEAD,
        "retry_policy": _BRIEF,
    }


def long_running(cluster: ClusterRef) -> dict[str, Any]:
    """Waits for the cluster as long as it moves, perhaps beside a hundred others, and an upgrade waits for it."""
    return {
        **long_running_queued(cluster),
        "schedule_to_start_timeout": _UNSERVED,
    }


def long_running_queued(cluster: ClusterRef) -> dict[str, Any]:
    """Waits for the cluster as long as it moves; a dead worker is noticed by missing heartbeats."""
    return {
        "task_queue": cluster.activity_queue,
        "start_to_close_timeout": timedelta(days=7),
        "heartbeat_timeout": _DEAD_AMONG_MANY,
        "retry_policy": _PATIENT,
    }
