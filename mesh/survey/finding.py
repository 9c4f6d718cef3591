"""What is known of a workload that a person must settle, as one look saw it."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.k8s.workload_ref import WorkloadRef
from mesh.survey.reasons import Reason


@dataclass(frozen=True, slots=True)
class Facts:
    """What advice names beside the workload itself; empty where it is not known. All of it bounded text."""

    #: The node, and the container and image that the cause is about.
    node: str = ""
    container: str = ""
    #: Only where it is the image that cannot be had.
    image: str = ""
    #: Names of the Secrets that images are pulled with.
    secrets: tuple[str, ...] = ()
    #: Whether the scheduler finds no node, and what it is short of, as `cpu, memory`.
    unscheduled: bool = False
    resource: str = ""
    budget: str = ""
    quota: str = ""
    #: The Job that a CronJob made, or the ReplicaSet of another owner, as `job/nightly-1`.
    direct: str = ""


NO_FACTS = Facts()


@dataclass(frozen=True, slots=True)
class Finding:
    """A workload that cannot be restarted, as it was seen once.

    `pods` names at most `mesh.remediation.recheck.PODS_SHOWN` of `pod_count`, in the order in which to handle them.
    `evidence` holds lines from the cluster itself that prove the reason.
    """

    namespace: str
    kind: str
    name: str
    reason: Reason
    detail: str | None
    pods: tuple[str, ...]
    pod_count: int
    evidence: tuple[str, ...] = ()
    facts: Facts = NO_FACTS

    @property
    def ref(self) -> WorkloadRef:
        """The workload's identity within its cluster."""
        return WorkloadRef(self.namespace, self.kind, self.name)
