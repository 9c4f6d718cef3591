"""What operators decide about a running upgrade: pause, approval, limit, abort; and who decided it, when and why."""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from mesh.history import HistoryEntry, with_newest
    from mesh.plan.waves import WaveGroup, WaveRule
    from mesh.text import one_line

    from workflows.failures import PAUSED_BY, refusal
    from workflows.messages import ApproveInput, ControlsState, LimitInput, OperatorInput, WaveControl

#: Characters of the reason of a pause.
_REASON_LIMIT = 1000
#: The same as for inFlight.cluster in a policy.
_MOST_IN_FLIGHT = 200
UNNAMED_OPERATOR = "an operator"
NO_REASON = "no reason given"


class OperatorControls:
    """The operators' controls of one upgrade. `check_…` methods refuse a command, before history knows of it."""

    def __init__(self, state: ControlsState | None = None) -> None:
        self._state = state or ControlsState()
        self.ended = False
        #: The wave that waits for approval.
        self.awaited: WaveRule | None = None

    @property
    def paused_by(self) -> str | None:
        """Why the upgrade is paused, None while it is not."""
        return self._state.paused_by

    @property
    def aborted(self) -> bool:
        """Whether an operator has aborted the upgrade. The next run takes it over: it may be due at the same moment."""
        return self._state.aborted

    @property
    def decisions(self) -> tuple[HistoryEntry, ...]:
        """The newest decisions of operators, oldest first."""
        return self._state.decisions

    @property
    def wave_control(self) -> WaveControl:
        """What open waves must know."""
        return WaveControl(paused=self._state.paused_by is not None, stopped=self.aborted, limit=self._state.in_flight)

    @property
    def attention(self) -> str | None:
        """Why the upgrade waits for an operator. A pause shows at once, also while a wave runs."""
        if self.aborted:
            return None
        if self._state.paused_by is None and self.awaited is not None:
            return f"wave {self.awaited.number}, {self.awaited.name}, waits for approval"
        return self._state.paused_by

    def read_after(self, moment: datetime) -> datetime:
        """Returns this moment, or the newest command's: an operator may have changed the cluster before it."""
        return max(moment, self.decisions[-1].at) if self.decisions else moment

    def needs_approval(self, rule: WaveRule, approve: tuple[str, ...]) -> bool:
        """Whether a wave waits for an operator under this policy.

        A wave of Kyma's own workloads never does: the module restarts them in any case.
        """
        state = self._state
        approved = rule.name in state.approved_names or rule.number in state.approved_numbers
        if rule.group is WaveGroup.KYMA or approved:
            return False
        name = rule.label if rule.group is WaveGroup.NUMBERED else str(rule.group)
        return "all" in approve or name in approve

    def pause_for(self, reason: str | None) -> None:
        """Pauses because of trouble; None ends a pause whose cause is gone."""
        self._state.paused_by = reason

    def pause(self, operator: OperatorInput) -> None:
        """Pauses for an operator."""
        who, because = operator.who or UNNAMED_OPERATOR, operator.because or NO_REASON
        self.pause_for(one_line(f"{PAUSED_BY}{who}: {because}", _REASON_LIMIT))
        self._record("paused", operator)

    def resume(self, operator: OperatorInput) -> None:
        """Ends a pause for an operator."""
        self.pause_for(None)
        self._record("resumed", operator)

    def abort(self, operator: OperatorInput) -> None:
        """Ends the upgrade: restarts in flight finish."""
        self._state.aborted = True
        self._record("aborted", operator)

    def set_limit(self, limit: LimitInput) -> None:
        """Takes the place of the policy's limit of workloads in flight."""
        self._state.in_flight = limit.in_flight
        self._record(f"limited to {limit.in_flight} in flight", limit)

    def approve(self, approval: ApproveInput) -> None:
        """Approves the waiting wave, or a wave by its number in advance."""
        if approval.wave is not None and (self.awaited is None or self.awaited.number != approval.wave):
            if approval.wave not in self._state.approved_numbers:
                self._state.approved_numbers.append(approval.wave)
            self._record(f"approved wave {approval.wave}", approval)
            return
        if self.awaited is None:
            raise ValueError("the validator lets nothing else through")
        name, self.awaited = self.awaited.name, None
        if name not in self._state.approved_names:
            self._state.approved_names.append(name)
        self._record(f"approved {name}", approval)

    def _record(self, what: str, operator: OperatorInput) -> None:
        entry = HistoryEntry(
            at=workflow.now(),
            what=one_line(what),
            who=one_line(operator.who or UNNAMED_OPERATOR),
            because=one_line(operator.because),
        )
        self._state.decisions = with_newest(self._state.decisions, entry)

    def check_pause(self) -> None:
        """Refuses a pause of what is paused."""
        self.check_running()
        if self.paused_by is not None:
            by_operator = self.paused_by.startswith(PAUSED_BY)
            raise refusal(f"The upgrade is already {'' if by_operator else 'paused: '}{self.paused_by}.")

    def check_resume(self) -> None:
        """Refuses a resume of what is not paused."""
        self.check_running()
        if self.paused_by is None:
            waits = self.awaited is not None
            hint = "It waits for approval: kyma-upgrade approve." if waits else "See what it does: kyma-upgrade status"
            raise refusal(f"The upgrade is not paused. {hint}")

    def check_approve(self, approval: ApproveInput) -> None:
        """Refuses an approval when no wave waits and none is named."""
        self.check_running()
        if approval.wave is None and self.awaited is None:
            raise refusal("No wave waits for approval. To approve a wave in advance, give its number.")
        if approval.wave is not None and approval.wave < 0:
            raise refusal(f"There is no wave {approval.wave}. Give the number of a numbered wave: 0 or more.")

    def check_limit(self, limit: LimitInput) -> None:
        """Refuses a limit that a policy could not have."""
        self.check_running()
        if not 1 <= limit.in_flight <= _MOST_IN_FLIGHT:
            raise refusal(f"{limit.in_flight} is not a limit. Give a number from 1 to {_MOST_IN_FLIGHT}.")

    def check_abort(self) -> None:
        """Refuses an abort after the end."""
        if self.ended:
            raise refusal("The upgrade has ended.")

    def check_running(self) -> None:
        """Refuses every command after the end and after an abort."""
        self.check_abort()
        if self.aborted:
            raise refusal("The upgrade is being aborted; restarts in flight still finish.")
