"""The largest thing of every sort that goes into a history or an answer, under the longest names that there are.

Whatever an activity or a workflow takes or gives must be here: `test_everything_that_travels_is_weighed` looks.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import pytest
from temporalio import workflow
from temporalio.api.failure.v1 import Failure

from activities.boundary import ServedCluster, translating_errors
from activities.control_plane import (
    ApplyTargetInput,
    AwaitControlPlaneInput,
    AwaitControlPlaneResult,
    ResolvedTarget,
    ResolveTargetInput,
)
from activities.gates import CheckGateInput, CheckWindowInput, GateResult, WindowState
from activities.hold import HoldInput
from activities.kube.client import ClusterClient
from activities.remediation.inputs import (
    OpenItemInput,
    OpenItemsInput,
    OpenItemsResult,
    RecheckItemInput,
    RemediationItemInput,
    SetPodWarningsInput,
)
from activities.remediation.watch import WatchClusterInput
from activities.restart.outcome import RestartInput, RestartOutcome, RestartResult
from activities.survey.activities import FAILED_KEPT, ListWaveMembersInput, SurveyInput, SurveySummary, WaveMember
from mesh.errors import MESSAGE_LIMIT, RejectedError
from mesh.history import HISTORY_KEPT, HistoryEntry
from mesh.identity import ClusterRef
from mesh.k8s.workload_ref import WorkloadRef
from mesh.kyma.targets import Target
from mesh.plan.policy import Budget, Exclude, Gates, Policy, PrometheusGate, Waves
from mesh.plan.waves import MOST_WAVES, WaveGroup, WavePlan, WaveRule
from mesh.remediation.item import Item, ItemState, ItemView, Observation, view_of
from mesh.remediation.recheck import PODS_SHOWN
from mesh.survey.evidence import EVIDENCE_LIMIT, EVIDENCE_LINES, FACT_LIMIT, SECRETS_NAMED
from mesh.survey.finding import Facts, Finding
from mesh.survey.pod_class import PodClass
from mesh.survey.reasons import Reason
from mesh.survey.snapshot import fingerprint
from mesh.text import DETAIL_LIMIT
from tests.scale.synthetic_cluster import LONGEST_NAME, LONGEST_NAMESPACE
from worker.compose import compose_activities
from worker.data_converter import data_converter
from workflows.counters import Counters
from workflows.item_commands import ItemCommand, ResolveCommand, SkipCommand, SnoozeCommand
from workflows.messages import (
    NAMED,
    ApproveInput,
    AttachInput,
    ControlsState,
    CountersState,
    ItemCounts,
    LimitInput,
    OperatorInput,
    Phase,
    Progress,
    UpgradeInput,
    UpgradeReport,
    UpgradeResult,
    UpgradeState,
    WaveControl,
    WaveInput,
    WaveProgress,
    WaveReport,
    WaveResult,
    WorkloadCounts,
)
from workflows.registry import ALL_WORKFLOWS

_MOST = 256_000
NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
MANY = 10_000_000
#: Four bytes each: the most that a character takes.
DETAIL, MESSAGE, TYPED = "\U0001f6d1" * DETAIL_LIMIT, "\U0001f6d1" * MESSAGE_LIMIT, "\U0001f6d1" * 1000

REF = ClusterRef("c" * 253, "u" * 36)
LONG = WorkloadRef("s" * LONGEST_NAMESPACE, "k" * 253, "n" * LONGEST_NAME)
TARGET = Target("r" * 253, "1.30.0-experimental", "1.30.2", requires_downtime=True)
PROMETHEUS = PrometheusGate(address=f"http://{'p' * 60}.example:9090", query="\U0001f6d1" * 4000, below=0.01)
#: Everything that has a list in it, as long as it may be.
POLICY = Policy(
    waves=Waves(steps=(*(number / 100 + 1 / 3e9 for number in range(99)), 1.0)),
    exclude=Exclude(namespaces=(LONG.namespace,) * 500),
    windows=(f"{';'.join(['Mon-Sun 00:00-04:00'] * 24)} Europe/Berlin",) * 20,
    approve=("9" * 63,) * 100,
    gates=Gates(prometheus=PROMETHEUS),
)
SURVEY = SurveyInput(REF, POLICY, NOW, NOW, (fingerprint(LONG),) * FAILED_KEPT)
RULE = WaveRule(MANY, "w" * 70, WaveGroup.NUMBERED, 2**32, 2**32, "9" * 63, MANY)
RESULT = RestartResult(LONG, RestartOutcome.ALREADY_CURRENT, Reason.ON_DELETE, DETAIL)
STEER = WaveControl(paused=True, stopped=True, limit=200, taken={f"{one:03}{'s' * 60}": 200 for one in range(200)})
_FACT = "\U0001f6d1" * FACT_LIMIT
FACTS = Facts(_FACT, _FACT, _FACT, (_FACT,) * SECRETS_NAMED, True, _FACT, _FACT, _FACT, _FACT)
FINDING = Finding(
    LONG.namespace,
    LONG.kind,
    LONG.name,
    Reason.ON_DELETE,
    DETAIL,
    ("p" * LONGEST_NAME,) * PODS_SHOWN,
    MANY,
    ("\U0001f6d1" * EVIDENCE_LIMIT,) * EVIDENCE_LINES,
    FACTS,
)
ITEM = Item(
    REF.name,
    FINDING,
    NOW,
    NOW,
    ItemState.RETRYING,
    NOW,
    MANY,
    closed=DETAIL,
    history=(HistoryEntry(NOW, DETAIL, DETAIL, DETAIL, DETAIL),) * HISTORY_KEPT,
)
WAVE_OF = POLICY.waves.max_workloads
BY_REASON = {str(reason): MANY for reason in Reason}
COUNTS = WorkloadCounts(MANY, MANY, MANY, MANY, MANY)
PROGRESS = Progress(
    cluster=REF.name,
    target=str(TARGET),
    phase=Phase.CONTROL_PLANE,
    needs_attention=MESSAGE * 2,
    next_step=MESSAGE,
    started_at=NOW,
    ended_at=NOW,
    result="done-with-items",
    workloads=COUNTS,
    wave=WaveProgress(MANY, MANY, RULE.name),
    items=ItemCounts(MANY, BY_REASON),
)

STATE = UpgradeState(
    started_at=NOW,
    target=ResolvedTarget(TARGET, "1.29.3", already_installed=True),
    hold_taken=True,
    began=NOW,
    mark=NOW,
    waves_run=MANY,
    canary_below=2**32,
    queue_deadline=NOW,
    counters=CountersState(MANY, MANY, MANY, MANY, list(SURVEY.failed), MANY),
    controls=ControlsState(
        paused_by=MESSAGE * 2,
        in_flight=200,
        # An operator writes who and why; what was decided is a phrase of ours, at its longest with the name of a wave.
        decisions=(HistoryEntry(NOW, f"approved {RULE.name}", DETAIL, DETAIL),) * HISTORY_KEPT,
        approved_names=[RULE.name] * 100,
        approved_numbers=[MANY] * 100,
    ),
)

WORST: tuple[object, ...] = (
    # Activities of the control plane, the hold and the gate.
    ResolveTargetInput(REF, TYPED),
    ResolvedTarget(TARGET, "1.29.3", already_installed=True),
    ApplyTargetInput(REF, TARGET),
    AwaitControlPlaneInput(REF, TARGET, timedelta(days=7)),
    AwaitControlPlaneResult(MESSAGE, (MESSAGE,) * 4),
    HoldInput(REF, f"upgrade:{REF.name}/{'u' * 36}", timedelta(days=7), hold=True),
    CheckGateInput(REF, TYPED, PROMETHEUS),
    CheckWindowInput(REF, POLICY.windows),
    WindowState(open=True, changes_at=NOW),
    REF,
    GateResult(MESSAGE),
    # Survey, waves and restarts.
    SURVEY,
    SurveySummary(
        MANY, MANY, {str(one): MANY for one in PodClass}, MANY, MANY, MANY, BY_REASON, WavePlan((RULE,) * MOST_WAVES)
    ),
    ListWaveMembersInput(SURVEY, RULE, 2**32),
    [WaveMember(LONG, NOW)] * WAVE_OF,
    WaveInput(SURVEY, RULE, 2**32, NOW, MANY, NOW, STEER),
    WaveResult(MANY, MANY, MANY, (LONG,) * WAVE_OF, MANY),
    WaveReport(MANY, MANY, STEER.taken, MANY, MESSAGE, (str(LONG),) * NAMED),
    STEER,
    RestartInput(REF, LONG, NOW, timedelta(days=7)),
    RESULT,
    # The queue.
    OpenItemsInput(SURVEY),
    OpenItemInput(REF, RESULT),
    OpenItemsResult(MANY, BY_REASON),
    FINDING,
    SetPodWarningsInput(REF, FINDING, DETAIL),
    RecheckItemInput(REF, FINDING),
    Observation(NOW, FINDING, DETAIL, True, NOW),
    *(view_of(replace(ITEM, finding=replace(FINDING, reason=reason))) for reason in Reason),
    ITEM.for_list(),
    RemediationItemInput(REF, ITEM),
    ItemCommand(TYPED, TYPED),
    ResolveCommand(TYPED, TYPED, force=True),
    SkipCommand(TYPED, TYPED, TYPED),
    SnoozeCommand(TYPED, TYPED, TYPED),
    WatchClusterInput(REF),
    # The upgrade.
    UpgradeInput(REF, TYPED, POLICY, TYPED, STATE),
    AttachInput(TYPED, TARGET, REF),
    OperatorInput(TYPED, TYPED),
    ApproveInput(TYPED, TYPED, MANY),
    LimitInput(TYPED, TYPED, MANY),
    PROGRESS,
    UpgradeResult("done-with-items", PROGRESS, MANY, MANY),
    UpgradeReport(PROGRESS, MANY, MANY, ITEM.history),
)


def _bytes(value: object) -> int:
    [payload] = data_converter.payload_converter.to_payloads([value])
    return payload.ByteSize()


@pytest.mark.parametrize("value", WORST, ids=lambda value: type(value).__name__)
def test_nothing_that_travels_is_above_the_limit(value: object) -> None:
    size = _bytes(value)

    print(f"{type(value).__name__}: {size} bytes")  # noqa: T201
    assert size <= _MOST


def test_everything_that_travels_is_weighed() -> None:
    weighed = {type(value) for value in WORST} | {NoneType, str, int, bool}
    travelling = set(_travelling())

    assert {one.__name__ for one in travelling - weighed} == set()
    # Not by finding nothing.
    assert {SurveySummary, WaveResult, Progress, Observation, WatchClusterInput, OperatorInput, ItemView} <= travelling


def test_pause_names_few_of_many_failed_restarts() -> None:
    state = CountersState()
    counters = Counters(state)
    for _ in range(50):
        counters.record_wave(WaveResult(failed=(LONG,) * WAVE_OF))
    message = counters.budget_exceeded(Budget())

    assert message is not None
    assert len(message) <= len(PROGRESS.needs_attention or "")
    assert _bytes(state) <= _MOST


async def test_failure_is_short_whatever_the_api_server_quotes() -> None:
    class _Refusing:
        @translating_errors
        async def call(self) -> None:
            raise RejectedError("\U0001f6d1" * 1_000_000, "y" * 1_000_000)

    failure = Failure()
    with pytest.raises(Exception, match="🛑") as raised:
        await _Refusing().call()
    data_converter.failure_converter.to_failure(raised.value, data_converter.payload_converter, failure)

    assert failure.HasField("cause")
    assert failure.ByteSize() <= _MOST


def _travelling() -> Iterator[type]:
    """What activities and workflows take and give."""
    handlers: list[Callable[..., Any]] = []
    for one in ALL_WORKFLOWS:
        definition = workflow._Definition.must_from_class(one)
        handlers += [definition.run_fn]
        handlers += [one.fn for one in definition.signals.values() if one.name]
        handlers += [one.fn for one in definition.queries.values() if one.name]
        handlers += [one.fn for one in definition.updates.values() if one.name]
    client: Any = object()
    served = ServedCluster(cast("ClusterClient", object()), REF)
    for function in [*compose_activities(served, client), *handlers]:
        hints = get_type_hints(inspect.unwrap(getattr(function, "__func__", function)))
        for hint in hints.values():
            yield from _parts(hint)


def _parts(hint: Any) -> Iterator[type]:  # noqa: ANN401  # any annotation
    if get_origin(hint) in (Union, UnionType):
        for one in get_args(hint):
            yield from _parts(one)
    else:
        # Of a list the list itself: it is the whole that must be small.
        yield get_origin(hint) or hint
