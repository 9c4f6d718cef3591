"""What the server that skips time does not do: tell a parent of a terminated child, refuse updates after the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
import temporalio.bridge.worker
from temporalio.api.enums.v1 import EventType
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowUpdateFailedError
from temporalio.service import RPCError

from activities.remediation.inputs import RemediationItemInput
from mesh.identity import TASK_QUEUE, ClusterRef
from mesh.remediation.item import Item, ItemState, ItemView, Observation
from mesh.survey.finding import Finding
from mesh.survey.reasons import Reason
from tests.workflows.fakes import FakeCluster, workloads
from tests.workflows.stage import RunningUpgrade, compose_real_temporal, notify, serve, start_upgrade, until
from workflows import activity_options
from workflows.failures import NO_WORKER
from workflows.item_commands import ResolveCommand, SkipCommand
from workflows.messages import Phase


@pytest_asyncio.fixture(scope="module")
async def real() -> AsyncIterator[Client]:
    """Temporal's development server, shared by the tests."""
    async with compose_real_temporal() as client:
        yield client


@pytest.fixture
def cluster_here(request: pytest.FixtureRequest) -> FakeCluster:
    """A cluster for a server of its own."""
    return FakeCluster(ClusterRef(request.node.name.replace("_", "-"), "uid"))


@pytest_asyncio.fixture
async def upgrade(real: Client, request: pytest.FixtureRequest) -> AsyncIterator[RunningUpgrade]:
    """An upgrade with its first restart in flight."""
    cluster = FakeCluster(ClusterRef(request.node.name.replace("_", "-"), "uid"))
    cluster.stale = {"canary": workloads("a"), "to 100%": workloads("b")}
    cluster.block("restart_workload")
    async with serve(real, cluster):
        running = await start_upgrade(real, cluster)
        await running.calls("restart_workload")
        yield running


async def test_wave_that_is_terminated_pauses_and_another_survey_finds_the_rest(upgrade: RunningUpgrade) -> None:
    cluster = upgrade.cluster
    await upgrade.wave(0).terminate("by an operator")
    seen = await upgrade.reaches(Phase.PAUSED)

    assert seen.needs_attention is not None
    assert seen.needs_attention.startswith("wave 0 ended before it was done")
    # The restart was cut: its workload is as stale as before.
    await until("the restart is cancelled", lambda: not cluster.in_flight.total())
    cluster.unblock("restart_workload")
    await upgrade.resume()
    result = await upgrade.ends()

    assert result.result == "done"
    assert cluster.restarted == ["a", "b", "a"]
    assert [request.rule.number for request in cluster.asked("list_wave_members")] == [0, 1, 2]


@pytest.mark.parametrize("command", ["pause", "resume", "abort"])
async def test_commands_after_the_end_are_refused(upgrade: RunningUpgrade, command: str) -> None:
    upgrade.cluster.unblock("restart_workload")
    await upgrade.ends()

    with pytest.raises(RPCError, match="workflow execution already completed"):
        await getattr(upgrade, command)()


async def test_attributes_are_kept_by_the_server(upgrade: RunningUpgrade) -> None:
    """The whole list of search attributes fits into the development server, and values have the declared types."""
    kept = (await upgrade.handle.describe()).typed_search_attributes
    assert {pair.key.name: pair.value for pair in kept if pair.key.name.startswith("Kyma")} == {
        "KymaCluster": upgrade.cluster.ref.name,
        "KymaPhase": "restarting",
        "KymaTarget": "1.30.2",
        "KymaNeedsAttention": False,
        "KymaStaleLeft": 2,
    }
    upgrade.cluster.unblock("restart_workload")
    await upgrade.ends()


