"""Measures a long remediation queue: opening it, the worker that keeps it, its list, an operator's command.

One mesh with a standalone Pod for each item, the dev server, one worker with the rights of its service account.
Commands are timed as whole processes, as an operator waits for them.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path

import psutil
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from activities.concurrency import gather_limited
from activities.kube.client import connect
from activities.kube.paths import path
from deploy.local import lifecycle
from deploy.local.demo.stage import raise_stage, wait_for
from deploy.local.kubectl import apply, kubectl
from deploy.local.progress import say
from deploy.local.service import Service
from mesh.identity import upgrade_id
from mesh.k8s.objects import Pod
from tests.e2e.conftest import TAGS, NewProxy

_NAME = "bench-items"
_ITEMS, _PER_NAMESPACE = 5000, 250
_AT_ONCE = 30
_RUNS = 5
_WHOLE_LIST = ("queue", "list", "-o", "json")
#: Until the first tasks of the items are done (docs/adr/0013), and for how long the worker is then watched.
_SETTLE_SECONDS, _IDLE_SECONDS = 180, 60


def main() -> None:
    """Starts the mesh, creates the Pods, upgrades, and prints the measurements."""
    lifecycle.down(_NAME)
    service = raise_stage(_NAME)
    try:
        asyncio.run(_fill(service))
        NewProxy(service.mesh).give(TAGS[0])
        worker = psutil.Process(service.start_worker())
        _command(service, "start", "--to", "current", "--wait", codes=(3,))
        asyncio.run(_opening(service))
        _say(f"worker after the opening {worker.memory_info().rss / 2**20:.0f} MB")
        time.sleep(_SETTLE_SECONDS)
        _idle(worker)
        _commands(service)
        _say(f"worker at the end {worker.memory_info().rss / 2**20:.0f} MB")
    finally:
        lifecycle.down(_NAME)


async def _fill(service: Service) -> None:
    """Creates standalone Pods and waits until they run."""
    say(f"creating {_ITEMS} Pods")
    spaces = [f"bench-{number}" for number in range(_ITEMS // _PER_NAMESPACE)]
    labels = {"istio-injection": "enabled"}
    apply(
        service.mesh,
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": one, "labels": labels}} for one in spaces),
    )
    spec = {"containers": [{"name": "app", "image": "docker.io/library/nginx:1.29"}]}
    async with await connect(str(service.mesh.kubeconfig)) as cluster:

        async def create(where: tuple[str, int]) -> None:
            namespace, number = where
            body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"odd-{number}"}, "spec": spec}
            await cluster.create(path("Pod", namespace), body, Pod)

        await gather_limited(_AT_ONCE, [(one, number) for one in spaces for number in range(_PER_NAMESPACE)], create)
    running = ("get", "pods", "-A", "--field-selector=status.phase=Running", "-o", "name", "--chunk-size=500")
    wait_for("the Pods to run", lambda: kubectl(service.mesh, *running).count("pod/odd-") == _ITEMS, 300)


async def _opening(service: Service) -> None:
    """Measures from the scheduling of the final survey until the last item was open."""
    client = await Client.connect(service.temporal.address)
    history = await client.get_workflow_handle(upgrade_id(service.mesh.name)).fetch_history()
    scheduled = {}
    for event in history.events:
        at = event.event_time.ToDatetime(tzinfo=UTC)
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            if event.activity_task_scheduled_event_attributes.activity_type.name == "open_items":
                scheduled[event.event_id] = at
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            began = scheduled.get(event.activity_task_completed_event_attributes.scheduled_event_id)
            if began is not None:
                _say(f"{_ITEMS} items opened in {(at - began).total_seconds():.1f} s, survey included")


def _idle(worker: psutil.Process) -> None:
    before, began = sum(worker.cpu_times()[:2]), time.monotonic()
    time.sleep(_IDLE_SECONDS)
    used = (sum(worker.cpu_times()[:2]) - before) / (time.monotonic() - began)
    _say(f"idle worker over {_IDLE_SECONDS} s: {used:.1%} of a core, {worker.memory_info().rss / 2**20:.0f} MB")


def _commands(service: Service) -> None:
    """Times the list, and each command of an operator, on items that got no command before."""
    _print_times("queue list -o json", [_command(service, *_WHOLE_LIST) for _ in range(_RUNS)])
    _print_times("queue list -n", [_command(service, "queue", "list", "-n", "bench-7") for _ in range(_RUNS)])
    why = ("--because", "bench")
    commands: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
        "show": ((), (0,)),
        "snooze": (("--for", "2h", *why), (0,)),
        "skip": (("--until", "2999-01-31", *why), (0,)),
        # Both are refused after a check of the workload.
        "resolve": (why, (1,)),
        "retry": (why, (1,)),
    }
    for number, (command, (more, codes)) in enumerate(commands.items()):
        items = [f"bench-{number}/Pod/odd-{run}" for run in range(_RUNS)]
        _print_times(
            f"queue {command}", [_command(service, "queue", command, item, *more, codes=codes) for item in items]
        )


def _command(service: Service, *arguments: str, codes: Sequence[int] = (0,)) -> float:
    """Runs a command; returns its seconds."""
    program = str(Path(sys.executable).with_name("kyma-upgrade"))
    began = time.perf_counter()
    done = subprocess.run(
        [program, *arguments], env=service.environment, check=False, capture_output=True, text=True, timeout=900
    )
    seconds = time.perf_counter() - began
    if done.returncode not in codes:
        raise SystemExit(f"kyma-upgrade {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
    if arguments == _WHOLE_LIST and (listed := len(json.loads(done.stdout)["items"])) != _ITEMS:
        raise SystemExit(f"the list has {listed} items")
    return seconds


def _print_times(what: str, seconds: Sequence[float]) -> None:
    _say(f"{what:20} {min(seconds):.2f} {statistics.median(seconds):.2f} {max(seconds):.2f} s (min median max)")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
