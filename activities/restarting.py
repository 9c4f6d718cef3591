"""One restart on its way: at most one template write per workload and attempt, and seen done.

The mark is a time fixed for the attempt. It is written only if the workload is still stale, with the resource
version that was read; a mark that is as late or later is never replaced and means: under way, wait. So a lost reply,
a retry, a second worker or a killed one cannot roll a workload twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec
from temporalio import activity

from activities.expected import ExpectedProxies
from activities.gates import probe
from activities.kube.client import Cluster
from activities.kube.mirror import Mirror
from activities.kube.paths import path
from activities.kube.reading import read_pods, read_template_manager, read_workload
from mesh.asking import Expected
from mesh.causes import Cause, Reason, cause_of_moment, cause_of_owner, cause_of_pods, squeezed
from mesh.classes import live_proxy
from mesh.cluster import ClusterRef
from mesh.errors import ChangedMeanwhileError, NotFoundError, RejectedError, UnreachableError, UpgradeError
from mesh.objects import Pod, Workload
from mesh.owners import Owner
from mesh.rollout import EVICTABLE_KINDS, Rollout, mark_of, may_take, restart_patch, rollout
from mesh.survey import pod_is_current, runs_expected
from mesh.text import brief

#: What changed within this time is looked at once.
_SETTLE_SECONDS = 0.1
#: Looked at anew though nothing changed, and told to Temporal that this still lives.
_BEAT_SECONDS = 10.0
#: The mirror may be behind by this much: what it does not have is asked from the API server.
_BEHIND_SECONDS = 1.0
#: A rollout that stands still for so long may wait for an injector that does not answer.
_STALLED_SECONDS = 15.0
#: An answer of the injector, or none, is known to all restarts for this long.
_PROBED_SECONDS = 5.0
_EVICT_AGAIN_SECONDS = 5.0
_WRITE_TRIES = 5


class Outcome(StrEnum):
    """How a restart ended. `held`: not at all, for the injector does not answer, and no workload is to blame."""

    RESTARTED = "restarted"
    ALREADY_CURRENT = "already-current"
    GONE = "gone"
    SCALED_TO_ZERO = "scaled-to-zero"
    FAILED = "failed"
    HELD = "held"


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
    """`reason` and `detail` tell why it failed or was held."""

    workload: WorkloadRef
    outcome: Outcome
    reason: Reason | None = None
    detail: str | None = None


class _HeldError(Exception):
    """The injector does not answer; the message says how."""


class Injection:
    """Whether new Pods are injected at all, by the API server's own path. One probe for all restarts of a worker."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = asyncio.Lock()
        self._until = 0.0
        self._trouble: str | None = None

    async def check(self) -> None:
        """_HeldError when it does not work."""
        async with self._lock:
            if time.monotonic() > self._until:
                self._trouble = await self._probe()
                self._until = time.monotonic() + _PROBED_SECONDS
        if self._trouble is not None:
            raise _HeldError(self._trouble)

    async def _probe(self) -> str | None:
        try:
            image = await probe(self._cluster)
        except UpgradeError as error:
            return f"a new Pod would be refused: {error.message}"
        return None if image is not None else "a new Pod would get no sidecar"


class Budgets:
    """PodDisruptionBudgets under restarts at the same time: rolling updates ignore them, so they are kept here.

    What a restart in flight may take is counted against its budgets from before its write until it is done, since
    the disruption controller only counts what is gone already.
    """

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        #: By budget: who takes how many. A workload may be there twice, while an earlier try of it is given up.
        self._taking: dict[tuple[str, str], list[tuple[str, int]]] = {}

    @contextlib.contextmanager
    def taken(self, owner: Owner, pods: list[Pod]) -> Iterator[str | None]:
        """Takes from all budgets of the Pods, or gives the name of one that has nothing left at the moment."""
        workload = owner.workload
        taken = may_take(workload) if workload is not None else 0
        mine: list[tuple[str, str]] = []
        uid = workload.metadata.uid if workload is not None else ""
        blocked = None
        for budget in self._mirror.budgets(owner.namespace):
            key = (budget.metadata.namespace, budget.metadata.name)
            others = sum(count for one, count in self._taking.get(key, ()) if one != uid)
            if taken and budget.selects(pods):
                if squeezed(budget, taken, others):
                    blocked = budget.metadata.name
                    break
                mine.append(key)
        if blocked is not None:
            yield blocked
            return
        for key in mine:
            self._taking.setdefault(key, []).append((uid, taken))
        try:
            yield None
        finally:
            for key in mine:
                self._taking[key].remove((uid, taken))
                if not self._taking[key]:
                    del self._taking[key]


