"""The story of an upgrade as its history tells it: waves, decisions, the last survey.

A history has every word of an operator with its time and every wave with its run. That is more than any result or
query may carry, and it is there without a worker and after an end from outside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cli.temporal.histories import decoded, events_of, is_gone, time_of, told_by
from mesh.identity import upgrade_id
from mesh.reporting.document import DecisionDocument
from mesh.text import one_line

if TYPE_CHECKING:
    from temporalio.api.history.v1 import HistoryEvent
    from temporalio.api.update.v1 import Request
    from temporalio.client import Client

    from activities.survey.activities import SurveySummary
    from mesh.plan.waves import WaveRule
    from workflows.messages import WaveResult

#: A second start: it decides nothing.
_ATTACH = "attach"
_DONE = {"pause": "paused", "resume": "resumed", "abort": "aborted"}
#: Characters that are kept of who and why.
_WORDS = 1000
_FORGOTTEN = (
    "Temporal does not keep the first runs of this upgrade any more: their waves are not listed, and of the decisions "
    "of that time only the newest."
)


@dataclass(slots=True)
class BegunWave:
    """A wave as its upgrade knows it; `result` once it is done."""

    rule: WaveRule
    workflow_id: str
    run_id: str
    result: WaveResult | None = None


@dataclass(slots=True)
class UpgradeStory:
    """`survey` is the last one. `notes` tell what is not kept any more."""

    started_by: str | None = None
    waves: list[BegunWave] = field(default_factory=list)
    decisions: list[DecisionDocument] = field(default_factory=list)
    survey: SurveySummary | None = None
    notes: list[str] = field(default_factory=list)


async def read_upgrade(client: Client, cluster: str, run_id: str) -> UpgradeStory:
    """The story of an upgrade over all its runs that are kept; `run_id` is the last."""
    reader = _Reader(client)
    for one in await _runs(client, upgrade_id(cluster), run_id):
        async for event in events_of(client, upgrade_id(cluster), one):
            await reader.take(event)
    return reader.story


async def _runs(client: Client, workflow_id: str, last: str) -> list[str]:
    """The runs of an upgrade that are kept, the first of them first."""
    runs: list[str] = []
    following = last
    while following:
        try:
            first = await anext(events_of(client, workflow_id, following, page_size=1))
        except Exception as error:
            if not is_gone(error) or not runs:
                raise
            break
        runs.append(following)
        following = first.workflow_execution_started_event_attributes.continued_execution_run_id
    return runs[::-1]


class _Reader:
    """Takes the events of all runs, one after another."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.story = UpgradeStory()
        self._first = True
        #: Approvals of the wave that waited: the one that begins next.
        self._approved: list[DecisionDocument] = []
        self._forget()

    def _forget(self) -> None:
        """Numbers of events begin anew with each run."""
        self._rules: dict[int, WaveRule] = {}
        self._begun: dict[int, BegunWave] = {}
        self._surveys: set[int] = set()
        self._admitted: dict[str, Request] = {}

    async def take(self, event: HistoryEvent) -> None:
        kind, told = told_by(event)
        match kind:
            case "workflow_execution_started":
                await self._run_started(told)
            case "activity_task_scheduled" | "activity_task_completed":
                await self._survey(event, told)
            case "workflow_execution_update_admitted":
                self._admitted[told.request.meta.update_id] = told.request
            case "workflow_execution_update_accepted":
                await self._updated(event, told)
            case "workflow_execution_cancel_requested":
                self.story.decisions.append(_decision(event, "cancelled in Temporal", told.identity, told.cause))
            case "workflow_execution_terminated":
                self.story.decisions.append(_decision(event, "terminated in Temporal", told.identity, told.reason))
            case _:
                await self._wave(event, kind, told)

    async def _run_started(self, told: Any) -> None:  # noqa: ANN401  # attributes of an event
        from workflows.messages import UpgradeInput

        self._forget()
        if not self._first:
            return
        self._first = False
        ask = await decoded(self._client, told.input, UpgradeInput)
        self.story.started_by = ask.who or None
        if ask.state is not None:
            self.story.notes.append(_FORGOTTEN)
            kept = (DecisionDocument(at=None, what=one, who=None, because=None) for one in ask.state.decisions)
            self.story.decisions.extend(kept)

    async def _survey(self, event: HistoryEvent, told: Any) -> None:  # noqa: ANN401  # attributes of an event
        from activities.survey.activities import SurveySummary

        if event.HasField("activity_task_scheduled_event_attributes"):
            if told.activity_type.name == "survey_cluster":
                self._surveys.add(event.event_id)
        elif told.scheduled_event_id in self._surveys:
            self.story.survey = await decoded(self._client, told.result, SurveySummary)

    async def _wave(self, event: HistoryEvent, kind: str, told: Any) -> None:  # noqa: ANN401  # attributes of an event
        from workflows.messages import WaveInput, WaveResult

        match kind:
            case "start_child_workflow_execution_initiated":
                rule = (await decoded(self._client, told.input, WaveInput)).rule
                self._rules[event.event_id] = rule
                for one in self._approved:
                    one["what"] = f"approved {rule.name}"
                self._approved = []
            case "child_workflow_execution_started":
                rule, run = self._rules[told.initiated_event_id], told.workflow_execution
                self._begun[told.initiated_event_id] = wave = BegunWave(rule, run.workflow_id, run.run_id)
                self.story.waves.append(wave)
            case "child_workflow_execution_completed":
                wave = self._begun[told.initiated_event_id]
                wave.result = await decoded(self._client, told.result, WaveResult)

    async def _updated(self, event: HistoryEvent, told: Any) -> None:  # noqa: ANN401  # attributes of an event
        request = told.accepted_request
        if not request.input.name:
            # After a reset the words said before come back, and stand in an event of their own.
            request = self._admitted.get(told.protocol_instance_id, request)
        name = request.input.name
        if name in ("", _ATTACH):
            return
        word = await decoded(self._client, request.input.args, dict)
        one = _decision(event, _in_words(name, word), word.get("who"), word.get("because"))
        self.story.decisions.append(one)
        if name == "approve" and word.get("wave") is None:
            self._approved.append(one)


def _in_words(name: str, word: dict[str, Any]) -> str:
    if name == "approve":
        return "approved the wave that waited" if word.get("wave") is None else f"approved wave {word['wave']}"
    if name == "limit":
        return f"limited to {word.get('in_flight')} in flight"
    return _DONE.get(name, name)


def _decision(event: HistoryEvent, what: str, who: object, because: object) -> DecisionDocument:
    told = [one_line(str(one), _WORDS) or None if one else None for one in (who, because)]
    return DecisionDocument(at=time_of(event), what=what, who=told[0], because=told[1])
