"""Which cluster: a configured name bound to the UID of its namespace kube-system."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mesh.k8s.workload_ref import WorkloadRef

TASK_QUEUE = "kyma-upgrade"


@dataclass(frozen=True, slots=True)
class ClusterRef:
    """Carried by every workflow and activity; an activity refuses to act on another UID."""

    name: str
    uid: str

    @property
    def activity_queue(self) -> str:
        """The task queue that this cluster's own worker serves."""
        return f"{TASK_QUEUE}.{self.name}"


def cluster_name(text: str) -> str:
    """A context's name as a cluster's: lower case, every character outside `a-z0-9.-` as `-`."""
    return re.sub(r"[^a-z0-9.-]", "-", text.lower())


def upgrade_id(cluster: str) -> str:
    """Workflow id of a cluster's upgrade: one at a time."""
    return f"upgrade:{cluster}"


def wave_id(cluster: str, number: int) -> str:
    """Workflow id of a wave; numbers go on through rounds."""
    return f"{upgrade_id(cluster)}:wave-{number:03d}"


def item_id(cluster: str, workload: WorkloadRef) -> str:
    """Workflow id of a remediation item."""
    return f"{items_prefix(cluster)}{workload.namespace}:{workload.kind}:{workload.name}"


def items_prefix(cluster: str) -> str:
    """What the ids of a cluster's items begin with, and no other's: no name of a cluster contains a colon."""
    return f"remediation:{cluster}:"


def item_workload(identity: str) -> WorkloadRef:
    """Returns the workload of an item, parsed from the item's workflow id."""
    _, _, namespace, kind, name = identity.split(":", 4)
    return WorkloadRef(namespace, kind, name)


def watch_id(cluster: str) -> str:
    """Workflow id of the watch that tells a cluster's items what changed."""
    return f"watch:{cluster}"
