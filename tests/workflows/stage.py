"""The stage of these tests: a server that skips time, one worker for workflows, handles that read as a story.

Time stands still but for what a test lets pass by `Clock.passes`: automatic skipping would run to the end of time
as soon as nothing is left to do. The server does not skip while an activity runs.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowHandle
from temporalio.common import SearchAttributeKey
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.remediation.watch import WatchClusterInput
from activities.search_attributes import ALL
from mesh.identity import TASK_QUEUE, upgrade_id, watch_id, wave_id
from mesh.plan.policy import Policy
from tests.workflows.fakes import FakeCluster
from tests.workflows.sandbox import strict_runner
from worker.data_converter import data_converter
from workflows.cluster_watch import ClusterWatchWorkflow
from workflows.messages import OperatorInput, Phase, Progress, UpgradeInput, UpgradeResult, UpgradeState
from workflows.registry import ALL_WORKFLOWS
from workflows.upgrade import UpgradeWorkflow

NO_SOAK = Policy(soak=timedelta(0))
ME = OperatorInput("me", "because of the test")
#: Between two checks: soon at first, then rarely, since most checks ask a workflow.
_CHECK_FIRST_SECONDS, _CHECK_LAST_SECONDS = 0.01, 0.1
_WAIT_SECONDS = 10.0


@asynccontextmanager
async def compose_temporal() -> AsyncIterator[WorkflowEnvironment]:
    """The server with our search attributes and a worker for all workflows, in the sandbox of production."""
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(Path(sys.executable).with_name("temporal-test-server")),
        data_converter=data_converter,
        identity="test",
        runtime=_quiet_runtime(),
    )
    async with environment:
        client = environment.client
        attributes = {key.name: int(key.indexed_value_type) for key in ALL}
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=client.namespace,
                search_attributes=attributes,  # type: ignore[arg-type]
            )
        )
        worker = Worker(client, task_queue=TASK_QUEUE, workflows=ALL_WORKFLOWS, workflow_runner=strict_runner())
        with environment.auto_time_skipping_disabled():
            async with worker:
                yield environment


@asynccontextmanager
async def compose_real_temporal(*settings: str) -> AsyncIterator[Client]:
    """Temporal's development server with a worker for all workflows; `settings` are of its dynamic configuration."""
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
        dev_server_log_level="error",
        dev_server_extra_args=[part for one in settings for part in ("--dynamic-config-value", one)],
        data_converter=data_converter,
        search_attributes=ALL,
        runtime=_quiet_runtime(),
    )
    async with (
        environment,
        Worker(environment.client, task_queue=TASK_QUEUE, workflows=ALL_WORKFLOWS, workflow_runner=strict_runner()),
    ):
        yield environment.client


@asynccontextmanager
async def serve(client: Client, cluster: FakeCluster) -> AsyncIterator[None]:
    """A worker for the cluster's activities."""
    # An activity that completes while its cancellation is on its way: the SDK only warns of it, but as an error the
    # warning would stop the whole worker. pytest forgets this filter with the test.
    warnings.filterwarnings("ignore", "Cannot find activity to cancel for token", UserWarning)
    worker = Worker(
        client,
        task_queue=cluster.ref.activity_queue,
        activities=cluster.activities,
        # Heartbeats bring cancellation; by default they are throttled to 80 % of their time-out.
        max_heartbeat_throttle_interval=timedelta(milliseconds=50),
    )
    async with worker:
        yield


@cache
def _quiet_runtime() -> Runtime:
    """One per process. Its warnings are about a server that is not a whole one."""
    logging = LoggingConfig(filter=TelemetryFilter(core_level="ERROR", other_level="ERROR"))
    return Runtime(telemetry=TelemetryConfig(logging=logging))


async def until(what: str, holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Checks again and again; TimeoutError names what did not come."""
    try:
        async with asyncio.timeout(_WAIT_SECONDS):
            pause = _CHECK_FIRST_SECONDS
            while True:
                answer = holds()
                if answer if isinstance(answer, bool) else await answer:
                    return
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _CHECK_LAST_SECONDS)
    except TimeoutError as error:
        raise TimeoutError(f"did not come: {what}") from error


@dataclass(frozen=True)
class Clock:
    """The server's time."""

    environment: WorkflowEnvironment

    async def passes(self, **duration: float) -> None:
        """Skips `timedelta(**duration)`; everything due in it happens in its order."""
        await self.environment.sleep(timedelta(**duration))

    async def now(self) -> datetime:
        """What the server's clock shows."""
        return await self.environment.get_current_time()


async def current_details(handle: WorkflowHandle[Any, Any]) -> str:
    """The page of a workflow in the Temporal UI."""
    metadata: WorkflowMetadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return metadata.current_details


async def attribute(handle: WorkflowHandle[Any, Any], key: SearchAttributeKey[Any]) -> object:
    """A search attribute as the server knows it."""
    return (await handle.describe()).typed_search_attributes.get(key)


@dataclass(frozen=True)
class RunningUpgrade:
    """An upgrade on its way, as its operator sees and steers it."""

    handle: WorkflowHandle[Any, UpgradeResult]
    client: Client
    cluster: FakeCluster

    async def progress(self) -> Progress:
        """Where it stands."""
        return await self.handle.query(UpgradeWorkflow.progress)

    async def reaches(self, phase: Phase) -> Progress:
        """Waits for a phase."""
        seen: list[Progress] = []

        async def there() -> bool:
            seen.append(await self.progress())
            return seen[-1].phase is phase

        try:
            await until(f"phase {phase}", there)
        except TimeoutError as error:
            raise TimeoutError(f"not {phase}: {seen[-1]}") from error
        return seen[-1]

    async def calls(self, name: str, times: int = 1) -> None:
        """Waits until the workflow has called an activity so many times."""
        await until(f"{times} calls of {name}", lambda: self.cluster.names.count(name) >= times)

    async def pause(self) -> Progress:
        """By its update."""
        return await self._update("pause")

    async def resume(self) -> Progress:
        """By its update."""
        return await self._update("resume")

    async def abort(self) -> Progress:
        """By its update."""
        return await self._update("abort")

    async def _update(self, name: str) -> Progress:
        seen: Progress = await self.handle.execute_update(name, ME, result_type=Progress)
        return seen

    async def ends(self) -> UpgradeResult:
        """Its result, soon; whoever waits for time to pass must let it pass first."""
        async with asyncio.timeout(_WAIT_SECONDS):
            return await self.handle.result()

    def wave(self, number: int) -> WorkflowHandle[Any, Any]:
        """One of its waves."""
        return self.client.get_workflow_handle(wave_id(self.cluster.ref.name, number))


async def notify(client: Client, cluster: FakeCluster) -> WorkflowHandle[Any, None]:
    """Announces new items, as `ClusterWatchActivities.notify` does."""
    return await client.start_workflow(
        ClusterWatchWorkflow.run,
        WatchClusterInput(cluster.ref),
        id=watch_id(cluster.ref.name),
        task_queue=TASK_QUEUE,
        start_signal="track",
    )


async def start_upgrade(
    client: Client, cluster: FakeCluster, policy: Policy = NO_SOAK, state: UpgradeState | None = None
) -> RunningUpgrade:
    """Starts an upgrade of the cluster to channel fast, or a later run of it with the state of the run before."""
    handle = await client.start_workflow(
        UpgradeWorkflow.run,
        UpgradeInput(cluster.ref, "fast", policy, who="me", state=state),
        id=upgrade_id(cluster.ref.name),
        task_queue=TASK_QUEUE,
    )
    return RunningUpgrade(handle, client, cluster)
