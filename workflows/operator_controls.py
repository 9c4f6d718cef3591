"""What operators have said to an upgrade: pause, approval, end, pace; and who said it, when and why."""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from mesh.plan.waves import WaveGroup, WaveRule
    from mesh.text import one_line

    from workflows.failures import refused
    from workflows.messages import ApproveInput, LimitInput, OperatorInput, WaveControl

#: Decisions that are kept: the page shows five.
_KEPT = 20
#: Characters that an operator's reason for a pause may have.
_WORDS = 1000
_NO_REASON = "no reason given"


class OperatorControls:
    """The state, and what is refused in it with a sentence."""

    def __init__(self) -> None:
        self.paused_by: str | None = None
        self.aborted = False
        self.ended = False
        self.in_flight: int | None = None
        self.decisions: list[str] = []
        #: When the newest of them was made.
        self.commanded_at: datetime | None = None
        #: The wave that waits for its approval, and those that need none any more.
        self.awaited: WaveRule | None = None
        self.approved: set[str] = set()
        self.approved_numbers: set[int] = set()

    @property
    def steer(self) -> WaveControl:
        """What open waves are told."""
        return WaveControl(paused=self.paused_by is not None, stopped=self.aborted, in_flight=self.in_flight)

    @property
    def attention(self) -> str | None:
        """Why an operator is waited for. A pause is told at once: during a wave nothing else would tell it."""
        if self.aborted:
            return None
        if self.paused_by is None and self.awaited is not None:
            return f"wave {self.awaited.number}, {self.awaited.name}, waits for approval"
        return self.paused_by

    def decide(self, what: str, operator: OperatorInput | ApproveInput | LimitInput) -> None:
        """Keeps a decision for whoever looks at the upgrade later."""
        told = f"{workflow.now():%H:%M:%S} {what} by {operator.who or 'somebody'}: {operator.because or _NO_REASON}"
        self.decisions = [*self.decisions, one_line(told)][-_KEPT:]
        self.commanded_at = workflow.now()

    def pause(self, operator: OperatorInput) -> None:
        """Nothing new starts."""
        self.paused_by = one_line(
            f"paused by {operator.who or 'an operator'}: {operator.because or _NO_REASON}", _WORDS
        )

    def approve(self, ask: ApproveInput) -> str:
        """The wave that waits, or one by its number before it does; in words."""
        if ask.wave is not None and (self.awaited is None or self.awaited.number != ask.wave):
            self.approved_numbers.add(ask.wave)
            return f"approved wave {ask.wave}"
        if self.awaited is None:
            raise ValueError("the validator lets nothing else through")
        name = self.awaited.name
        self.approved.add(name)
        self.awaited = None
        return f"approved {name}"

    def needs_approval(self, rule: WaveRule, wanted: tuple[str, ...]) -> bool:
        """Whether a wave waits for an operator. Kyma's own never does: the module restarts it whatever we say."""
        if rule.group is WaveGroup.KYMA or rule.name in self.approved or rule.number in self.approved_numbers:
            return False
        name = rule.label if rule.group is WaveGroup.NUMBERED else str(rule.group)
        return "all" in wanted or name in wanted

    def check_pause(self) -> None:
        """Refused when it would change nothing."""
        self.check_running()
        if self.paused_by is not None:
            raise refused(f"It is paused already: {self.paused_by}.")

    def check_resume(self) -> None:
        """Refused when it would change nothing."""
        self.check_running()
        if self.paused_by is None:
            hint = " It waits for approval: kyma-upgrade approve." if self.awaited is not None else ""
            raise refused(f"It is not paused.{hint}")

    def check_approve(self, ask: ApproveInput) -> None:
        """Refused when nothing waits and no wave is named."""
        self.check_running()
        if ask.wave is None and self.awaited is None:
            raise refused("No wave waits for approval. To approve one before it does, name its number.")
        if ask.wave is not None and ask.wave < 0:
            raise refused(f"There is no wave {ask.wave}.")

    def check_limit(self, ask: LimitInput) -> None:
        """Refused outside of what a policy may say."""
        self.check_running()
        if not 1 <= ask.in_flight <= _MOST_IN_FLIGHT:
            raise refused(f"{ask.in_flight} is no limit: give a number from 1 to {_MOST_IN_FLIGHT}.")

    def check_abort(self) -> None:
        """Refused at its end."""
        if self.ended:
            raise refused("The upgrade has ended.")

    def check_running(self) -> None:
        """Refused at its end, and after an abort."""
        self.check_abort()
        if self.aborted:
            raise refused("It is being aborted; what is in flight still finishes.")


#: As the policy's inFlight.cluster.
_MOST_IN_FLIGHT = 200
