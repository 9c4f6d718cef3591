"""The class of a Pod: exactly one, the first whose condition holds."""

from __future__ import annotations

from enum import StrEnum

from mesh.istio.expected_proxy import ExpectedProxy
from mesh.istio.images import parse_image
from mesh.istio.injection import InjectionDecision
from mesh.istio.proxy_status import NO_CONNECTED_PROXIES, ConnectedProxies
from mesh.k8s.objects import Namespace, Pod
from mesh.k8s.owners import Owner
from mesh.wellknown import AMBIENT_REDIRECTION, EXCLUDE_FROM_RESTART, PROXY_CONTAINER, PROXY_IMAGE, SIDECAR_STATUS


class PodClass(StrEnum):
    """The class of a Pod. The order is the precedence (docs/reference/glossary.md)."""

    TERMINATING = "terminating"
    FINISHED = "finished"
    AMBIENT = "ambient"
    GATEWAY = "gateway"
    UNINJECTED = "uninjected"
    MISSING = "missing"
    ORPHANED = "orphaned"
    PINNED = "pinned"
    CURRENT = "current"
    UNKNOWN = "unknown"
    STALE = "stale"
    EXCLUDED = "excluded"


#: A workload's class is the first of these that one of its Pods has.
WORKLOAD_ORDER = (
    PodClass.STALE,
    PodClass.ORPHANED,
    PodClass.MISSING,
    PodClass.UNKNOWN,
    PodClass.EXCLUDED,
    PodClass.PINNED,
    PodClass.GATEWAY,
    PodClass.CURRENT,
    PodClass.UNINJECTED,
    PodClass.AMBIENT,
    PodClass.TERMINATING,
    PodClass.FINISHED,
)


def live_proxy(pod: Pod) -> str | None:
    """Returns the image of the sidecar, native or not; None without one. Of two with that name the first counts."""
    proxies = pod.spec.proxies()
    return proxies[0].image if proxies else None


def running_digest(pod: Pod) -> str:
    """Returns the digest of the proxy that really runs, empty where the kubelet does not tell."""
    statuses = (*(pod.status.container_statuses or ()), *(pod.status.init_container_statuses or ()))
    image_id = next((one.image_id for one in statuses if one.name == PROXY_CONTAINER), "")
    return parse_image(image_id).digest


def is_injected(pod: Pod, owner: Owner | None = None) -> bool:
    """Whether an injector added the sidecar.

    Only injectors write the status annotation, whatever its value. Where it was removed, an owner whose template has no
    such container proves the same.
    """
    if pod.metadata.annotation(SIDECAR_STATUS) is not None:
        return True
    return owner is not None and owner.workload is not None and not owner.template.spec.proxies()


def runs_image(pod: Pod, expected: str) -> bool | None:
    """Whether the live proxy is the expected image; None when the references are equal but may name different images.

    A tag that names no version (`latest`, a branch) may name another image later; a digest never does.
    """
    live = live_proxy(pod)
    wanted = parse_image(expected)
    if live != expected:
        return bool(wanted.digest) and running_digest(pod) == wanted.digest
    return True if wanted.is_immutable else None


def is_excluded(owner: Owner, namespace: Namespace | None) -> bool:
    """Whether the workload, its Pod template or its namespace has the exclusion annotation."""
    holders = [owner.template.metadata]
    if owner.workload is not None:
        holders.append(owner.workload.metadata)
    if namespace is not None:
        holders.append(namespace.metadata)
    return any(holder.annotation(EXCLUDE_FROM_RESTART) == "true" for holder in holders)


def classify(
    pod: Pod,
    owner: Owner,
    decision: InjectionDecision,
    expected: ExpectedProxy,
    *,
    revision_image: str | None,
    exclusion: bool,
    connected: ConnectedProxies = NO_CONNECTED_PROXIES,
) -> PodClass:
    """Returns the class of a Pod: the first whose condition holds.

    `decision` and `expected` are about the owner's template. `revision_image` is the proxy that the deciding revision
    gives a template without annotations: a pin to its version is none. `connected` tells the version where the image
    has none.
    """
    pod_class = _class(pod, owner, decision, expected, revision_image, connected)
    if exclusion and pod_class in (PodClass.MISSING, PodClass.ORPHANED, PodClass.STALE):
        return PodClass.EXCLUDED
    return pod_class


def _class(
    pod: Pod,
    owner: Owner,
    decision: InjectionDecision,
    expected: ExpectedProxy,
    revision_image: str | None,
    connected: ConnectedProxies,
) -> PodClass:
    live = live_proxy(pod)
    injected = decision.injected and not expected.is_refused
    if pod.metadata.deletion_timestamp is not None:
        return PodClass.TERMINATING
    if has_finished(pod, owner):
        return PodClass.FINISHED
    if pod.metadata.annotation(AMBIENT_REDIRECTION) == "enabled":
        return PodClass.AMBIENT
    if live is None:
        return _without_proxy(decision, injected=injected)
    if not is_injected(pod, owner):
        return PodClass.GATEWAY
    if decision.problem is not None:
        return PodClass.UNKNOWN
    if not injected:
        return PodClass.ORPHANED
    if live == owner.template.metadata.annotation(PROXY_IMAGE) and not _same_version(live, revision_image):
        return PodClass.PINNED
    return _compare(pod, decision, expected, connected)


def _without_proxy(decision: InjectionDecision, *, injected: bool) -> PodClass:
    if decision.problem is not None:
        return PodClass.UNKNOWN
    return PodClass.MISSING if injected else PodClass.UNINJECTED


def _compare(pod: Pod, decision: InjectionDecision, expected: ExpectedProxy, connected: ConnectedProxies) -> PodClass:
    if expected.image is None:
        return PodClass.UNKNOWN
    same = runs_image(pod, expected.image)
    if same is None:
        same = connected.is_current(pod.metadata.namespace, pod.metadata.name, decision.revision or "")
    if same is None:
        return PodClass.UNKNOWN
    return PodClass.CURRENT if same else PodClass.STALE


def has_finished(pod: Pod, owner: Owner) -> bool:
    """Whether the Pod has ended, and no controller will replace it."""
    if pod.status.phase == "Succeeded":
        return True
    if pod.status.phase != "Failed" or owner.direct is None:
        # A standalone Pod that failed, or one whose controller is unknown: its work may still be waited for.
        return False
    status, spec = owner.direct.status, owner.direct.spec
    match owner.direct.kind:
        case "Job":
            return any(one.type in ("Complete", "Failed") and one.status == "True" for one in status.conditions or ())
        case "DaemonSet":
            return status.number_ready >= status.desired_number_scheduled
        case _:
            return status.ready_replicas >= (1 if spec.replicas is None else spec.replicas)


def _same_version(image: str, revision_image: str | None) -> bool:
    if revision_image is None:
        return False
    version = parse_image(image).version
    return image == revision_image or (version is not None and version == parse_image(revision_image).version)


def version_text(image: str) -> str | None:
    """Returns the Istio version in an image reference as text, None when it names none."""
    version = parse_image(image).version
    return str(version) if version else None


def pod_is_current(pod: Pod, expected: ExpectedProxy) -> bool:
    """Whether an injector gave the Pod the proxy that its template would get now, and the Pod is Ready."""
    return runs_expected(pod, expected) and pod.ready


def runs_expected(pod: Pod, expected: ExpectedProxy) -> bool:
    """Whether an injector gave the Pod the proxy that its template would get now.

    An image whose tag names no version counts: after a restart, nothing newer has that name.
    """
    return is_injected(pod) and expected.image is not None and runs_image(pod, expected.image) is not False
