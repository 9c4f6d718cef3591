"""The survey as activities. What goes into history is bounded: counts and wave rules, never the list of everything."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

from temporalio import activity

from activities.boundary import ServedCluster, heartbeating
from activities.survey.run import run_survey
from mesh.identity import ClusterRef
from mesh.k8s.workload_ref import WorkloadRef
from mesh.maintenance_windows import Windows, parse_windows
from mesh.plan.policy import Policy
from mesh.plan.waves import WavePlan, WaveRule, belongs, plan_waves
from mesh.survey.actions import RESTARTS, Action
from mesh.survey.pod_class import PodClass
from mesh.survey.snapshot import UpgradeContext
from mesh.survey.survey import Survey, SurveyedWorkload

#: Failed restarts that a survey can be told of: each is 19 bytes of a payload.
FAILED_KEPT = 6000


@dataclass(frozen=True, slots=True)
class SurveyInput:
    """`mark`, `began_at` and `failed` are this upgrade's (see mesh.survey.snapshot.UpgradeContext).

    `failed` are at most `FAILED_KEPT` fingerprints.
    """

    cluster: ClusterRef
    policy: Policy
    mark: datetime | None = None
    began_at: datetime | None = None
    failed: tuple[str, ...] = ()
    canary_below: int | None = None

    @property
    def context(self) -> UpgradeContext:
        """What the running upgrade changes about judging."""
        return UpgradeContext(
            mark=self.mark,
            began=self.began_at,
            restart_missing=self.policy.missing == "restart",
            exclude_namespaces=self.policy.exclude.namespaces,
            failed=frozenset(self.failed),
            windows=self.policy.windows,
        )


@dataclass(frozen=True, slots=True)
class SurveySummary:
    """Counts of one survey, and the waves that its candidates fall into.

    `deferred` would be candidates if their windows were open; the first of them does at `opens_at`.
    """

    pods: int
    workloads: int
    classes: dict[str, int]
    candidates: int
    stale_workloads: int
    remediation: int
    by_reason: dict[str, int]
    waves: WavePlan
    deferred: int = 0
    opens_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WaveMember:
    """A workload of a wave; after `until` its window is shut, and its restart must not begin."""

    workload: WorkloadRef
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ListWaveMembersInput:
    """Whose members: one wave of a plan."""

    survey: SurveyInput
    rule: WaveRule
    canary_below: int


def is_candidate(record: SurveyedWorkload) -> bool:
    """Whether a wave is to restart it."""
    return record.action in RESTARTS


@lru_cache(maxsize=1024)
def _windows(texts: tuple[str, ...]) -> Windows:
    """Many workloads have the same."""
    return parse_windows(*texts)


def summarise(survey: Survey, ask: SurveyInput) -> SurveySummary:
    """The bounded form of a survey."""
    policy = ask.policy
    restartable = [one for one in survey.workloads if is_candidate(one)]
    candidates = [one for one in restartable if _windows(one.windows).is_open(survey.taken_at)]
    shut = {one.windows for one in restartable if not _windows(one.windows).is_open(survey.taken_at)}
    openings = (_windows((*policy.windows, *texts)).next_open(survey.taken_at) for texts in shut)
    remediation = [one for one in survey.workloads if one.action is Action.REMEDIATE]
    waves = plan_waves(
        candidates,
        canary_share=policy.waves.canary,
        steps=policy.waves.steps,
        max_workloads=policy.waves.max_workloads,
        canary_below=ask.canary_below,
    )
    return SurveySummary(
        pods=survey.pods,
        workloads=len(survey.workloads),
        classes={str(pod_class): count for pod_class, count in survey.classes.items()},
        candidates=len(candidates),
        stale_workloads=sum(1 for one in survey.workloads if one.pod_class is PodClass.STALE),
        remediation=len(remediation),
        by_reason=dict(Counter(str(one.reason) for one in remediation)),
        waves=waves,
        deferred=len(restartable) - len(candidates),
        opens_at=min((one for one in openings if one is not None), default=None),
    )


class SurveyActivities:
    """Activities that read and change nothing.

    `own_namespaces` are the namespaces that this worker and Temporal run in.
    """

    def __init__(self, served: ServedCluster, own_namespaces: tuple[str, ...] = ()) -> None:
        self._served = served
        self._own_namespaces = own_namespaces

    async def _survey(self, ask: SurveyInput) -> Survey:
        attempt = replace(ask.context, own_namespaces=self._own_namespaces)
        return await run_survey(self._served.connection_for(ask.cluster), attempt=attempt)

    @activity.defn
    @heartbeating
    async def survey_cluster(self, ask: SurveyInput) -> SurveySummary:
        """Counts everything and plans the waves."""
        survey = await self._survey(ask)
        return summarise(survey, ask)

    @activity.defn
    @heartbeating
    async def list_wave_members(self, ask: ListWaveMembersInput) -> list[WaveMember]:
        """The workloads of one wave as they are now: the cluster has moved on since the plan."""
        survey = await self._survey(ask.survey)
        now = survey.taken_at
        return [
            WaveMember(one.ref, _windows(one.windows).closes(now) if one.windows else None)
            for one in survey.workloads
            if is_candidate(one) and belongs(one, ask.rule, ask.canary_below) and _windows(one.windows).is_open(now)
        ][: ask.survey.policy.waves.max_workloads]
