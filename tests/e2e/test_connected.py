"""Proxies whose image names no version have the version that istiods list for their streams."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from deploy.local import lifecycle
from deploy.local.binaries import ISTIO_VERSION
from deploy.local.demo.stage import wait_for
from deploy.local.istio import NAMESPACE, injected_proxy, install_istio, start_istiod
from deploy.local.kubectl import KubectlError, apply, kubectl, read
from deploy.local.mesh import Mesh
from deploy.local.service import Service, Temporal, service
from tests.e2e.command import Done, run
from tests.e2e.proxies import connected
from tests.e2e.workloads import make

pytestmark = pytest.mark.mesh

_MESH = "test-connected"
_OLDER = "1.29.3"
_NOT_LISTED = "no istiod lists it"

#: Revision of the istiod that a proxy is connected to, and the version that it calls itself.
Stream = tuple[str, str]
_SAME: Stream = ("default", ISTIO_VERSION)


@dataclass(frozen=True)
class Case:
    """A Deployment, the streams of each of its Pods, and what is reported: class, stale Pods, end of the detail."""

    name: str
    streams: tuple[tuple[Stream, ...], ...]
    pod_class: str
    stale: int = 0
    why: str | None = None
    revision: str = "default"


_CASES = (
    Case("silent", ((),), "unknown", why=_NOT_LISTED),
    Case("same", ((_SAME,),), "current"),
    Case("older", ((("default", _OLDER),),), "stale", 1),
    Case("same-elsewhere", ((("canary", ISTIO_VERSION),),), "current"),
    Case("older-elsewhere", ((("canary", _OLDER),),), "stale", 1),
    Case("of-canary", ((("canary", ISTIO_VERSION),),), "current", revision="canary"),
    Case("no-version", ((("default", ""),),), "unknown", why="it reports no version"),
    Case("no-number", ((("default", "unknown"),),), "unknown", why="it reports version unknown"),
    Case("agreed", ((_SAME, ("canary", ISTIO_VERSION)),), "current"),
    Case(
        "disagreed",
        ((_SAME, ("canary", _OLDER)),),
        "unknown",
        why=f"two istiods disagree: {_OLDER}, {ISTIO_VERSION}",
    ),
    Case(
        "twice",
        ((_SAME, ("default", _OLDER)),),
        "unknown",
        why=f"lists it more than once: {_OLDER}, {ISTIO_VERSION}",
    ),
    Case("half-silent", ((_SAME,), ()), "unknown", why=_NOT_LISTED),
    Case("half-older", ((_SAME,), (("default", _OLDER),)), "stale", 1),
)
_ACTIONS = {"current": ("none", None), "stale": ("rollout-restart", None), "unknown": ("remediate", "UnknownProxy")}


@pytest.fixture(scope="module")
def stage() -> Iterator[Service]:
    """Two revisions, default and canary, that give a tag which names no version, and the workloads of all cases."""
    lifecycle.down(_MESH)
    try:
        mesh = lifecycle.up(_MESH, "latest", node_count=1)
        install_istio(mesh, "latest", "canary")
        spaces = {
            "kyma-system": {},
            "default-shop": {"istio-injection": "enabled"},
            "canary-shop": {"istio.io/rev": "canary"},
        }
        for name, labels in spaces.items():
            metadata = {"name": name, "labels": labels}
            apply(mesh, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda case: make(mesh, _space(case), case.name, replicas=len(case.streams)), _CASES))
        yield service(mesh, Temporal(0, 0))
    finally:
        lifecycle.down(_MESH)


@pytest.fixture(scope="module")
def scans(stage: Service) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `scan` reports while all streams are open, and after their end; workloads by name."""
    with _open_streams(stage.mesh, *_CASES):
        during = _workloads(_scan(stage))
    wait_for("istiods to forget", lambda: all(_is_silent(one) for one in _workloads(_scan(stage)).values()), 10)
    return during, _workloads(_scan(stage))


@pytest.fixture
def canary(stage: Service) -> Iterator[Canary]:
    """The istiod of revision canary; restored afterwards."""
    canary = Canary(stage.mesh)
    yield canary
    canary.restore()


