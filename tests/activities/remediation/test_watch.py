"""The watch reads from Temporal which items are open, and signals those for which something changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.boundary import ServedCluster
from activities.kube.client import connect
from activities.remediation import watch as watch_module
from activities.remediation.watch import ClusterWatchActivities, WatchClusterInput
from activities.survey.cache import CachedReading, SurveyCache
from mesh.errors import UnreachableError
from mesh.identity import ClusterRef, item_id
from mesh.k8s.workload_ref import WorkloadRef
from mesh.remediation.item import Observation
from mesh.remediation.recheck import observe
from mesh.survey.finding import Finding
from mesh.survey.reasons import Reason
from mesh.survey.survey import SurveyedWorkload
from tests.activities.api_server import Answer, api_server, status
from tests.activities.fake_temporal import FakeTemporal, Start
from tests.scale.synthetic_cluster import Size, SyntheticCluster, served
from tests.workflows.stage import until

REF = ClusterRef("one", "uid")
CART, TILL = (item_id("one", WorkloadRef("shop", "Deployment", name)) for name in ("cart", "till"))


class Watch:
    """A running watch."""

    def __init__(self, activities: ClusterWatchActivities, temporal: FakeTemporal, synthetic: SyntheticCluster) -> None:
        self.temporal = temporal
        self.synthetic = synthetic
        self._activities = activities
        self._environment = ActivityEnvironment()
        self.heartbeats: list[object] = []
        self._environment.on_heartbeat = lambda *details: self.heartbeats.extend(details)
        self.running = asyncio.create_task(self._environment.run(activities.watch_cluster, WatchClusterInput(REF)))

    async def notify(self) -> None:
        await self._activities.notify(REF)

    async def signals(self, *items: str) -> None:
        """Waits until just these items got a signal since the last call."""
        await until(f"{items} get signals", lambda: len(self.temporal.signalled) >= len(items))
        await asyncio.sleep(0.1)
        assert sorted(self.temporal.signalled) == sorted(items)
        self.temporal.signalled.clear()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits take no time, and every observation is a new one, which only the test wants."""
    for name in ("_BURST_SECONDS", "_SETTLE_SECONDS", "_HEARTBEAT_SECONDS", "_RETRY_SECONDS"):
        monkeypatch.setattr(watch_module, name, 0.01)
    monkeypatch.setattr(watch_module, "_REST_FACTOR", 0)
    number = count()

    def something_new(workload: SurveyedWorkload | None, reason: Reason, at: datetime) -> Observation:
        assert workload is None
        return Observation(at, Finding("shop", "Deployment", "any", reason, f"observation {next(number)}", (), 0))

    monkeypatch.setattr(watch_module, "observe", something_new)


@pytest.fixture
def temporal() -> FakeTemporal:
    """Two items are open."""
    return FakeTemporal(open={CART, TILL})


@pytest_asyncio.fixture
async def watch(temporal: FakeTemporal, tmp_path: Path) -> AsyncIterator[Watch]:
    """A watch that has sent its first observation to the two items."""
    synthetic = SyntheticCluster(Size(namespaces=1, deployments=1, pods_each=1, stale=1, standalone=0))
    async with served(synthetic, tmp_path) as kubeconfig, await connect(str(kubeconfig)) as cluster:
        activities = ClusterWatchActivities(ServedCluster(cluster, REF), temporal.client, "queue", SurveyCache(cluster))
        watch = Watch(activities, temporal, synthetic)
        await watch.signals(CART, TILL)
        yield watch
        watch.running.cancel()
        await asyncio.gather(watch.running, return_exceptions=True)


async def test_item_gets_a_signal_when_its_pods_change(watch: Watch) -> None:
    watch.synthetic.touch("shop", "cart-7d4-x2x")
    watch.synthetic.touch("shop", "other-1")
    watch.synthetic.touch("bank", "till-1")

    await watch.signals(CART)


async def test_changes_of_one_moment_are_one_signal(watch: Watch) -> None:
    for number in range(100):
        watch.synthetic.touch("shop", f"cart-{number}")
    await until("the item gets a signal", lambda: CART in watch.temporal.signalled)
    await asyncio.sleep(0.2)

    # They come through a connection: one or two moments.
    assert 1 <= watch.temporal.signalled.count(CART) <= 5


