"""The survey as activities. Their results are bounded: counts and wave rules, never the list of all workloads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

from temporalio import activity

from activities.boundary import ServedCluster, heartbeating
from activities.survey.cache import MAX_AGE_SECONDS, CachedReading, SurveyCache
from mesh.identity import ClusterRef
from mesh.k8s.workload_ref import WorkloadRef
from mesh.maintenance_windows import Windows, parse_windows
from mesh.plan.policy import Policy
from mesh.plan.waves import WavePlan, WaveRule, belongs, plan_waves
from mesh.survey.actions import RESTARTS, Action
from mesh.survey.pod_class import PodClass
from mesh.survey.snapshot import UpgradeContext
from mesh.survey.survey import Survey, SurveyedWorkload

#: Failed restarts that the input of a survey names: each takes 19 bytes of a payload.
FAILED_KEPT = 6000


@dataclass(frozen=True, slots=True)
class SurveyInput:
    """What a survey needs to know of the upgrade (see mesh.survey.snapshot.UpgradeContext).

    `failed` holds at most `FAILED_KEPT` fingerprints of workloads. `canary_below` is the bound of the first plan's
    canary, so that later plans of the same upgrade have the same canary.
    """

    cluster: ClusterRef
    policy: Policy
    mark: datetime | None = None
    began_at: datetime | None = None
    failed: tuple[str, ...] = ()
    canary_below: int | None = None

    @property
    def context(self) -> UpgradeContext:
        """Returns what the running upgrade changes about the judgement of workloads."""
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
    """Counts of one survey, and the waves that its candidates for a restart fall into.

    `deferred` counts workloads whose maintenance window is closed; the first opens at `opens_at`, None for never.
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
    """A workload of a wave. Its maintenance window closes at `until`, after which its restart must not begin."""

    workload: WorkloadRef
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ListWaveMembersInput:
    """One wave of a plan.

    Waves of one step may judge from one reading of the cluster: one that began after `read_after`, which is when the
    step began or an operator last gave a command. None asks for a reading of this wave's own.
    """

    survey: SurveyInput
    rule: WaveRule
    canary_below: int
    read_after: datetime | None = None


def is_candidate(workload: SurveyedWorkload) -> bool:
    """Whether a wave restarts the workload."""
    return workload.action in RESTARTS


@lru_cache(maxsize=1024)
def _windows(texts: tuple[str, ...]) -> Windows:
    """Parses windows once: many workloads have the same."""
    return parse_windows(*texts)


def summarise(survey: Survey, request: SurveyInput) -> SurveySummary:
    """Returns the bounded form of a survey."""
    policy = request.policy
    restartable = [workload for workload in survey.workloads if is_candidate(workload)]
    candidates = [workload for workload in restartable if _windows(workload.windows).is_open(survey.taken_at)]
    closed = {workload.windows for workload in restartable} - {workload.windows for workload in candidates}
    openings = (_windows((*policy.windows, *texts)).next_open(survey.taken_at) for texts in closed)
    remediation = [workload for workload in survey.workloads if workload.action is Action.REMEDIATE]
    waves = plan_waves(
        candidates,
        canary_share=policy.waves.canary,
        steps=policy.waves.steps,
        max_workloads=policy.waves.max_workloads,
        canary_below=request.canary_below,
    )
    return SurveySummary(
        pods=survey.pods,
        workloads=len(survey.workloads),
        classes={str(pod_class): count for pod_class, count in survey.classes.items()},
        candidates=len(candidates),
        stale_workloads=sum(1 for workload in survey.workloads if workload.pod_class is PodClass.STALE),
        remediation=len(remediation),
        by_reason=dict(Counter(str(workload.reason) for workload in remediation)),
        waves=waves,
        deferred=len(restartable) - len(candidates),
        opens_at=min((opens_at for opens_at in openings if opens_at is not None), default=None),
    )


class SurveyActivities:
    """Activities that read the cluster and change nothing.

    `own_namespaces` are the namespaces that this worker and Temporal run in.
    """

    def __init__(self, served: ServedCluster, surveys: SurveyCache, own_namespaces: tuple[str, ...] = ()) -> None:
        self._served = served
        self._surveys = surveys
        self._own_namespaces = own_namespaces

    @activity.defn
    @heartbeating
    async def survey_cluster(self, request: SurveyInput) -> SurveySummary:
        """Reads the cluster, counts Pods and workloads, and plans the waves. The reading is always a new one."""
        self._served.connection_for(request.cluster)
        return summarise(self._evaluate(await self._surveys.get(), request), request)

    @activity.defn
    @heartbeating
    async def list_wave_members(self, request: ListWaveMembersInput) -> list[WaveMember]:
        """Lists the workloads of one wave as they are now: the cluster has changed since the plan was made."""
        self._served.connection_for(request.survey.cluster)
        max_age = 0.0 if request.read_after is None else MAX_AGE_SECONDS
        reading = await self._surveys.get(max_age=max_age, read_after=request.read_after)
        # A window may have closed since the reading: its workload is deferred, as if it were read now.
        now = reading.now
        return [
            WaveMember(workload.ref, _windows(workload.windows).closes(now) if workload.windows else None)
            for workload in self._evaluate(reading, request.survey).workloads
            if is_candidate(workload)
            and belongs(workload, request.rule, request.canary_below)
            and _windows(workload.windows).is_open(now)
        ][: request.survey.policy.waves.max_workloads]

    def _evaluate(self, reading: CachedReading, request: SurveyInput) -> Survey:
        return reading.survey(replace(request.context, own_namespaces=self._own_namespaces))
