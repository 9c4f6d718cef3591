"""One wave: limits are kept, failures are results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle, WorkflowHistory

from activities.restart.outcome import RestartInput, RestartOutcome
from activities.search_attributes import CLUSTER, PHASE
from activities.survey.activities import SurveyInput
from mesh.errors import PermissionDeniedError
from mesh.identity import TASK_QUEUE, wave_id
from mesh.k8s.workload_ref import WorkloadRef
from mesh.plan.policy import InFlight, Policy
from mesh.plan.waves import WaveGroup, WaveRule
from mesh.survey.reasons import Reason
from tests.workflows.fakes import FakeCluster, workloads
from tests.workflows.stage import attribute, current_details, until
from worker.data_converter import data_converter
from workflows.messages import WaveControl, WaveInput, WaveResult
from workflows.wave import WaveWorkflow

MARK = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
WaveStarter = Callable[..., Awaitable[WorkflowHandle[Any, WaveResult]]]


@pytest.fixture
def wave_of(client: Client, leftovers: list[WorkflowHandle[Any, Any]]) -> WaveStarter:
    """Starts the only wave of a cluster."""

    async def start(
        cluster: FakeCluster, members: list[WorkloadRef], limits: InFlight | None = None
    ) -> WorkflowHandle[Any, WaveResult]:
        cluster.stale = {"canary": members}
        survey = SurveyInput(cluster.ref, Policy(in_flight=limits or InFlight()), MARK, MARK)
        rule = WaveRule(0, "canary", WaveGroup.CANARY, workloads=len(members))
        handle = await client.start_workflow(
            WaveWorkflow.run,
            WaveInput(survey, rule, 7, MARK, 1),
            id=wave_id(cluster.ref.name, 0),
            task_queue=TASK_QUEUE,
        )
        leftovers.append(handle)
        return handle

    return start


@pytest.mark.parametrize(("in_cluster", "in_namespace"), [(1, 1), (4, 2), (3, 3), (50, 1)])
async def test_never_more_in_flight_than_the_limits(
    cluster: FakeCluster, wave_of: WaveStarter, in_cluster: int, in_namespace: int
) -> None:
    members = [one for number in range(3) for one in workloads(*"abcde", namespace=f"shop-{number}")]
    cluster.block("restart_workload")
    wave = await wave_of(cluster, members, InFlight(cluster=in_cluster, namespace=in_namespace))
    full = min(in_cluster, 3 * in_namespace)
    await until(f"{full} are in flight", lambda: cluster.in_flight.total() >= full)
    cluster.unblock("restart_workload")
    result = await wave.result()

    assert result.restarted == 15
    assert cluster.most_in_flight == full
    assert max(cluster.most_in_namespace.values()) <= in_namespace
    # The server's own account, which no timing can blur.
    assert _most_in_flight(await wave.fetch_history()) == (full, min(in_cluster, in_namespace))


async def test_a_free_place_is_taken_by_the_next(cluster: FakeCluster, wave_of: WaveStarter) -> None:
    wave = await wave_of(cluster, workloads(*"abcdefgh"), InFlight(cluster=2, namespace=2))

    assert (await wave.result()).restarted == 8
    assert sorted(cluster.restarted) == list("abcdefgh")


async def test_every_outcome_is_counted_and_failures_are_results(cluster: FakeCluster, wave_of: WaveStarter) -> None:
    done, current, gone, excluded, failed = workloads("done", "current", "gone", "excluded", "failed")
    cluster.outcomes = {
        current: RestartOutcome.ALREADY_CURRENT,
        gone: RestartOutcome.GONE,
        excluded: RestartOutcome.EXCLUDED,
    }
    cluster.failing = {failed: Reason.ROLLOUT_TIMED_OUT}
    wave = await wave_of(cluster, [done, current, gone, excluded, failed])
    result = await wave.result()

    assert (result.restarted, result.current, result.gone) == (1, 1, 2)
    assert result.failed == (failed,)
    [asked] = cluster.asked("open_item")
    assert (asked.cluster, asked.result.workload) == (cluster.ref, failed)
    assert (asked.result.reason, asked.result.detail) == (Reason.ROLLOUT_TIMED_OUT, "0 of 1 Pods came up")


async def test_failed_restart_has_its_item_before_the_wave_is_done(cluster: FakeCluster, wave_of: WaveStarter) -> None:
    first, second = workloads("a", "b")
    cluster.failing = {first: Reason.ROLLOUT_TIMED_OUT}
    cluster.block("open_item")
    # One at a time: the item of the first does not keep the second waiting.
    wave = await wave_of(cluster, [first, second], InFlight(cluster=1))
    await until("both were tried", lambda: cluster.restarted == ["a", "b"])
    cluster.unblock("open_item")

    assert (await wave.result()).failed == (first,)


async def test_failed_restart_whose_item_cannot_be_opened_is_a_result_all_the_same(
    cluster: FakeCluster, wave_of: WaveStarter
) -> None:
    [failed] = workloads("a")
    cluster.failing = {failed: Reason.ROLLOUT_TIMED_OUT}
    cluster.fail("open_item", PermissionDeniedError("The worker may not list Pods."))
    wave = await wave_of(cluster, [failed])

    assert (await wave.result()).failed == (failed,)


async def test_restart_that_trying_again_cannot_help_is_a_failed_result_with_its_sentence(
    cluster: FakeCluster, wave_of: WaveStarter
) -> None:
    cluster.fail("restart_workload", PermissionDeniedError("The worker may not patch it.", "Apply deploy/rbac.yaml."))
    wave = await wave_of(cluster, workloads("a"))
    result = await wave.result()

    assert result.failed == tuple(workloads("a"))
    [asked] = cluster.asked("open_item")
    assert asked.result.reason is not None
    assert asked.result.detail == "The worker may not patch it. Apply deploy/rbac.yaml."


async def test_members_are_asked_for_by_rule_and_restarted_with_the_mark(
    cluster: FakeCluster, wave_of: WaveStarter
) -> None:
    wave = await wave_of(cluster, workloads("a"))
    await wave.result()

    [members] = cluster.asked("list_wave_members")
    assert (members.rule.group, members.canary_below, members.survey.mark) == (WaveGroup.CANARY, 7, MARK)
    [restart] = cluster.asked("restart_workload")
    assert isinstance(restart, RestartInput)
    assert (restart.cluster, restart.mark) == (cluster.ref, MARK)
    assert restart.no_progress == Policy().no_progress.rollout


async def test_wave_without_members_ends_at_once(cluster: FakeCluster, wave_of: WaveStarter) -> None:
    wave = await wave_of(cluster, [])

    assert await wave.result() == WaveResult()


async def test_paused_wave_starts_nothing_and_a_stopped_one_ends(cluster: FakeCluster, wave_of: WaveStarter) -> None:
    cluster.block("list_wave_members")
    wave = await wave_of(cluster, workloads("a", "b"))
    await until("it looks up its members", lambda: "list_wave_members" in cluster.names)
    await wave.signal(WaveWorkflow.steer, WaveControl(paused=True))
    cluster.unblock("list_wave_members")

    async def shown() -> bool:
        return "0 of 2 done, 0 in flight" in await current_details(wave)

    await until("its members are known", shown)
    assert cluster.restarted == []
    await wave.signal(WaveWorkflow.steer, WaveControl(paused=True, stopped=True))
    assert await wave.result() == WaveResult(left=2)
    assert cluster.restarted == []


async def test_wave_shows_what_is_in_flight(cluster: FakeCluster, wave_of: WaveStarter) -> None:
    cluster.block("restart_workload")
    wave = await wave_of(cluster, workloads("a", "b"))
    await until("both are in flight", lambda: cluster.in_flight.total() == 2)

    assert "0 of 2 done, 2 in flight, 0 failed" in await current_details(wave)
    assert await attribute(wave, CLUSTER) == cluster.ref.name
    assert await attribute(wave, PHASE) == "restarting"
    cluster.unblock("restart_workload")
    await wave.result()


def _most_in_flight(history: WorkflowHistory) -> tuple[int, int]:
    """The most restarts that were scheduled and not completed, in the cluster and in one namespace."""
    namespaces: dict[int, str] = {}
    open_in: Counter[str] = Counter()
    in_cluster = in_namespace = 0
    for event in history.events:
        scheduled = event.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name == "restart_workload":
            converter = data_converter.payload_converter
            [request] = converter.from_payloads(scheduled.input.payloads, [RestartInput])
            namespaces[event.event_id] = request.workload.namespace
            open_in[request.workload.namespace] += 1
        completed = event.activity_task_completed_event_attributes.scheduled_event_id
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED and completed in namespaces:
            open_in[namespaces[completed]] -= 1
        in_cluster = max(in_cluster, open_in.total())
        in_namespace = max(in_namespace, *open_in.values(), 0)
    return in_cluster, in_namespace
