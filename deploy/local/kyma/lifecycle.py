"""The lifecycle-manager's half: from a channel in the Kyma CR to a running module operator of that version.

KLM keeps a Manifest per module in its own cluster; here the Deployment of the module operator stands for it, since
in the customer's cluster nothing more of it can be seen. A module taken out of the Kyma CR stays installed.
"""

import time
from dataclasses import dataclass
from typing import Literal

from deploy.local.kyma import objects
from deploy.local.kyma.api import Api, Object, path_of
from deploy.local.kyma.objects import MANAGER, MODULE, NAMESPACE
from deploy.local.kyma.versions import parse

KYMA_PATH = path_of("Kyma", NAMESPACE, "default")
MODULE_STATES = ("Error", "Warning", "Processing")  # the worst wins, KLM DetermineState
CONDITIONS = {
    "CRDsSync": ("CRDs are synchronized to the SKR", "CRDs are not synchronized to the SKR"),
    "Modules": ("all modules are in ready state", "not all modules are in ready state"),
    "ModuleCatalog": (
        "module templates are synchronized",
        "module templates are out of sync and need to be resynchronized",
    ),
}


@dataclass(frozen=True)
class LifecyclePace:
    """Seconds that things take, chosen short enough for a demo and long enough to be seen."""

    stale_state: float = 2.0  # the new version stands beside the state of the old one
    processing: float = 1.0  # until the manager's Deployment is looked at after a change
    window_opens_in: float = 10.0  # a module that requires downtime waits this long for its window


class RefusedModuleError(Exception):
    """A module that cannot become what the Kyma CR asks for; its status keeps the version it has."""

    def __init__(self, state: Literal["Warning", "Error"], message: str) -> None:
        super().__init__(message)
        self.state = state


