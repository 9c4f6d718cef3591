"""PodDisruptionBudgets of workloads that are restarted at the same time."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from activities.kube.informer import Informer
from mesh.k8s.disruption import pods_taken_at_once, would_exceed
from mesh.k8s.objects import Pod
from mesh.k8s.owners import Owner


class DisruptionBudgets:
    """PodDisruptionBudgets under restarts at the same time: rolling updates ignore them, so they are kept here.

    What a restart in flight may take is counted against its budgets from before its write until it is done, since
    the disruption controller only counts what is gone already.
    """

    def __init__(self, mirror: Informer) -> None:
        self._mirror = mirror
        #: By budget: who takes how many. A workload may be there twice, while an earlier try of it is given up.
        self._taking: dict[tuple[str, str], list[tuple[str, int]]] = {}
        self._turns: Counter[tuple[str, str]] = Counter()

    @contextlib.contextmanager
    def taken(self, owner: Owner, pods: list[Pod]) -> Iterator[str | None]:
        """Takes from all budgets of the Pods, or gives the name of one that has nothing left at the moment."""
        workload = owner.workload
        taken = pods_taken_at_once(workload) if workload is not None else 0
        mine: list[tuple[str, str]] = []
        uid = workload.metadata.uid if workload is not None else ""
        blocked = None
        for budget in self._mirror.budgets(owner.namespace):
            key = (budget.metadata.namespace, budget.metadata.name)
            others = sum(count for one, count in self._taking.get(key, ()) if one != uid)
            if taken and budget.selects(pods):
                if would_exceed(budget, taken, others):
                    blocked = budget.metadata.name
                    break
                mine.append(key)
        if blocked is not None:
            yield blocked
            return
        for key in mine:
            self._taking.setdefault(key, []).append((uid, taken))
        try:
            yield None
        finally:
            for key in mine:
                self._taking[key].remove((uid, taken))
                self._turns[key] += 1
                if not self._taking[key]:
                    del self._taking[key]

    def turns(self, namespace: str, name: str) -> int:
        """How many restarts are done with a budget: while that grows, waiting for it is no standstill."""
        return self._turns[namespace, name]
