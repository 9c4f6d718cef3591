"""Checks the promises of an upgrade from outside: with kubectl and the command, not with the product's code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.demo.stage import TO_ISTIO, WorkloadState, observe
from deploy.local.kubectl import read
from deploy.local.service import Service

#: The workloads that cannot be restarted, and why.
EXPECTED_ITEMS = {
    "batch/CronJob/invoice-export": "JobPod",
    "batch/Job/catalog-reindex": "JobPod",
    "odd/Deployment/legacy-importer": "CrashLooping",
    "odd/Deployment/newsletter": "RolloutPaused",
    "odd/Deployment/wishlists": "DisruptionBudget",
    "odd/Deployment/store-gateway": "PodUnknown",
    "odd/Deployment/vision": "PodPending",
    "odd/Pod/debug-shell": "StandalonePod",
    "odd/Pod/price-import": "StandalonePod",
    "odd/StatefulSet/ledger": "UpdateStrategyOnDelete",
}
#: Left alone on purpose, and reported.
LEFT_ALONE = ("odd/Deployment/card-terminal", "odd/Deployment/tax-engine")
_OURS = "kubectl.kubernetes.io/restartedAt"
_MODULES = "istio-operator.kyma-project.io/restartedAt"
_SHOWN = 5


@dataclass(frozen=True)
class Promise:
    """One promise, whether it was kept, and evidence to the contrary."""

    what: str
    kept: bool
    evidence: tuple[str, ...] = ()


def check_upgrade(service: Service, before: Mapping[str, WorkloadState]) -> list[Promise]:
    """Compares the cluster now with what `observe` returned before the upgrade."""
    after = observe(service.mesh)
    shop = [name for name in before if name.startswith("shop/")]
    kyma = [name for name in before if name.startswith("kyma-system/") and "istio-controller-manager" not in name]
    untouched = [name for name in before if name.startswith(("plain/", "odd/"))]
    queued = {item_name(one): one["reason"] for one in queue(service)}
    wrong_queue = [
        f"{name}: {queued.get(name)}"
        for name in {*EXPECTED_ITEMS, *queued}
        if queued.get(name) != EXPECTED_ITEMS.get(name)
    ]
    scanned = scan(service)
    pods = len(read(service.mesh, "pods", "-A")["items"])
    return [
        _promise(
            "every workload of the shop was restarted exactly once, by this service",
            _restarted(service, shop, before, after, _OURS, without=_MODULES),
        ),
        _promise(
            "every workload of Kyma's own namespace was restarted exactly once, by the module",
            _restarted(service, kyma, before, after, _MODULES, without=_OURS),
        ),
        _promise("no other Pod was changed", [name for name in untouched if before[name] != after.get(name)]),
        _promise(
            "every restartable Pod runs the new proxy", [name for name in (*shop, *kyma) if not _current(service, name)]
        ),
        _promise(f"the queue has {len(EXPECTED_ITEMS)} items, each with its reason", wrong_queue),
        _promise(
            "pinned and excluded workloads are reported, not restarted",
            [name for name in LEFT_ALONE if before[name] != after.get(name)],
        ),
        _promise(
            f"scan counts every Pod once: {pods}",
            []
            if sum(scanned["totals"]["classes"].values()) == scanned["totals"]["pods"] == pods
            else [json.dumps(scanned["totals"])],
        ),
    ]


def queue(service: Service) -> list[dict[str, Any]]:
    """Returns the open items, as the command prints them."""
    items: list[dict[str, Any]] = _run_json(service, "queue", "list")["items"]
    return items


def scan(service: Service) -> dict[str, Any]:
    """Returns the survey, as the command prints it."""
    document: dict[str, Any] = _run_json(service, "scan")
    return document


def item_name(item: Mapping[str, str]) -> str:
    """`namespace/kind/name` of an item."""
    return f"{item['namespace']}/{item['kind']}/{item['name']}"


def _promise(what: str, wrong: list[str]) -> Promise:
    return Promise(what, not wrong, tuple(sorted(wrong)[:_SHOWN]))


def _run_json(service: Service, *arguments: str) -> Any:  # noqa: ANN401  # JSON
    command = [str(Path(sys.executable).with_name("kyma-upgrade")), *arguments, "-o", "json"]
    done = subprocess.run(command, env=service.environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def _restarted(
    service: Service,
    names: list[str],
    before: Mapping[str, WorkloadState],
    after: Mapping[str, WorkloadState],
    mark: str,
    *,
    without: str,
) -> list[str]:
    """Returns the workloads not restarted exactly once: one template write is one generation and replaces every Pod."""
    wrong = []
    for name in names:
        written = after[name].generation - before[name].generation
        annotations = _template(service, name)["metadata"].get("annotations", {})
        kept = before[name].pods & after[name].pods
        if written != 1 or kept or mark not in annotations or without in annotations:
            wrong.append(f"{name}: {written} writes, {len(kept)} Pods kept, annotations {sorted(annotations)}")
    return wrong


def _template(service: Service, name: str) -> dict[str, Any]:
    namespace, kind, plain = name.split("/")
    template: dict[str, Any] = read(service.mesh, kind, plain, "-n", namespace)["spec"]["template"]
    return template


def _current(service: Service, name: str) -> bool:
    namespace, kind, plain = name.split("/")
    selector = read(service.mesh, kind, plain, "-n", namespace)["spec"]["selector"]["matchLabels"]
    labels = ",".join(f"{key}={value}" for key, value in selector.items())
    pods = read(service.mesh, "pods", "-n", namespace, "-l", labels)["items"]
    return bool(pods) and all(f"proxyv2:{TO_ISTIO}" in image for pod in pods for image in _proxies(pod))


def _proxies(pod: dict[str, Any]) -> list[str]:
    spec = pod["spec"]
    found = [
        one["image"] for one in (*spec["containers"], *spec.get("initContainers", [])) if one["name"] == "istio-proxy"
    ]
    return found or ["none"]
