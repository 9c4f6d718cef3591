"""Whether an upgrade of the control plane is done: the check of the parts that Kyma and Istio report.

Sources: kyma-project/istio (internal/controller/istio_controller.go, internal/reconciliations/istio).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from mesh.istio.images import parse_image
from mesh.istio.versions import Version, parse_version
from mesh.k8s.objects import Condition, Pod, Workload
from mesh.k8s.rollout import rollout
from mesh.kyma.resources import MODULE, IstioResource, Kyma, ModuleStatus
from mesh.kyma.targets import Target
from mesh.text import one_line
from mesh.wellknown import APP_VERSION, ISTIO_NAMESPACE, PROXY_CONTAINER

#: Deployment of the module's own controller.
MANAGER = "istio-controller-manager"
#: Reasons of the Istio CR's conditions that leave it in Warning though the control plane is done.
_HARMLESS_WARNINGS = frozenset({"ProxySidecarManualRestartRequired", "IngressTargetingUserResourceFound"})
_ISTIO_WORKLOADS = ("istiod", "istio-ingressgateway", "istio-egressgateway", "istio-cni-node")
_ISTIO_CONTAINERS = frozenset({"discovery", PROXY_CONTAINER, "install-cni"})


@dataclass(frozen=True, slots=True)
class ControlPlaneState:
    """What the check reads of the control plane at one moment. `manager` is the module's Deployment."""

    kyma: Kyma
    istio: IstioResource
    manager: Workload | None
    manager_pods: Sequence[Pod]
    istio_workloads: Sequence[Workload]


@dataclass(frozen=True, slots=True)
class ReadinessPart:
    """One part of the check, with what it found."""

    name: str
    done: bool
    message: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """The parts of the check. `trouble` is set when Kyma itself reports that it does not go on.

    `maintenance`: Kyma waits for its own maintenance window.
    """

    parts: tuple[ReadinessPart, ...]
    trouble: str | None = None
    maintenance: bool = False

    @property
    def done(self) -> bool:
        """Whether every part is done."""
        return all(part.done for part in self.parts)

    def __str__(self) -> str:
        """Returns the parts that are not done, in one line."""
        open_parts = [f"{part.name}: {part.message}" for part in self.parts if not part.done]
        return one_line("; ".join(open_parts) or "done", 400)


def check_readiness(state: ControlPlaneState, target: Target) -> Readiness:
    """Returns how far the upgrade of the control plane is. Sidecars are not part of it: a survey reads them.

    No single part proves it: version and state of a module are written at different moments, Ready flickers, and the
    module reports success without waiting for rollouts.
    """
    wanted = parse_version(target.istio or "")
    status = state.kyma.module_status
    parts = (
        _module_part(status, target),
        _manager_part(state, target),
        _resource_part(state, wanted),
        _workloads_part(state.istio_workloads, wanted),
    )
    ready = state.istio.condition("Ready")
    trouble = None
    if ready is not None and ready.reason == "IstioVersionUpdateNotAllowed":
        trouble = state.istio.status.description or ready.message
    elif status.state in ("Warning", "Error") and status.message:
        trouble = f"module istio is in state {status.state}: {status.message}"
    elif state.istio.status.state == "Error":
        trouble = f"the Istio CR is in state Error: {state.istio.status.description}"
    return Readiness(parts, one_line(trouble, 400) if trouble else None, status.maintenance)


def _module_part(status: ModuleStatus, target: Target) -> ReadinessPart:
    template = status.template.metadata.name if status.template else ""
    done = (
        status.version == target.module
        and template == f"{MODULE}-{target.module}"
        and status.state == "Ready"
        and not status.maintenance
        and not status.message
    )
    message = f"module istio {status.version or 'without version'} is {status.state or 'unknown'}"
    return ReadinessPart("Kyma CR", done, message)


def _manager_part(state: ControlPlaneState, target: Target) -> ReadinessPart:
    if state.manager is None:
        return ReadinessPart("module manager", done=False, message=f"Deployment {MANAGER} does not exist")
    template = state.manager.spec.template
    containers = template.spec.containers if template else ()
    image = next((container.image for container in containers if container.name == "manager"), "")
    labels = [state.manager.metadata.label(APP_VERSION)]
    current = parse_image(image).tag == target.module or target.module in labels
    progress = rollout(state.manager)
    return ReadinessPart("module manager", current and progress.complete, f"{image or 'no image'}, {progress.message}")


def _resource_part(state: ControlPlaneState, wanted: Version | None) -> ReadinessPart:
    istio, phase = state.istio, state.istio.status.state
    started = max((pod.status.start_time for pod in state.manager_pods if pod.status.start_time), default=None)
    ready = istio.condition("Ready")
    installed = istio.installed is not None and (wanted is None or istio.installed == wanted)
    settled = phase == "Ready" and ready is not None and ready.status == "True" and _reported_since(ready, started)
    if phase == "Warning":
        settled = _harmless(istio.status.conditions) and ready is not None and _reported_since(ready, started)
    message = f"Istio {istio.installed_tag or 'unknown'}, state {phase or 'unknown'}"
    return ReadinessPart("Istio CR", installed and settled, message + (f" ({ready.reason})" if ready else ""))


def _harmless(conditions: Iterable[Condition]) -> bool:
    """Whether the module is in Warning for what Pods or customers cause, and for nothing that it refuses itself."""
    reasons = {condition.reason for condition in conditions}
    refused = {"IstioVersionUpdateNotAllowed", "OlderCRExists", "OldestCRNotFound", "IstioCustomResourcesDangling"}
    return bool(reasons & _HARMLESS_WARNINGS) and not reasons & refused


def _reported_since(condition: Condition, started: datetime | None) -> bool:
    """Whether the manager that runs now wrote the condition, not the one before it."""
    moment = condition.last_transition_time
    return started is None or (moment is not None and moment >= started)


def _workloads_part(workloads: Sequence[Workload], wanted: Version | None) -> ReadinessPart:
    control_plane = [workload for workload in workloads if workload.metadata.name in _ISTIO_WORKLOADS]
    behind = []
    for workload in control_plane:
        name, template = workload.metadata.name, workload.template
        containers = template.spec.containers if template else ()
        images = [container.image for container in containers if container.name in _ISTIO_CONTAINERS]
        if wanted is not None and any(parse_image(image).version != wanted for image in images):
            behind.append(f"{name} is not {wanted}")
        elif not (progress := rollout(workload)).complete:
            behind.append(f"{name} has {progress.message}")
    if not any(workload.metadata.name == "istiod" for workload in control_plane):
        behind.append("Deployment istiod does not exist")
    return ReadinessPart(ISTIO_NAMESPACE, not behind, ", ".join(behind) or f"{len(control_plane)} workloads rolled out")
