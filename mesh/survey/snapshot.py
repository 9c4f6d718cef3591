"""What a survey is made of: one reading of a cluster, and what the running upgrade changes about judging it."""

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
    """One reading of a cluster.

    `told` are the last warnings of Pods by UID, for those whose own status says little. `problems` are what could
    not be read, as sentences: whoever acts on a survey must refuse then. `unread` are the kinds of owners among it.
    """

    taken_at: datetime
    resource_version: str
    namespaces: Mapping[str, Namespace]
    pods: tuple[Pod, ...]
    owners: Mapping[str, Workload]
    injector: Injector
    budgets: tuple[DisruptionBudget, ...] = ()
    told: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    unread: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class UpgradeContext:
    """What the running upgrade changes about judging: None of it holds for a scan.

    `mark` is the time this attempt writes; `began` is when the upgrade first touched the control plane, so that a
    Pod without a sidecar made since then is known for a victim of the injection gap. `failed` are the fingerprints of
    the workloads whose restart failed in this upgrade: they are not tried again. `own_namespaces` are the namespaces
    of what the upgrade itself needs: they come last. `windows` are the policy's, which must be open as well.
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
    """A workload in 16 characters: of a million workloads two are alike with a chance of 1 to 36 million."""
    return hashlib.sha256(str(workload).encode()).hexdigest()[:16]