async def test_item_that_knows_it_already_gets_no_signal(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "observe", observe)
    watch.synthetic.touch("shop", "cart-1")
    await watch.signals(CART)
    assert [one.closed for one in watch.temporal.observations[-1:]] == ["the workload has no Pods any more"]

    # It flaps, and nothing of it is news.
    for number in range(5):
        watch.synthetic.touch("shop", f"cart-{number}")
        await asyncio.sleep(0.05)
    watch.synthetic.touch("shop", "till-1")
    await watch.signals(TILL)


async def test_failed_reading_is_repeated(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [UnreachableError("The API server does not answer.")] * 2
    get = SurveyCache.get

    async def failing(self: SurveyCache, namespace: str) -> CachedReading:
        if failures:
            raise failures.pop()
        return await get(self, namespace)

    monkeypatch.setattr(SurveyCache, "get", failing)
    watch.synthetic.touch("shop", "cart-1")

    await watch.signals(CART)
    assert failures == []


async def test_item_that_closed_meanwhile_needs_no_signal(watch: Watch) -> None:
    watch.temporal.open.remove(CART)
    watch.synthetic.touch("shop", "cart-1")
    watch.synthetic.touch("shop", "till-1")

    await watch.signals(TILL)


async def test_announced_item_is_watched_at_once(watch: Watch) -> None:
    new = item_id("one", WorkloadRef("shop", "Pod", "new"))
    watch.temporal.open.add(new)
    await watch.notify()

    # The others were informed before.
    await watch.signals(new)
    watch.synthetic.touch("shop", "new")
    await watch.signals(new)
    assert watch.temporal.started == [Start("ClusterWatch", "watch:one", "track", ())]


async def test_item_that_the_list_shows_late_is_found_without_an_announcement(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "_COUNT_SECONDS", 0.02)
    await watch.notify()
    new = item_id("one", WorkloadRef("shop", "Pod", "new"))
    watch.temporal.open.add(new)

    await watch.signals(new)


async def test_item_that_opened_in_place_of_another_is_found_later(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "_COUNT_SECONDS", 0.02)
    await watch.notify()
    new = item_id("one", WorkloadRef("shop", "Pod", "new"))
    await until("it is idle", lambda: watch.temporal.lists_read == 2)
    watch.temporal.open = {CART, new}
    await asyncio.sleep(0.2)
    assert watch.temporal.signalled == []

    monkeypatch.setattr(watch_module, "_RELIST_SECONDS", 0.0)
    await watch.signals(new)


async def test_idle_watch_does_not_read_the_list(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "_COUNT_SECONDS", 0.01)
    await watch.notify()
    await until("the list is read again", lambda: watch.temporal.lists_read == 2)
    await asyncio.sleep(0.3)

    assert watch.temporal.lists_read == 2


async def test_watch_goes_on_without_the_list(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "_COUNT_SECONDS", 0.01)
    watch.temporal.unlisted = True
    await watch.notify()
    await asyncio.sleep(0.2)
    watch.synthetic.touch("shop", "cart-1")

    await watch.signals(CART)
    assert not watch.running.done()


async def test_watch_ends_once_no_item_stays_open(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "_COUNT_SECONDS", 0.01)
    watch.temporal.open.clear()
    await watch.notify()

    async with asyncio.timeout(5):
        await watch.running


async def test_watch_goes_on_when_the_list_was_empty_for_a_moment(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "_COUNT_SECONDS", 0.3)
    watch.temporal.open.clear()
    await watch.notify()
    await until("it saw none", lambda: watch.temporal.lists_read == 2)
    watch.temporal.open.add(CART)

    await watch.signals(CART)
    assert not watch.running.done()


async def test_heartbeat_carries_the_number_of_watched_items(watch: Watch) -> None:
    watch.heartbeats.clear()
    await until("a heartbeat comes", lambda: bool(watch.heartbeats))

    assert set(watch.heartbeats) == {2}


async def test_missing_permission_ends_the_watch_with_its_own_error(tmp_path: Path, temporal: FakeTemporal) -> None:
    """Watches are many at once, and their failures come as a group."""
    denied = Answer(status(403, 'pods is forbidden: User "u" cannot watch resource "pods"'), status=403)
    first = Answer(b'{"metadata":{"resourceVersion":"7"}}')
    async with api_server(lambda query: denied if "watch" in query else first, tmp_path) as cluster:
        activities = ClusterWatchActivities(ServedCluster(cluster, REF), temporal.client, "queue", SurveyCache(cluster))
        with pytest.raises(ApplicationError, match="A permission is missing") as raised:
            await ActivityEnvironment().run(activities.watch_cluster, WatchClusterInput(REF))

    assert (raised.value.type, raised.value.non_retryable) == ("PermissionDeniedError", True)