async def test_without_a_worker_it_pauses_soon_and_goes_on_by_itself(
    real: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One upgrade never had a worker, another loses it in the middle of a wave.

    That the real time-outs are less than a minute is a test of the options of activities.
    """
    monkeypatch.setattr(activity_options, "_UNSERVED", timedelta(seconds=2))
    monkeypatch.setattr(activity_options, "_HEARTBEAT_AMONG_MANY", timedelta(seconds=2))
    never = await start_upgrade(real, FakeCluster(ClusterRef("never-served", "uid")))
    lost = await start_upgrade(real, FakeCluster(ClusterRef("not-served-any-more", "uid")))
    lost.cluster.stale = {"to 100%": workloads("a", "b", "c")}
    lost.cluster.block("restart_workload")
    async with serve(real, lost.cluster):
        await lost.calls("restart_workload", times=3)
    lost.cluster.unblock("restart_workload")
    began = time.monotonic()
    for upgrade in (never, lost):
        seen = await upgrade.progress()
        while seen.needs_attention is None:
            assert time.monotonic() - began < 20
            await asyncio.sleep(0.2)
            seen = await upgrade.progress()

        assert (seen.needs_attention, seen.phase) == (NO_WORKER, Phase.PAUSED)
    for upgrade in (never, lost):
        async with serve(real, upgrade.cluster):
            result = await upgrade.ends()
        assert (result.result, result.progress.workloads.restarted) == ("done", 3)


async def test_item_whose_first_task_waits_answers_an_operator(real: Client, cluster_here: FakeCluster) -> None:
    """As one of many that were opened at once. The server that skips time would skip the waiting."""
    now = datetime.now(UTC)
    item = Item(cluster_here.ref.name, Finding("shop", "Pod", "cart", Reason.STANDALONE_POD, None, (), 0), now, now)
    handle = await real.start_workflow(
        "RemediationItem",
        RemediationItemInput(cluster_here.ref, item),
        id=item.id,
        task_queue=TASK_QUEUE,
        memo={"item": item},
        start_delay=timedelta(hours=1),
    )
    cluster_here.rechecks.append(Observation(now, None, "its Pods run the expected proxy"))
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update("skip", SkipCommand("me", "", "2999-01-31"))
    async with serve(real, cluster_here):
        view = await handle.execute_update("resolve", ResolveCommand("me"), result_type=ItemView)
        closed = await handle.result()

    assert "Give a reason" in str(refused.value.cause)
    assert (view.state, [one.what for one in view.history]) == (ItemState.RESOLVED, ["resolve"])
    assert closed == "its Pods run the expected proxy"


async def test_new_item_in_the_very_moment_in_which_the_watch_ends_is_watched(
    cluster_here: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server does not take an end that knows nothing of a signal."""
    ends, signalled = asyncio.Event(), asyncio.Event()
    complete = temporalio.bridge.worker.Worker.complete_workflow_activation

    async def slowly(self: temporalio.bridge.worker.Worker, completion: WorkflowActivationCompletion) -> None:
        # The server waits ten seconds for the answer to a task.
        if any(command.HasField("complete_workflow_execution") for command in completion.successful.commands):
            ends.set()
            await signalled.wait()
        await complete(self, completion)

    monkeypatch.setattr(temporalio.bridge.worker.Worker, "complete_workflow_activation", slowly)
    async with compose_real_temporal() as client, serve(client, cluster_here):
        handle = await notify(client, cluster_here)
        await ends.wait()
        await notify(client, cluster_here)
        signalled.set()
        await handle.result()
        events = [event.event_type async for event in handle.fetch_history_events()]

    assert EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED in events
    assert cluster_here.finished == ["watch_cluster"] * 2


async def test_long_history_of_a_watch_goes_on_in_a_new_run(cluster_here: FakeCluster) -> None:
    cluster_here.block("watch_cluster")
    shortly = compose_real_temporal("limit.historyCount.suggestContinueAsNew=30")
    async with shortly as client, serve(client, cluster_here):
        first = await notify(client, cluster_here)
        first_run = (await first.describe()).run_id
        for _ in range(30):
            await notify(client, cluster_here)
        await until("it watches again", lambda: cluster_here.names.count("watch_cluster") >= 2)
        second = await first.describe()
        cluster_here.unblock("watch_cluster")
        await first.result()

    assert second.run_id != first_run
    assert second.status is WorkflowExecutionStatus.RUNNING
    # The first one was cancelled: it did not come to its end.
    assert len(cluster_here.finished) < cluster_here.names.count("watch_cluster")
