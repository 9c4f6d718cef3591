"""The survey as activities. What goes into history is bounded: counts and wave rules, never the list of everything."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from temporalio import activity

from activities.edge import Served, brief
from activities.restarts import WorkloadRef
from activities.surveying import take_survey
from mesh.classes import PodClass
from mesh.cluster import ClusterRef
from mesh.policy import Policy
from mesh.survey import Action, Attempt, Record, Survey
from mesh.waves import WavePlan, WaveRule, belongs, plan_waves

#: Failed restarts that a survey can be told of: each is 19 bytes of a payload.
FAILED_KEPT = 8000


@dataclass(frozen=True, slots=True)
class SurveyInput:
    """`mark`, `began` and `failed` are this upgrade's (see mesh.survey.Attempt).

    `failed` are at most `FAILED_KEPT` fingerprints.
    """

    cluster: ClusterRef
    policy: Policy
    mark: datetime | None = None
    began: datetime | None = None
    failed: tuple[str, ...] = ()

    @property
    def attempt(self) -> Attempt:
        """What the running upgrade changes about judging."""
        return Attempt(
            mark=self.mark,
            began=self.began,
            restart_missing=self.policy.missing == "restart",
            exclude_namespaces=self.policy.exclude.namespaces,
            failed=frozenset(self.failed),
        )


@dataclass(frozen=True, slots=True)
class SurveySummary:
    """Counts of one survey, and the waves that its candidates fall into."""

    pods: int
    workloads: int
    classes: dict[str, int]
    candidates: int
    stale_workloads: int
    remediation: int
    by_reason: dict[str, int]
    waves: WavePlan


@dataclass(frozen=True, slots=True)
class MembersInput:
    """Whose members: one wave of a plan."""

    survey: SurveyInput
    rule: WaveRule
    canary_below: int


def is_candidate(record: Record) -> bool:
    """Whether a wave is to restart it."""
    return record.action in (Action.ROLLOUT_RESTART, Action.EVICT)


def summarise(survey: Survey, policy: Policy) -> SurveySummary:
    """The bounded form of a survey."""
    candidates = [one for one in survey.records if is_candidate(one)]
    remediation = [one for one in survey.records if one.action is Action.REMEDIATE]
    waves = plan_waves(
        candidates,
        canary_share=policy.waves.canary,
        steps=policy.waves.steps,
        max_workloads=policy.waves.max_workloads,
    )
    return SurveySummary(
        pods=survey.pods,
        workloads=len(survey.records),
        classes={str(klass): count for klass, count in survey.classes.items()},
        candidates=len(candidates),
        stale_workloads=sum(1 for one in survey.records if one.klass is PodClass.STALE),
        remediation=len(remediation),
        by_reason=dict(Counter(str(one.reason) for one in remediation)),
        waves=waves,
    )


class SurveyActivities:
    """Activities that look and change nothing."""

    def __init__(self, served: Served) -> None:
        self._served = served

    @activity.defn
    @brief
    async def survey_cluster(self, ask: SurveyInput) -> SurveySummary:
        """Counts everything and plans the waves."""
        survey = await take_survey(self._served.of(ask.cluster), attempt=ask.attempt)
        return summarise(survey, ask.policy)

    @activity.defn
    @brief
    async def wave_members(self, ask: MembersInput) -> list[WorkloadRef]:
        """The workloads of one wave as they are now: the cluster has moved on since the plan."""
        survey = await take_survey(self._served.of(ask.survey.cluster), attempt=ask.survey.attempt)
        return [
            WorkloadRef(*one.key)
            for one in survey.records
            if is_candidate(one) and belongs(one, ask.rule, ask.canary_below)
        ][: ask.survey.policy.waves.max_workloads]
