"""What a survey reads: a snapshot of a cluster, and what the running upgrade changes about its decisions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mesh.istio.injection import Injector
from mesh.k8s.objects import DisruptionBudget, Namespace, Pod, Workload
from mesh.k8s.workload_ref import WorkloadRef


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """A reading of a cluster at one moment.

    `owners` are workloads by UID. `pod_events` are the messages of the latest warning Events by the UID of the Pod, for
    Pods whose own status does not say why they are not Ready. `problems` are sentences about what could not be read:
    a survey with problems must not be acted on. `unread_kinds` are the kinds of owners among what could not be read.
    """

    taken_at: datetime
    resource_version: str
    namespaces: Mapping[str, Namespace]
    pods: tuple[Pod, ...]
    owners: Mapping[str, Workload]
    injector: Injector
    budgets: tuple[DisruptionBudget, ...] = ()
    pod_events: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    unread_kinds: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class UpgradeContext:
    """What the running upgrade changes about a survey's decisions. The defaults are those of a scan.

    `mark` is the time that this upgrade writes into the workloads that it restarts. `began` is when the upgrade first
    changed the control plane: a Pod without a sidecar that was created since then fell into the gap of injection.
    `failed` are the fingerprints of the workloads whose restart failed in this upgrade: they are not restarted again.
    `own_namespaces` are the namespaces of what the upgrade itself needs: their workloads come last. `windows` are the
    maintenance windows of the policy, which must be open as well as those of the workload.
    """

    mark: datetime | None = None
    began: datetime | None = None
    restart_missing: bool = False
    exclude_namespaces: tuple[str, ...] = ()
    failed: frozenset[str] = frozenset()
    own_namespaces: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()

    def has_failed(self, workload: WorkloadRef) -> bool:
        """Whether this workload's restart failed in this upgrade."""
        return bool(self.failed) and fingerprint(workload) in self.failed


NO_UPGRADE = UpgradeContext()


def fingerprint(workload: WorkloadRef) -> str:
    """Returns 16 characters that stand for a workload. Of a million workloads two share them once in 36 million."""
    return hashlib.sha256(str(workload).encode()).hexdigest()[:16]
