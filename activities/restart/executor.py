"""One restart on its way: at most one template write per workload and attempt, and seen done.

The mark is a time fixed for the attempt. It is written only if the workload is still stale, with the resource
version that was read; a mark that is as late or later is never replaced and means: under way, wait. So a lost reply,
a retry, a second worker or a killed one cannot roll a workload twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec
from temporalio import activity

from activities.gates import probe_injection
from activities.kube.client import ClusterClient
from activities.kube.informer import Informer
from activities.kube.paths import path
from activities.kube.workloads import read_last_writer, read_pods, read_workload
from activities.restart.disruption_budgets import DisruptionBudgets
from activities.restart.expected_proxy_cache import ExpectedProxyCache
from mesh.errors import ChangedMeanwhileError, NotFoundError, RejectedError, UnreachableError, UpgradeError
from mesh.identity import ClusterRef
from mesh.istio.expected_proxy import ExpectedProxy
from mesh.k8s.kinds import EVICTABLE_KINDS
from mesh.k8s.objects import Pod, PodTemplate, Workload
from mesh.k8s.owners import Owner
from mesh.k8s.rollout import Rollout, mark_of, restart_patch, rollout
from mesh.k8s.workload_ref import WorkloadRef
from mesh.survey.assessment import WorkloadState
from mesh.survey.owner_rules import owner_cause
from mesh.survey.pod_class import live_proxy, pod_is_current, runs_expected
from mesh.survey.pod_rules import most_severe
from mesh.survey.reasons import Cause, Reason
from mesh.survey.restart_rules import last_rollout_failed
from mesh.text import one_line

#: What changed within this time is looked at once: a rollout of two Pods changes some thirty objects.
_SETTLE_SECONDS = 0.5
#: Looked at anew though nothing changed, and told to Temporal that this still lives. Each is a write of Temporal's: a
#: hundred and fifty rollouts that told every change cost it, and us, more than all their other events together.
_BEAT_SECONDS = 15.0
#: The mirror may be behind by this much: what it does not have is asked from the API server.
_BEHIND_SECONDS = 1.0
#: A rollout that stands still for so long may wait for an injector that does not answer.
_STALLED_SECONDS = 15.0
#: An answer of the injector, or none, is known to all restarts for this long.
_PROBED_SECONDS = 5.0
_EVICT_AGAIN_SECONDS = 5.0
_WRITE_TRIES = 5
#: After so long a controller's last word counts.
_SURE_SECONDS = 2.0
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class RestartOutcome(StrEnum):
    """How a restart ended. `held`: not at all, for the injector does not answer, and no workload is to blame."""

    RESTARTED = "restarted"
    ALREADY_CURRENT = "already-current"
    GONE = "gone"
    SCALED_TO_ZERO = "scaled-to-zero"
    FAILED = "failed"
    POSTPONED = "postponed"


@dataclass(frozen=True, slots=True)
class RestartInput:
    """`mark` is the attempt's time; `no_progress` ends the waiting for a rollout that does not move.

    `by_operator`: a person asks for it, and may have mended what the last rollout failed for.
    """

    cluster: ClusterRef
    workload: WorkloadRef
    mark: datetime
    no_progress: timedelta
    by_operator: bool = False


@dataclass(frozen=True, slots=True)
class RestartResult:
    """`reason` and `detail` tell why it failed or was held."""

    workload: WorkloadRef
    outcome: RestartOutcome
    reason: Reason | None = None
    detail: str | None = None


class _OvertakenError(Exception):
    """Somebody changed the workload between its reading and its writing."""


class _HeldError(Exception):
    """The injector does not answer; the message says how."""


class InjectionProbe:
    """Whether new Pods are injected at all, by the API server's own path. One probe for all restarts of a worker."""

    def __init__(self, cluster: ClusterClient) -> None:
        self._cluster = cluster
        self._lock = asyncio.Lock()
        self._probed = -math.inf
        self._trouble: str | None = None

    async def check(self, *, max_age: float = _PROBED_SECONDS) -> None:
        """_HeldError when it does not work, as far as was found out within so many seconds."""
        asked = time.monotonic()
        async with self._lock:
            if asked - self._probed > max_age:
                self._trouble = await self._probe()
                self._probed = time.monotonic()
        if self._trouble is not None:
            raise _HeldError(self._trouble)

    async def _probe(self) -> str | None:
        try:
            image = await probe_injection(self._cluster)
        except UpgradeError as error:
            return f"a new Pod would be refused: {error.message}"
        return None if image is not None else "a new Pod would get no sidecar"


