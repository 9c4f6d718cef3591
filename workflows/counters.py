"""What an upgrade counts: candidates of its surveys, what its waves made of them, and the budget of failures."""

from __future__ import annotations

from collections.abc import Sequence

from activities.survey.activities import FAILED_KEPT, SurveySummary
from mesh.plan.policy import Budget
from mesh.survey.snapshot import fingerprint

from workflows.messages import NAMED, CountersState, ItemCounts, WaveResult, WorkloadCounts


class Counters:
    """Counts workloads. `summary` is the newest survey's, `items` are those open at the end."""

    def __init__(self, state: CountersState | None = None) -> None:
        before = state or CountersState()
        self.summary: SurveySummary | None = None
        self.items = ItemCounts()
        self._planned = before.planned
        self._restarted = before.restarted
        self._current = before.current
        self._failed = list(before.failed)
        self._acknowledged = before.forgiven
        self._last_failed: list[str] = []
        self._done_since_survey = 0
        self._failed_since_survey = 0

    @property
    def state(self) -> CountersState:
        """What the next run of the upgrade needs to know."""
        return CountersState(self._planned, self._restarted, self._current, self.failed, self._acknowledged)

    def record_survey(self, summary: SurveySummary) -> None:
        """The first one that has candidates is the plan."""
        self.summary = summary
        self._planned = self._planned or summary.candidates
        self._done_since_survey = self._failed_since_survey = 0

    def take_wave(self, result: WaveResult) -> None:
        """Adds what a wave did."""
        self._restarted += result.restarted
        self._current += result.current
        self._failed += [fingerprint(one) for one in result.failed]
        self._last_failed = [*self._last_failed, *(str(one) for one in result.failed)][-NAMED:]
        self._done_since_survey += result.restarted + result.current + result.gone
        self._failed_since_survey += len(result.failed)

    def budget_exceeded(self, budget: Budget, failing: int = 0, names: Sequence[str] = ()) -> str | None:
        """What to tell of more failures than the budget allows; they are forgiven with it.

        `failing` have failed in waves that are not over yet, `names` are the newest of them.
        """
        failed = len(self._failed) + failing
        allowed = max(budget.at_least, int(budget.failed * (self._restarted + failed)))
        spent = failed - self._acknowledged
        if spent <= allowed:
            return None
        # Who resumes has seen these: only further ones count from then on.
        self._acknowledged = failed
        named = [*self._last_failed, *names][-NAMED:]
        last = f"; the last: {', '.join(named)}" if named else ""
        return f"{spent} restart{'' if spent == 1 else 's'} failed, and the budget is {allowed}{last}"

    @property
    def failed(self) -> tuple[str, ...]:
        """Fingerprints of the failed restarts, as many as a survey can be told of."""
        return tuple(self._failed[:FAILED_KEPT])

    @property
    def overfull(self) -> bool:
        """Whether another survey would take failed restarts for candidates: then no further round may begin."""
        return len(self._failed) > FAILED_KEPT

    @property
    def left(self) -> int:
        """Of the last survey's candidates those that no wave has tried since."""
        candidates = self.summary.candidates if self.summary else 0
        return max(0, candidates - self._done_since_survey - self._failed_since_survey)

    @property
    def stale_left(self) -> int | None:
        """Of the last survey's stale workloads those that are not done since; None before the first survey."""
        return max(0, self.summary.stale_workloads - self._done_since_survey) if self.summary else None

    @property
    def counts(self) -> WorkloadCounts:
        """What `progress` shows."""
        return WorkloadCounts(
            planned=self._planned,
            restarted=self._restarted,
            current=self._current,
            remediation=self.items.open,
            left=self.left,
        )
