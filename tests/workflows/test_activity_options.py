"""Time-outs and retries. Replaying never guards them: a changed duration replays well."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.workflow import ActivityConfig

from mesh.identity import ClusterRef
from tests.workflows.record import HISTORIES, SCENES
from workflows import activity_options

Named = Callable[[ClusterRef, str], ActivityConfig]

CLUSTER = ClusterRef("prod", "uid")
_ALL = (
    activity_options.short,
    activity_options.short_queued,
    activity_options.survey,
    activity_options.long_running_queued,
    activity_options.long_running,
)
_WAITING = {"await_control_plane", "restart_workload", "watch_cluster"}


def _options(named: Named) -> dict[str, Any]:
    return dict(named(CLUSTER, "Summary"))


@pytest.mark.parametrize("named", _ALL)
def test_summary_fits_into_what_temporal_takes(named: Named) -> None:
    assert named(CLUSTER, "Check the gate").get("summary") == "Check the gate"
    assert len(named(CLUSTER, "x" * 1000).get("summary") or "") == 200


@pytest.mark.parametrize("named", _ALL)
def test_a_dead_worker_is_noticed_within_half_a_minute(named: Named) -> None:
    assert _options(named)["heartbeat_timeout"] <= timedelta(seconds=30)


@pytest.mark.parametrize("named", _ALL)
def test_activities_run_on_the_queue_of_their_cluster(named: Named) -> None:
    assert _options(named)["task_queue"] == "kyma-upgrade.prod"


@pytest.mark.parametrize("named", [activity_options.short, activity_options.survey, activity_options.long_running])
def test_activity_that_an_upgrade_waits_for_starts_soon_or_an_operator_is_informed(named: Named) -> None:
    # With the heartbeats of a worker that died before: within a minute.
    unserved = _options(named)["schedule_to_start_timeout"] + _options(named)["heartbeat_timeout"]

    assert unserved < timedelta(minutes=1)


@pytest.mark.parametrize("named", [activity_options.short_queued, activity_options.long_running_queued])
def test_items_and_their_watch_wait_for_a_worker_as_long_as_it_takes(named: Named) -> None:
    assert "schedule_to_start_timeout" not in _options(named)


@pytest.mark.parametrize("named", [activity_options.short, activity_options.survey])
def test_steps_that_an_operator_watches_give_up_within_minutes(named: Named) -> None:
    policy = _options(named)["retry_policy"]
    waits = [
        min(policy.initial_interval * policy.backoff_coefficient**retry, policy.maximum_interval)
        for retry in range(policy.maximum_attempts - 1)
    ]

    assert policy.maximum_attempts > 0
    assert sum(waits, timedelta()) < timedelta(minutes=2)


def test_waiting_outlasts_an_api_server_that_is_away_and_a_window_that_is_days_off() -> None:
    named = _options(activity_options.long_running_queued)

    assert named["retry_policy"].maximum_attempts == 0
    assert named["retry_policy"].maximum_interval <= timedelta(minutes=1)
    assert named["start_to_close_timeout"] >= timedelta(days=7)


def test_every_activity_that_waits_is_started_with_a_heartbeat_timeout() -> None:
    seen = set()
    for name in SCENES:
        history = WorkflowHistory.from_json(name, (HISTORIES / f"{name}.json").read_text())
        for event in history.events:
            scheduled = event.activity_task_scheduled_event_attributes
            if not scheduled.activity_type.name:
                continue
            long = scheduled.start_to_close_timeout.ToTimedelta() > timedelta(minutes=1)
            assert scheduled.heartbeat_timeout.ToTimedelta() or not long, scheduled.activity_type.name
            seen.add(scheduled.activity_type.name)

    assert seen > _WAITING