class LifecycleManager:
    """Reconciles the Kyma CR. It has an administrator's rights, as KLM in its customers' clusters."""

    def __init__(self, api: Api, naming: objects.Naming, pace: LifecyclePace) -> None:
        self._api = api
        self._naming = naming
        self._pace = pace
        self._window_opens = 0.0

    def watched(self) -> list[tuple[str, dict[str, str | int]]]:
        """The Kyma CR, the channels, the templates and the manager's Deployment."""
        return [
            (path_of("Kyma", NAMESPACE), {}),
            (path_of("ModuleReleaseMeta", NAMESPACE), {}),
            (path_of("ModuleTemplate", NAMESPACE), {}),
            (path_of("Deployment", NAMESPACE), {"field_selector": f"metadata.name={MANAGER}"}),
        ]

    def reconcile(self) -> float | None:
        """One pass; returns after how many seconds to look again though nothing changed."""
        kyma = self._api.find(KYMA_PATH)
        if kyma is None:
            return None
        before = {entry["name"]: entry for entry in kyma.get("status", {}).get("modules", [])}
        wanted = next((m for m in kyma["spec"].get("modules", []) if m["name"] == MODULE), None)
        if wanted is None:
            self._write_status(kyma, None)
            return None
        installed = before.get(MODULE)
        if wanted.get("managed") is False:
            self._write_status(kyma, self._unmanaged(installed))
            return None
        try:
            entry = self._resolve(kyma, wanted, installed)
        except RefusedModuleError as refusal:
            kept = installed or {"name": MODULE}
            self._write_status(kyma, kept | {"state": refusal.state, "message": str(refusal)})
            return None
        if entry["maintenance"]:
            self._write_status(kyma, entry)
            return 0.5
        return self._install(kyma, entry, installed)

    def _resolve(self, kyma: Object, wanted: Object, installed: Object | None) -> Object:
        """The status entry of the version that the channel stands for (KLM pkg/templatelookup)."""
        channel = wanted.get("channel") or kyma["spec"]["channel"]
        if channel == "none":
            raise RefusedModuleError(
                "Error",
                f'invalid configuration in Kyma spec.modules for module {MODULE}: Channel "none" is not allowed',
            )
        meta = self._api.find(path_of("ModuleReleaseMeta", NAMESPACE, MODULE))
        if meta is None:
            raise RefusedModuleError(
                "Warning", f'no ModuleReleaseMeta found  for module "{MODULE}" in namespace "{NAMESPACE}"'
            )
        versions = {entry["channel"]: entry["version"] for entry in meta["spec"].get("channels", [])}
        if channel not in versions:
            raise RefusedModuleError("Error", f"no versions found for channel: {channel} in module {MODULE}")
        version = versions[channel]
        current = (installed or {}).get("version")
        if current and parse(version) < parse(current):
            raise RefusedModuleError(
                "Warning",
                f"module template update not allowed: ignore channel skew (from {(installed or {}).get('channel')} "
                f"to {channel}), as a higher version ({current}) of the module was previously installed",
            )
        name = objects.template_name(version)
        template = self._api.find(path_of("ModuleTemplate", NAMESPACE, name))
        if template is None:
            raise RefusedModuleError("Error", f'moduletemplates.operator.kyma-project.io "{name}" not found')
        if installed and current != version and self._waits_for_window(kyma, template):
            waiting = "waiting for next maintenance window to update module version"
            return installed | {"maintenance": True, "message": waiting}
        return {
            "name": MODULE,
            "channel": channel,
            "version": version,
            "state": (installed or {}).get("state") or "Processing",
            "maintenance": False,
            "ocmComponentName": objects.COMPONENT,
            "fqdn": objects.COMPONENT,
            "template": _tracked(template),
            "resource": _tracked(objects.istio()),
        }

    def _waits_for_window(self, kyma: Object, template: Object) -> bool:
        """KLM internal/maintenancewindows: only updates that need downtime wait, unless the Kyma CR skips windows."""
        if not template["spec"].get("requiresDowntime") or kyma["spec"].get("skipMaintenanceWindows"):
            return False
        self._window_opens = self._window_opens or time.monotonic() + self._pace.window_opens_in
        return time.monotonic() < self._window_opens

    def _install(self, kyma: Object, entry: Object, installed: Object | None) -> float | None:
        """Make the cluster's module operator that of this version, and tell its state.

        The new version is shown before anything was done for it, beside the state of the old one (KLM
        pkg/module/sync/runner.go updateManifest); the state later is the Deployment's, never the Istio CR's.
        """
        self._window_opens = 0.0
        version = entry["version"]
        deployment = self._api.find(path_of("Deployment", NAMESPACE, MANAGER))
        if deployment is None or deployment["metadata"]["labels"].get("app.kubernetes.io/version") != version:
            kyma = self._write_status(kyma, entry)
            if installed:
                time.sleep(self._pace.stale_state)
            for manifest in objects.manager_rights():
                self._api.apply(manifest)
            self._api.apply(objects.manager_deployment(version, self._naming.images(version)))
            self._create_default_resource(kyma)
            entry["state"] = "Processing"
            self._write_status(kyma, entry)
            time.sleep(self._pace.processing)
            return 0.0
        entry["state"] = _state_of(deployment)
        self._write_status(kyma, entry)
        return 1.0 if entry["state"] != "Ready" else None

    def _create_default_resource(self, kyma: Object) -> None:
        """The default CR is created once and never changed again (customResourcePolicy)."""
        module = next(m for m in kyma["spec"]["modules"] if m["name"] == MODULE)
        if module.get("customResourcePolicy") == "Ignore":
            return
        if self._api.find(path_of("Istio", NAMESPACE, "default")) is None:
            self._api.apply(objects.istio())

    def _unmanaged(self, installed: Object | None) -> Object:
        kept = installed or {"name": MODULE}
        dropped = {"manifest", "template", "resource", "message"}
        return {k: v for k, v in kept.items() if k not in dropped} | {"state": "Unmanaged"}

    def _write_status(self, kyma: Object, entry: Object | None) -> Object:
        """Write `status` if it changed; KLM internal/service/kyma/status."""
        modules = [entry] if entry else []
        worst = [state for state in MODULE_STATES if any(m["state"] == state for m in modules)]
        state = worst[0] if worst else "Ready"
        old = kyma.get("status", {})
        status = {
            "state": state,
            "activeChannel": kyma["spec"]["channel"],
            "modules": modules,
            "conditions": [
                _condition(old, type_, ready=type_ != "Modules" or not worst, generation=kyma["metadata"]["generation"])
                for type_ in CONDITIONS
            ],
            "lastOperation": old.get("lastOperation", {"operation": ""}),
        }
        if all(old.get(key) == value for key, value in status.items()):
            return kyma
        operation = "kyma is ready" if state == "Ready" else "waiting for all modules to become ready"
        status["lastOperation"] = {"operation": operation, "lastUpdateTime": objects.timestamp()}
        return self._api.patch(f"{KYMA_PATH}/status", {"status": status})


def _state_of(deployment: Object) -> str:
    """KLM internal/manifest/statecheck: conditions only, no look at the observed generation."""
    conditions = {c["type"]: c for c in deployment.get("status", {}).get("conditions", [])}
    progressing = conditions.get("Progressing", {})
    if progressing.get("status") == "True":
        available = conditions.get("Available", {}).get("status") == "True"
        return "Ready" if available and progressing["reason"] == "NewReplicaSetAvailable" else "Processing"
    return "Error" if progressing else "Processing"


def _condition(old: Object, type_: str, *, ready: bool, generation: int) -> Object:
    """A condition of the Kyma CR; its reason is always `Ready`."""
    status = "True" if ready else "False"
    before = next((c for c in old.get("conditions", []) if c["type"] == type_), None)
    same = before is not None and before["status"] == status
    return {
        "type": type_,
        "status": status,
        "reason": "Ready",
        "message": CONDITIONS[type_][0 if ready else 1],
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if before and same else objects.timestamp(),
    }


def _tracked(manifest: Object) -> Object:
    metadata = manifest["metadata"]
    kept = {key: metadata[key] for key in ("name", "namespace", "generation") if key in metadata}
    return {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "metadata": kept}
