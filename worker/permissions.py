"""Every permission that a worker needs in its cluster: one list for `doctor` and for deploy/rbac.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.wellknown import (
    HOLD_CONFIG_MAP,
    HOLD_POLICY,
    HOME_NAMESPACE,
    ISTIO_NAMESPACE,
    KYMA_NAMESPACE,
    PROBE_NAMESPACE,
    UPGRADE_LEASE,
)


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """One verb on one resource; `namespace` None means all namespaces, `name` None all names."""

    verb: str
    resource: str
    group: str = ""
    namespace: str | None = None
    name: str | None = None

    def __str__(self) -> str:
        """Returns `list pods` or `patch kymas/default in kyma-system`."""
        what = f"{self.resource}/{self.name}" if self.name else self.resource
        return f"{self.verb} {what}" + (f" in {self.namespace}" if self.namespace else "")


def _each(
    verbs: str, resources: str, group: str = "", namespace: str | None = None, name: str | None = None
) -> tuple[Permission, ...]:
    return tuple(
        Permission(verb, resource, group, namespace, name) for resource in resources.split() for verb in verbs.split()
    )


_ADMISSION = "admissionregistration.k8s.io"
_OPERATOR = "operator.kyma-project.io"
_LEASES = "coordination.k8s.io"
_ROLLOUTS = "argoproj.io"

PERMISSIONS: tuple[Permission, ...] = (
    # The survey, and the watch for remediation items.
    *_each("get list watch", "namespaces"),
    *_each("list watch", "pods"),
    *_each("get list watch", "replicationcontrollers"),
    *_each("get list watch", "deployments statefulsets daemonsets", "apps"),
    *_each("get list watch", "replicasets", "apps"),
    *_each("list watch", "jobs cronjobs", "batch"),
    *_each("get list watch", "rollouts", _ROLLOUTS),
    *_each("list watch", "poddisruptionbudgets", "policy"),
    *_each("list", "events"),
    *_each("list", "proxyconfigs", "networking.istio.io"),
    *_each("list", "mutatingwebhookconfigurations", _ADMISSION),
    *_each("list", "configmaps", namespace=ISTIO_NAMESPACE),
    *_each("get", "services", namespace=ISTIO_NAMESPACE),
    # Restarts and their Events.
    *_each("patch", "deployments statefulsets daemonsets", "apps"),
    *_each("patch", "rollouts", _ROLLOUTS),
    *_each("create", "pods/eviction"),
    *_each("create", "events"),
    # The warning on a remediation item's Pods.
    *_each("patch", "pods"),
    # The control plane.
    *_each("get patch", "kymas", _OPERATOR, KYMA_NAMESPACE, "default"),
    *_each("get", "istios", _OPERATOR, KYMA_NAMESPACE, "default"),
    *_each("get", "modulereleasemetas", _OPERATOR, KYMA_NAMESPACE, "istio"),
    *_each("get", "moduletemplates", _OPERATOR, KYMA_NAMESPACE),
    # The hold and the lease.
    *_each("get patch delete", "configmaps", namespace=HOME_NAMESPACE, name=HOLD_CONFIG_MAP),
    *_each("create", "configmaps", namespace=HOME_NAMESPACE),
    *_each("get patch delete", "leases", _LEASES, HOME_NAMESPACE, UPGRADE_LEASE),
    *_each("create", "leases", _LEASES, HOME_NAMESPACE),
    # The probe: dry-run Pods.
    *_each("create", "pods", namespace=PROBE_NAMESPACE),
    # `doctor` itself.
    *_each("get", "validatingadmissionpolicies validatingadmissionpolicybindings", _ADMISSION, None, HOLD_POLICY),
)


def needed_permissions(*, rollouts: bool) -> tuple[Permission, ...]:
    """Returns the permissions that a worker needs in a cluster with or without Argo Rollouts."""
    return tuple(permission for permission in PERMISSIONS if rollouts or permission.group != _ROLLOUTS)
