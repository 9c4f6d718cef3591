"""Operators and maintenance windows between the waves of a real upgrade, through the commands of the CLI."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.local.demo.stage import wait_for
from deploy.local.kubectl import kubectl, read
from deploy.local.service import Service
from mesh.wellknown import MAINTENANCE_WINDOW
from tests.e2e.command import Done, run
from tests.e2e.conftest import TAGS, NewProxy, open_namespace
from tests.e2e.workloads import make, proxies

pytestmark = pytest.mark.mesh

_NAMESPACE = "steered"


@pytest.fixture(scope="module", autouse=True)
def _workloads(stage: Service) -> Iterator[None]:
    """Three workloads."""
    open_namespace(stage.mesh, _NAMESPACE)
    for name in ("anna", "berta", "clara"):
        make(stage.mesh, _NAMESPACE, name)
    yield
    kubectl(stage.mesh, "delete", "namespace", _NAMESPACE, "--wait=false")


@pytest.fixture
def current(stage: Service) -> str:
    """The tag that every sidecar has, and that new ones get, also after a story whose upgrade was aborted."""
    [tag] = {_proxy(stage, name) for name in ("anna", "berta", "clara")}
    NewProxy(stage.mesh).give(tag)
    return tag


@pytest.fixture
def other(stage: Service, current: str) -> str:
    """Makes every sidecar stale; returns the tag that new ones get."""
    tag = next(one for one in TAGS if one != current)
    NewProxy(stage.mesh).give(tag)
    return tag


@pytest.fixture
def broken(stage: Service, current: str) -> Iterator[None]:
    """A workload with the sidecar of the others, whose Pods crash from the next rollout on; its surge is one Pod."""
    make(stage.mesh, _NAMESPACE, "delia")
    annotation = '{"spec":{"template":{"metadata":{"annotations":{"behaviour.local-mesh/pod":"crash-looping"}}}}}'
    kubectl(stage.mesh, "-n", _NAMESPACE, "patch", "deployment", "delia", "--type=merge", "-p", annotation)
    wait_for("the rollout to crash", lambda: _crashes(stage), 30)
    yield
    kubectl(stage.mesh, "-n", _NAMESPACE, "delete", "deployment", "delia")


def test_canary_waits_for_approval_and_goes_on_with_it(stage: Service, other: str, tmp_path: Path) -> None:
    begun = _start(stage, tmp_path, "approve: [canary]")

    assert begun.code == 4
    assert begun.document["phase"] == "waiting-approval"
    assert "waits for approval" in begun.document["needsAttention"]
    assert "kyma-upgrade approve" in begun.document["nextStep"]
    assert other not in {_proxy(stage, name) for name in ("anna", "berta", "clara")}

    slower = run(stage.environment, "limit", "--in-flight", "1", "-o", "json")
    approved = run(stage.environment, "approve", "--because", "the canary is fine", "-o", "json")
    ended = run(stage.environment, "wait", "-o", "json")

    assert (approved.code, slower.code, ended.code) == (0, 0, 0)
    assert {_proxy(stage, name) for name in ("anna", "berta", "clara")} == {other}


@pytest.mark.usefixtures("broken")
def test_more_failures_than_the_budget_pause_with_their_number(stage: Service, other: str, tmp_path: Path) -> None:
    begun = _start(stage, tmp_path, "budget: {failed: 0%, atLeast: 0}\nnoProgress: {rollout: 5s}")

    assert begun.code == 4
    assert begun.document["phase"] == "paused"
    assert "1 restart failed, and the budget is 0" in begun.document["needsAttention"]
    assert run(stage.environment, "resume", "--because", "seen").code == 0
    assert run(stage.environment, "wait", "-o", "json").code == 3
    assert {_proxy(stage, name) for name in ("anna", "berta", "clara")} == {other}


def test_closed_window_is_waited_for_and_abort_releases_the_hold(stage: Service, other: str, tmp_path: Path) -> None:
    assert _start(stage, tmp_path, f'windows: ["{_later()}"]', wait=False).code == 0
    status = _waits_for_window(stage)

    assert status["needsAttention"] is None
    assert other not in {_proxy(stage, name) for name in ("anna", "berta", "clara")}
    assert run(stage.environment, "abort", "--because", "another day").code == 0
    assert run(stage.environment, "wait").code == 1
    assert read(stage.mesh, "configmap", "hold", "-n", "kyma-upgrade") is None


def test_workload_with_a_closed_window_is_left_and_the_others_are_restarted(
    stage: Service, other: str, tmp_path: Path
) -> None:
    annotation = f"{MAINTENANCE_WINDOW}={_later()}"
    kubectl(stage.mesh, "-n", _NAMESPACE, "annotate", "deployment", "berta", annotation)
    assert _start(stage, tmp_path, "", wait=False).code == 0
    _waits_for_window(stage)

    assert {_proxy(stage, name) for name in ("anna", "clara")} == {other}
    assert _proxy(stage, "berta") != other
    assert run(stage.environment, "abort").code == 0
    kubectl(stage.mesh, "-n", _NAMESPACE, "annotate", "deployment", "berta", f"{MAINTENANCE_WINDOW}-")
    assert _start(stage, tmp_path, "").code == 0


def _start(stage: Service, folder: Path, policy: str, *, wait: bool = True) -> Done:
    file = folder / "policy.yaml"
    file.write_text(f"soak: 0s\n{policy}\n")
    more = ["--wait"] if wait else []
    return run(stage.environment, "start", "--to", "current", "--policy", str(file), "-o", "json", *more)


def _waits_for_window(stage: Service) -> dict[str, Any]:
    """Waits until the upgrade waits for its window; returns its status."""
    status: dict[str, Any] = {}

    def there() -> bool:
        status.update(run(stage.environment, "status", "-o", "json").document)
        return bool(status["phase"] == "waiting-window")

    wait_for("the upgrade to wait for its window", there, 60)
    return status


def _proxy(stage: Service, name: str) -> str:
    [tag] = proxies(stage.mesh, _NAMESPACE, name)
    return tag


def _crashes(stage: Service) -> bool:
    pods = read(stage.mesh, "pods", "-n", _NAMESPACE, "-l", "app=delia")["items"]
    return any(
        status["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
        for pod in pods
        for status in pod["status"].get("containerStatuses", [])
    )


def _later() -> str:
    """Returns a window of an hour that opens in six hours."""
    opens = datetime.now(UTC) + timedelta(hours=6)
    return f"{opens:%H}:00-{opens:%H}:59"
