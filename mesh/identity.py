"""Names of clusters, and the workflow ids and task queues that are made of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mesh.k8s.workload_ref import WorkloadRef

TASK_QUEUE = "kyma-upgrade"


@dataclass(frozen=True, slots=True)
class ClusterRef:
    """A cluster's name and the UID of its namespace kube-system; an activity refuses to act on another UID."""

    name: str
    uid: str

    @property
    def activity_queue(self) -> str:
        """The task queue that this cluster's own worker serves."""
        return f"{TASK_QUEUE}.{self.name}"


def cluster_name(text: str) -> str:
    """Returns the name of a cluster for that of a context: lower case, every character outside `a-z0-9.-` as `-`."""
    return re.sub(r"[^a-z0-9.-]", "-", text.lower())


def upgrade_id(cluster: str) -> str:
    """Returns the workflow id of a cluster's upgrade; there is one at a time."""
    return f"upgrade:{cluster}"


def wave_id(cluster: str, number: int) -> str:
    """Returns the workflow id of a wave; numbers continue through rounds."""
    return f"{upgrade_id(cluster)}:wave-{number:03d}"


def item_id(cluster: str, workload: WorkloadRef) -> str:
    """Returns the workflow id of a workload's remediation item."""
    return f"{items_prefix(cluster)}{workload.namespace}:{workload.kind}:{workload.name}"


def items_prefix(cluster: str) -> str:
    """Returns the prefix of the ids of this cluster's items alone: no name of a cluster contains a colon."""
    return f"remediation:{cluster}:"


def item_workload(identity: str) -> WorkloadRef:
    """Returns the workload of an item, parsed from the item's workflow id."""
    _, _, namespace, kind, name = identity.split(":", 4)
    return WorkloadRef(namespace, kind, name)


def watch_id(cluster: str) -> str:
    """Returns the workflow id of the watch that signals changes to a cluster's items."""
    return f"watch:{cluster}"
