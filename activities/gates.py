"""Gates: checks before each step whether restarts are safe now, and whether maintenance windows are open."""

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
    """`istio` is the version that a new Pod's proxy must have; `prometheus` is the policy's query, if it has one."""

    cluster: ClusterRef
    istio: str
    prometheus: PrometheusGate | None = None


@dataclass(frozen=True, slots=True)
class GateResult:
    """`closed_because` says why nothing may be restarted; None when the gate is open."""

    closed_because: str | None


@dataclass(frozen=True, slots=True)
class CheckWindowInput:
    """Maintenance windows that must all be open, as the policy writes them."""

    cluster: ClusterRef
    windows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WindowState:
    """Whether all windows are open, and when that changes; None for never."""

    open: bool
    changes_at: datetime | None


class GateActivities:
    """Activities that check gates and windows."""

    def __init__(self, served: ServedCluster) -> None:
        self._served = served

    @activity.defn
    @heartbeating
    async def check_gate(self, request: CheckGateInput) -> GateResult:
        """Checks that istiod is rolled out, that a new Pod gets the target's proxy, and what Prometheus says.

        The Pod is a dry run through the API server, as any Pod is created.
        """
        cluster = self._served.connection_for(request.cluster)
        istiods = await read_istiods(cluster)
        if not istiods:
            return GateResult("there is no istiod in istio-system")
        for istiod in istiods:
            state = rollout(istiod.workload)
            if not state.complete:
                return GateResult(f"{istiod.workload.metadata.name} is not rolled out: {state.message}")
        try:
            image = await probe_injection(cluster)
        except ClusterError as error:
            return GateResult(f"a new Pod would be refused: {error.message}")
        except UpgradeError as error:
            return GateResult(error.message)
        if image is None:
            return GateResult(
                f"a new Pod in namespace {PROBE_NAMESPACE} gets no sidecar; label the namespace for injection"
            )
        version = parse_image(image).version
        if str(version) != request.istio:
            return GateResult(f"a new Pod would get {image}, not Istio {request.istio}")
        return GateResult(await check_prometheus(request.prometheus) if request.prometheus else None)

    @activity.defn
    @heartbeating
    async def check_window(self, request: CheckWindowInput) -> WindowState:
        """Checks windows by this worker's time zone database, which a workflow must not depend on."""
        now = datetime.now(UTC)
        windows = parse_windows(*request.windows)
        if windows.is_open(now):
            return WindowState(open=True, changes_at=windows.closes(now))
        return WindowState(open=False, changes_at=windows.next_open(now))

    @activity.defn
    async def ping_worker(self, cluster: ClusterRef) -> None:
        """Returns: so a workflow learns that a worker serves the cluster."""
        self._served.connection_for(cluster)


async def probe_injection(cluster: ClusterClient) -> str | None:
    """Returns the proxy image that a new Pod gets, None for no sidecar.

    The Pod is a server-side dry run in the service's own empty namespace.
    """
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "probe-", "namespace": PROBE_NAMESPACE},
        "spec": {"containers": [{"name": "probe", "image": "pause"}]},
    }
    pod = await cluster.create(path("Pod", PROBE_NAMESPACE), body, Pod, dry_run=True)
    proxies = pod.spec.proxies()
    return proxies[0].image if proxies else None
