"""The status of an Istio CR: its conditions by reason, and how they are written."""

from typing import Literal

from deploy.local.kyma.api import Api, Object, path_of
from deploy.local.kyma.objects import timestamp

State = Literal["Ready", "Processing", "Error", "Deleting", "Warning"]

# reason: (type, status, message), KI api/v1alpha2/conditions.go
REASONS: dict[str, tuple[str, str, str]] = {
    "ReconcileSucceeded": ("Ready", "True", "Reconciliation succeeded"),
    "ReconcileUnknown": (
        "Ready",
        "Unknown",
        (
            "Module readiness is unknown. Either a reconciliation is progressing, or failed previously. "
            "Check status of other conditions"
        ),
    ),
    "ReconcileFailed": ("Ready", "False", "Reconciliation failed"),
    "OlderCRExists": (
        "Ready",
        "False",
        "This Istio custom resource is not the oldest one and does not represent the module state",
    ),
    "IstioInstallSucceeded": ("Ready", "False", "Istio installation succeeded"),
    "IstioInstallUninstallFailed": ("Ready", "False", "Istio install or uninstall failed"),
    "IstioVersionUpdateNotAllowed": ("Ready", "False", "Update to the new Istio version is not allowed"),
    "IngressGatewayRestartSucceeded": ("Ready", "False", "Istio Ingress Gateway restart succeeded"),
    "IngressGatewayRestartFailed": ("Ready", "False", "Istio Ingress Gateway restart failed"),
    "ProxySidecarRestartSucceeded": ("ProxySidecarRestartSucceeded", "True", "Proxy sidecar restart succeeded"),
    "ProxySidecarRestartFailed": ("ProxySidecarRestartSucceeded", "False", "Proxy sidecar restart failed"),
    "ProxySidecarManualRestartRequired": (
        "ProxySidecarRestartSucceeded",
        "False",
        "Proxy sidecar manual restart is required for some workloads",
    ),
    "IngressTargetingUserResourceFound": (
        "IngressTargetingUserResourceFound",
        "True",
        "Resource targeting Istio Ingress Gateway found",
    ),
    "IngressTargetingUserResourceNotFound": (
        "IngressTargetingUserResourceFound",
        "False",
        "Resources targeting Istio Ingress Gateway not found",
    ),
}


class IstioStatus:
    """The status of one Istio CR during one reconcile. It never says which generation it saw."""

    def __init__(self, api: Api, istio: Object, *, shows_progress: bool = True) -> None:
        self._api = api
        self._shows_progress = shows_progress
        metadata, status = istio["metadata"], istio.get("status", {})
        self._path = path_of("Istio", metadata["namespace"], metadata["name"])
        self._conditions: list[Object] = list(status.get("conditions", []))
        self._state: State = status.get("state", "Processing")
        self._description: str = status.get("description", "")

    def condition(self, reason: str, message: str = "") -> None:
        """Set the condition that this reason belongs to; seen with the next `write`."""
        type_, status, default = REASONS[reason]
        before = next((c for c in self._conditions if c["type"] == type_), None)
        made = {"type": type_, "status": status, "reason": reason, "message": message or default}
        same = before is not None and before["status"] == status
        made["lastTransitionTime"] = before["lastTransitionTime"] if before and same else timestamp()
        if before:
            self._conditions[self._conditions.index(before)] = made
        else:
            self._conditions.append(made)

    def progress(self, state: State | None = None, description: str = "") -> None:
        """Write what stands so far, unless this reconcile shows only its end."""
        if self._shows_progress:
            self.write(state or self._state, description or self._description)

    def write(self, state: State, description: str = "") -> None:
        """Write conditions, state and description."""
        self._state, self._description = state, description
        status = {"state": self._state, "description": self._description or None, "conditions": self._conditions}
        self._api.patch(f"{self._path}/status", {"status": status})
