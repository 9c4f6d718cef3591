"""One remediation item by itself: findings, observations, rechecks, and its end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from activities.search_attributes import CLUSTER, ITEM_STATE, NAMESPACE, REASON, WORKLOAD
from mesh.errors import ClusterError, PermissionDeniedError, UnreachableError
from mesh.remediation.item import ItemState, Observation
from mesh.survey.reasons import Reason
from tests.workflows.fakes import FakeCluster
from tests.workflows.open_item import CURRENT, LOOPING, PENDING, ItemStarter
from tests.workflows.stage import Clock, attribute, current_details, until
from workflows.remediation_item import RemediationItemWorkflow


async def test_item_whose_pods_are_warned_costs_no_activity(cluster: FakeCluster, start_item: ItemStarter) -> None:
    item = await start_item(cluster)
    await item.shows(ItemState.OPEN)

    assert cluster.names == []


async def test_item_warns_of_what_the_watch_has_seen(cluster: FakeCluster, start_item: ItemStarter) -> None:
    item = await start_item(cluster)
    await item.observed(LOOPING)
    await item.calls("set_pod_warnings")

    assert item.warnings == ["CrashLooping: container cart: CrashLoopBackOff"]


async def test_list_tells_the_item_without_a_worker(cluster: FakeCluster, start_item: ItemStarter) -> None:
    item = await start_item(cluster)
    memo = await item.memo()

    assert memo.id == item.handle.id
    assert (memo.reason, memo.detail, memo.state) == (PENDING.reason, PENDING.detail, ItemState.OPEN)
    assert memo.next_step
    assert await attribute(item.handle, CLUSTER) == cluster.ref.name
    assert await attribute(item.handle, NAMESPACE) == "shop"
    assert await attribute(item.handle, WORKLOAD) == "Deployment/cart"
    assert await attribute(item.handle, REASON) == "PodPending"
    assert await attribute(item.handle, ITEM_STATE) == "open"
    assert await item.view() == memo


async def test_observation_that_it_is_settled_closes_it(cluster: FakeCluster, start_item: ItemStarter) -> None:
    item = await start_item(cluster)
    await item.observed(closed=CURRENT)

    assert await item.handle.result() == CURRENT
    assert item.warnings == [None]
    assert (await item.memo()).state is ItemState.RESOLVED
    assert await attribute(item.handle, ITEM_STATE) == "resolved"
    assert CURRENT in await current_details(item.handle)


async def test_another_finding_updates_the_same_item(cluster: FakeCluster, start_item: ItemStarter) -> None:
    item = await start_item(cluster)
    since = (await item.view()).since
    await item.observed(LOOPING)
    view = await item.shows(ItemState.OPEN, Reason.CRASH_LOOPING)

    assert (view.detail, view.since) == (LOOPING.detail, since)
    assert await attribute(item.handle, REASON) == "CrashLooping"
    await item.calls("set_pod_warnings")
    assert item.warnings == ["CrashLooping: container cart: CrashLoopBackOff"]


async def test_old_observation_changes_nothing(cluster: FakeCluster, start_item: ItemStarter, clock: Clock) -> None:
    item = await start_item(cluster)
    await item.handle.signal(
        RemediationItemWorkflow.observed, Observation(await clock.now() - timedelta(minutes=1), closed=CURRENT)
    )

    assert (await item.view()).state is ItemState.OPEN
    assert await item.is_open()


async def test_cause_that_is_gone_leaves_a_restart(cluster: FakeCluster, start_item: ItemStarter) -> None:
    item = await start_item(cluster)
    await item.observed()

    async def shown() -> bool:
        return "Restart the workload." in (await item.memo()).next_step

    await until("it is shown", shown)
    assert (await item.view()).commands == (
        f"kyma-upgrade queue retry shop/Deployment/cart --cluster {cluster.ref.name}",
    )


async def test_item_is_rechecked_later_and_later(cluster: FakeCluster, start_item: ItemStarter, clock: Clock) -> None:
    item = await start_item(cluster)
    await clock.passes(minutes=26)
    assert cluster.names == []
    await clock.passes(minutes=8)
    await item.calls("recheck_item")
    await item.view()
    # The first recheck was after 27 to 33 minutes, the second comes 54 to 66 later.
    await clock.passes(minutes=46)
    assert cluster.names == ["recheck_item"]
    await clock.passes(minutes=20)
    await item.calls("recheck_item", times=2)

    assert [one.max_age for one in cluster.asked("recheck_item")] == [60.0, 60.0]


async def test_finding_while_it_closes_opens_it_again(cluster: FakeCluster, start_item: ItemStarter) -> None:
    item = await start_item(cluster)
    cluster.block("set_pod_warnings")
    await item.observed(closed=CURRENT)
    await item.calls("set_pod_warnings")
    # The same finding: its warning is being removed.
    await item.observed(PENDING)
    cluster.unblock("set_pod_warnings")
    await item.calls("set_pod_warnings", times=2)
    await item.shows(ItemState.OPEN)

    assert await item.is_open()
    assert await attribute(item.handle, ITEM_STATE) == "open"
    assert item.warnings == [None, "PodPending: 0/3 nodes are available"]
    await item.observed(closed=CURRENT)
    assert await item.handle.result() == CURRENT


@pytest.mark.parametrize("error", [PermissionDeniedError("No list of Pods."), UnreachableError("Does not answer.")])
async def test_recheck_that_fails_does_not_close_it(
    cluster: FakeCluster, start_item: ItemStarter, clock: Clock, error: ClusterError
) -> None:
    item = await start_item(cluster)
    cluster.fail("recheck_item", *[error] * 8)
    await item.recheck()
    await item.calls("recheck_item")
    await clock.passes(minutes=5)
    assert await item.is_open()

    await item.observed(closed=CURRENT)
    assert await item.handle.result() == CURRENT


async def test_item_closes_without_its_courtesies(cluster: FakeCluster, start_item: ItemStarter) -> None:
    cluster.fail("set_pod_warnings", ClusterError("something unusable"), ClusterError("something unusable"))
    item = await start_item(cluster)
    await item.observed(LOOPING)
    await item.observed(closed=CURRENT)

    assert await item.handle.result() == CURRENT
