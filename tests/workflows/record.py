"""Records the histories that the replay tests replay.

    .venv/bin/python -m tests.workflows.record [NAME]…

writes `histories/NAME.json`, all of them without a name. A history represents upgrades that are under way when a new
worker takes over: record again only what no running worker of an older version can have written any more, and keep
the old file under another name (`wave-0.1.json`) as long as it can.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError

from activities.remediation.inputs import RemediationItemInput
from mesh.errors import PermissionDeniedError, UnreachableError
from mesh.identity import TASK_QUEUE, ClusterRef
from mesh.plan.policy import InFlight, Policy
from mesh.remediation.item import Item, Observation
from mesh.survey.finding import Finding
from mesh.survey.reasons import Reason
from tests.workflows.fakes import FakeCluster, workloads
from tests.workflows.stage import Clock, RunningUpgrade, compose_temporal, notify, serve, start_upgrade, until
from workflows.item_commands import ItemCommand, ResolveCommand, SkipCommand, SnoozeCommand
from workflows.messages import Phase
from workflows.remediation_item import RemediationItemWorkflow

HISTORIES = Path(__file__).with_name("histories")

Scene = Callable[[Client, FakeCluster, Clock], Awaitable[WorkflowHandle[Any, Any]]]


async def upgrade_happy(client: Client, cluster: FakeCluster, clock: Clock) -> WorkflowHandle[Any, Any]:
    """Two waves with a soak between them, items at the end."""
    cluster.items = {"StandalonePod": 1}
    upgrade = await start_upgrade(client, cluster, Policy(soak=timedelta(minutes=5)))
    await upgrade.reaches(Phase.SOAKING)
    await clock.passes(minutes=5)
    await upgrade.ends()
    return upgrade.handle


async def upgrade_paused_resumed(client: Client, cluster: FakeCluster, clock: Clock) -> WorkflowHandle[Any, Any]:
    """Paused by trouble for longer than the hold lasts, then by hand in the middle of a wave; a second round."""
    upgrade = await _paused_and_resumed(client, cluster, clock)
    return upgrade.handle


async def upgrade_aborted(client: Client, cluster: FakeCluster, clock: Clock) -> WorkflowHandle[Any, Any]:
    """Aborted while the control plane is waited for."""
    cluster.block("await_control_plane")
    upgrade = await start_upgrade(client, cluster)
    await upgrade.calls("await_control_plane")
    await upgrade.abort()
    await upgrade.ends()
    return upgrade.handle


async def wave(client: Client, cluster: FakeCluster, clock: Clock) -> WorkflowHandle[Any, Any]:
    """A wave that is paused and resumed, with a restart that fails."""
    upgrade = await _paused_and_resumed(client, cluster, clock)
    return upgrade.wave(0)


async def item(client: Client, cluster: FakeCluster, clock: Clock) -> WorkflowHandle[Any, Any]:
    """Seen twice, looked at by timer, refused, retried in vain, snoozed, skipped, open again, closed."""
    seen = Finding("shop", "Deployment", "cart", Reason.POD_PENDING, "0/3 nodes are available", ("cart-1",), 1)
    other = Finding("shop", "Deployment", "cart", Reason.CRASH_LOOPING, "exit code 1", ("cart-2",), 1)
    now = await clock.now()
    known = Item(cluster.ref.name, seen, now, now)
    handle: WorkflowHandle[Any, str] = await client.start_workflow(
        RemediationItemWorkflow.run, RemediationItemInput(cluster.ref, known), id=known.id, task_queue=TASK_QUEUE
    )
    await handle.query(RemediationItemWorkflow.item)
    await clock.passes(minutes=40)
    await until("it rechecks", lambda: "recheck_item" in cluster.finished)
    await handle.signal(RemediationItemWorkflow.observed, Observation(await clock.now(), other))
    await until("the new Pod is warned", lambda: cluster.finished.count("set_pod_warnings") == 1)
    with contextlib.suppress(WorkflowUpdateFailedError):
        await handle.execute_update("resolve", ResolveCommand("me", "done"))
    cluster.failing = {seen.ref: Reason.ROLLOUT_TIMED_OUT}
    await handle.execute_update("retry", ItemCommand("me", "once more"))
    await until("it was restarted", lambda: "restart_workload" in cluster.finished)
    await until("it looked", lambda: cluster.finished.count("recheck_item") == 4)
    await handle.execute_update("snooze", SnoozeCommand("me", "", duration="2h"))
    await handle.execute_update("skip", SkipCommand("me", "later", until="2099-01-31"))
    await until("the warning is gone", lambda: cluster.finished.count("set_pod_warnings") == 3)
    cluster.rechecks.append(Observation(await clock.now(), closed="its Pods run the expected proxy"))
    await handle.signal(RemediationItemWorkflow.recheck)
    await handle.result()
    return handle


async def watch(client: Client, cluster: FakeCluster, clock: Clock) -> WorkflowHandle[Any, Any]:
    """A watch that fails and is begun again, a new item while it ends, and the end."""
    cluster.block("watch_cluster")
    cluster.fail("watch_cluster", PermissionDeniedError("The worker may not watch Pods."))
    handle = await notify(client, cluster)
    await until("it failed", lambda: cluster.names == ["watch_cluster"])
    await clock.passes(minutes=1)
    await until("it is begun again", lambda: cluster.names.count("watch_cluster") == 2)
    await notify(client, cluster)
    cluster.unblock("watch_cluster")
    await handle.result()
    return handle


async def _paused_and_resumed(client: Client, cluster: FakeCluster, clock: Clock) -> RunningUpgrade:
    cluster.stale = {"canary": workloads("a", "b", "c"), "to 100%": workloads("d")}
    cluster.failing = dict.fromkeys(workloads("c"), Reason.ROLLOUT_TIMED_OUT)
    cluster.stubborn = set(workloads("d"))
    cluster.fail("apply_target", UnreachableError("The API server does not answer."))
    cluster.trouble.append("the Istio CR is in state Error")
    cluster.gate_shut.append("istiod is not rolled out")
    cluster.block("restart_workload")
    no_soak = Policy(soak=timedelta(0), in_flight=InFlight(cluster=1))
    upgrade = await start_upgrade(client, cluster, no_soak)
    await upgrade.calls("apply_target")
    await clock.passes(seconds=1)
    await upgrade.reaches(Phase.PAUSED)
    await clock.passes(minutes=35)
    await upgrade.resume()
    await upgrade.calls("check_gate")
    await clock.passes(seconds=5)
    await upgrade.calls("restart_workload")
    await upgrade.pause()
    cluster.unblock("restart_workload")
    await upgrade.resume()
    await upgrade.ends()
    return upgrade


SCENES: dict[str, Scene] = {
    "upgrade-happy": upgrade_happy,
    "upgrade-paused-resumed": upgrade_paused_resumed,
    "upgrade-aborted": upgrade_aborted,
    "wave": wave,
    "item": item,
    "watch": watch,
}


async def record(name: str) -> None:
    """Plays a scene on a server of its own and writes its history."""
    async with compose_temporal() as environment:
        cluster = FakeCluster(ClusterRef("recorded", "uid"))
        async with serve(environment.client, cluster):
            handle = await SCENES[name](environment.client, cluster, Clock(environment))
            history = await handle.fetch_history()
    text = json.dumps(json.loads(history.to_json()), indent=1)
    HISTORIES.mkdir(exist_ok=True)
    # Failures carry stack traces, with where this checkout happens to lie.
    text = text.replace(str(Path(__file__).parents[2]), "/src")
    (HISTORIES / f"{name}.json").write_text(text + "\n")


async def main(names: list[str]) -> None:
    """Records these, or all."""
    for name in names or SCENES:
        await record(name)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
