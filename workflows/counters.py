"""What an upgrade counts: candidates of its surveys, what its waves made of them, and the budget of failures."""

from __future__ import annotations

from collections.abc import Sequence

from activities.survey.activities import FAILED_KEPT, SurveySummary
from mesh.plan.policy import Budget
from mesh.survey.snapshot import fingerprint

from workflows.messages import NAMED, CountersState, ItemCounts, WaveResult, WorkloadCounts


class Counters:
    """Counts workloads. `summary` is that of the newest survey, `items` are those open at the end."""

    def __init__(self, state: CountersState | None = None) -> None:
        self._state = state or CountersState()
        self.summary: SurveySummary | None = None
        self.items = ItemCounts()
        self._last_failed: list[str] = []
        self._done_since_survey = 0
        self._failed_since_survey = 0

    def record_survey(self, summary: SurveySummary) -> None:
        """Takes a survey in. The first one that has candidates is the plan."""
        self.summary = summary
        self._state.planned = self._state.planned or summary.candidates
        self._done_since_survey = self._failed_since_survey = 0

    def record_wave(self, result: WaveResult) -> None:
        """Adds the result of a wave."""
        state = self._state
        state.restarted += result.restarted
        state.current += result.current
        state.failed_count += len(result.failed)
        state.failed = [*state.failed, *(fingerprint(workload) for workload in result.failed)][:FAILED_KEPT]
        self._last_failed = [*self._last_failed, *(str(workload) for workload in result.failed)][-NAMED:]
        self._done_since_survey += result.restarted + result.current + result.gone
        self._failed_since_survey += len(result.failed)

    def budget_exceeded(self, budget: Budget, failing: int = 0, names: Sequence[str] = ()) -> str | None:
        """Returns why the upgrade must pause, when more restarts failed than the budget allows; None when not.

        `failing` have failed in waves that are still open, `names` are the newest of them. All failures so far are
        acknowledged with the answer: whoever resumes has seen them, and only further ones count.
        """
        state = self._state
        failed = state.failed_count + failing
        allowed = max(budget.at_least, int(budget.failed * (state.restarted + failed)))
        unacknowledged = failed - state.acknowledged
        if unacknowledged <= allowed:
            return None
        state.acknowledged = failed
        named = [*self._last_failed, *names][-NAMED:]
        last = f"; the last: {', '.join(named)}" if named else ""
        plural = "" if unacknowledged == 1 else "s"
        return f"{unacknowledged} restart{plural} failed, and the budget is {allowed}{last}"

    @property
    def too_many_failed(self) -> bool:
        """Whether more restarts failed than a survey can take: it would take some of them for candidates again."""
        return self._state.failed_count > FAILED_KEPT

    @property
    def left(self) -> int:
        """How many candidates of the last survey no wave has tried since."""
        candidates = self.summary.candidates if self.summary else 0
        return max(0, candidates - self._done_since_survey - self._failed_since_survey)

    @property
    def stale_left(self) -> int | None:
        """How many stale workloads of the last survey are not done since; None before the first survey."""
        return max(0, self.summary.stale_workloads - self._done_since_survey) if self.summary else None

    @property
    def counts(self) -> WorkloadCounts:
        """The counts that `progress` shows."""
        return WorkloadCounts(
            planned=self._state.planned,
            restarted=self._state.restarted,
            current=self._state.current,
            remediation=self.items.open,
            left=self.left,
        )
