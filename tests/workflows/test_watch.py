"""The cluster's watch: there while items are open, one for all of them."""

from __future__ import annotations

import pytest
from temporalio.client import Client

from activities.search_attributes import CLUSTER
from mesh.errors import PermissionDeniedError
from tests.workflows.fakes import FakeCluster
from tests.workflows.stage import Clock, attribute, notify, until


@pytest.fixture(autouse=True)
def watching(cluster: FakeCluster) -> None:
    """A watch lasts until nothing is open any more, which a test says by letting it go on."""
    cluster.block("watch_cluster")


async def _watches(cluster: FakeCluster, times: int) -> None:
    await until(f"watch {times}", lambda: cluster.names.count("watch_cluster") >= times)
    assert cluster.names == ["watch_cluster"] * times


async def test_watch_begins_with_the_first_item_and_ends_with_the_last(client: Client, cluster: FakeCluster) -> None:
    handle = await notify(client, cluster)
    await _watches(cluster, 1)

    assert await attribute(handle, CLUSTER) == cluster.ref.name
    assert [request.cluster for request in cluster.asked("watch_cluster")] == [cluster.ref]
    cluster.unblock("watch_cluster")
    await handle.result()
    assert cluster.finished == ["watch_cluster"]


async def test_items_that_come_while_it_watches_do_not_disturb_it(client: Client, cluster: FakeCluster) -> None:
    handle = await notify(client, cluster)
    await _watches(cluster, 1)
    for _ in range(3):
        await notify(client, cluster)
    # Once it answers it has taken in the signals.
    await attribute(handle, CLUSTER)

    await _watches(cluster, 1)


async def test_item_that_came_since_the_watch_began_has_another_look_for_it(
    client: Client, cluster: FakeCluster
) -> None:
    """It may have come after the watch last read the list."""
    handle = await notify(client, cluster)
    await _watches(cluster, 1)
    await notify(client, cluster)
    cluster.unblock("watch_cluster")
    await handle.result()

    assert cluster.finished == ["watch_cluster"] * 2


async def test_item_opened_after_the_end_starts_it_again(client: Client, cluster: FakeCluster) -> None:
    cluster.unblock("watch_cluster")
    for times in (1, 2):
        handle = await notify(client, cluster)
        await handle.result()

        assert cluster.finished == ["watch_cluster"] * times


async def test_watch_that_fails_is_begun_again_after_a_minute(
    client: Client, cluster: FakeCluster, clock: Clock
) -> None:
    cluster.fail("watch_cluster", PermissionDeniedError("The worker may not watch Pods."))
    await notify(client, cluster)
    await _watches(cluster, 1)
    await clock.passes(seconds=59)
    await _watches(cluster, 1)
    await clock.passes(seconds=1)

    await _watches(cluster, 2)