@dataclass(frozen=True, slots=True)
class _State:
    """One look at a workload: its living Pods, what they ought to run, where its rollout stands."""

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
        """Whether the rollout is complete and every Pod is there, current and Ready."""
        return (
            self.rollout.complete
            and len(self.pods) >= self.rollout.wanted
            and all(pod_is_current(pod, self.expected) for pod in self.pods)
        )

    @property
    def stuck(self) -> bool:
        """It does not go on by itself: its controller gave up, or somebody paused it."""
        return self.rollout.failed is not None or self.rollout.paused is not None

    @property
    def futile(self) -> bool:
        """The rollout is complete, all its Pods are Ready, and they are still not as expected."""
        return self.rollout.complete and all(pod.ready for pod in self.pods) and self.stale


class Restart:
    """Every step can be repeated: all that is known is read from the cluster."""

    def __init__(
        self,
        cluster: Cluster,
        mirror: Mirror,
        proxies: ExpectedProxies,
        budgets: Budgets,
        injection: Injection,
        ask: RestartInput,
    ) -> None:
        self._cluster = cluster
        self._mirror = mirror
        self._proxies = proxies
        self._budgets = budgets
        self._injection = injection
        self._ask = ask
        self._key = (ask.workload.namespace, ask.workload.kind, ask.workload.name)
        self._patience = ask.no_progress.total_seconds()
        self._change = asyncio.Event()
        self._seen: object = None
        self._moved = time.monotonic()
        #: What is older in the mirror says nothing about our own write.
        self._written = 0

    async def run(self) -> RestartResult:
        """The whole of it: wait for what is under way, judge, write once, wait, verify.

        Raises:
            NotFoundError: there is no such workload.
        """
        # From before the first look: a change after it must not be missed.
        with self._mirror.changes(self._key) as self._change:
            try:
                return await self._run()
            except _HeldError as error:
                return RestartResult(self._ask.workload, Outcome.HELD, None, brief(str(error)))

    async def _run(self) -> RestartResult:
        state = await self._wait(lambda one: one.rollout.settled or one.stuck)
        if state is None:
            return await self._timed_out()
        if not self._marked(state.workload):
            if not state.rollout.wanted and not state.pods:
                return RestartResult(self._ask.workload, Outcome.SCALED_TO_ZERO)
            if not state.stale:
                return RestartResult(self._ask.workload, Outcome.ALREADY_CURRENT)
        return await self._within_budget(state)

    async def _within_budget(self, state: _State) -> RestartResult:
        """Waits until no budget is hurt, and keeps them told of what this restart takes until it is done."""
        began = time.monotonic()
        while True:
            reference = self._ask.workload
            template = state.workload.template
            if template is None:
                return self._failed(Reason.UNSUPPORTED_OWNER, "it has no Pod template")
            owner = Owner(reference.kind, reference.namespace, reference.name, state.workload, template)
            mine = self._marked(state.workload)
            # Since the survey somebody may have paused it, or written a budget.
            cause = None if mine else self._forbidden(owner, state)
            if cause is not None:
                return self._failed(*cause)
            # What is under way already goes on, whatever it takes.
            with self._budgets.taken(owner, list(state.pods)) as blocked:
                if blocked is None or mine:
                    return (None if mine else await self._write(state)) or await self._verify()
            if time.monotonic() - began > self._patience:
                told = f"PodDisruptionBudget {blocked} allowed no restart for {self._ask.no_progress}"
                return self._failed(Reason.DISRUPTION_BUDGET, told)
            await self._changed(f"waits for PodDisruptionBudget {blocked}")
            state = await self._look()
            if not self._marked(state.workload) and not state.stale:
                return RestartResult(self._ask.workload, Outcome.ALREADY_CURRENT)

    def _forbidden(self, owner: Owner, state: _State) -> Cause | None:
        budgets = self._mirror.budgets(owner.namespace)
        now = datetime.now(UTC)
        return cause_of_owner(owner, state.pods, now) or cause_of_moment(owner, state.pods, budgets)

    def _marked(self, workload: Workload) -> bool:
        mark = mark_of(workload)
        return mark is not None and mark >= self._ask.mark.replace(microsecond=0)

    async def _write(self, state: _State) -> RestartResult | None:
        """The one write of this attempt; None when it is done, by us or by an earlier try of ours."""
        await self._injection.check()
        if self._ask.workload.kind in EVICTABLE_KINDS:
            return await self._evict(state)
        for _ in range(_WRITE_TRIES):
            stale = [pod for pod in state.pods if not runs_expected(pod, state.expected)]
            body = restart_patch(state.workload, stale, self._ask.mark)
            where = path(self._ask.workload.kind, self._ask.workload.namespace, self._ask.workload.name)
            try:
                written = await self._cluster.patch(where, body, Workload)
            except ChangedMeanwhileError:
                state = await self._read()
                if self._marked(state.workload) or not state.stale:
                    return None
                continue
            except RejectedError as error:
                return self._failed(Reason.ROLLOUT_FAILING, f"the restart was refused: {error.message}")
            self._written = written.metadata.generation
            return None
        raise ChangedMeanwhileError(f"{self._ask.workload.words()} changes faster than it can be restarted.")

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
                if time.monotonic() - began > self._patience:
                    return self._failed(Reason.DISRUPTION_BUDGET, error.message)
                activity.heartbeat("waits for the disruption budget")
                await asyncio.sleep(_EVICT_AGAIN_SECONDS)
            else:
                return None

    async def _verify(self) -> RestartResult:
        """Done means seen: rollout complete, every living Pod current and Ready."""
        while True:
            state = await self._wait(lambda one: one.current or one.stuck or one.futile)
            if state is None:
                return await self._timed_out()
            if state.current:
                return RestartResult(self._ask.workload, Outcome.RESTARTED)
            # Bad news of a mirror may only be old news: its Pods may be older than its workload.
            state = await self._read()
            if state.rollout.failed is not None:
                return self._gave_up(state, "", state.rollout.failed)
            if state.rollout.paused is not None:
                return self._failed(Reason.ROLLOUT_PAUSED, state.rollout.paused)
            if state.futile:
                return await self._futile(state)
            await self._changed(state.rollout.message)

    async def _futile(self, state: _State) -> RestartResult:
        reference = self._ask.workload
        if not self._marked(state.workload) and reference.kind not in EVICTABLE_KINDS:
            where = path(reference.kind, reference.namespace, reference.name)
            by = await read_template_manager(self._cluster, where)
            return self._failed(Reason.RESTART_REVERTED, f"the restart's mark was taken off the template by {by}")
        found = next((live_proxy(pod) for pod in state.pods if not runs_expected(pod, state.expected)), None)
        told = f"new Pods have {found or 'no sidecar'}, expected: {state.expected.words}"
        return self._failed(Reason.INJECTION_FAILED, told)

    async def _wait(self, done: Callable[[_State], bool]) -> _State | None:
        """Looks at every change until `done`; None after a time in which nothing moved."""
        while True:
            state = await self._look()
            if state.workload.metadata.generation >= self._written and done(state):
                return state
            seen = (state.rollout.progress, sum(pod.ready for pod in state.pods), len(state.pods))
            now = time.monotonic()
            if seen != self._seen:
                self._seen, self._moved = seen, now
            if now - self._moved > min(_STALLED_SECONDS, self._patience):
                await self._injection.check()
            if now - self._moved > self._patience:
                return None
            await self._changed(state.rollout.message)

    async def _changed(self, waits_for: str) -> None:
        """Until something of the workload changed, or a while has passed."""
        activity.heartbeat(waits_for)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._change.wait(), min(_BEAT_SECONDS, self._patience))
        await asyncio.sleep(_SETTLE_SECONDS)
        self._change.clear()

    async def _look(self) -> _State:
        """As the mirror shows it."""
        workload = self._mirror.workload(self._key)
        while workload is None:
            # Gone is what the API server calls gone: NotFoundError.
            await read_workload(self._cluster, self._ask.workload.kind, *self._key[::2])
            await asyncio.sleep(_BEHIND_SECONDS)
            workload = self._mirror.workload(self._key)
        return await self._state(workload, self._mirror.pods_of(workload))

    async def _read(self) -> _State:
        """As the API server has it this very moment."""
        workload = await read_workload(self._cluster, self._ask.workload.kind, *self._key[::2])
        pods = [pod for pod in await read_pods(self._cluster, workload) if self._mirror.may_be_of(pod, workload)]
        return await self._state(workload, pods)

    async def _state(self, workload: Workload, pods: list[Pod]) -> _State:
        living = tuple(pod for pod in pods if pod.metadata.deletion_timestamp is None and pod.status.phase != "Failed")
        expected = await self._proxies.of(workload, self._mirror.namespace(workload.metadata.namespace))
        return _State(workload, living, expected, rollout(workload))

    async def _timed_out(self) -> RestartResult:
        state = await self._read()
        return self._gave_up(state, f"no progress for {self._ask.no_progress}: ", state.rollout.message)

    def _gave_up(self, state: _State, before: str, otherwise: str) -> RestartResult:
        """What the API server, or the Pods, say of a rollout that does not come to its end."""
        refused = state.rollout.refused
        if refused is not None:
            quota = "exceeded quota" in refused
            return self._failed(Reason.QUOTA_EXCEEDED if quota else Reason.ROLLOUT_TIMED_OUT, refused)
        cause = cause_of_pods(state.pods, datetime.now(UTC))
        return self._failed(Reason.ROLLOUT_TIMED_OUT, before + ((cause[1] if cause else None) or otherwise))

    def _failed(self, reason: Reason, detail: str | None) -> RestartResult:
        return RestartResult(self._ask.workload, Outcome.FAILED, reason, brief(detail or ""))


def _gone(pod: Pod) -> Callable[[_State], bool]:
    uid = pod.metadata.uid
    return lambda state: state.rollout.complete and all(one.metadata.uid != uid for one in state.pods)
