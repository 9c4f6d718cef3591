"""What restarts take from disruption budgets."""

from __future__ import annotations

import math

from mesh.k8s.objects import DisruptionBudget, Workload


def pods_taken_at_once(workload: Workload) -> int:
    """Returns how many available Pods the workload's own update strategy may take away at once.

    Source: k8s.io/kubernetes/pkg/controller/deployment/util, ResolveFenceposts (unavailable rounds down, surge up;
    both zero means one unavailable); StatefulSets and DaemonSets take one by default.
    """
    spec = workload.spec
    wanted = workload.status.desired_number_scheduled if workload.kind == "DaemonSet" else spec.replicas
    wanted = 1 if wanted is None else wanted
    strategy = spec.strategy or spec.update_strategy
    rolling = strategy.rolling_update if strategy else None
    if workload.kind == "Deployment":
        # At most all of them: MaxUnavailable of the same package.
        if strategy is not None and strategy.type == "Recreate":
            return wanted
        unavailable = _share(rolling.max_unavailable if rolling else "25%", wanted, up=False)
        surge = _share(rolling.max_surge if rolling else "25%", wanted, up=True)
        return min(wanted, max(unavailable, 1 if surge == 0 else 0))
    if workload.kind == "DaemonSet" and rolling is not None and _share(rolling.max_surge, wanted, up=True) > 0:
        return 0
    # Percentages round up for DaemonSets (UnavailableCount) and down for StatefulSets (getStatefulSetMaxUnavailable).
    unavailable = _share(rolling.max_unavailable if rolling else None, wanted, up=workload.kind == "DaemonSet")
    return min(wanted, max(1, unavailable))


def _share(value: int | str | None, whole: int, *, up: bool) -> int:
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    part = int(value.rstrip("%")) * whole / 100
    return math.ceil(part) if up else math.floor(part)


def would_exceed(budget: DisruptionBudget, taken: int, others: int) -> bool:
    """Whether a budget forbids that `taken` Pods go now, while other restarts are about to take `others` Pods.

    Pods that are not healthy now may be those of the other restarts: they are counted twice rather than not at all.
    Waiting may help, since such Pods become healthy again.
    """
    return budget.status.current_healthy - others - taken < budget.status.desired_healthy
