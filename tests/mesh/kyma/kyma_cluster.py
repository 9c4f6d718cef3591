"""Objects of Kyma's module management: of a cluster before its upgrade, and after it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from mesh.k8s.objects import Pod, Workload
from mesh.kyma.readiness import ControlPlaneState
from mesh.kyma.resources import IstioResource, Kyma, ModuleTemplate
from mesh.kyma.targets import Catalogue, Target
from mesh.wellknown import MODULE_LAST_APPLIED
from tests.mesh.build import NOW

MODULES = {"regular": "1.27.4", "fast": "1.30.0", "next": "1.31.0", "slow": "1.25.0"}
TARGET = Target("fast", "1.30.0", "1.30.2")
REGISTRY = "europe-docker.pkg.dev/kyma-project/prod/external/istio"
STARTED = NOW - timedelta(minutes=10)


# A cluster before its upgrade: module 1.27.4 of channel regular, Istio 1.29.3.


def kyma(channel: str = "", *, managed: bool = True, overall: str = "regular", **status: object) -> Kyma:
    """The Kyma CR as the API gives it; `status` overrides fields of the module's status."""
    entry = {"name": "istio", "channel": channel, "managed": managed}
    state = {"name": "istio", "version": "1.27.4", "state": "Ready", "template": named("istio-1.27.4")} | status
    return msgspec.convert(
        {
            "spec": {"channel": overall, "modules": [{"name": "other"}, entry]},
            "status": {"state": "Ready", "modules": [{"name": "other", "version": "9.9.9"}, state]},
        },
        Kyma,
    )


def named(name: str) -> dict[str, object]:
    return {"metadata": {"name": name}}


def istio(
    tag: str | None = "1.29.3-distroless",
    state: str = "Ready",
    ready: tuple[str, str] = ("True", "ReconcileSucceeded"),
    *reasons: str,
    since: datetime = NOW,
    description: str = "",
) -> IstioResource:
    """The Istio CR: `ready` is status and reason of its condition Ready, `reasons` those of further conditions."""
    conditions: list[dict[str, Any]] = [
        {"type": "Ready", "status": ready[0], "reason": ready[1], "lastTransitionTime": since},
        *({"type": f"Other{number}", "status": "False", "reason": one} for number, one in enumerate(reasons)),
    ]
    applied = {} if tag is None else {MODULE_LAST_APPLIED: json.dumps({"config": {}, "IstioTag": tag})}
    return msgspec.convert(
        {
            "metadata": {"annotations": applied},
            "status": {"state": state, "description": description, "conditions": conditions},
        },
        IstioResource,
    )


def module_template(version: str, *images: str, downtime: bool = False) -> ModuleTemplate:
    resources = [{"name": f"r{number}", "access": {"imageReference": one}} for number, one in enumerate(images)]
    spec = {
        "version": version,
        "requiresDowntime": downtime,
        "descriptor": {"component": {"name": "kyma-project.io/module/istio", "resources": resources}},
    }
    return msgspec.convert({"metadata": {"name": f"istio-{version}"}, "spec": spec}, ModuleTemplate)


TEMPLATES = {
    "1.30.0": module_template("1.30.0", f"{REGISTRY}/install-cni:9.9.9", f"{REGISTRY}/proxyv2:1.30.2-distroless"),
    "1.31.0": module_template("1.31.0", f"{REGISTRY}/pilot:1.31.0-distroless", downtime=True),
}


def catalogue(
    seen: Kyma | None = None, installed: IstioResource | None = None, channels: Mapping[str, str] = MODULES
) -> Catalogue:
    return Catalogue(seen or kyma(), installed or istio(), channels, TEMPLATES)


# The cluster after its upgrade: module 1.30.0 of channel fast, Istio 1.30.2.


def done(**status: object) -> Kyma:
    return kyma("fast", **{"version": "1.30.0", "template": named("istio-1.30.0"), **status})  # type: ignore[arg-type]


def rolled(kind: str, name: str, container: str, image: str, **changes: object) -> Workload:
    counts: dict[str, object] = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    if kind == "DaemonSet":
        counts |= {"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}
    spec = {"replicas": 1, "template": {"spec": {"containers": [{"name": container, "image": image}]}}}
    metadata = {"name": name, "generation": 2, "labels": {}}
    return msgspec.convert({"kind": kind, "metadata": metadata, "spec": spec, "status": counts | changes}, Workload)


def manager(image: str = f"{REGISTRY}/istio-manager:1.30.0", **changes: object) -> Workload:
    return rolled("Deployment", "istio-controller-manager", "manager", image, **changes)


def control_plane(version: str = "1.30.2", **changes: object) -> tuple[Workload, ...]:
    """`changes` are of the ingress gateway's status."""
    return (
        rolled("Deployment", "istiod", "discovery", f"{REGISTRY}/pilot:1.30.2-distroless"),
        rolled("Deployment", "istio-ingressgateway", "istio-proxy", f"{REGISTRY}/proxyv2:{version}", **changes),
        rolled("DaemonSet", "istio-cni-node", "install-cni", f"{REGISTRY}/install-cni:1.30.2-distroless"),
        rolled("Deployment", "customers-own", "istio-proxy", f"{REGISTRY}/proxyv2:1.0.0"),
    )


POD = msgspec.convert({"status": {"startTime": STARTED}}, Pod)
TAG = "1.30.2-distroless"
AFTER = ControlPlaneState(done(), istio(TAG), manager(), (POD,), control_plane())
