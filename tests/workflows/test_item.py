"""One remediation item: warns, looks again, closes by itself, and opens again when it is seen again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from activities.remediation import ItemInput, Recheck
from mesh.causes import Reason
from mesh.cluster import TASK_QUEUE, item_id
from mesh.errors import ClusterError, PermissionDeniedError, UnreachableError
from mesh.items import ItemState, ItemView
from mesh.sighting import Sighting
from tests.workflows.fakes import FakeCluster
from tests.workflows.stage import Clock, attribute, current_details, until
from workflows.attributes import CLUSTER, ITEM_STATE, NAMESPACE, REASON, WORKLOAD
from workflows.remediation import RemediationItemWorkflow

PENDING = Sighting("shop", "Deployment", "cart", Reason.POD_PENDING, "0/3 nodes are available", ("cart-1", "cart-2"), 2)
LOOPING = replace(PENDING, reason=Reason.CRASH_LOOPING, detail="container cart: CrashLoopBackOff")


@dataclass(frozen=True)
class OpenItem:
    """An item as surveys, the watch and the queue see it."""

    handle: WorkflowHandle[Any, str]
    cluster: FakeCluster

    async def seen(self, sighting: Sighting) -> None:
        """A survey sees the workload again."""
        await self.handle.signal(RemediationItemWorkflow.seen, sighting)

    async def changed(self) -> None:
        """The watch tells that something changed."""
        await self.handle.signal(RemediationItemWorkflow.changed)

    async def view(self) -> ItemView:
        """As the query tells it."""
        view = await self.handle.query(RemediationItemWorkflow.item)
        assert view is not None
        return view

    async def memo(self) -> ItemView:
        """As the list tells it, without any worker."""
        view: ItemView = await (await self.handle.describe()).memo_value("item", type_hint=ItemView)
        return view

    async def calls(self, name: str, times: int = 1) -> None:
        """Waits until the workflow has called an activity so many times."""
        await until(f"{times} calls of {name}", lambda: self.cluster.names.count(name) >= times)

    async def shows(self, reason: Reason) -> None:
        """Waits until the list tells this reason."""

        async def there() -> bool:
            return (await self.memo()).reason == reason

        await until(f"reason {reason}", there)

    async def is_open(self) -> bool:
        """Whether it still runs."""
        return (await self.handle.describe()).status is WorkflowExecutionStatus.RUNNING


ItemStarter = Callable[..., Awaitable[OpenItem]]


@pytest.fixture
def item_of(client: Client, leftovers: list[WorkflowHandle[Any, Any]]) -> ItemStarter:
    """Opens an item by its first sighting, as `open_items` does, and waits until its Pods are warned."""

    async def start(cluster: FakeCluster, sighting: Sighting = PENDING) -> OpenItem:
        handle = await client.start_workflow(
            RemediationItemWorkflow.run,
            ItemInput(cluster.ref, *sighting.key),
            id=item_id(cluster.ref.name, *sighting.key),
            task_queue=TASK_QUEUE,
            start_signal="seen",
            start_signal_args=[sighting],
        )
        leftovers.append(handle)
        item = OpenItem(handle, cluster)
        if sighting.pods:
            await item.calls("show_warning")
        return item

    return start


async def test_first_sighting_warns_the_pods(cluster: FakeCluster, item_of: ItemStarter) -> None:
    await item_of(cluster)

    assert cluster.names == ["show_warning"]
    [warned] = cluster.asked("show_warning")
    assert (warned.pods, warned.seen) == (PENDING.pods, PENDING)


async def test_list_tells_the_item_without_a_worker(cluster: FakeCluster, item_of: ItemStarter) -> None:
    item = await item_of(cluster)
    memo = await item.memo()

    assert memo.id == item.handle.id
    assert (memo.reason, memo.detail, memo.state) == (PENDING.reason, PENDING.detail, ItemState.OPEN)
    assert memo.next_step
    assert await attribute(item.handle, CLUSTER) == cluster.ref.name
    assert await attribute(item.handle, NAMESPACE) == "shop"
    assert await attribute(item.handle, WORKLOAD) == "Deployment/cart"
    assert await attribute(item.handle, REASON) == "PodPending"
    assert await attribute(item.handle, ITEM_STATE) == "open"


async def test_query_tells_the_same(cluster: FakeCluster, item_of: ItemStarter) -> None:
    item = await item_of(cluster)

    assert await item.view() == await item.memo()


async def test_change_of_the_workload_closes_a_settled_item(cluster: FakeCluster, item_of: ItemStarter) -> None:
    item = await item_of(cluster)
    cluster.rechecks.append(Recheck("its Pods are current", PENDING))
    await item.changed()

    assert await item.handle.result() == "its Pods are current"
    assert cluster.names == ["show_warning", "recheck_item", "clear_warning"]
    assert cluster.asked("clear_warning")[0].pods == PENDING.pods
    assert (await item.memo()).state is ItemState.RESOLVED
    assert await attribute(item.handle, ITEM_STATE) == "resolved"
    assert "its Pods are current" in await current_details(item.handle)


async def test_item_stands_while_it_is_not_settled(cluster: FakeCluster, item_of: ItemStarter) -> None:
    item = await item_of(cluster)
    await item.changed()
    await item.calls("recheck_item")
    await item.changed()
    await item.calls("recheck_item", times=2)

    assert await item.is_open()
    assert (await item.view()).state is ItemState.OPEN
    assert "clear_warning" not in cluster.names
    # Nothing new was seen, so nothing is written on the Pods again.
    assert cluster.names.count("show_warning") == 1


async def test_another_cause_found_by_looking_is_told(cluster: FakeCluster, item_of: ItemStarter) -> None:
    item = await item_of(cluster)
    since = (await item.view()).since
    cluster.rechecks.append(Recheck(None, LOOPING))
    await item.changed()
    await item.shows(Reason.CRASH_LOOPING)

    assert await attribute(item.handle, REASON) == "CrashLooping"
    assert (await item.memo()).detail == LOOPING.detail
    assert (await item.view()).since == since
    await item.calls("show_warning", times=2)
    assert cluster.asked("show_warning")[1].seen == LOOPING


async def test_another_sighting_updates_the_same_item(cluster: FakeCluster, item_of: ItemStarter) -> None:
    item = await item_of(cluster)
    await item.seen(replace(LOOPING, pods=("cart-2", "cart-3")))
    await item.shows(Reason.CRASH_LOOPING)
    await item.calls("show_warning", times=2)

    # Of the Pods that are no longer the item's the warning goes.
    assert [ask.pods for ask in cluster.asked("clear_warning")] == [("cart-1",)]
    assert cluster.asked("show_warning")[1].pods == ("cart-2", "cart-3")


async def test_item_looks_again_without_any_event(cluster: FakeCluster, item_of: ItemStarter, clock: Clock) -> None:
    item = await item_of(cluster)
    await until("the warning is written", lambda: "show_warning" in cluster.finished)
    await item.view()
    await clock.passes(minutes=29)
    assert "recheck_item" not in cluster.names

    cluster.rechecks.append(Recheck("the workload has no Pods any more", PENDING))
    await clock.passes(minutes=1)
    assert await item.handle.result() == "the workload has no Pods any more"


async def test_sighting_while_it_closes_opens_it_again(cluster: FakeCluster, item_of: ItemStarter) -> None:
    item = await item_of(cluster)
    cluster.block("clear_warning")
    cluster.rechecks.append(Recheck("its Pods are current", PENDING))
    await item.changed()
    await item.calls("clear_warning")
    # The very same sighting: its warning was just taken off.
    await item.seen(PENDING)
    cluster.let_go_on("clear_warning")
    await item.calls("show_warning", times=2)

    assert await item.is_open()
    assert (await item.view()).state is ItemState.OPEN
    assert (await item.memo()).state is ItemState.OPEN
    assert await attribute(item.handle, ITEM_STATE) == "open"

    cluster.rechecks.append(Recheck("its Pods are current", PENDING))
    await item.changed()
    assert await item.handle.result() == "its Pods are current"


async def test_sighting_while_it_looks_is_not_lost(cluster: FakeCluster, item_of: ItemStarter) -> None:
    item = await item_of(cluster)
    cluster.block("recheck_item")
    cluster.rechecks.append(Recheck(None, PENDING))
    await item.changed()
    await item.calls("recheck_item")
    await item.seen(LOOPING)
    cluster.let_go_on("recheck_item")

    await item.shows(Reason.CRASH_LOOPING)


async def test_change_while_it_looks_has_it_look_again(cluster: FakeCluster, item_of: ItemStarter) -> None:
    item = await item_of(cluster)
    cluster.block("recheck_item")
    await item.changed()
    await item.calls("recheck_item")
    await item.changed()
    cluster.let_go_on("recheck_item")

    await item.calls("recheck_item", times=2)


async def test_look_that_fails_does_not_close_it(cluster: FakeCluster, item_of: ItemStarter) -> None:
    item = await item_of(cluster)
    cluster.fail("recheck_item", PermissionDeniedError("The worker may not list Pods."))
    await item.changed()
    await item.calls("recheck_item")
    assert await item.is_open()

    cluster.rechecks.append(Recheck("its Pods are current", PENDING))
    await item.changed()
    assert await item.handle.result() == "its Pods are current"


async def test_look_that_fails_for_long_does_not_close_it(
    cluster: FakeCluster, item_of: ItemStarter, clock: Clock
) -> None:
    item = await item_of(cluster)
    cluster.fail("recheck_item", *(UnreachableError("The API server does not answer.") for _ in range(8)))
    await item.changed()
    await item.calls("recheck_item")
    await clock.passes(minutes=29)

    assert await item.is_open()
    assert cluster.names.count("recheck_item") == 8


@pytest.mark.parametrize("step", ["show_warning", "clear_warning"])
async def test_item_stands_and_closes_without_its_courtesies(
    cluster: FakeCluster, item_of: ItemStarter, step: str
) -> None:
    cluster.fail(step, ClusterError("something unusable"))
    item = await item_of(cluster)
    cluster.rechecks.append(Recheck("its Pods are current", PENDING))
    await item.changed()

    assert await item.handle.result() == "its Pods are current"


async def test_item_without_pods_warns_nobody(cluster: FakeCluster, item_of: ItemStarter) -> None:
    item = await item_of(cluster, replace(PENDING, pods=(), pod_count=0))
    cluster.rechecks.append(Recheck("the workload has no Pods any more", PENDING))
    await item.changed()
    await item.handle.result()

    assert cluster.names == ["recheck_item"]


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script> [x](javascript:alert(1)) " * 4, "⚠️ é" * 99])
async def test_page_tells_cause_and_next_step_and_fits_into_an_address(
    cluster: FakeCluster, item_of: ItemStarter, hostile: str
) -> None:
    pods = tuple(f"cart-{'x' * 50}-{number:02}" for number in range(20))
    item = await item_of(cluster, replace(PENDING, detail=hostile[:200], pods=pods, pod_count=999))
    page = await current_details(item.handle)

    assert "PodPending: shop/Deployment/cart" in page
    assert (await item.view()).next_step in page
    assert "<script" not in page.replace("\\<", "")
    assert "[x](" not in page
    assert len(quote(page)) < 4096