@dataclass(frozen=True, slots=True)
class _State:
    """One look at a workload: its living Pods, what they ought to run, where its rollout stands."""

    workload: Workload
    pods: tuple[Pod, ...]
    expected: ExpectedProxy
    rollout: Rollout

    @property
    def known(self) -> bool:
        """Whether somebody could say what its Pods ought to run; that may be no sidecar at all."""
        return self.expected.problem is None

    @property
    def stale(self) -> bool:
        """Whether some living Pod runs another proxy than it would get."""
        if self.known and self.expected.image is None:
            return any(live_proxy(pod) is not None for pod in self.pods)
        return any(not runs_expected(pod, self.expected) for pod in self.pods)

    @property
    def whole(self) -> bool:
        """Whether the rollout is complete and every Pod is there and Ready."""
        enough = len(self.pods) >= self.rollout.wanted
        return self.rollout.complete and enough and all(pod.ready for pod in self.pods)

    @property
    def current(self) -> bool:
        """Whether it is whole, and every Pod is as expected."""
        return self.whole and all(pod_is_current(pod, self.expected) for pod in self.pods)

    @property
    def empty(self) -> bool:
        """Whether it wants no Pods and has none."""
        return not self.rollout.wanted and not self.pods

    @property
    def gave_up(self) -> bool:
        """Its controller did. Where a webhook refuses new Pods it says so too, and goes on once they are let in."""
        return self.rollout.failed is not None and (self.rollout.refused is None or self.rollout.over_quota)

    @property
    def stuck(self) -> bool:
        """It does not go on by itself: its controller gave up, or somebody paused it."""
        return self.gave_up or self.rollout.paused is not None

    @property
    def futile(self) -> bool:
        """It is whole, and known not to be as expected."""
        return self.whole and self.known and not self.current


