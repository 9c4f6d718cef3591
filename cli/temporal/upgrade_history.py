"""An upgrade from its history: waves, decisions and the last survey.

The history has each decision of an operator with its time, and each wave with its run. That is more than a result or a
query may carry, and it is there without a worker, and after an end in Temporal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.update.v1 import Request
from temporalio.client import Client

from activities.survey.activities import SurveySummary
from cli.temporal.histories import decoded, events_of, is_gone, time_of, type_and_attributes
from mesh.history import HistoryEntry
from mesh.identity import upgrade_id
from mesh.plan.waves import WaveRule
from mesh.reporting.document import DecisionDocument
from mesh.text import one_line, rfc3339
from workflows.messages import UpgradeInput, WaveInput, WaveResult

#: The update of a second `start`: it decides nothing.
_ATTACH = "attach"
_PAST_TENSE = {"pause": "paused", "resume": "resumed", "abort": "aborted"}
#: Characters that are kept of who and why.
_LONGEST_TEXT = 1000
_FIRST_RUNS_GONE = (
    "Temporal no longer keeps the first runs of this upgrade. Their waves are not listed, and of the decisions of that "
    "time only the newest."
)


@dataclass(slots=True)
class StartedWave:
    """A wave that the upgrade has started; `result` is None until the wave is done."""

    rule: WaveRule
    workflow_id: str
    run_id: str
    result: WaveResult | None = None


@dataclass(slots=True)
class UpgradeHistory:
    """Everything that happened in an upgrade. `survey` is the last one; `notes` say what is no longer kept."""

    started_by: str | None = None
    waves: list[StartedWave] = field(default_factory=list)
    decisions: list[DecisionDocument] = field(default_factory=list)
    survey: SurveySummary | None = None
    notes: list[str] = field(default_factory=list)


async def read_upgrade(client: Client, cluster: str, run_id: str) -> UpgradeHistory:
    """Returns the history of an upgrade over all runs that Temporal keeps; `run_id` is the last run."""
    reader = _HistoryReader(client)
    for run in await _runs(client, upgrade_id(cluster), run_id):
        async for event in events_of(client, upgrade_id(cluster), run):
            await reader.read(event)
    return reader.history


async def _runs(client: Client, workflow_id: str, last: str) -> list[str]:
    """Returns the runs of an upgrade that Temporal keeps, the first one first."""
    runs: list[str] = []
    previous = last
    while previous:
        try:
            first = await anext(events_of(client, workflow_id, previous, page_size=1))
        except Exception as error:
            if not is_gone(error) or not runs:
                raise
            break
        runs.append(previous)
        previous = first.workflow_execution_started_event_attributes.continued_execution_run_id
    return runs[::-1]


class _HistoryReader:
    """Reads the events of all runs, the first one first."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.history = UpgradeHistory()
        self._in_first_run = True
        #: Approvals of the waiting wave: that is the one that starts next.
        self._approvals: list[DecisionDocument] = []
        self._begin_run()

    def _begin_run(self) -> None:
        """Forgets the numbers of events: they start again with each run."""
        self._rules: dict[int, WaveRule] = {}
        self._started: dict[int, StartedWave] = {}
        self._surveys: set[int] = set()
        self._admitted: dict[str, Request] = {}

    async def read(self, event: HistoryEvent) -> None:
        event_type, attributes = type_and_attributes(event)
        match event_type:
            case "workflow_execution_started":
                await self._run_started(attributes)
            case "activity_task_scheduled" | "activity_task_completed":
                await self._read_survey(event, attributes)
            case "workflow_execution_update_admitted":
                self._admitted[attributes.request.meta.update_id] = attributes.request
            case "workflow_execution_update_accepted":
                await self._read_update(event, attributes)
            case "workflow_execution_cancel_requested":
                self._decide(event, "cancelled in Temporal", attributes.identity, attributes.cause)
            case "workflow_execution_terminated":
                self._decide(event, "terminated in Temporal", attributes.identity, attributes.reason)
            case _:
                await self._read_wave(event, event_type, attributes)

    async def _run_started(self, attributes: Any) -> None:  # noqa: ANN401  # of an event
        self._begin_run()
        if not self._in_first_run:
            return
        self._in_first_run = False
        upgrade = await decoded(self._client, attributes.input, UpgradeInput)
        self.history.started_by = upgrade.who or None
        if upgrade.state is not None:
            self.history.notes.append(_FIRST_RUNS_GONE)
            self.history.decisions += [_decision_kept(entry) for entry in upgrade.state.controls.decisions]

    async def _read_survey(self, event: HistoryEvent, attributes: Any) -> None:  # noqa: ANN401  # of an event
        if event.HasField("activity_task_scheduled_event_attributes"):
            if attributes.activity_type.name == "survey_cluster":
                self._surveys.add(event.event_id)
        elif attributes.scheduled_event_id in self._surveys:
            self.history.survey = await decoded(self._client, attributes.result, SurveySummary)

    async def _read_wave(self, event: HistoryEvent, event_type: str, attributes: Any) -> None:  # noqa: ANN401
        match event_type:
            case "start_child_workflow_execution_initiated":
                rule = (await decoded(self._client, attributes.input, WaveInput)).rule
                self._rules[event.event_id] = rule
                for approval in self._approvals:
                    approval["what"] = f"approved {rule.name}"
                self._approvals = []
            case "child_workflow_execution_started":
                rule, run = self._rules[attributes.initiated_event_id], attributes.workflow_execution
                wave = StartedWave(rule, run.workflow_id, run.run_id)
                self._started[attributes.initiated_event_id] = wave
                self.history.waves.append(wave)
            case "child_workflow_execution_completed":
                wave = self._started[attributes.initiated_event_id]
                wave.result = await decoded(self._client, attributes.result, WaveResult)

    async def _read_update(self, event: HistoryEvent, attributes: Any) -> None:  # noqa: ANN401  # of an event
        request = attributes.accepted_request
        if not request.input.name:
            # After a reset, Temporal applies earlier updates again, each from an event of its own.
            request = self._admitted.get(attributes.protocol_instance_id, request)
        name = request.input.name
        if name in ("", _ATTACH):
            return
        fields = await decoded(self._client, request.input.args, dict)
        decision = self._decide(event, _phrase(name, fields), fields.get("who"), fields.get("because"))
        if name == "approve" and fields.get("wave") is None:
            self._approvals.append(decision)

    def _decide(self, event: HistoryEvent, what: str, who: object, because: object) -> DecisionDocument:
        texts = [one_line(str(text), _LONGEST_TEXT) or None if text else None for text in (who, because)]
        decision = DecisionDocument(at=time_of(event), what=what, who=texts[0], because=texts[1])
        self.history.decisions.append(decision)
        return decision


def _decision_kept(entry: HistoryEntry) -> DecisionDocument:
    """Returns a decision of a run that is gone, as the upgrade itself keeps it."""
    return DecisionDocument(at=rfc3339(entry.at), what=entry.what, who=entry.who, because=entry.because or None)


def _phrase(update: str, fields: dict[str, Any]) -> str:
    if update == "approve":
        return "approved the waiting wave" if fields.get("wave") is None else f"approved wave {fields['wave']}"
    if update == "limit":
        return f"limited to {fields.get('in_flight')} in flight"
    return _PAST_TENSE.get(update, update)
