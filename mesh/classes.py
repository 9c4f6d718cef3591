"""The class of a Pod: exactly one, the first whose condition holds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mesh.images import parse_image
from mesh.injection import PROXY_IMAGE, Decision
from mesh.objects import Namespace, Pod
from mesh.owners import SIDECAR_STATUS, Owner

EXCLUDE = "restarter.istio-operator.kyma-project.io/exclude"
_REDIRECTION = "ambient.istio.io/redirection"


class PodClass(StrEnum):
    """In the order of the contract's table."""

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


@dataclass(frozen=True, slots=True)
class Expected:
    """What the injector would give a template now: the image and who said so; the problem when nobody could."""

    image: str | None
    source: str | None
    problem: str | None = None


NO_PROXY = Expected(None, None)


def live_proxy(pod: Pod) -> str | None:
    """The image of the running sidecar, native or not; None without one. With two of that name the first counts."""
    proxies = pod.spec.proxies()
    return proxies[0].image if proxies else None


def made_by_injector(pod: Pod) -> bool:
    """Whether an injector added the sidecar: only injectors write the annotation, whatever its value."""
    return pod.metadata.annotation(SIDECAR_STATUS) is not None


def excluded(owner: Owner, namespace: Namespace | None) -> bool:
    """Whether the exclusion annotation holds on the workload (its template or Pod counts too) or its namespace."""
    holders = [owner.template.metadata]
    if owner.workload is not None:
        holders.append(owner.workload.metadata)
    if namespace is not None:
        holders.append(namespace.metadata)
    return any(holder.annotation(EXCLUDE) == "true" for holder in holders)


def classify(
    pod: Pod, owner: Owner, decision: Decision, expected: Expected, *, revision_image: str | None, exclusion: bool
) -> PodClass:
    """The first class whose condition holds.

    `decision` and `expected` are about the owner's template; `revision_image` is the proxy that the deciding
    revision gives a template without wishes, against which a pin is judged.
    """
    found = _class(pod, owner, decision, expected, revision_image)
    if exclusion and found in (PodClass.MISSING, PodClass.ORPHANED, PodClass.STALE):
        return PodClass.EXCLUDED
    return found


def _class(pod: Pod, owner: Owner, decision: Decision, expected: Expected, revision_image: str | None) -> PodClass:
    live = live_proxy(pod)
    if pod.metadata.deletion_timestamp is not None:
        found = PodClass.TERMINATING
    elif finished(pod, owner):
        found = PodClass.FINISHED
    elif pod.metadata.annotation(_REDIRECTION) == "enabled":
        found = PodClass.AMBIENT
    elif live is None:
        found = PodClass.MISSING if decision.injected else PodClass.UNINJECTED
    elif not made_by_injector(pod):
        found = PodClass.GATEWAY
    elif not decision.injected:
        found = PodClass.ORPHANED
    elif live == owner.template.metadata.annotation(PROXY_IMAGE) and not _same_version(live, revision_image):
        found = PodClass.PINNED
    elif expected.image is None:
        found = PodClass.UNKNOWN
    else:
        found = PodClass.CURRENT if live == expected.image else PodClass.STALE
    return found


def finished(pod: Pod, owner: Owner) -> bool:
    """Whether it has ended and nothing waits for another in its place."""
    if pod.status.phase == "Succeeded":
        return True
    if pod.status.phase != "Failed" or owner.direct is None:
        # A standalone Pod that failed, or one whose maker is not known: somebody may still wait for it.
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
    """The Istio version in an image, as text."""
    version = parse_image(image).version
    return str(version) if version else None
