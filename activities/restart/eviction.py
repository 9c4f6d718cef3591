"""Evicts a Pod through the Eviction API, which honours PodDisruptionBudgets."""

from __future__ import annotations

import asyncio
import time

import msgspec

from activities.kube.client import ClusterClient
from activities.kube.informer import Informer
from activities.kube.paths import path
from activities.restart.rollout_observer import RolloutObserver
from mesh.errors import ChangedMeanwhileError, NotFoundError, UnreachableError
from mesh.k8s.objects import Pod

_RETRY_SECONDS = 5.0


async def evict_pod(
    cluster: ClusterClient, informer: Informer, observer: RolloutObserver, pod: Pod, no_progress: float
) -> str | None:
    """Evicts a Pod, and waits while a PodDisruptionBudget allows no eviction.

    Returns None once the Pod is evicted or gone; after `no_progress` seconds the name of the budget, and its message.
    """
    name, namespace = pod.metadata.name, pod.metadata.namespace
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
        # A second eviction of the same name must not hit the Pod that took this one's place.
        "deleteOptions": {"preconditions": {"uid": pod.metadata.uid}},
    }
    began = time.monotonic()
    while True:
        try:
            await cluster.create(path("Pod", namespace, name, "eviction"), body, msgspec.Raw)
        except (NotFoundError, ChangedMeanwhileError):
            return None  # The Pod is gone already.
        except UnreachableError as error:
            # The API server answers 429 while a budget allows no eviction, as it does when it is overloaded.
            selecting = (budget.metadata.name for budget in informer.budgets(namespace) if budget.selects([pod]))
            blocking = next(selecting, None)
            if blocking is None:
                raise
            if time.monotonic() - began > no_progress:
                return f"PodDisruptionBudget {blocking}: {error.message}"
            observer.heartbeat("waits for the disruption budget")
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return None
