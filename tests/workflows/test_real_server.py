"""What the server that skips time does not do: tell a parent of a terminated child, refuse updates after the end."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from mesh.cluster import TASK_QUEUE, ClusterRef
from tests.workflows.fakes import FakeCluster, workloads
from tests.workflows.stage import RunningUpgrade, serve, start_upgrade, until
from worker.compose import compose_runner
from workflows.attributes import ALL
from workflows.failures import NO_WORKER
from workflows.model import Phase
from workflows.registry import ALL_WORKFLOWS


@pytest_asyncio.fixture(scope="module")
async def real() -> AsyncIterator[Client]:
    """Temporal's development server, with a worker for all workflows."""
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
        dev_server_log_level="error",
        data_converter=pydantic_data_converter,
        search_attributes=ALL,
    )
    async with (
        environment,
        Worker(environment.client, task_queue=TASK_QUEUE, workflows=ALL_WORKFLOWS, workflow_runner=compose_runner()),
    ):
        yield environment.client


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
    cluster.let_go_on("restart_workload")
    await upgrade.resume()
    result = await upgrade.ends()

    assert result.result == "done"
    assert cluster.restarted == ["a", "b", "a"]
    assert [ask.rule.number for ask in cluster.asked("wave_members")] == [0, 1, 2]


@pytest.mark.parametrize("word", ["pause", "resume", "abort"])
async def test_words_after_the_end_are_refused(upgrade: RunningUpgrade, word: str) -> None:
    upgrade.cluster.let_go_on("restart_workload")
    await upgrade.ends()

    with pytest.raises(RPCError, match="workflow execution already completed"):
        await getattr(upgrade, word)()


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
    upgrade.cluster.let_go_on("restart_workload")
    await upgrade.ends()


async def test_without_a_worker_it_pauses_within_a_minute_and_goes_on_by_itself(real: Client) -> None:
    """One upgrade never had a worker, another loses it in the middle of a wave. Takes a minute of real time."""
    never = await start_upgrade(real, FakeCluster(ClusterRef("never-served", "uid")))
    lost = await start_upgrade(real, FakeCluster(ClusterRef("not-served-any-more", "uid")))
    lost.cluster.stale = {"to 100%": workloads("a", "b", "c")}
    lost.cluster.block("restart_workload")
    async with serve(real, lost.cluster):
        await lost.calls("restart_workload", times=3)
    lost.cluster.let_go_on("restart_workload")
    began = time.monotonic()
    for upgrade in (never, lost):
        seen = await upgrade.progress()
        while seen.needs_attention is None:
            assert time.monotonic() - began < 60
            await asyncio.sleep(0.2)
            seen = await upgrade.progress()

        assert (seen.needs_attention, seen.phase) == (NO_WORKER, Phase.PAUSED)
    for upgrade in (never, lost):
        async with serve(real, upgrade.cluster):
            result = await upgrade.ends()
        assert (result.result, result.progress.workloads.restarted) == ("done", 3)
