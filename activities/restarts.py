"""Restarts one workload and sees it done: at most one template write per workload and attempt.

The mark is a time fixed for the attempt. It is written only if the workload is still stale, with the resource
version that was read; a mark that is as late or later is never replaced and means: under way, wait. So a lost reply,
a retry, a second worker or a killed one cannot roll a workload twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec
from temporalio import activity

from activities.edge import Served, translated
from activities.expected import ExpectedProxies
from activities.kube.client import Cluster
from activities.kube.events import emit
from activities.kube.paths import path
from activities.kube.reading import read_workload
from mesh.asking import Expected
from mesh.causes import Reason, cause_of_moment, cause_of_pods
from mesh.classes import live_proxy
from mesh.cluster import ClusterRef
from mesh.errors import ChangedMeanwhileError, NotFoundError, RejectedError, UnreachableError
from mesh.objects import DisruptionBudget, Pod, Workload
from mesh.owners import Owner
from mesh.rollout import EVICTABLE_KINDS, MARK, Rollout, mark_of, rollout
from mesh.survey import pod_is_current, runs_expected
from mesh.text import brief, rfc3339

_POLL_SECONDS = 1.0
_WRITE_TRIES = 5


class Outcome(StrEnum):
    """How a restart ended."""

    RESTARTED = "restarted"
    ALREADY_CURRENT = "already-current"
    GONE = "gone"
    FAILED = "failed"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class WorkloadRef:
    """A workload within a cluster."""

    namespace: str
    kind: str
    name: str

    def words(self) -> str:
        """For people: `shop/Deployment/cart`."""
        return f"{self.namespace}/{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class RestartInput:
    """`mark` is the attempt's time; `no_progress` ends the waiting for a rollout that does not move."""

    cluster: ClusterRef
    workload: WorkloadRef
    mark: datetime
    no_progress: timedelta


@dataclass(frozen=True, slots=True)
class RestartResult:
    """`reason` and `detail` tell why it failed; `by` is whose restart it was when it was not ours."""

    workload: WorkloadRef
    outcome: Outcome
    reason: Reason | None = None
    detail: str | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class _State:
    """One look at a workload: its Pods, what they ought to run, where its rollout stands."""

    workload: Workload
    pods: tuple[Pod, ...]
    expected: Expected
    rollout: Rollout

    @property
    def stale(self) -> bool:
        """Whether some living Pod runs another proxy than it would get."""
        return any(not runs_expected(pod, self.expected) for pod in self.pods)

    @property
    def current(self) -> bool:
        """Whether the rollout is complete and every Pod current and Ready."""
        return self.rollout.complete and all(pod_is_current(pod, self.expected) for pod in self.pods)


