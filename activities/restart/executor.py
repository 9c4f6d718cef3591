"""Executes one restart: at most one write per workload and attempt, verified by observation.

The mark is a time fixed for the attempt. It is written only while the workload is stale, with the resource version
that was read. A mark that is as late or later is never replaced, and means: the restart is under way, wait for it. So
a lost answer, a retry, a second worker or a killed one cannot roll a workload twice.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from activities.kube.client import ClusterClient
from activities.kube.informer import Informer
from activities.kube.paths import path
from activities.kube.workloads import read_last_writer
from activities.restart.disruption_budgets import DisruptionBudgets
from activities.restart.eviction import evict_pod
from activities.restart.expected_proxy_cache import ExpectedProxyCache
from activities.restart.injection_probe import InjectionProbe, InjectorUnavailableError
from activities.restart.outcome import RestartInput, RestartOutcome, RestartResult
from activities.restart.rollout_observer import RolloutObserver, RolloutState
from mesh.errors import ChangedMeanwhileError, RejectedError
from mesh.k8s.kinds import EVICTABLE_KINDS
from mesh.k8s.objects import PodTemplate, Workload
from mesh.k8s.owners import Owner
from mesh.k8s.restart_patch import mark_of, restart_patch
from mesh.survey.assessment import WorkloadState
from mesh.survey.pod_class import is_excluded, live_proxy, runs_expected
from mesh.survey.pod_rules import most_severe
from mesh.survey.reasons import Cause, Reason
from mesh.survey.restart_rules import last_rollout_failed, owner_cause
from mesh.text import one_line

_WRITE_TRIES = 5
#: A controller that gave up is asked again after this: it may count Pods that it made after all.
_CONFIRM_SECONDS = 2.0
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class _WriteConflictError(Exception):
    """The workload was changed between its reading and its writing."""


class RestartExecutor:
    """Restarts one workload. Every step can be repeated, because all that decides is read from the cluster."""

    def __init__(
        self,
        cluster: ClusterClient,
        informer: Informer,
        proxies: ExpectedProxyCache,
        budgets: DisruptionBudgets,
        injection: InjectionProbe,
        request: RestartInput,
    ) -> None:
        self._cluster = cluster
        self._informer = informer
        self._budgets = budgets
        self._injection = injection
        self._request = request
        self._workload = request.workload
        self._location = path(request.workload.kind, request.workload.namespace, request.workload.name)
        self._no_progress = request.no_progress.total_seconds()
        self._observer = RolloutObserver(cluster, informer, proxies, injection, request)
        #: UIDs of Pods.
        self._evicted: set[str] = set()

    async def run(self) -> RestartResult:
        """Waits for a rollout that is under way, decides, writes once, and verifies.

        Raises:
            NotFoundError: the workload does not exist.
        """
        with self._observer.subscribed():
            try:
                return await self._run()
            except InjectorUnavailableError as error:
                return RestartResult(self._workload, RestartOutcome.POSTPONED, None, one_line(str(error)))

    async def _run(self) -> RestartResult:
        turn: tuple[str, int] | None = None
        turn_began = time.monotonic()
        conflicts = 0
        state = await self._observer.wait_until(self._is_decidable)
        while state is not None:
            marked = self._is_marked(state.workload)
            if not marked and (end := self._end_without_write(state)) is not None:
                return end
            # A restart that is under way goes on whatever its budgets allow; they count it.
            with self._budgets.reserve(self._owner(state), list(state.pods)) as blocking:
                if marked or blocking is None:
                    try:
                        return (None if marked else await self._write(state)) or await self._verify()
                    except _WriteConflictError:
                        conflicts += 1
            if blocking is None:
                if conflicts == _WRITE_TRIES:
                    raise ChangedMeanwhileError(f"{self._workload} changes faster than it can be restarted.")
                # The change may be a rollout, a pause or this attempt's own write: only states from now on decide.
                await self._observer.read()
            else:
                new_turn = (blocking, self._budgets.released(self._workload.namespace, blocking))
                if new_turn != turn:
                    # Another restart of the same budget is done: the queue moves.
                    turn, turn_began = new_turn, time.monotonic()
                elif time.monotonic() - turn_began > self._no_progress:
                    detail = f"PodDisruptionBudget {blocking} allowed no restart for {self._request.no_progress}"
                    return self._failed(Reason.DISRUPTION_BUDGET, detail)
                await self._observer.wait_for_change(f"waits for PodDisruptionBudget {blocking}")
            state = await self._observer.wait_until(self._is_decidable)
        return await self._no_progress_made()

    # Decides.

    def _is_decidable(self, state: RolloutState) -> bool:
        """Whether waiting changes no decision: no rollout of somebody else is under way."""
        settled = state.rollout.settled and state.expectation_known
        return self._is_marked(state.workload) or state.blocked or settled

    def _is_marked(self, workload: Workload) -> bool:
        """Whether this attempt, or a later restart, has written its mark."""
        mark = mark_of(workload)
        return mark is not None and mark >= self._request.mark.replace(microsecond=0)

    def _end_without_write(self, state: RolloutState) -> RestartResult | None:
        """Returns how the restart ends without a write; None where a write is needed and nothing forbids it."""
        if state.scaled_to_zero:
            return RestartResult(self._workload, RestartOutcome.SCALED_TO_ZERO)
        if state.expectation_known and not state.stale:
            return RestartResult(self._workload, RestartOutcome.ALREADY_CURRENT)
        # Since the survey the workload may have been excluded, paused, or taken out of the mesh.
        if is_excluded(self._owner(state), self._informer.namespace(self._workload.namespace)):
            return RestartResult(self._workload, RestartOutcome.EXCLUDED)
        cause = self._forbidding_cause(state)
        return None if cause is None else self._failed(cause.reason, cause.detail)

    def _forbidding_cause(self, state: RolloutState) -> Cause | None:
        workload_state = WorkloadState(self._owner(state), state.pods, datetime.now(UTC))
        cause = owner_cause(workload_state)
        if cause is None and state.workload.template is None:
            cause = Cause(Reason.UNSUPPORTED_OWNER, "it has no Pod template")
        if cause is None and state.expectation_known and state.expected.image is None:
            cause = Cause(Reason.WOULD_LOSE_SIDECAR, f"would get no sidecar: {state.expected}")
        # Budgets are waited for: a budget with a fixed number allows nothing while a neighbour's Pod is missing. What
        # a budget never allows is found by surveys, and here after `no_progress`.
        return cause or (None if self._request.by_operator else last_rollout_failed(workload_state))

    def _owner(self, state: RolloutState) -> Owner:
        ref = self._workload
        return Owner(ref.kind, ref.namespace, ref.name, state.workload, state.workload.template or PodTemplate())

    # Writes.

    async def _write(self, state: RolloutState) -> RestartResult | None:
        """Makes the one write of this attempt; returns None when it is made, else the failure.

        Raises:
            _WriteConflictError: the workload was changed since it was read.
            InjectorUnavailableError: new Pods are not injected.
        """
        await self._injection.check()
        if self._workload.kind in EVICTABLE_KINDS:
            return await self._evict_stale_pods(state)
        stale = [pod for pod in state.pods if not runs_expected(pod, state.expected)]
        body = restart_patch(state.workload, stale, self._request.mark)
        try:
            written = await self._cluster.patch(self._location, body, Workload)
        except ChangedMeanwhileError as error:
            raise _WriteConflictError from error
        except RejectedError as error:
            return self._failed(Reason.ROLLOUT_FAILING, f"the restart was refused: {error.message}")
        self._observer.note_answer(written)
        self._observer.expect_progress()
        return None

    async def _evict_stale_pods(self, state: RolloutState) -> RestartResult | None:
        """Evicts the stale Pods of a workload that has no rollout, one after another.

        A Ready Pod is evicted only while all others are Ready: an earlier try of this attempt may have evicted one.
        """
        stale = (pod for pod in state.pods if not runs_expected(pod, state.expected))
        for pod in sorted(stale, key=lambda pod: pod.ready):
            if pod.ready and await self._observer.wait_until(self._evicted_are_replaced) is None:
                return await self._no_progress_made()
            await self._injection.check()
            blocked = await evict_pod(self._cluster, self._informer, self._observer, pod, self._no_progress)
            if blocked is not None:
                return self._failed(Reason.DISRUPTION_BUDGET, blocked)
            self._evicted.add(pod.metadata.uid)
            self._observer.expect_progress()
        return None

    def _evicted_are_replaced(self, state: RolloutState) -> bool:
        return state.rolled_out and not any(pod.metadata.uid in self._evicted for pod in state.pods)

    # Verifies.

    async def _verify(self) -> RestartResult:
        """Waits until the rollout is complete and every living Pod is current and Ready, or cannot become so."""
        while True:
            state = await self._observer.wait_until(
                lambda state: state.current or state.blocked or state.rolled_out_in_vain
            )
            if state is None:
                return await self._no_progress_made()
            if state.rollout.complete and state.scaled_to_zero:
                return RestartResult(self._workload, RestartOutcome.SCALED_TO_ZERO)
            if state.current:
                return RestartResult(self._workload, RestartOutcome.RESTARTED)
            # Only the API server proves a failure: the informer's Pods may be older than its workload, and a
            # controller that gave up says so until it counts Pods that it made after all.
            await asyncio.sleep(_CONFIRM_SECONDS if state.given_up else 0)
            state = await self._observer.read()
            if state.rollout.paused is not None and not state.current:
                return self._failed(Reason.ROLLOUT_PAUSED, state.rollout.paused)
            if state.given_up or state.rolled_out_in_vain:
                await self._injection.check(max_age=0)
                if state.rolled_out_in_vain:
                    return await self._rolled_out_in_vain(state)
                return self._incomplete(state, Reason.ROLLOUT_TIMED_OUT, "", state.rollout.failed or "")
            await self._observer.wait_for_change(state.rollout.message)

    async def _rolled_out_in_vain(self, state: RolloutState) -> RestartResult:
        """Returns why all Pods are new and do not run the expected proxy."""
        if not self._is_marked(state.workload) and self._workload.kind not in EVICTABLE_KINDS:
            writer = await read_last_writer(self._cluster, self._location, self._request.mark)
            return self._failed(Reason.RESTART_REVERTED, f"the restart's mark was taken off the template by {writer}")
        wrong = (pod for pod in state.pods if not runs_expected(pod, state.expected))
        newest = max(wrong, key=lambda pod: pod.metadata.creation_timestamp or _LONG_AGO, default=None)
        image = live_proxy(newest) if newest is not None else None
        detail = f"new Pods have {image or 'no sidecar'}, expected: {state.expected}"
        return self._failed(Reason.INJECTION_FAILED, detail)

    async def _no_progress_made(self) -> RestartResult:
        """Returns why nothing moved for `no_progress`."""
        await self._injection.check(max_age=0)
        state = await self._observer.read()
        if not state.expectation_known:
            return self._failed(Reason.UNKNOWN_PROXY, state.expected.problem)
        # A bare controller carries no mark; only its evictions are waited for, so a restart was tried.
        tried = self._is_marked(state.workload) or self._workload.kind in EVICTABLE_KINDS
        reason = Reason.ROLLOUT_TIMED_OUT if tried else Reason.ROLLOUT_FAILING
        return self._incomplete(state, reason, f"no progress for {self._request.no_progress}: ", state.rollout.message)

    def _incomplete(self, state: RolloutState, reason: Reason, prefix: str, fallback: str) -> RestartResult:
        """Returns what the API server or the Pods say of a rollout that does not complete."""
        if state.rollout.over_quota:
            return self._failed(Reason.QUOTA_EXCEEDED, state.rollout.refused)
        worst = most_severe(state.pods, datetime.now(UTC))
        pod_detail = worst[1].detail if worst else None
        return self._failed(reason, prefix + (state.rollout.refused or pod_detail or fallback))

    def _failed(self, reason: Reason, detail: str | None) -> RestartResult:
        return RestartResult(self._workload, RestartOutcome.FAILED, reason, one_line(detail or ""))