class Canary:
    """The istiod of revision canary."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    def kill(self) -> None:
        """Kills it."""
        self._mesh.kill("istiod-canary")

    def hide_debug_interface(self) -> None:
        """Starts it without the debug interface, as Istio recommends for production."""
        self._start_with("ENABLE_DEBUG_ON_HTTP=false")

    def restore(self) -> None:
        """Starts it as it was installed."""
        self._start_with("ENABLE_DEBUG_ON_HTTP-")

    def _start_with(self, setting: str) -> None:
        kubectl(self._mesh, "set", "env", "deployment/istiod-canary", "-n", NAMESPACE, setting)
        # During the rollout there are two Pods, and one process cannot answer for both.
        kubectl(self._mesh, "rollout", "status", "deployment/istiod-canary", "-n", NAMESPACE, "--timeout=60s")
        start_istiod(self._mesh, "canary")
        wait_for("istiod canary", self._injects, 30)

    def _injects(self) -> bool:
        try:
            return injected_proxy(self._mesh, "canary") is not None
        except KubectlError:
            return False


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_workload_is_what_its_proxies_say(scans: tuple[dict[str, Any], dict[str, Any]], case: Case) -> None:
    found = scans[0][case.name]

    assert (found["class"], found["stalePods"]) == (case.pod_class, case.stale)
    assert (found["action"], found["reason"]) == _ACTIONS[case.pod_class]
    assert found["expectedProxy"].endswith("proxyv2:latest")
    if case.why is None:
        assert found["detail"] is None
    else:
        assert found["detail"].startswith(f"tag latest names no version; Pod {case.name}-")
        assert found["detail"].endswith(case.why)


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_nothing_is_known_once_the_streams_have_ended(scans: tuple[dict[str, Any], dict[str, Any]], case: Case) -> None:
    assert _is_silent(scans[1][case.name])


def test_istiod_that_does_not_answer_is_reported_and_the_others_count(stage: Service, canary: Canary) -> None:
    canary.kill()
    with _open_streams(stage.mesh, _case("same"), _case("older"), _case("of-canary", _SAME)):
        done = _scan(stage)

    found = _workloads(done)
    assert (found["same"]["class"], found["older"]["class"]) == ("current", "stale")
    assert found["silent"]["class"] == "unknown"
    assert f"{_NOT_LISTED}; istiod-canary" in found["silent"]["detail"]
    # Its own control plane is the one that does not answer.
    assert found["of-canary"]["class"] == "unknown"
    assert f"it runs {ISTIO_VERSION}, and the istiods of revision" in found["of-canary"]["detail"]
    assert _reported(done, "Service istiod-canary does not answer: ")


def test_istiod_that_refuses_is_reported_and_the_others_count(stage: Service, canary: Canary) -> None:
    canary.hide_debug_interface()
    with _open_streams(stage.mesh, _case("same"), _case("silent", ("canary", ISTIO_VERSION))):
        done = _scan(stage)

    found = _workloads(done)
    assert (found["same"]["class"], found["silent"]["class"]) == ("current", "unknown")
    assert _reported(done, "Service istiod-canary does not list its proxies (HTTP 404)")


def _space(case: Case) -> str:
    return f"{case.revision}-shop"


def _pods(mesh: Mesh, case: Case) -> list[dict[str, Any]]:
    pods: list[dict[str, Any]] = read(mesh, "pods", "-n", _space(case), "-l", f"app={case.name}")["items"]
    return pods


@contextmanager
def _open_streams(mesh: Mesh, *cases: Case) -> Iterator[None]:
    """Connects the proxies of the cases' Pods."""
    with ExitStack() as streams:
        for case in cases:
            for pod, wanted in zip(_pods(mesh, case), case.streams, strict=True):
                for revision, version in wanted:
                    streams.enter_context(connected(mesh, pod, version, revision))
        yield


def _case(name: str, *streams: Stream) -> Case:
    """Returns the case of that name, with other streams if any are given."""
    case = next(one for one in _CASES if one.name == name)
    return replace(case, streams=(streams,)) if streams else case


def _scan(stage: Service) -> Done:
    """Scans with the permissions of the worker's service account."""
    rights = ("--kubeconfig", str(stage.worker_kubeconfig))
    done = run(stage.environment, "scan", "-n", "default-shop", "-n", "canary-shop", "-o", "json", *rights)
    assert done.code == 0, done.stderr
    return done


def _workloads(done: Done) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in done.document["workloads"]}


def _is_silent(found: dict[str, Any]) -> bool:
    return found["class"] == "unknown" and bool(found["detail"].endswith(_NOT_LISTED))


def _reported(done: Done, sentence: str) -> bool:
    """Returns whether the sentence is in the document and on stderr."""
    return any(one.startswith(sentence) for one in done.document["problems"]) and sentence in done.stderr
