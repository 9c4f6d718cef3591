"""No payload grows with the cluster: a whole upgrade of 50,000 Pods, and every event of every history weighed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecution, WorkflowHandle

from activities.boundary import ServedCluster
from activities.kube.client import connect
from activities.kube.paths import path
from activities.restart.outcome import RestartInput, RestartOutcome, RestartResult
from mesh.identity import ClusterRef, watch_id
from mesh.k8s.objects import Workload
from mesh.plan.policy import Budget, InFlight, Policy, Waves
from mesh.survey.reasons import Reason
from mesh.text import DETAIL_LIMIT
from tests.scale.synthetic_cluster import LONGEST_NAME, Size, SyntheticCluster, served
from tests.workflows.fakes import FakeCluster
from tests.workflows.stage import compose_real_temporal, serve, start_upgrade
from worker.compose import compose_activities

_MOST = 256_000
_STALE, _FAILING, _STANDALONE = 200, 50, 2000
#: All names are as long as the API server takes them: a list of the items alone would be 680 kB.
_SIZE = Size(100, 5000, 10, stale=_STALE, standalone=_STANDALONE, names=LONGEST_NAME)
_POLICY = Policy(
    waves=Waves(canary=0.0, steps=(1.0,)),
    in_flight=InFlight(cluster=50, namespace=50),
    budget=Budget(failed=1.0),
    soak=timedelta(0),
)
_REAL = ("survey_cluster", "list_wave_members", "open_items", "open_item", "set_pod_warnings", "watch_cluster")


class _HalfFake(FakeCluster):
    """What reads the cluster, opens items and watches is real; control plane, restarts and second looks are not."""

    def __init__(self, here: ServedCluster, client: Client) -> None:
        super().__init__(here.ref)
        self._connection = here.cluster
        self._composed = {_name(one): one for one in compose_activities(here, client)}

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        fakes = {_name(one): one for one in super().activities}
        return list((fakes | {name: self._composed[name] for name in _REAL}).values())

    @activity.defn(name="restart_workload")
    async def restart_workload(self, request: RestartInput) -> RestartResult:
        one = request.workload
        if int(one.name.split("-")[1]) < _FAILING:
            return RestartResult(one, RestartOutcome.FAILED, Reason.ROLLOUT_TIMED_OUT, "\U0001f6d1" * DETAIL_LIMIT)
        await self._connection.patch(path(one.kind, one.namespace, one.name), {}, Workload)
        return RestartResult(one, RestartOutcome.RESTARTED)


@pytest.mark.scale
async def test_no_event_of_any_history_is_above_the_limit(tmp_path: Path) -> None:
    ref = ClusterRef("large", "uid")
    async with (
        served(SyntheticCluster(_SIZE), tmp_path) as kubeconfig,
        await connect(str(kubeconfig)) as connection,
        compose_real_temporal() as client,
    ):
        cluster = _HalfFake(ServedCluster(connection, ref), client)
        async with serve(client, cluster):
            upgrade = await start_upgrade(client, cluster, _POLICY)
            result = await upgrade.handle.result()
            await _watches(client, ref, _STANDALONE + _FAILING)
            largest, histories = await _weigh(client)

    assert result.result == "done-with-items"
    assert result.progress.workloads.restarted == _STALE - _FAILING
    assert result.progress.items.by_reason == {"StandalonePod": _STANDALONE, "RolloutTimedOut": _FAILING}
    # The upgrade, its wave, the watch, and the items.
    assert histories == 3 + _STANDALONE + _FAILING
    lines = "\n".join(f"{size:>8} {name}" for name, size in sorted(largest.items(), key=lambda one: -one[1])[:10])
    print(f"\nLargest events in bytes, of {histories} histories:\n{lines}")  # noqa: T201
    assert max(largest.values()) <= _MOST, lines


async def _watches(client: Client, ref: ClusterRef, items: int) -> None:
    """Until the watch has found all items in Temporal's list."""
    watch = client.get_workflow_handle(watch_id(ref.name))
    async with asyncio.timeout(120):
        while True:
            pending = (await watch.describe()).raw_description.pending_activities
            if [one.heartbeat_details.payloads[0].data for one in pending] == [str(items).encode()]:
                return
            await asyncio.sleep(0.5)


async def _weigh(client: Client) -> tuple[dict[str, int], int]:
    """The largest event of each sort in bytes, with all that is attached to it, and the number of histories."""
    largest: dict[str, int] = defaultdict(int)
    limit = asyncio.Semaphore(20)

    async def weigh(one: WorkflowExecution) -> None:
        handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(one.id, run_id=one.run_id)
        async with limit:
            history = await handle.fetch_history()
        for event in history.events:
            name = f"{one.workflow_type} {_sort(event)}"
            largest[name] = max(largest[name], event.ByteSize())

    found = [one async for one in client.list_workflows(page_size=200)]
    await asyncio.gather(*(weigh(one) for one in found))
    return largest, len(found)


def _sort(event: HistoryEvent) -> str:
    what = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
    scheduled = event.activity_task_scheduled_event_attributes.activity_type.name
    return f"{what} {scheduled}".strip()


def _name(one: Callable[..., Any]) -> str:
    name = activity._Definition.must_from_callable(one).name
    assert name is not None
    return name
