"""What an upgrade counts, and what of it travels."""

from __future__ import annotations

from activities.survey.activities import FAILED_KEPT
from mesh.k8s.workload_ref import WorkloadRef
from mesh.plan.policy import Budget
from mesh.survey.snapshot import fingerprint
from workflows.counters import Counters
from workflows.messages import CountersState, WaveResult


def failures(number: int) -> tuple[Counters, CountersState]:
    """After a single wave."""
    state = CountersState()
    counters = Counters(state)
    failed = tuple(WorkloadRef("shop", "Deployment", f"w{one}") for one in range(number))
    counters.record_wave(WaveResult(failed=failed))
    return counters, state


def test_failed_restarts_travel_as_fingerprints() -> None:
    _, state = failures(1)

    assert state.failed == [fingerprint(WorkloadRef("shop", "Deployment", "w0"))]


def test_as_many_failures_as_travel_leave_room_for_another_round() -> None:
    counters, state = failures(FAILED_KEPT)

    assert len(set(state.failed)) == FAILED_KEPT
    assert not counters.too_many_failed


def test_more_failures_than_travel_are_counted_and_leave_no_room() -> None:
    counters, state = failures(FAILED_KEPT + 1)

    assert len(state.failed) == FAILED_KEPT
    assert counters.too_many_failed
    reason = counters.budget_exceeded(Budget())
    assert reason is not None
    assert reason.startswith(f"{FAILED_KEPT + 1} restarts failed, and the budget is {FAILED_KEPT // 50}; the last: ")
    assert reason.endswith(f"shop/Deployment/w{FAILED_KEPT}")


def test_next_run_counts_on() -> None:
    _, state = failures(FAILED_KEPT + 1)

    assert Counters(state).too_many_failed
    assert Counters(state).budget_exceeded(Budget()) is not None
