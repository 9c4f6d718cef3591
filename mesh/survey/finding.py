"""A workload that needs an operator, as one survey found it, and the facts about it."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.k8s.workload_ref import WorkloadRef
from mesh.survey.reasons import Reason


@dataclass(frozen=True, slots=True)
class Facts:
    """What advice names beside the workload itself. A text is empty where it is not known; all are bounded."""

    #: The node and the container that the cause is about.
    node: str = ""
    container: str = ""
    #: The image of the container, where it cannot be pulled.
    image: str = ""
    #: Names of the Secrets with which images are pulled.
    secrets: tuple[str, ...] = ()
    #: Whether the scheduler finds no node, and the resources that are missing, as `cpu, memory`.
    unscheduled: bool = False
    resource: str = ""
    budget: str = ""
    quota: str = ""
    #: The Job that a CronJob made, or the ReplicaSet of another owner, as `job/nightly-1`.
    direct: str = ""


NO_FACTS = Facts()


@dataclass(frozen=True, slots=True)
class Finding:
    """A workload that cannot be restarted automatically, as one survey found it.

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
