"""The cluster's watch: there while items are open, one for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from temporalio.client import Client, WorkflowHandle

from activities.remediation import TrackInput, WatchInput
from mesh.cluster import TASK_QUEUE, watch_id
from mesh.errors import PermissionDeniedError
from tests.workflows.fakes import FakeCluster
from tests.workflows.stage import Clock, attribute, until
from workflows.attributes import CLUSTER
from workflows.cluster_watch import ClusterWatchWorkflow


class Watch:
    """The watch of one cluster, as items steer it."""

    def __init__(self, client: Client, cluster: FakeCluster, clock: Clock) -> None:
        self._client = client
        self._cluster = cluster
        self._clock = clock

    async def track(self, name: str, *, is_open: bool = True) -> WorkflowHandle[Any, None]:
        """As the activity `track_item` does it."""
        return await self._client.start_workflow(
            ClusterWatchWorkflow.run,
            WatchInput(self._cluster.ref),
            id=watch_id(self._cluster.ref.name),
            task_queue=TASK_QUEUE,
            start_signal="track",
            start_signal_args=[TrackInput(self._cluster.ref, "shop", "Deployment", name, is_open)],
        )

    async def gathers(self) -> None:
        """The time in which changes of the queue are gathered passes."""
        await self._clock.passes(seconds=2)

    async def watches(self, times: int) -> list[str]:
        """Waits for the watch of that number; the names it was begun for."""
        await until(f"watch {times}", lambda: self._cluster.names.count("watch_cluster") >= times)
        assert self._cluster.names.count("watch_cluster") == times
        return [name for _, _, name in self._cluster.asked("watch_cluster")[-1].items]

    async def knows(self, items: int) -> None:
        """Waits until it has taken in all that was told."""
        handle: WorkflowHandle[Any, None] = self._client.get_workflow_handle(watch_id(self._cluster.ref.name))

        async def there() -> bool:
            return await handle.query(ClusterWatchWorkflow.watched) == items

        await until(f"{items} items", there)


@pytest_asyncio.fixture
async def watch(client: Client, cluster: FakeCluster, clock: Clock) -> AsyncIterator[Watch]:
    """The watch of a cluster; its server goes with the test."""
    yield Watch(client, cluster, clock)


async def test_watch_begins_with_the_first_item(watch: Watch, cluster: FakeCluster) -> None:
    handle = await watch.track("cart")
    await watch.gathers()

    assert await watch.watches(1) == ["cart"]
    assert await attribute(handle, CLUSTER) == cluster.ref.name


async def test_burst_of_items_is_one_new_watch(watch: Watch) -> None:
    await watch.track("cart")
    await watch.gathers()
    await watch.watches(1)
    for name in ("till", "stock", "mail"):
        await watch.track(name)
    await watch.knows(4)
    await watch.gathers()

    assert await watch.watches(2) == ["cart", "mail", "stock", "till"]


async def test_item_that_is_told_twice_changes_nothing(watch: Watch) -> None:
    await watch.track("cart")
    await watch.gathers()
    await watch.watches(1)
    await watch.track("cart")
    await watch.track("other", is_open=False)
    await watch.knows(1)

    assert await watch.watches(1) == ["cart"]


async def test_item_that_closes_is_not_watched_any_more(watch: Watch) -> None:
    await watch.track("cart")
    await watch.track("till")
    await watch.gathers()
    assert await watch.watches(1) == ["cart", "till"]
    await watch.track("cart", is_open=False)
    await watch.knows(1)
    await watch.gathers()

    assert await watch.watches(2) == ["till"]


async def test_watch_ends_with_the_last_item(watch: Watch, cluster: FakeCluster) -> None:
    handle = await watch.track("cart")
    await watch.gathers()
    await watch.watches(1)
    await watch.track("cart", is_open=False)
    await watch.knows(0)
    await watch.gathers()
    await handle.result()

    assert cluster.names.count("watch_cluster") == 1


async def test_item_that_opens_while_the_watch_ends_is_watched(watch: Watch) -> None:
    await watch.track("cart")
    await watch.gathers()
    await watch.watches(1)
    await watch.track("cart", is_open=False)
    await watch.knows(0)
    await watch.track("till")
    await watch.gathers()

    assert await watch.watches(2) == ["till"]


async def test_watch_that_fails_is_begun_again(watch: Watch, cluster: FakeCluster) -> None:
    cluster.fail("watch_cluster", PermissionDeniedError("The worker may not watch Pods."))
    await watch.track("cart")
    await watch.gathers()
    await watch.watches(1)
    await watch.gathers()

    assert await watch.watches(2) == ["cart"]


async def test_only_items_that_no_watch_covered_are_to_look_again_at_once(watch: Watch, cluster: FakeCluster) -> None:
    await watch.track("cart")
    await watch.gathers()
    await watch.watches(1)
    await watch.track("checkout")
    await watch.knows(2)
    await watch.gathers()
    await watch.watches(2)

    fresh = [[name for _, _, name in asked.fresh] for asked in cluster.asked("watch_cluster")]

    assert fresh == [["cart"], ["checkout"]]
