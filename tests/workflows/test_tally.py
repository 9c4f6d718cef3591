"""What an upgrade counts, and what of it travels."""

from __future__ import annotations

from activities.restarts import WorkloadRef
from activities.survey import FAILED_KEPT
from mesh.policy import Budget
from mesh.world import fingerprint
from workflows.model import WaveResult
from workflows.tally import Tally


def failures(number: int) -> Tally:
    """After a single wave."""
    tally = Tally()
    tally.take_wave(WaveResult(failed=tuple(WorkloadRef("shop", "Deployment", f"w{one}") for one in range(number))))
    return tally


def test_failed_restarts_are_told_by_their_fingerprints() -> None:
    assert failures(1).failed == (fingerprint(("shop", "Deployment", "w0")),)


def test_as_many_as_can_be_told_leave_room_for_another_round() -> None:
    tally = failures(FAILED_KEPT)

    assert len(set(tally.failed)) == FAILED_KEPT
    assert not tally.overfull


def test_more_than_can_be_told_are_counted_and_leave_no_room() -> None:
    tally = failures(FAILED_KEPT + 1)

    assert len(tally.failed) == FAILED_KEPT
    assert tally.overfull
    told = tally.overspent(Budget())
    assert told is not None
    assert told.startswith(f"{FAILED_KEPT + 1} restarts failed, and the budget is {FAILED_KEPT // 50}; the last: ")
    assert told.endswith(f"shop/Deployment/w{FAILED_KEPT}")
