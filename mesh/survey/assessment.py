"""What the rules of a survey read about one workload."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TypeVar

from mesh.istio.expected_proxy import ExpectedProxy
from mesh.istio.injection import InjectionDecision
from mesh.istio.proxy_status import ConnectedProxies
from mesh.k8s.objects import DisruptionBudget, Namespace, Pod
from mesh.k8s.owners import Owner
from mesh.k8s.rollout import Rollout, rollout
from mesh.survey.pod_class import WORKLOAD_ORDER, PodClass, has_finished
from mesh.survey.pod_rules import most_severe
from mesh.survey.reasons import Cause
from mesh.survey.snapshot import ClusterSnapshot, UpgradeContext

A = TypeVar("A")


@dataclass(frozen=True)
class WorkloadState:
    """A workload at one moment: its owner, its Pods, and where its rollout stands.

    Rules about owners, Pods and rollouts read nothing else. Derived values are computed once, hence no slots.
    """

    owner: Owner
    pods: Sequence[Pod]
    at: datetime

    @cached_property
    def rollout(self) -> Rollout | None:
        """Where the rollout stands, None for an owner that is not read."""
        return rollout(self.owner.workload) if self.owner.workload is not None else None

    @cached_property
    def unfinished_pods(self) -> Sequence[Pod]:
        """The Pods without those that have ended and are not waited for."""
        return [pod for pod in self.pods if not has_finished(pod, self.owner)]

    @cached_property
    def active_pods(self) -> Sequence[Pod]:
        """The unfinished Pods that are not being deleted."""
        return [pod for pod in self.unfinished_pods if pod.metadata.deletion_timestamp is None]

    @cached_property
    def worst_pod(self) -> tuple[Pod, Cause] | None:
        """The unfinished Pod with the most severe cause, None when all of them are Ready."""
        return most_severe(self.unfinished_pods, self.at)

    @property
    def worst_pod_cause(self) -> Cause | None:
        """The most severe cause of an unfinished Pod."""
        return self.worst_pod[1] if self.worst_pod is not None else None


@dataclass(frozen=True)
class Assessment(WorkloadState):
    """A workload of a survey: its state, what its Pods run, and what they would get.

    `decision` and `expected` are about the owner's Pod template. `pods_by_class` has no empty classes. `budgets` are
    those of the namespace.
    """

    decision: InjectionDecision
    expected: ExpectedProxy
    pods_by_class: Mapping[PodClass, Sequence[Pod]]
    budgets: Sequence[DisruptionBudget]
    snapshot: ClusterSnapshot
    context: UpgradeContext
    connected: ConnectedProxies

    @cached_property
    def pod_class(self) -> PodClass:
        """The class of the workload: the first of WORKLOAD_ORDER that one of its Pods has."""
        return next(pod_class for pod_class in WORKLOAD_ORDER if pod_class in self.pods_by_class)

    @property
    def classified_pods(self) -> Sequence[Pod]:
        """The Pods whose class is the workload's, at least one."""
        return self.pods_by_class[self.pod_class]

    @property
    def namespace(self) -> Namespace | None:
        """The namespace of the workload, None when it was not read."""
        return self.snapshot.namespaces.get(self.owner.namespace)


def first_cause(rules: Iterable[Callable[[A], Cause | None]], assessed: A) -> Cause | None:
    """Returns the cause of the first rule that holds, None when no rule does."""
    for rule in rules:
        cause = rule(assessed)
        if cause is not None:
            return cause
    return None
