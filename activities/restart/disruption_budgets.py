"""Keeps restarts that run at the same time within PodDisruptionBudgets, which rolling updates ignore."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from activities.kube.informer import Informer
from mesh.k8s.disruption import pods_taken_at_once, would_exceed
from mesh.k8s.objects import Pod
from mesh.k8s.owners import Owner


class DisruptionBudgets:
    """Counts the Pods that restarts may take from each budget.

    A restart counts from before its write until it is done, because the disruption controller counts only Pods that
    are gone already.
    """

    def __init__(self, informer: Informer) -> None:
        self._informer = informer
        #: By budget: UIDs of workloads with the number of their Pods. A workload is there twice while an abandoned try
        #: of its restart ends.
        self._reserved: dict[tuple[str, str], list[tuple[str, int]]] = {}
        self._released: Counter[tuple[str, str]] = Counter()

    @contextlib.contextmanager
    def reserve(self, owner: Owner, pods: list[Pod]) -> Iterator[str | None]:
        """Reserves what a restart may take of all budgets that select the Pods.

        Yields None, or without a reservation the name of a budget that has too little left at the moment.
        """
        workload = owner.workload
        count = pods_taken_at_once(workload) if workload is not None else 0
        uid = workload.metadata.uid if workload is not None else ""
        keys: list[tuple[str, str]] = []
        blocking = None
        for budget in self._informer.budgets(owner.namespace):
            key = (budget.metadata.namespace, budget.metadata.name)
            by_others = sum(reserved for holder, reserved in self._reserved.get(key, ()) if holder != uid)
            if count and budget.selects(pods):
                if would_exceed(budget, count, by_others):
                    blocking = budget.metadata.name
                    break
                keys.append(key)
        if blocking is not None:
            yield blocking
            return
        for key in keys:
            self._reserved.setdefault(key, []).append((uid, count))
        try:
            yield None
        finally:
            for key in keys:
                self._reserved[key].remove((uid, count))
                self._released[key] += 1
                if not self._reserved[key]:
                    del self._reserved[key]

    def released(self, namespace: str, name: str) -> int:
        """Returns how many restarts have released a budget: while the number grows, waiting restarts make progress."""
        return self._released[namespace, name]
