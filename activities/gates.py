"""Gates: is it safe to restart anything now?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio import activity

from activities.boundary import ServedCluster, heartbeating
from activities.kube.client import ClusterClient
from activities.kube.istiods import read_istiods
from activities.kube.paths import path
from activities.prometheus import check_prometheus
from mesh.errors import ClusterError, UpgradeError
from mesh.identity import ClusterRef
from mesh.istio.images import parse_image
from mesh.k8s.objects import Pod
from mesh.k8s.rollout import rollout
from mesh.maintenance_windows import parse_windows
from mesh.plan.policy import PrometheusGate
from mesh.wellknown import PROBE_NAMESPACE


@dataclass(frozen=True, slots=True)
class CheckGateInput:
    """`istio` is the version that a new Pod must come back with; `prometheus` a question beside it."""

    cluster: ClusterRef
    istio: str
    prometheus: PrometheusGate | None = None


@dataclass(frozen=True, slots=True)
class GateResult:
    """`closed_because` is why nothing may be restarted, None when everything is well."""

    closed_because: str | None


@dataclass(frozen=True, slots=True)
class CheckWindowInput:
    """Windows that must all be open, as written."""

    cluster: ClusterRef
    windows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WindowState:
    """Whether they are open, and when that changes; None for never."""

    open: bool
    changes_at: datetime | None


class GateActivities:
    """Activities of gates."""

    def __init__(self, served: ServedCluster) -> None:
        self._served = served

    @activity.defn
    @heartbeating
    async def check_gate(self, ask: CheckGateInput) -> GateResult:
        """Every istiod is rolled out, and a Pod tried through the API server's own path gets the target's proxy."""
        cluster = self._served.connection_for(ask.cluster)
        istiods = await read_istiods(cluster)
        if not istiods:
            return GateResult("there is no istiod in istio-system")
        for one in istiods:
            state = rollout(one.workload)
            if not state.complete:
                return GateResult(f"{one.workload.metadata.name} is not rolled out: {state.message}")
        try:
            image = await probe_injection(cluster)
        except ClusterError as error:
            return GateResult(f"a new Pod would be refused: {error.message}")
        except UpgradeError as error:
            return GateResult(error.message)
        if image is None:
            return GateResult(
                f"a new Pod in namespace {PROBE_NAMESPACE} gets no sidecar; is it labelled for injection?"
            )
        version = parse_image(image).version
        if str(version) != ask.istio:
            return GateResult(f"a new Pod would get {image}, not Istio {ask.istio}")
        return GateResult(await check_prometheus(ask.prometheus) if ask.prometheus else None)

    @activity.defn
    @heartbeating
    async def check_window(self, ask: CheckWindowInput) -> WindowState:
        """By this worker's time zone rules: another may have others, and a workflow must not depend on whose."""
        now = datetime.now(UTC)
        windows = parse_windows(*ask.windows)
        if windows.is_open(now):
            return WindowState(open=True, changes_at=windows.closes(now))
        return WindowState(open=False, changes_at=windows.next_open(now))

    @activity.defn
    async def ping_worker(self, cluster: ClusterRef) -> None:
        """Done once a worker serves the cluster."""
        self._served.connection_for(cluster)


async def probe_injection(cluster: ClusterClient) -> str | None:
    """The proxy image that a new Pod gets: a server-side dry run in the service's empty probe namespace."""
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "probe-", "namespace": PROBE_NAMESPACE},
        "spec": {"containers": [{"name": "probe", "image": "pause"}]},
    }
    pod = await cluster.create(path("Pod", PROBE_NAMESPACE), body, Pod, dry_run=True)
    proxies = pod.spec.proxies()
    return proxies[0].image if proxies else None
