"""The module operator's half: installs the Istio of the running manager Pod, then restarts what is stale.

KI internal/controller/istio_controller.go, in its order. An Istio CR that is being deleted is left alone: taking
Istio out again is not played.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from deploy.local.kyma.api import Api, ApiError, Object, path_of
from deploy.local.kyma.installed import (
    ISTIO_SYSTEM,
    cni_wanted,
    label_installed,
    pods_of_another_version,
    proxy_resources,
    user_filter_on_gateway,
)
from deploy.local.kyma.istio_status import IstioStatus
from deploy.local.kyma.objects import NAMESPACE, Images
from deploy.local.kyma.restarts import RestartError, leftover_message, mark_template, restart_sidecars
from deploy.local.kyma.selection import ExpectedProxy
from deploy.local.kyma.settings import (
    APPLIED,
    everything_changed,
    gateway_changed,
    istio_settings,
    last_applied,
    with_gateway_of,
)
from deploy.local.kyma.versions import refuse_update

FINALIZER = "istios.operator.kyma-project.io/istio-installation"
NETWORK_POLICY_TARGETS = (
    ("Deployment", "istio-ingressgateway"),
    ("Deployment", "istiod"),
    ("DaemonSet", "istio-cni-node"),
)
PODS_FAILED = (
    "Some Pods with Istio sidecar injection failed to restart. To learn more about the warning, see "
    "kyma-system/istio-controller-manager logs: could not restart one or more Istio-injected Pods"
)
AFTER_REFUSED_VERSION, AFTER_WARNING, AFTER_SUCCESS = 60.0, 3600.0, 36000.0

log = logging.getLogger("istio-controller-manager")

Install = Callable[[Images, list[str]], None]
"""Installs Istio of these images with these settings (`key=value`, as istioctl's --set) as the ServiceAccount."""


@dataclass(frozen=True)
class OperatorPace:
    """How the operator shows what it does; seconds are short enough for a demo and long enough to be seen."""

    start: float = 1.5  # from a Ready manager Pod to its first reconcile
    step: float = 0.7  # between the steps of a reconcile
    quiet: bool = False  # a reconcile that no change of the CR caused keeps the old status until its end


class Stopped(Exception):  # noqa: N818  # not always an error
    """A reconcile ends before Ready; `again` is the delay of the next try in seconds, None for a back-off."""

    def __init__(
        self, state: Literal["Error", "Warning"], description: str, *, reason: str = "", again: float | None = None
    ) -> None:
        super().__init__(description)
        self.state = state
        self.reason = reason
        self.again = again


class ModuleOperator:
    """What one manager Pod does: it installs the images that stand in its environment."""

    def __init__(self, api: Api, images: Images, install: Install, pace: OperatorPace) -> None:
        self._api = api
        self._images = images
        self._install = install
        self._pace = pace

    def reconcile(self, istio: Object, *, changed: bool) -> float | None:
        """Bring one Istio CR to what it asks; returns when to do it again in seconds, None for a back-off."""
        status = IstioStatus(self._api, istio, shows_progress=changed or not self._pace.quiet)
        status.condition("ReconcileUnknown")
        try:
            self._only_the_oldest(istio)
            status.progress("Processing", "Reconciling Istio")
            time.sleep(self._pace.step)
            self._install_istio(istio, status)
            self._restart(istio, status)
            self._look_for_user_resources(status)
        except Stopped as stop:
            if stop.reason:
                status.condition(stop.reason)
            status.write(stop.state, str(stop))
            log.warning("reconcile ended with %s: %s", stop.state, stop)
            return stop.again
        except ApiError as error:
            status.condition("ReconcileFailed")
            status.write("Error", str(error))
            log.warning("reconcile failed: %s", error)
            return None
        self._remember(istio, istio.get("spec", {}))
        status.condition("ReconcileSucceeded")
        status.condition("IngressTargetingUserResourceNotFound")
        status.write("Ready")
        log.info("reconcile succeeded at %s", self._images.tag)
        return AFTER_SUCCESS

    def _only_the_oldest(self, istio: Object) -> None:
        found = (item["metadata"] for item in self._api.items(path_of("Istio", NAMESPACE)))
        oldest = min(found, key=lambda metadata: str(metadata["creationTimestamp"]))
        if oldest["uid"] != istio["metadata"]["uid"]:
            only = f"only Istio CR {oldest['name']} in {NAMESPACE} reconciles the module"
            description = f"Stopped Istio CR reconciliation: {only}"
            raise Stopped("Warning", description, reason="OlderCRExists", again=AFTER_SUCCESS)

    def _look_for_user_resources(self, status: IstioStatus) -> None:
        found = user_filter_on_gateway(self._api)
        if found:
            status.condition("ReconcileFailed")
            description = f"Resource targeting Istio Ingress Gateway found: {found}"
            raise Stopped("Warning", description, reason="IngressTargetingUserResourceFound", again=AFTER_WARNING)

    def _install_istio(self, istio: Object, status: IstioStatus) -> None:
        """Version check, finalizer, install, labels, check of the Pods' versions; then the tag in the annotation."""
        images, applied = self._images, last_applied(istio)
        if refusal := refuse_update(applied.get("IstioTag", images.tag), images.tag):
            description = f"Istio version update is not allowed: {refusal}"
            reason = "IstioVersionUpdateNotAllowed"
            raise Stopped("Warning", description, reason=reason, again=AFTER_REFUSED_VERSION)
        finalizers = istio["metadata"].get("finalizers", [])
        if FINALIZER not in finalizers:
            path = path_of("Istio", NAMESPACE, istio["metadata"]["name"])
            self._api.patch(path, {"metadata": {"finalizers": [*finalizers, FINALIZER]}})
        failed = "IstioInstallUninstallFailed"
        try:
            self._install(images, istio_settings(istio, cni=cni_wanted(self._api)))
        except Exception as error:
            raise Stopped("Error", f"Could not install Istio: {error}", reason=failed) from error
        label_installed(self._api)
        if wrong := pods_of_another_version(self._api, images.tag):
            raise Stopped("Error", f"Verifying Pod versions in istio-system namespace failed: {wrong}", reason=failed)
        self._remember(istio, applied)
        status.condition("IstioInstallSucceeded")
        status.progress()
        time.sleep(self._pace.step)

    def _restart(self, istio: Object, status: IstioStatus) -> None:
        """Gateway, sidecars, what network policies concern: each is tried though one failed."""
        spec, applied = istio.get("spec", {}), last_applied(istio)
        if gateway_changed(spec, applied):
            mark_template(self._api, "Deployment", ISTIO_SYSTEM, "istio-ingressgateway")
            self._remember(istio, with_gateway_of(spec, applied))
        status.condition("IngressGatewayRestartSucceeded")
        status.progress()
        time.sleep(self._pace.step)
        try:
            self._restart_sidecars(istio, status)
        finally:
            if bool(spec.get("networkPoliciesEnabled")) != bool(applied.get("networkPoliciesEnabled")):
                for kind, name in NETWORK_POLICY_TARGETS:
                    mark_template(self._api, kind, ISTIO_SYSTEM, name)

    def _restart_sidecars(self, istio: Object, status: IstioStatus) -> None:
        try:
            leftovers = restart_sidecars(self._api, self._expected_proxy(istio))
        except (RestartError, ApiError) as error:
            status.condition("ProxySidecarRestartFailed")
            raise Stopped("Error", f"Error occurred during reconciliation of Istio Sidecars: {error}") from error
        if leftovers:
            log.warning("Proxy reset failed: %s", ", ".join(leftovers))
            status.condition("ProxySidecarManualRestartRequired", leftover_message(leftovers))
            raise Stopped("Warning", PODS_FAILED, again=AFTER_WARNING)
        status.condition("ProxySidecarRestartSucceeded")

    def _expected_proxy(self, istio: Object) -> ExpectedProxy:
        spec = istio.get("spec", {})
        metrics = spec.get("config", {}).get("telemetry", {}).get("metrics", {})
        return ExpectedProxy(
            image=self._images.of("proxyv2"),
            resources=proxy_resources(self._api),
            cni=cni_wanted(self._api),
            prometheus_merge=metrics.get("prometheusMerge"),
            everything_changed=everything_changed(spec, last_applied(istio)),
        )

    def _remember(self, istio: Object, spec: Object) -> None:
        """Write the annotation by which the module knows what it last applied; `istio` gets it too."""
        applied = json.dumps(spec | {"IstioTag": self._images.tag})
        istio["metadata"].setdefault("annotations", {})[APPLIED] = applied
        path = path_of("Istio", NAMESPACE, istio["metadata"]["name"])
        self._api.patch(path, {"metadata": {"annotations": {APPLIED: applied}}})
