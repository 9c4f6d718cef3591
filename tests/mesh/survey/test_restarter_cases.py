"""The cases that the restarter of Kyma's Istio module is tested with, and what becomes of each here.

`kyma` is what kyma-project/istio does (internal/restarter, pkg/lib/sidecars: restart_test.go, get_test.go and the
predicates' tests, by their numbers in the order of those files). docs/survey.md shows the same table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from mesh.istio.expected_proxy import ExpectedProxy, SidecarShape
from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.objects import Container, DisruptionBudget, Namespace, Pod, PodSpec, Resources, Workload
from tests.mesh.build import (
    APP,
    NEW,
    OLD,
    custom_owner,
    make_namespace,
    pod,
    strategy,
    surveyed,
    template,
    waiting,
    workload,
)

DOCUMENT = Path(__file__).parents[3] / "docs" / "survey.md"
CART = workload()
SET = workload("StatefulSet")
DAEMONS = workload("DaemonSet")
BARE = workload("ReplicaSet", "bare")
CONTROLLER = workload("ReplicationController", "old")
JOB = workload("Job", "export")
PAUSED = workload(paused=True)
ROLLOUT = workload(ARGO_ROLLOUT)
ROLLOUT_SET = workload("ReplicaSet", "cart-9f1", owner=ROLLOUT)
PAUSED_ROLLOUT = workload(ARGO_ROLLOUT, paused=True)
ON_DELETE = workload("StatefulSet", strategy=strategy("OnDelete"))
GATEWAY = workload(made_from=template({}, {"inject.istio.io/templates": "gateway"}))
PROXIED = workload(
    made_from=msgspec.structs.replace(template(), spec=PodSpec(containers=(Container(name="istio-proxy", image=OLD),)))
)
PINNED = workload(made_from=template({}, {"sidecar.istio.io/proxyImage": "mine/proxyv2:1.28.1"}))
HOST = workload(made_from=template(host_network=True))
SHAPE = SidecarShape(Resources(requests={"cpu": "100m"}), None, "default")


@dataclass(frozen=True)
class Row:
    """One case: what there is, what Kyma makes of it, and what we do."""

    what: str
    things: tuple[Pod | Workload | Namespace | DisruptionBudget, ...]
    kyma: str
    pod_class: str
    then: str
    expected: ExpectedProxy | None = field(default=None)

    @property
    def line(self) -> str:
        """As the document has it."""
        return f"| {self.what} | {self.kyma} | `{self.pod_class}` | {self.then} |"


def loud(one: Pod) -> Pod:
    """Its proxy has its own resources, as a VPA or a LimitRange may give it."""
    proxy = Container(name="istio-proxy", image=NEW, resources=Resources(requests={"cpu": "400m"}))
    return msgspec.structs.replace(one, spec=PodSpec(containers=(APP,), init_containers=(proxy,)))


RESTART, NOTHING = "restarted", "nothing"
ROWS = (
    Row("Deployment, stale, Ready (R3, G4)", (CART, pod(owner=CART)), "restarted, not waited for", "stale", RESTART),
    Row("StatefulSet, stale, Ready (R8)", (SET, pod(owner=SET)), "restarted, not waited for", "stale", RESTART),
    Row("DaemonSet, stale, Ready (R5)", (DAEMONS, pod(owner=DAEMONS)), "restarted, not waited for", "stale", RESTART),
    Row(
        "two Pods of one Deployment (R4, R11)",
        (CART, pod("a", owner=CART), pod("b", owner=CART)),
        "once if both are on one page of 30",
        "stale",
        RESTART,
    ),
    Row(
        "one of its Pods is not Ready (G5)",
        (CART, pod("a", owner=CART), pod("b", owner=CART, ready="False")),
        "restarted through the others",
        "stale",
        RESTART,
    ),
    Row(
        "none of its Pods is Ready (E9)",
        (CART, pod(owner=CART, ready="False")),
        "ignored silently",
        "stale",
        "item NotReady",
    ),
    Row(
        "its Pods crash",
        (CART, pod(owner=CART, ready="False", statuses=(waiting("CrashLoopBackOff"),))),
        "ignored silently",
        "stale",
        "item CrashLooping",
    ),
    Row(
        "its Pods are Pending (G6)",
        (CART, pod(owner=CART, phase="Pending", ready=None)),
        "ignored silently",
        "stale",
        "item PodPending",
    ),
    Row(
        "image from another registry (G3)",
        (CART, pod(owner=CART, proxy="other/proxyv2:1.30.2")),
        "restarted",
        "stale",
        RESTART,
    ),
    Row("image as expected (G2)", (CART, pod(owner=CART, proxy=NEW)), NOTHING, "current", NOTHING),
    Row(
        "proxy is an ordinary container (G29)",
        (CART, pod(owner=CART, native=False)),
        "restarted",
        "stale",
        RESTART,
    ),
    Row(
        "resources of the proxy differ (G17)",
        (CART, loud(pod(owner=CART))),
        "restarted at every reconciliation, forever",
        "current",
        NOTHING + ", reported as drift",
        ExpectedProxy(NEW, "injector", shape=SHAPE),
    ),
    Row(
        "no sidecar, would get one (G1)",
        (CART, pod(owner=CART, proxy=None)),
        "ignored",
        "missing",
        "item SidecarMissing",
    ),
    Row(
        "sidecar, injection switched off",
        (CART, pod(owner=CART), make_namespace(labels={"istio-injection": "disabled"})),
        "restarted, and drops out of the mesh",
        "orphaned",
        "item WouldLoseSidecar",
    ),
    Row(
        "own proxyImage",
        (PINNED, pod(owner=PINNED, proxy="mine/proxyv2:1.28.1")),
        "ignored silently",
        "pinned",
        NOTHING + ", reported",
    ),
    Row(
        "injected gateway",
        (GATEWAY, pod(owner=GATEWAY)),
        "restarted with the others",
        "stale",
        "restarted, in the last wave",
    ),
    Row(
        "chart or Gateway API gateway (G31, G32)",
        (PROXIED, pod(owner=PROXIED, injected=False)),
        "by its own restarter, or its owner",
        "gateway",
        NOTHING,
    ),
    Row("Terminating (G7)", (CART, pod(owner=CART, deleted=timedelta(seconds=5))), "ignored", "terminating", NOTHING),
    Row("Succeeded", (JOB, pod(owner=JOB, phase="Succeeded", ready="False")), "ignored", "finished", NOTHING),
    Row("standalone Pod (R1, E12)", (pod(),), "warning, CR in Warning", "stale", "item StandalonePod"),
    Row("Pod of a running Job (R2, E13)", (JOB, pod(owner=JOB)), "warning, CR in Warning", "stale", "item JobPod"),
    Row(
        "ReplicaSet that is gone (R9)",
        (pod(owner=workload("ReplicaSet", "gone")),),
        "warning",
        "stale",
        "item UnsupportedOwner",
    ),
    Row(
        "ReplicaSet without owner (R6)", (BARE, pod(owner=BARE)), "Pod deleted, whatever its budget", "stale", "evicted"
    ),
    Row(
        "ReplicationController (R7)",
        (CONTROLLER, pod(owner=CONTROLLER)),
        "Pod deleted, whatever its budget",
        "stale",
        "evicted",
    ),
    Row(
        "Argo Rollout (R13)",
        (ROLLOUT, ROLLOUT_SET, pod(owner=ROLLOUT_SET)),
        "a line in a log, CR Ready",
        "stale",
        "restarted by its controller",
    ),
    Row(
        "paused Argo Rollout",
        (PAUSED_ROLLOUT, pod(owner=PAUSED_ROLLOUT)),
        "a line in a log, CR Ready",
        "stale",
        "item RolloutPaused",
    ),
    Row(
        "other custom kinds (R13)",
        (pod(owner=custom_owner()),),
        "a line in a log, CR Ready",
        "stale",
        "item UnsupportedOwner",
    ),
    Row("paused Deployment", (PAUSED, pod(owner=PAUSED)), "patched, never rolls", "stale", "item RolloutPaused"),
    Row(
        "StatefulSet OnDelete",
        (ON_DELETE, pod(owner=ON_DELETE)),
        "patched, never rolls",
        "stale",
        "item UpdateStrategyOnDelete",
    ),
    Row(
        "ambient",
        (CART, pod(owner=CART, proxy=None, annotations={"ambient.istio.io/redirection": "enabled"})),
        "ignored",
        "ambient",
        NOTHING,
    ),
    Row("hostNetwork", (HOST, pod(owner=HOST, proxy=None)), "ignored", "uninjected", NOTHING),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_case_of_kymas_restarter_becomes(row: Row) -> None:
    found = surveyed(*row.things, expected=row.expected)
    words = {
        "rollout-restart": RESTART,
        "restart-at": RESTART + " by its controller",
        "evict": "evicted",
        "none": NOTHING,
    }
    done = f"item {found.reason}" if found.reason else words[found.action]

    assert found.pod_class == row.pod_class
    assert row.then.partition(",")[0] == done
    assert row.then.endswith("last wave") is found.gateway
    assert row.then.endswith("drift") is bool(found.drift)


def test_document_shows_the_same_table() -> None:
    section = DOCUMENT.read_text().partition("## Compared with Kyma's restarter\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]

    assert lines[2:] == [row.line for row in ROWS]
