"""Observes the rollout of one workload: its state now, and the wait until a condition holds."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from temporalio import activity

from activities.kube.client import ClusterClient
from activities.kube.informer import Informer
from activities.kube.workloads import read_pods, read_workload
from activities.restart.expected_proxy_cache import ExpectedProxyCache
from activities.restart.injection_probe import InjectionProbe
from activities.restart.outcome import RestartInput
from mesh.errors import UnreachableError
from mesh.istio.expected_proxy import ExpectedProxy
from mesh.k8s.objects import Pod, Workload
from mesh.k8s.rollout import Rollout, rollout
from mesh.survey.pod_class import live_proxy, pod_is_current, runs_expected

#: Changes within this time are observed together: a rollout of two Pods changes some thirty objects.
_SETTLE_SECONDS = 0.5
#: Seconds between heartbeats, and between observations while nothing changes. Temporal writes each heartbeat: those of
#: a hundred and fifty rollouts at every change would cost more than all their other events together.
_HEARTBEAT_SECONDS = 15.0
#: An informer lags behind by at most this: the API server is asked for what it does not show then.
_LAG_SECONDS = 1.0
#: A rollout that has not moved for so long may wait for an injector that does not answer.
_STALLED_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class RolloutState:
    """One observation of a workload: its living Pods, the proxy they should run, and the state of its rollout."""

    workload: Workload
    pods: tuple[Pod, ...]
    expected: ExpectedProxy
    rollout: Rollout

    @property
    def expectation_known(self) -> bool:
        """Whether it is known what the Pods should run, be it no sidecar at all."""
        return self.expected.problem is None

    @property
    def stale(self) -> bool:
        """Whether a living Pod runs another proxy than it would get now."""
        if self.expectation_known and self.expected.image is None:
            return any(live_proxy(pod) is not None for pod in self.pods)
        return any(not runs_expected(pod, self.expected) for pod in self.pods)

    @property
    def rolled_out(self) -> bool:
        """Whether the rollout is complete and every Pod is there and Ready."""
        enough = len(self.pods) >= self.rollout.wanted
        return self.rollout.complete and enough and all(pod.ready for pod in self.pods)

    @property
    def current(self) -> bool:
        """Whether the workload is rolled out and every Pod runs what it should."""
        return self.rolled_out and all(pod_is_current(pod, self.expected) for pod in self.pods)

    @property
    def rolled_out_in_vain(self) -> bool:
        """Whether the workload is rolled out, and its Pods are known not to run what they should."""
        return self.rolled_out and self.expectation_known and not self.current

    @property
    def scaled_to_zero(self) -> bool:
        """Whether the workload wants no Pods and has none."""
        return not self.rollout.wanted and not self.pods

    @property
    def given_up(self) -> bool:
        """Whether the controller gave up.

        It reports the same where a webhook refuses new Pods, and then goes on once the webhook admits them.
        """
        return self.rollout.failed is not None and (self.rollout.refused is None or self.rollout.over_quota)

    @property
    def blocked(self) -> bool:
        """Whether the rollout needs a person to go on: its controller gave up, or somebody paused it."""
        return self.given_up or self.rollout.paused is not None


class RolloutObserver:
    """Observes one workload by the informer, and by the API server where the newest state decides."""

    def __init__(
        self,
        cluster: ClusterClient,
        informer: Informer,
        proxies: ExpectedProxyCache,
        injection: InjectionProbe,
        request: RestartInput,
    ) -> None:
        self._cluster = cluster
        self._informer = informer
        self._proxies = proxies
        self._injection = injection
        self._ref = request.workload
        self._no_progress = request.no_progress.total_seconds()
        self._change = asyncio.Event()
        #: States that the rollout has been in: to come back to one, as a Pod that flaps does, is no progress.
        self._past_states: set[object] = set()
        self._progressed_at = self._heartbeat_at = time.monotonic()
        #: UID and generation of the workload in the API server's last answer: what the informer has older is outdated.
        self._newest_known = ("", 0)

    @contextlib.contextmanager
    def subscribed(self) -> Iterator[None]:
        """Notes changes of the workload: from before the first observation, so that none is missed after it."""
        with self._informer.subscribe(self._ref) as self._change:
            yield

    def note_answer(self, workload: Workload) -> None:
        """Remembers the workload as the API server answered it: older states do not count any more."""
        self._newest_known = (workload.metadata.uid, workload.metadata.generation)

    def expect_progress(self) -> None:
        """Counts progress, or the lack of it, from now on: the restart did something."""
        self._past_states.clear()
        self._progressed_at = time.monotonic()

    async def wait_until(self, condition: Callable[[RolloutState], bool]) -> RolloutState | None:
        """Observes every change until the condition holds; returns None after `no_progress` without progress.

        Raises:
            NotFoundError: the workload does not exist.
            InjectorUnavailableError: nothing moves, and new Pods are not injected.
        """
        while True:
            state = await self._observe()
            metadata = state.workload.metadata
            uid, generation = self._newest_known
            outdated = metadata.uid == uid and metadata.generation < generation
            if not outdated and condition(state):
                return state
            position = (state.rollout.progress, sum(pod.ready for pod in state.pods), len(state.pods))
            now = time.monotonic()
            if position not in self._past_states:
                self._past_states.add(position)
                self._progressed_at = now
            stalled = now - self._progressed_at
            if stalled > min(_STALLED_SECONDS, self._no_progress):
                await self._injection.check()
            if stalled > self._no_progress:
                return None
            await self.wait_for_change(state.rollout.message)

    async def wait_for_change(self, waiting_for: str) -> None:
        """Waits until something of the workload changes, or a heartbeat is due."""
        until_heartbeat = self.heartbeat(waiting_for)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._change.wait(), min(until_heartbeat, self._no_progress))
        await asyncio.sleep(_SETTLE_SECONDS)
        self._change.clear()

    def heartbeat(self, waiting_for: str) -> float:
        """Sends a heartbeat if one is due; returns the seconds until the next one is."""
        now = time.monotonic()
        if now - self._heartbeat_at >= _HEARTBEAT_SECONDS:
            activity.heartbeat(waiting_for)
            self._heartbeat_at = now
        return self._heartbeat_at + _HEARTBEAT_SECONDS - now

    async def read(self) -> RolloutState:
        """Returns the workload's state as the API server has it now."""
        workload = await read_workload(self._cluster, self._ref)
        self.note_answer(workload)
        pods = [pod for pod in await read_pods(self._cluster, workload) if self._informer.may_belong_to(pod, workload)]
        return await self._state_of(workload, pods)

    async def _observe(self) -> RolloutState:
        """Returns the workload's state as the informer shows it."""
        began = time.monotonic()
        workload = self._informer.workload(self._ref)
        while workload is None:
            # Only the API server can say that the workload does not exist: NotFoundError.
            await read_workload(self._cluster, self._ref)
            if time.monotonic() - began > self._no_progress:
                raise UnreachableError(f"The watches of the cluster do not show {self._ref}.")
            self.heartbeat("waits until the watches show it")
            await asyncio.sleep(_LAG_SECONDS)
            workload = self._informer.workload(self._ref)
        return await self._state_of(workload, self._informer.pods_of(workload))

    async def _state_of(self, workload: Workload, pods: list[Pod]) -> RolloutState:
        living = tuple(pod for pod in pods if pod.metadata.deletion_timestamp is None and pod.status.phase != "Failed")
        expected = await self._proxies.get(workload, self._informer.namespace(workload.metadata.namespace))
        return RolloutState(workload, living, expected, rollout(workload))
