"""The policy of one upgrade as plain values: order, pace, hours and limits.

Values travel in the inputs of workflows and activities, and a replay must read them as they were written. So nothing
here is parsed or validated: `mesh.plan.policy_file` does both when a file enters (docs/adr/0009).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal


@dataclass(frozen=True, slots=True)
class Waves:
    """The canary's share, the growing steps of the rest (fractions of 1), and the most workloads in one wave."""

    canary: float = 0.01
    steps: tuple[float, ...] = (0.1, 0.3, 1.0)
    max_workloads: int = 200


@dataclass(frozen=True, slots=True)
class InFlight:
    """How many workloads may be rolling at once, in the cluster and in one namespace."""

    cluster: int = 50
    namespace: int = 5


@dataclass(frozen=True, slots=True)
class Budget:
    """More failures than this pause the upgrade: the share of restarted workloads, but never fewer than `at_least`."""

    failed: float = 0.02
    at_least: int = 3


@dataclass(frozen=True, slots=True)
class NoProgress:
    """Times without any progress, not total times."""

    rollout: timedelta = timedelta(minutes=15)
    control_plane: timedelta = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Exclude:
    """Namespaces that are reported and left alone."""

    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PrometheusGate:
    """Before each step, every value of the query must be below the limit."""

    address: str
    query: str
    below: float


@dataclass(frozen=True, slots=True)
class Gates:
    """Checks before each step beside those of the cluster itself."""

    prometheus: PrometheusGate | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """How one upgrade proceeds.

    `approve` names the waves that wait for an operator; a number is a numbered wave's. Workloads are restarted only
    while all `windows` are open; they are texts as written (see `mesh.maintenance_windows`). `remediation_timeout` is
    how long `remediation: wait` waits for the queue to become empty.
    """

    waves: Waves = Waves()
    in_flight: InFlight = InFlight()
    budget: Budget = Budget()
    soak: timedelta = timedelta(minutes=5)
    approve: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()
    no_progress: NoProgress = NoProgress()
    missing: Literal["report", "restart"] = "report"
    remediation: Literal["handoff", "wait"] = "handoff"
    remediation_timeout: timedelta = timedelta(days=3)
    restarts: Literal["ours", "module"] = "ours"
    exclude: Exclude = Exclude()
    gates: Gates = Gates()
