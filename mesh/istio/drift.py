"""How a sidecar differs from what its template would get, beyond the image.

Drift is reported, never acted on: Kyma's module restarts Pods for it, forever where something else in the cluster sets
these fields. Compared is what the injector answers for the very template, with the resources that it asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from mesh.istio.expected_proxy import SidecarShape, sidecar_shape
from mesh.k8s.objects import Pod, Resources
from mesh.wellknown import SIDECAR_STATUS


class Drift(StrEnum):
    """What differs between a sidecar and the expected one."""

    RESOURCES = "resources"
    REVISION = "revision"
    CNI = "cni"
    STATUS = "status"


def drift_of(pod: Pod, expected: SidecarShape) -> dict[Drift, str]:
    """Returns what differs between the sidecar of a Pod and the expected one, each with a text."""
    live = sidecar_shape(pod)
    drift = {}
    resources = _resources_differ(live.resources, expected.resources)
    if resources:
        drift[Drift.RESOURCES] = resources
    if pod.metadata.annotation(SIDECAR_STATUS) is None:
        drift[Drift.STATUS] = f"{SIDECAR_STATUS} is missing"
    elif live.revision is None:
        drift[Drift.STATUS] = f"{SIDECAR_STATUS} names no revision"
    elif live.revision != expected.revision and expected.revision:
        drift[Drift.REVISION] = f"injected by revision {live.revision}, would be by {expected.revision}"
    if live.init_container != expected.init_container:
        drift[Drift.CNI] = (
            f"has {live.init_container or 'no init container'}, would get {expected.init_container or 'none'}"
        )
    return drift


def _resources_differ(live: Resources, expected: Resources) -> str | None:
    if live == expected:
        return None
    differences = []
    for what, live_values, expected_values in (
        ("request", live.requests or {}, expected.requests or {}),
        ("limit", live.limits or {}, expected.limits or {}),
    ):
        for name in ("cpu", "memory"):
            has, wants = live_values.get(name), expected_values.get(name)
            if quantity(has) != quantity(wants):
                differences.append(f"{name} {what} {has or 'none'}, would get {wants or 'none'}")
    return "; ".join(differences) or None


_SUFFIXES: Mapping[str, Decimal] = {
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{suffix: Decimal(1000) ** -power for power, suffix in enumerate(("m", "u", "n"), 1)},
}


def quantity(text: str | None) -> Decimal | str | None:
    """Returns a Kubernetes quantity as a number; any other text stays as it is and equals only itself.

    Source: k8s.io/apimachinery/pkg/api/resource, Quantity.
    """
    if text is None:
        return None
    suffix = next((suffix for suffix in _SUFFIXES if text.endswith(suffix)), "")
    try:
        return Decimal(text.removesuffix(suffix)) * _SUFFIXES.get(suffix, Decimal(1))
    except InvalidOperation:
        return text
