"""The upgrade's story: the order of its steps, its rounds and times, how it ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer

from mesh.errors import ConflictError, PermissionDeniedError, RefusedError, UnreachableError
from mesh.k8s.workload_ref import WorkloadRef
from mesh.plan.policy import Budget, Gates, Policy, PrometheusGate
from mesh.survey.reasons import Reason
from mesh.survey.snapshot import fingerprint
from tests.workflows.conftest import Starter
from tests.workflows.fakes import FakeCluster, workloads
from tests.workflows.sandbox import strict_runner
from tests.workflows.stage import Clock, RunningUpgrade
from worker.data_converter import data_converter
from workflows.messages import Phase
from workflows.registry import ALL_WORKFLOWS


async def test_steps_come_in_the_order_that_keeps_the_cluster_safe(cluster: FakeCluster, upgrade_of: Starter) -> None:
    upgrade = await upgrade_of(cluster)
    result = await upgrade.ends()

    assert result.result == "done"
    assert cluster.names == [
        "resolve_target",
        "renew_hold",
        "await_hold",
        "apply_target",
        "await_control_plane",
        "check_gate",
        "survey_cluster",
        "check_gate",
        "list_wave_members",
        "restart_workload",
        "check_gate",
        "list_wave_members",
        "restart_workload",
        "restart_workload",
        "survey_cluster",
        "open_items",
        "release_hold",
    ]


async def test_hold_and_lease_are_asked_for_by_one_holder_all_along(cluster: FakeCluster, upgrade_of: Starter) -> None:
    upgrade = await upgrade_of(cluster)
    await upgrade.ends()

    asked = [*cluster.asked("renew_hold"), *cluster.asked("await_hold"), *cluster.asked("release_hold")]
    assert len({request.holder for request in asked}) == 1
    assert asked[0].holder.startswith(upgrade.handle.id)
    assert all(request.hold for request in asked)


async def test_open_items_end_it_as_done_with_items(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.items = {"StandalonePod": 2, "JobPod": 1}
    cluster.classes = {"pinned": 4, "excluded": 5}
    upgrade = await upgrade_of(cluster)
    result = await upgrade.ends()

    assert result.result == "done-with-items"
    assert result.progress.items.open == 3
    assert result.progress.items.by_reason == {"StandalonePod": 2, "JobPod": 1}
    assert (result.pinned, result.excluded) == (4, 5)


async def test_failed_restart_gets_its_item_at_once_and_every_later_survey_knows_of_it(
    cluster: FakeCluster, upgrade_of: Starter
) -> None:
    [till] = workloads("till")
    cluster.failing = {till: Reason.ROLLOUT_TIMED_OUT}
    upgrade = await upgrade_of(cluster)
    result = await upgrade.ends()

    assert [request.result.workload for request in cluster.asked("open_item")] == [till]
    known = fingerprint(WorkloadRef("shop", "Deployment", "till"))
    assert [request.failed for request in cluster.asked("survey_cluster")] == [(), (known,)]
    assert [request.survey.failed for request in cluster.asked("open_items")] == [(known,)]
    assert result.progress.workloads.restarted == 2


@pytest.mark.parametrize(("kept", "rounds"), [(1, 1), (2, 3)])
async def test_more_failed_restarts_than_a_survey_input_holds_begin_no_further_round(
    cluster: FakeCluster, upgrade_of: Starter, monkeypatch: pytest.MonkeyPatch, kept: int, rounds: int
) -> None:
    """A survey that does not know of all would have one of them written to again."""
    monkeypatch.setattr("workflows.counters.FAILED_KEPT", kept)
    cart, till, stock = workloads("cart", "till", "stock")
    cluster.stale = {"canary": [cart, till, stock]}
    cluster.failing = dict.fromkeys((cart, till), Reason.ROLLOUT_TIMED_OUT)
    # Of a real cluster the failed ones would not be candidates again.
    cluster.stubborn = {stock}
    upgrade = await upgrade_of(cluster, Policy(soak=timedelta(0), budget=Budget(failed=1.0)))
    await upgrade.ends()

    assert cluster.restarted.count("stock") == rounds
    assert cluster.names[-2:] == ["open_items", "release_hold"]


async def test_restarts_by_the_module_ask_for_no_hold_and_wait_for_none(
    cluster: FakeCluster, upgrade_of: Starter
) -> None:
    upgrade = await upgrade_of(cluster, Policy(soak=timedelta(0), restarts="module"))
    await upgrade.ends()

    assert "await_hold" not in cluster.names
    # The lease on the cluster is taken all the same.
    assert [request.hold for request in cluster.asked("renew_hold")] == [False]
    assert cluster.names[-1] == "release_hold"


async def test_policy_reaches_the_surveys_as_it_was_given_and_no_workflow_judges_it(
    cluster: FakeCluster, upgrade_of: Starter
) -> None:
    gate = PrometheusGate(address="http://prometheus:9090", query="up == 0", below=1)
    # The second text is no window under the rules of today: only activities read windows (docs/adr/0009).
    policy = Policy(
        soak=timedelta(0),
        approve=("7",),
        windows=("00:00-24:00 Pacific/Chatham", "Sta 00:00-04:00 Europe/Atlantis"),
        gates=Gates(prometheus=gate),
    )
    upgrade = await upgrade_of(cluster, policy)
    await upgrade.ends()
    history = await upgrade.handle.fetch_history()

    assert {request.policy for request in cluster.asked("survey_cluster")} == {policy}
    assert {request.context.windows for request in cluster.asked("survey_cluster")} == {policy.windows}
    await Replayer(
        workflows=ALL_WORKFLOWS, workflow_runner=strict_runner(), data_converter=data_converter
    ).replay_workflow(history)


async def test_nothing_stale_means_no_wave(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.stale = {}
    upgrade = await upgrade_of(cluster)
    result = await upgrade.ends()

    assert result.result == "done"
    assert "list_wave_members" not in cluster.names
    assert cluster.names.count("survey_cluster") == 1


async def test_refused_target_fails_before_anything_else_is_done(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.fail("resolve_target", RefusedError("There is no channel fast.", "Channels: regular."))
    upgrade = await upgrade_of(cluster)

    with pytest.raises(WorkflowFailureError) as failure:
        await upgrade.ends()

    cause = failure.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.message) == ("RefusedError", "There is no channel fast. Channels: regular.")
    assert cluster.names == ["resolve_target"]
    assert (await upgrade.progress()).phase is Phase.FAILED


async def test_lease_of_another_upgrade_fails_as_a_conflict(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.fail("renew_hold", ConflictError("The cluster belongs to another upgrade: upgrade:other."))
    upgrade = await upgrade_of(cluster)

    with pytest.raises(WorkflowFailureError) as failure:
        await upgrade.ends()

    assert isinstance(failure.value.cause, ApplicationError)
    assert failure.value.cause.type == "ConflictError"
    assert "apply_target" not in cluster.names


async def test_half_taken_hold_is_released_when_preflight_fails(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.fail("renew_hold", PermissionDeniedError("The worker may not write ConfigMap hold."))
    upgrade = await upgrade_of(cluster)

    with pytest.raises(WorkflowFailureError):
        await upgrade.ends()

    # The lease is written before the ConfigMap; left behind it would shut out the next start for half an hour.
    assert cluster.names == ["resolve_target", "renew_hold", "release_hold"]


async def test_hold_that_cannot_be_released_does_not_spoil_the_end(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.fail("release_hold", PermissionDeniedError("no right to delete it"))
    upgrade = await upgrade_of(cluster)

    assert (await upgrade.ends()).result == "done"


async def test_what_is_still_stale_gets_another_round_and_wave_numbers_go_on(
    cluster: FakeCluster, upgrade_of: Starter
) -> None:
    [cart] = workloads("cart")
    cluster.stubborn = {cart}
    cluster.block("open_items")
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("open_items")

    assert cluster.names.count("survey_cluster") == 4
    assert [request.rule.number for request in cluster.asked("list_wave_members")] == [0, 1, 2, 3]
    assert cluster.restarted.count("cart") == 3
    assert sorted(cluster.restarted) == ["cart", "cart", "cart", "stock", "till"]
    assert (await upgrade.progress()).workloads.planned == 3
    cluster.unblock("open_items")


async def test_what_is_stale_after_the_last_round_is_not_called_done(cluster: FakeCluster, upgrade_of: Starter) -> None:
    [cart] = workloads("cart")
    cluster.stubborn = {cart}
    upgrade = await upgrade_of(cluster)
    result = await upgrade.ends()

    assert result.progress.workloads.left == 1
    assert result.result != "done"


async def test_soak_waits_between_waves_but_not_after_the_last(
    cluster: FakeCluster, upgrade_of: Starter, clock: Clock
) -> None:
    upgrade = await upgrade_of(cluster, Policy(soak=timedelta(minutes=5)))
    await upgrade.reaches(Phase.SOAKING)
    await clock.passes(minutes=4)

    assert (await upgrade.progress()).phase is Phase.SOAKING
    assert cluster.restarted == ["cart"]

    await clock.passes(minutes=1)
    # It ends without any more time passing.
    assert (await upgrade.ends()).result == "done"
    first, second = cluster.times("list_wave_members")
    assert second - first >= timedelta(minutes=5)


async def test_hold_is_renewed_while_the_control_plane_takes_long(
    cluster: FakeCluster, upgrade_of: Starter, clock: Clock
) -> None:
    # No time is skipped while an activity runs, so the wait is cut again and again as by an API server that is away.
    cluster.fail("await_control_plane", *(UnreachableError("The API server does not answer.") for _ in range(60)))
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("await_control_plane")
    await clock.passes(minutes=25)
    await upgrade.calls("renew_hold", times=3)

    assert "survey_cluster" not in cluster.names
    await clock.passes(minutes=10)
    await upgrade.ends()

    assert all(later - before <= timedelta(minutes=11) for before, later in pairwise(cluster.times("renew_hold")))


async def test_mark_is_one_for_all_restarts_and_later_than_the_control_plane(
    cluster: FakeCluster, upgrade_of: Starter
) -> None:
    [cart] = workloads("cart")
    cluster.stubborn = {cart}
    upgrade = await upgrade_of(cluster)
    await upgrade.ends()

    [mark] = {request.mark for request in cluster.asked("restart_workload")}
    assert {request.survey.mark for request in cluster.asked("list_wave_members")} == {mark}
    # It is written in whole seconds, and whatever carries an earlier one was restarted by another tool.
    assert mark.microsecond == 0
    assert mark >= await _control_plane_done(upgrade)
    assert {request.began_at for request in cluster.asked("survey_cluster")} == {
        cluster.asked("survey_cluster")[0].began_at
    }
    assert cluster.asked("survey_cluster")[0].began_at <= cluster.times("apply_target")[0]


async def _control_plane_done(upgrade: RunningUpgrade) -> datetime:
    history = await upgrade.handle.fetch_history()
    scheduled = {
        event.event_id
        for event in history.events
        if event.activity_task_scheduled_event_attributes.activity_type.name == "await_control_plane"
    }
    [done] = [
        event.event_time.ToDatetime(tzinfo=UTC)
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
        and event.activity_task_completed_event_attributes.scheduled_event_id in scheduled
    ]
    return done