class RestartActivities:
    """Activities of the data plane."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._proxies = ExpectedProxies(served.cluster)

    @activity.defn
    @translated
    async def restart_workload(self, ask: RestartInput) -> RestartResult:
        """Restarts it if it is still stale, and returns when it was seen done or cannot be."""
        cluster = self._served.of(ask.cluster)
        try:
            result = await _Restart(cluster, self._proxies, ask).run()
        except NotFoundError:
            result = RestartResult(ask.workload, Outcome.GONE)
        if result.outcome in (Outcome.RESTARTED, Outcome.FAILED):
            await _tell(cluster, result)
        return result


class _Restart:
    """One restart on its way. Every step can be repeated: all that is known is read from the cluster."""

    def __init__(self, cluster: Cluster, proxies: ExpectedProxies, ask: RestartInput) -> None:
        self._cluster = cluster
        self._proxies = proxies
        self._ask = ask
        self._seen: object = None
        self._moved = time.monotonic()

    async def run(self) -> RestartResult:
        """The whole of it: wait for what is under way, judge, write once, wait, verify."""
        state = await self._wait(lambda one: one.rollout.settled or one.rollout.failed is not None)
        if state is None:
            return await self._timed_out()
        mine = self._marked(state.workload)
        if not mine and not state.stale:
            return RestartResult(self._ask.workload, Outcome.ALREADY_CURRENT)
        if not mine:
            refused = await self._write(state)
            if refused is not None:
                return refused
        return await self._verify()

    def _marked(self, workload: Workload) -> bool:
        mark = mark_of(workload)
        return mark is not None and mark >= self._ask.mark.replace(microsecond=0)

    async def _write(self, state: _State) -> RestartResult | None:
        """The one write of this attempt; None when it is done, by us or by an earlier try of ours."""
        if self._ask.workload.kind in EVICTABLE_KINDS:
            return await self._evict(state)
        for _ in range(_WRITE_TRIES):
            cause = await self._forbidden(state)
            if cause is not None:
                return cause
            metadata = state.workload.metadata
            body = {
                "metadata": {"resourceVersion": metadata.resource_version, "uid": metadata.uid},
                "spec": {"template": {"metadata": {"annotations": {MARK: rfc3339(self._ask.mark)}}}},
            }
            where = path(self._ask.workload.kind, self._ask.workload.namespace, self._ask.workload.name)
            try:
                await self._cluster.patch(where, body, Workload)
            except ChangedMeanwhileError:
                state = await self._look()
                if self._marked(state.workload) or not state.stale:
                    return None
                continue
            except RejectedError as error:
                return self._failed(Reason.ROLLOUT_FAILING, f"the restart was refused: {error.message}")
            return None
        raise ChangedMeanwhileError(f"{self._ask.workload.words()} changes faster than it can be restarted.")

    async def _forbidden(self, state: _State) -> RestartResult | None:
        """What the survey may not have known yet: a budget, a rollout that fails."""
        budgets, _ = await self._cluster.list_all(
            path("PodDisruptionBudget", self._ask.workload.namespace), DisruptionBudget
        )
        template = state.workload.template
        if template is None:
            return self._failed(Reason.UNSUPPORTED_OWNER, "it has no Pod template")
        reference = self._ask.workload
        owner = Owner(reference.kind, reference.namespace, reference.name, state.workload, template)
        cause = cause_of_moment(owner, state.pods, budgets)
        return self._failed(*cause) if cause else None

    async def _evict(self, state: _State) -> RestartResult | None:
        """A workload without rollout: its stale Pods leave one at a time, by the API that honours budgets."""
        for pod in state.pods:
            if runs_expected(pod, state.expected):
                continue
            blocked = await self._evict_one(pod)
            if blocked is not None:
                return blocked
            if await self._wait(_gone(pod)) is None:
                return await self._timed_out()
        return None

    async def _evict_one(self, pod: Pod) -> RestartResult | None:
        name, namespace = pod.metadata.name, pod.metadata.namespace
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            # Of two evictions of one name only the one that means this very Pod counts.
            "deleteOptions": {"preconditions": {"uid": pod.metadata.uid}},
        }
        began = time.monotonic()
        while True:
            try:
                await self._cluster.create(path("Pod", namespace, name, "eviction"), body, msgspec.Raw)
            except (NotFoundError, ChangedMeanwhileError):
                return None  # gone already: what was wanted
            except UnreachableError as error:
                # A budget that allows nothing at the moment answers 429.
                if time.monotonic() - began > self._ask.no_progress.total_seconds():
                    return self._failed(Reason.DISRUPTION_BUDGET, error.message)
                activity.heartbeat("waiting for the disruption budget")
                await asyncio.sleep(5 * _POLL_SECONDS)
            else:
                return None

    async def _verify(self) -> RestartResult:
        """Done means seen: rollout complete, every living Pod current and Ready."""
        state = await self._wait(lambda one: one.current or one.rollout.failed is not None or _futile(one))
        if state is None:
            return await self._timed_out()
        if state.current:
            return RestartResult(self._ask.workload, Outcome.RESTARTED)
        if state.rollout.failed is not None:
            cause = cause_of_pods(state.pods, datetime.now(UTC))
            return self._failed(Reason.ROLLOUT_TIMED_OUT, (cause[1] if cause else None) or state.rollout.failed)
        if not self._marked(state.workload) and self._ask.workload.kind not in EVICTABLE_KINDS:
            return self._failed(Reason.RESTART_REVERTED, "the restart's mark was taken off the template again")
        found = next((live_proxy(pod) for pod in state.pods if not runs_expected(pod, state.expected)), None)
        return self._failed(
            Reason.INJECTION_FAILED, f"new Pods have {found or 'no sidecar'}, not {state.expected.image}"
        )

    async def _wait(self, done: Callable[[_State], bool]) -> _State | None:
        """Looks until `done`; None after a time in which nothing moved."""
        while True:
            state = await self._look()
            if done(state):
                return state
            seen = (state.rollout.progress, sum(pod.ready for pod in state.pods), len(state.pods))
            if seen != self._seen:
                self._seen, self._moved = seen, time.monotonic()
            activity.heartbeat(state.rollout.message)
            if time.monotonic() - self._moved > self._ask.no_progress.total_seconds():
                return None
            await asyncio.sleep(_POLL_SECONDS)

    async def _look(self) -> _State:
        reference = self._ask.workload
        workload = await read_workload(self._cluster, reference.kind, reference.namespace, reference.name)
        query = {"labelSelector": workload.label_selector.query()}
        found, _ = await self._cluster.list_all(path("Pod", reference.namespace), Pod, query)
        living = tuple(pod for pod in found if pod.metadata.deletion_timestamp is None and pod.status.phase != "Failed")
        expected = await self._proxies.of(workload)
        return _State(workload, living, expected, rollout(workload))

    async def _timed_out(self) -> RestartResult:
        state = await self._look()
        cause = cause_of_pods(state.pods, datetime.now(UTC))
        told = (cause[1] if cause else None) or state.rollout.message
        return self._failed(Reason.ROLLOUT_TIMED_OUT, f"no progress for {self._ask.no_progress}: {told}")

    def _failed(self, reason: Reason, detail: str | None) -> RestartResult:
        return RestartResult(self._ask.workload, Outcome.FAILED, reason, brief(detail or ""))


def _futile(state: _State) -> bool:
    """The rollout is complete, all its Pods are Ready, and they are still not as expected."""
    return state.rollout.complete and all(pod.ready for pod in state.pods) and state.stale


def _gone(pod: Pod) -> Callable[[_State], bool]:
    uid = pod.metadata.uid
    return lambda state: state.rollout.complete and all(one.metadata.uid != uid for one in state.pods)


async def _tell(cluster: Cluster, result: RestartResult) -> None:
    restarted = result.outcome is Outcome.RESTARTED
    message = "restarted; every Pod runs the expected proxy" if restarted else f"{result.reason}: {result.detail}"
    await emit(
        cluster,
        namespace=result.workload.namespace,
        kind=result.workload.kind,
        name=result.workload.name,
        reason="RestartSuccess" if restarted else "RestartFailed",
        message=message,
        warning=not restarted,
    )
