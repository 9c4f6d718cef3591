"""The identity of a workload within a cluster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True, slots=True)
class WorkloadRef:
    """Names a workload within a cluster.

    `kind` carries its API group where the kind is not Kubernetes' own: `Rollout.argoproj.io`.
    References sort by namespace, then kind, then name.
    """

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        """Returns NAMESPACE/KIND/NAME, the form that `kyma-upgrade queue show` takes: `shop/Deployment/cart`."""
        # Fingerprints and the members of waves are hashes of this text: it must not change within an upgrade.
        return f"{self.namespace}/{self.kind}/{self.name}"
