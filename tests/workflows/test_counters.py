"""What an upgrade counts, and what of it travels."""

from __future__ import annotations

from activities.survey.activities import FAILED_KEPT
from mesh.k8s.workload_ref import WorkloadRef
from mesh.plan.policy import Budget
from mesh.survey.snapshot import fingerprint
from workflows.counters import Counters
from workflows.messages import WaveResult


def failures(number: int) -> Counters:
    """After a single wave."""
    counters = Counters()
    counters.take_wave(WaveResult(failed=tuple(WorkloadRef("shop", "Deployment", f"w{one}") for one in range(number))))
    return counters


def test_failed_restarts_are_told_by_their_fingerprints() -> None:
    assert failures(1).failed == (fingerprint(WorkloadRef("shop", "Deployment", "w0")),)


def test_as_many_as_can_be_told_leave_room_for_another_round() -> None:
    counters = failures(FAILED_KEPT)

    assert len(set(counters.failed)) == FAILED_KEPT
    assert not counters.overfull


def test_more_than_can_be_told_are_counted_and_leave_no_room() -> None:
    counters = failures(FAILED_KEPT + 1)

    assert len(counters.failed) == FAILED_KEPT
    assert counters.overfull
    told = counters.budget_exceeded(Budget())
    assert told is not None
    assert told.startswith(f"{FAILED_KEPT + 1} restarts failed, and the budget is {FAILED_KEPT // 50}; the last: ")
    assert told.endswith(f"shop/Deployment/w{FAILED_KEPT}")