class RestartExecutor:
    """Every step can be repeated: all that is known is read from the cluster."""

    def __init__(
        self,
        cluster: ClusterClient,
        mirror: Informer,
        proxies: ExpectedProxyCache,
        budgets: DisruptionBudgets,
        injection: InjectionProbe,
        ask: RestartInput,
    ) -> None:
        self._cluster = cluster
        self._mirror = mirror
        self._proxies = proxies
        self._budgets = budgets
        self._injection = injection
        self._ask = ask
        self._patience = ask.no_progress.total_seconds()
        self._change = asyncio.Event()
        #: Where it has stood before: to come back there, as a Pod that flaps does, is no progress.
        self._seen: set[object] = set()
        self._moved = self._beaten = time.monotonic()
        #: Of the workload as the API server told it last, its UID and generation: what is older in the mirror is old.
        self._told = ("", 0)
        self._evicted: set[str] = set()

    async def run(self) -> RestartResult:
        """The whole of it: wait for what is under way, judge, write once, wait, verify.

        Raises:
            NotFoundError: there is no such workload.
        """
        # From before the first look: a change after it must not be missed.
        with self._mirror.subscribe(self._ask.workload) as self._change:
            try:
                return await self._run()
            except _HeldError as error:
                return RestartResult(self._ask.workload, RestartOutcome.POSTPONED, None, one_line(str(error)))

    async def _run(self) -> RestartResult:
        waited_for: tuple[str, int] | None = None
        since = time.monotonic()
        conflicts = 0
        state = await self._wait(self._judgeable)
        while state is not None:
            mine = self._marked(state.workload)
            if not mine and (end := self._needless(state)) is not None:
                return end
            # What is under way already goes on, whatever it takes; its budgets are told of it.
            with self._budgets.taken(self._owner(state), list(state.pods)) as blocked:
                if mine or blocked is None:
                    try:
                        return (None if mine else await self._write(state)) or await self._verify()
                    except _OvertakenError:
                        conflicts += 1
            if blocked is None:
                if conflicts == _WRITE_TRIES:
                    raise ChangedMeanwhileError(f"{self._ask.workload} changes faster than it can be restarted.")
                # Whatever was written may be a rollout, a pause or our own write: the newest of it is judged.
                await self._read()
            else:
                turn = (blocked, self._budgets.turns(self._ask.workload.namespace, blocked))
                if turn != waited_for:
                    # Another one is done with it: this one's turn comes.
                    waited_for, since = turn, time.monotonic()
                elif time.monotonic() - since > self._patience:
                    told = f"PodDisruptionBudget {blocked} allowed no restart for {self._ask.no_progress}"
                    return self._failed(Reason.DISRUPTION_BUDGET, told)
                await self._changed(f"waits for PodDisruptionBudget {blocked}")
            state = await self._wait(self._judgeable)
        return await self._timed_out()

    def _judgeable(self, state: _State) -> bool:
        """Whether waiting would not change what is to be done: no rollout of others is under way."""
        return self._marked(state.workload) or state.stuck or (state.rollout.settled and state.known)

    def _needless(self, state: _State) -> RestartResult | None:
        """How it ends without a write; None where that is needed and nothing forbids it."""
        if state.empty:
            return RestartResult(self._ask.workload, RestartOutcome.SCALED_TO_ZERO)
        if state.known and not state.stale:
            return RestartResult(self._ask.workload, RestartOutcome.ALREADY_CURRENT)
        # Since the survey somebody may have paused it, or taken it out of the mesh.
        cause = self._forbidden(self._owner(state), state)
        return None if cause is None else self._failed(cause.reason, cause.detail)

    def _owner(self, state: _State) -> Owner:
        reference = self._ask.workload
        template = state.workload.template or PodTemplate()
        return Owner(reference.kind, reference.namespace, reference.name, state.workload, template)

    def _forbidden(self, owner: Owner, state: _State) -> Cause | None:
        workload_state = WorkloadState(owner, state.pods, datetime.now(UTC))
        cause = owner_cause(workload_state)
        if cause is None and state.workload.template is None:
            cause = Cause(Reason.UNSUPPORTED_OWNER, "it has no Pod template")
        if cause is None and state.known and state.expected.image is None:
            cause = Cause(Reason.WOULD_LOSE_SIDECAR, f"would get no sidecar: {state.expected.words}")
        # Budgets are waited for: one of a fixed number counts the Pods that there are, and while a neighbour rolls one
        # of them is missing. What never allows a restart is told by surveys, and here when patience is over.
        return cause or (None if self._ask.by_operator else last_rollout_failed(workload_state))

    def _marked(self, workload: Workload) -> bool:
        mark = mark_of(workload)
        return mark is not None and mark >= self._ask.mark.replace(microsecond=0)

    async def _write(self, state: _State) -> RestartResult | None:
        """The one write of this attempt; None when it is done.

        Raises:
            _OvertakenError: it was changed since it was read.
        """
        await self._injection.check()
        if self._ask.workload.kind in EVICTABLE_KINDS:
            return await self._evict(state)
        stale = [pod for pod in state.pods if not runs_expected(pod, state.expected)]
        body = restart_patch(state.workload, stale, self._ask.mark)
        where = path(self._ask.workload.kind, self._ask.workload.namespace, self._ask.workload.name)
        try:
            written = await self._cluster.patch(where, body, Workload)
        except ChangedMeanwhileError as error:
            raise _OvertakenError from error
        except RejectedError as error:
            return self._failed(Reason.ROLLOUT_FAILING, f"the restart was refused: {error.message}")
        self._told = (written.metadata.uid, written.metadata.generation)
        self._begin()
        return None

    async def _evict(self, state: _State) -> RestartResult | None:
        """A workload without rollout: its stale Pods leave one at a time, by the API that honours budgets.

        A Ready one only while nothing else is amiss, which may be what an earlier try of this left.
        """
        stale = (pod for pod in state.pods if not runs_expected(pod, state.expected))
        for pod in sorted(stale, key=lambda one: one.ready):
            if pod.ready and await self._wait(self._replaced) is None:
                return await self._timed_out()
            await self._injection.check()
            blocked = await self._evict_one(pod)
            if blocked is not None:
                return blocked
            self._evicted.add(pod.metadata.uid)
            self._begin()
        return None

    def _replaced(self, state: _State) -> bool:
        """Whether all that was evicted is gone, and others are there and Ready for it."""
        return state.whole and not any(pod.metadata.uid in self._evicted for pod in state.pods)

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
                limits = (one for one in self._mirror.budgets(namespace) if one.selects([pod]))
                budget = next((one.metadata.name for one in limits), None)
                if budget is None:
                    raise
                if time.monotonic() - began > self._patience:
                    return self._failed(Reason.DISRUPTION_BUDGET, f"PodDisruptionBudget {budget}: {error.message}")
                self._beat("waits for the disruption budget")
                await asyncio.sleep(_EVICT_AGAIN_SECONDS)
            else:
                return None

    async def _verify(self) -> RestartResult:
        """Done means seen: rollout complete, every living Pod current and Ready."""
        while True:
            state = await self._wait(lambda one: one.current or one.stuck or one.futile)
            if state is None:
                return await self._timed_out()
            if state.rollout.complete and state.empty:
                return RestartResult(self._ask.workload, RestartOutcome.SCALED_TO_ZERO)
            if state.current:
                return RestartResult(self._ask.workload, RestartOutcome.RESTARTED)
            # Bad news of a mirror may only be old news: its Pods may be older than its workload. And a controller's
            # word that it gave up stands until it counts the Pods that it made after all.
            await asyncio.sleep(_SURE_SECONDS if state.gave_up else 0)
            state = await self._read()
            if state.rollout.paused is not None and not state.current:
                return self._failed(Reason.ROLLOUT_PAUSED, state.rollout.paused)
            if state.gave_up or state.futile:
                # No workload is to blame for an injector that does not answer.
                await self._injection.check(max_age=0)
                if state.futile:
                    return await self._futile(state)
                return self._gave_up(state, Reason.ROLLOUT_TIMED_OUT, "", state.rollout.failed or "")
            await self._changed(state.rollout.message)

    def _gave_up(self, state: _State, reason: Reason, before: str, otherwise: str) -> RestartResult:
        """What the API server, or the Pods, say of a rollout that does not come to its end."""
        if state.rollout.over_quota:
            return self._failed(Reason.QUOTA_EXCEEDED, state.rollout.refused)
        worst = most_severe(state.pods, datetime.now(UTC))
        return self._failed(
            reason, before + (state.rollout.refused or (worst[1].detail if worst else None) or otherwise)
        )

    async def _futile(self, state: _State) -> RestartResult:
        reference = self._ask.workload
        if not self._marked(state.workload) and reference.kind not in EVICTABLE_KINDS:
            where = path(reference.kind, reference.namespace, reference.name)
            by = await read_last_writer(self._cluster, where, self._ask.mark)
            return self._failed(Reason.RESTART_REVERTED, f"the restart's mark was taken off the template by {by}")
        wrong = (pod for pod in state.pods if not runs_expected(pod, state.expected))
        newest = max(wrong, key=lambda pod: pod.metadata.creation_timestamp or _LONG_AGO, default=None)
        found = live_proxy(newest) if newest is not None else None
        told = f"new Pods have {found or 'no sidecar'}, expected: {state.expected.words}"
        return self._failed(Reason.INJECTION_FAILED, told)

    def _begin(self) -> None:
        """Something was done, from which on there may be progress, or none."""
        self._seen.clear()
        self._moved = time.monotonic()

    async def _wait(self, done: Callable[[_State], bool]) -> _State | None:
        """Looks at every change until `done`; None after a time in which nothing moved."""
        while True:
            state = await self._look()
            about = state.workload.metadata
            if (about.uid != self._told[0] or about.generation >= self._told[1]) and done(state):
                return state
            stands = (state.rollout.progress, sum(pod.ready for pod in state.pods), len(state.pods))
            now = time.monotonic()
            if stands not in self._seen:
                self._seen.add(stands)
                self._moved = now
            if now - self._moved > min(_STALLED_SECONDS, self._patience):
                await self._injection.check()
            if now - self._moved > self._patience:
                return None
            await self._changed(state.rollout.message)

    async def _changed(self, waits_for: str) -> None:
        """Until something of the workload changed, or a while has passed."""
        until_beat = self._beat(waits_for)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._change.wait(), min(until_beat, self._patience))
        await asyncio.sleep(_SETTLE_SECONDS)
        self._change.clear()

    def _beat(self, waits_for: str) -> float:
        """Tells Temporal what it waits for when that is due; the seconds until it is due next."""
        now = time.monotonic()
        if now - self._beaten >= _BEAT_SECONDS:
            activity.heartbeat(waits_for)
            self._beaten = now
        return self._beaten + _BEAT_SECONDS - now

    async def _look(self) -> _State:
        """As the mirror shows it."""
        began = time.monotonic()
        workload = self._mirror.workload(self._ask.workload)
        while workload is None:
            # Gone is what the API server calls gone: NotFoundError.
            await read_workload(self._cluster, self._ask.workload)
            if time.monotonic() - began > self._patience:
                raise UnreachableError(f"The watches of the cluster do not show {self._ask.workload}.")
            self._beat("waits for the watches to show it")
            await asyncio.sleep(_BEHIND_SECONDS)
            workload = self._mirror.workload(self._ask.workload)
        return await self._state(workload, self._mirror.pods_of(workload))

    async def _read(self) -> _State:
        """As the API server has it this very moment."""
        workload = await read_workload(self._cluster, self._ask.workload)
        self._told = (workload.metadata.uid, workload.metadata.generation)
        pods = [pod for pod in await read_pods(self._cluster, workload) if self._mirror.may_belong_to(pod, workload)]
        return await self._state(workload, pods)

    async def _state(self, workload: Workload, pods: list[Pod]) -> _State:
        living = tuple(pod for pod in pods if pod.metadata.deletion_timestamp is None and pod.status.phase != "Failed")
        expected = await self._proxies.of(workload, self._mirror.namespace(workload.metadata.namespace))
        return _State(workload, living, expected, rollout(workload))

    async def _timed_out(self) -> RestartResult:
        # No workload is to blame for an injector that does not answer.
        await self._injection.check(max_age=0)
        state = await self._read()
        if not state.known:
            return self._failed(Reason.UNKNOWN_PROXY, state.expected.problem)
        # Of a bare controller nothing tells what was tried before, and only evictions are waited for.
        tried = self._marked(state.workload) or self._ask.workload.kind in EVICTABLE_KINDS
        reason = Reason.ROLLOUT_TIMED_OUT if tried else Reason.ROLLOUT_FAILING
        return self._gave_up(state, reason, f"no progress for {self._ask.no_progress}: ", state.rollout.message)

    def _failed(self, reason: Reason, detail: str | None) -> RestartResult:
        return RestartResult(self._ask.workload, RestartOutcome.FAILED, reason, one_line(detail or ""))
