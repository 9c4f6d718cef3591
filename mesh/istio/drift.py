"""How a sidecar differs from what its template would get, beyond the image.

Told, never acted on: Kyma's module restarts for these, and again for ever where something else in the cluster sets
them. What the injector itself answers for a template with its own resources is what is compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from mesh.istio.expected_proxy import Shape, shape_of
from mesh.k8s.objects import Pod, Resources
from mesh.wellknown import SIDECAR_STATUS


class Drift(StrEnum):
    """What differs."""

    RESOURCES = "resources"
    REVISION = "revision"
    CNI = "cni"
    STATUS = "status"


def drift_of(pod: Pod, expected: Shape) -> dict[Drift, str]:
    """What differs of a Pod with a sidecar, each in words; empty when nothing does."""
    live = shape_of(pod)
    found = {}
    resources = _resources_differ(live.resources, expected.resources)
    if resources:
        found[Drift.RESOURCES] = resources
    if pod.metadata.annotation(SIDECAR_STATUS) is None:
        found[Drift.STATUS] = f"{SIDECAR_STATUS} is missing"
    elif live.revision is None:
        found[Drift.STATUS] = f"{SIDECAR_STATUS} tells no revision"
    elif live.revision != expected.revision and expected.revision:
        found[Drift.REVISION] = f"made by revision {live.revision}, would be by {expected.revision}"
    if live.setup != expected.setup:
        found[Drift.CNI] = f"has {live.setup or 'no init container'}, would get {expected.setup or 'none'}"
    return found


def _resources_differ(live: Resources, expected: Resources) -> str | None:
    if live == expected:
        return None
    told = []
    for what, ours, theirs in (
        ("request", live.requests or {}, expected.requests or {}),
        ("limit", live.limits or {}, expected.limits or {}),
    ):
        for name in ("cpu", "memory"):
            has, wants = ours.get(name), theirs.get(name)
            if quantity(has) != quantity(wants):
                told.append(f"{name} {what} {has or 'none'}, would get {wants or 'none'}")
    return "; ".join(told) or None


_SUFFIXES: Mapping[str, Decimal] = {
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{suffix: Decimal(1000) ** -power for power, suffix in enumerate(("m", "u", "n"), 1)},
}


def quantity(text: str | None) -> Decimal | str | None:
    """A Kubernetes quantity as a number; what is none stays as it is and equals only itself.

    Source: k8s.io/apimachinery/pkg/api/resource, Quantity.
    """
    if text is None:
        return None
    suffix = next((one for one in _SUFFIXES if text.endswith(one)), "")
    try:
        return Decimal(text.removesuffix(suffix)) * _SUFFIXES.get(suffix, Decimal(1))
    except InvalidOperation:
        return text
