"""One remediation item: its life by itself, and what operators do with it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateStage,
)
from temporalio.exceptions import ApplicationError

from activities.remediation.inputs import RemediationItemInput, SetPodWarningsInput
from activities.search_attributes import CLUSTER, ITEM_STATE, NAMESPACE, REASON, WORKLOAD, item_search_attributes
from mesh.errors import ClusterError, PermissionDeniedError, UnreachableError
from mesh.history import HistoryEntry
from mesh.identity import TASK_QUEUE, item_id
from mesh.remediation.item import Item, ItemState, ItemView, Observation, view_of
from mesh.survey.finding import Facts, Finding
from mesh.survey.reasons import Reason
from mesh.text import markdown
from tests.workflows.fakes import FakeCluster
from tests.workflows.stage import Clock, attribute, current_details, until
from workflows.item_commands import ItemCommand, ResolveCommand, SkipCommand, SnoozeCommand
from workflows.remediation_item import RemediationItemWorkflow
from workflows.ui_details import item_details

PENDING = Finding("shop", "Deployment", "cart", Reason.POD_PENDING, "0/3 nodes are available", ("cart-1", "cart-2"), 2)
LOOPING = replace(PENDING, reason=Reason.CRASH_LOOPING, detail="container cart: CrashLoopBackOff")
ALONE = replace(PENDING, kind="Pod", name="alone", reason=Reason.STANDALONE_POD)
CART = PENDING.ref
CURRENT = "its Pods run the expected proxy"


@dataclass(frozen=True)
class OpenItem:
    """An item as surveys, the watch, operators and the queue see it."""

    handle: WorkflowHandle[Any, str]
    cluster: FakeCluster
    clock: Clock

    async def observed(self, finding: Finding | None = None, closed: str | None = None) -> None:
        """A survey, or the watch, has observed the workload."""
        observation = Observation(await self.clock.now(), finding, closed)
        await self.handle.signal(RemediationItemWorkflow.observed, observation)

    async def recheck(self, finding: Finding | None = None, closed: str | None = None) -> None:
        """Has it recheck its workload, and observe this."""
        self.cluster.rechecks.append(Observation(await self.clock.now(), finding, closed))
        await self.handle.signal(RemediationItemWorkflow.recheck)

    async def sends(self, name: str, command: ItemCommand) -> ItemView:
        """Sends an operator's command; returns the item after it."""
        view: ItemView = await self.handle.execute_update(name, command, result_type=ItemView)
        return view

    async def refuses(self, name: str, command: ItemCommand) -> str:
        """Returns the sentence that refuses an operator's command."""
        with pytest.raises(WorkflowUpdateFailedError) as raised:
            await self.sends(name, command)
        assert isinstance(raised.value.cause, ApplicationError)
        return raised.value.cause.message

    async def view(self) -> ItemView:
        """As the query tells it."""
        view = await self.handle.query(RemediationItemWorkflow.item)
        assert view is not None
        return view

    async def memo(self) -> ItemView:
        """As the list tells it, without any worker."""
        memo: dict[str, Any] = await (await self.handle.describe()).memo_value("item", type_hint=dict)
        return view_of(msgspec.convert(memo, Item))

    async def calls(self, name: str, times: int = 1) -> None:
        """Waits until the workflow has called an activity so many times."""
        await until(f"{times} calls of {name}", lambda: self.cluster.names.count(name) >= times)

    async def shows(self, state: ItemState, reason: Reason = Reason.POD_PENDING) -> ItemView:
        """Waits until the list tells this."""

        async def there() -> bool:
            seen = await self.memo()
            return (seen.state, seen.reason) == (state, reason)

        await until(f"{state} {reason}", there)
        return await self.view()

    async def is_open(self) -> bool:
        """Whether it still runs."""
        return (await self.handle.describe()).status is WorkflowExecutionStatus.RUNNING

    @property
    def warnings(self) -> list[str | None]:
        """The warnings of the Pods, in order; None removed it."""
        asked: list[SetPodWarningsInput] = self.cluster.asked("set_pod_warnings")
        return [one.text for one in asked]

    async def history(self) -> list[tuple[str, str, str]]:
        """What was done, by whom, and what came of it."""
        return [(one.what, one.who, one.result) for one in (await self.view()).history]


ItemStarter = Callable[..., Awaitable[OpenItem]]


@pytest.fixture
def start_item(client: Client, clock: Clock, leftovers: list[WorkflowHandle[Any, Any]]) -> ItemStarter:
    """Opens an item by its first finding, as `open_items` does: its Pods are warned."""

    async def start(cluster: FakeCluster, finding: Finding = PENDING) -> OpenItem:
        now = await clock.now()
        known = Item(cluster.ref.name, finding, now, now)
        handle = await client.start_workflow(
            RemediationItemWorkflow.run,
            RemediationItemInput(cluster.ref, known),
            id=known.id,
            task_queue=TASK_QUEUE,
            memo={"item": known},
            search_attributes=item_search_attributes(known),
        )
        leftovers.append(handle)
        item = OpenItem(handle, cluster, clock)
        await item.view()
        return item

    return start


# By itself.


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


# Operators.


async def test_retry_restarts_and_verifies(cluster: FakeCluster, start_item: ItemStarter, clock: Clock) -> None:
    item = await start_item(cluster)
    cluster.block("restart_workload")
    view = await item.sends("retry", ItemCommand("me", "fixed"))
    await item.calls("restart_workload")

    assert (view.state, view.attempts) == (ItemState.RETRYING, 1)
    [asked] = cluster.asked("restart_workload")
    assert asked.workload == CART
    assert asked.mark > await clock.now() - timedelta(seconds=1)
    assert "already" in await item.refuses("retry", ItemCommand("you"))

    cluster.rechecks.append(Observation(await clock.now(), closed=CURRENT))
    cluster.unblock("restart_workload")
    assert await item.handle.result() == CURRENT
    assert await item.history() == [
        ("retry", "me", "attempt 1 began"),
        ("attempt 1", "me", "restarted"),
    ]


async def test_skipped_while_it_is_restarted_it_is_not_restarted_twice(
    cluster: FakeCluster, start_item: ItemStarter
) -> None:
    item = await start_item(cluster)
    cluster.block("restart_workload")
    await item.sends("retry", ItemCommand("me", "fixed"))
    await item.calls("restart_workload")
    await item.sends("skip", SkipCommand("bob", "why", until="2999-01-31"))

    assert "already" in await item.refuses("retry", ItemCommand("you"))
    cluster.unblock("restart_workload")

    async def ended() -> bool:
        return ("attempt 1", "me", "restarted") in await item.history()

    await until("the restart's end", ended)
    assert (await item.view()).state is ItemState.SKIPPED


async def test_retry_in_vain_tells_what_it_found(cluster: FakeCluster, start_item: ItemStarter, clock: Clock) -> None:
    item = await start_item(cluster)
    cluster.failing = {CART: Reason.ROLLOUT_TIMED_OUT}
    cluster.rechecks += [Observation(await clock.now(), PENDING), Observation(await clock.now())]
    await item.sends("retry", ItemCommand("me"))
    view = await item.shows(ItemState.OPEN, Reason.ROLLOUT_TIMED_OUT)

    assert (view.detail, view.attempts) == ("0 of 1 Pods came up", 1)
    assert view.history[-1].result == "failed: RolloutTimedOut 0 of 1 Pods came up"
    # A survey does not see what trying found: the advice stays.
    assert "Restart the workload." not in view.next_step


async def test_retry_that_breaks_down_is_reported(cluster: FakeCluster, start_item: ItemStarter) -> None:
    item = await start_item(cluster)
    cluster.fail("restart_workload", PermissionDeniedError("No patch of Deployments."))
    await item.sends("retry", ItemCommand("me"))

    async def shown() -> bool:
        return (await item.view()).history[-1].result.startswith("failed: No patch of Deployments.")

    await until("it is shown", shown)
    assert (await item.view()).state is ItemState.OPEN


async def test_retry_where_no_restart_helps_is_refused(cluster: FakeCluster, start_item: ItemStarter) -> None:
    item = await start_item(cluster, ALONE)
    refusal = await item.refuses("retry", ItemCommand("me"))

    assert refusal.startswith("A restart does not help: StandalonePod. No controller recreates this Pod")
    assert "restart_workload" not in cluster.names
    # The item shows the advice anyway.
    assert (await item.history())[0][2] == "refused: A restart does not help: StandalonePod."


async def test_retry_outside_of_its_window_is_refused(
    cluster: FakeCluster, start_item: ItemStarter, clock: Clock
) -> None:
    item = await start_item(cluster)
    now = await clock.now()
    cluster.rechecks.append(Observation(now, opens_at=now + timedelta(hours=1)))

    assert "maintenance window is closed until" in await item.refuses("retry", ItemCommand("me"))


async def test_retry_of_what_is_settled_closes_it(cluster: FakeCluster, start_item: ItemStarter, clock: Clock) -> None:
    item = await start_item(cluster)
    cluster.rechecks.append(Observation(await clock.now(), closed=CURRENT))
    view = await item.sends("retry", ItemCommand("me"))

    assert view.state is ItemState.RESOLVED
    assert await item.handle.result() == CURRENT
    assert "restart_workload" not in cluster.names


async def test_resolve_rechecks_first(cluster: FakeCluster, start_item: ItemStarter, clock: Clock) -> None:
    item = await start_item(cluster)
    refusal = await item.refuses("resolve", ResolveCommand("me", "I think so"))
    assert refusal.startswith("PodPending still holds: 0/3 nodes are available. The item stays open. To close")

    cluster.rechecks.append(Observation(await clock.now()))
    assert "still run the old proxy" in await item.refuses("resolve", ResolveCommand("me"))

    cluster.rechecks.append(Observation(await clock.now(), closed=CURRENT))
    assert (await item.sends("resolve", ResolveCommand("me"))).closed == CURRENT
    assert await item.handle.result() == CURRENT


async def test_refusal_without_a_detail_names_the_reason(cluster: FakeCluster, start_item: ItemStarter) -> None:
    item = await start_item(cluster, replace(ALONE, detail=None))

    assert (await item.refuses("resolve", ResolveCommand("me"))).startswith(
        "StandalonePod still holds. The item stays open. To close"
    )


async def test_forced_resolve_needs_a_reason_and_no_recheck(cluster: FakeCluster, start_item: ItemStarter) -> None:
    item = await start_item(cluster)
    assert "Give a reason" in await item.refuses("resolve", ResolveCommand("me", force=True))
    await item.sends("resolve", ResolveCommand("me", "leaves next week", force=True))

    assert await item.handle.result() == "by me without a check: leaves next week"
    assert cluster.names == ["set_pod_warnings"]
    memo: dict[str, Any] = await (await item.handle.describe()).memo_value("item", type_hint=dict)
    assert memo["forced"] is True


async def test_skipped_item_lives_on_and_opens_after_its_last_day(
    cluster: FakeCluster, start_item: ItemStarter, clock: Clock
) -> None:
    item = await start_item(cluster)
    last = (await clock.now() + timedelta(days=3)).date()
    view = await item.sends("skip", SkipCommand("me", "vendor", until=last.isoformat()))
    await item.calls("set_pod_warnings")

    assert (view.state, item.warnings) == (ItemState.SKIPPED, [None])
    assert view.until is not None
    assert view.until.date() == last + timedelta(days=1)
    # Seen again, it stays skipped, and knows the newest.
    await item.observed(LOOPING)
    await item.shows(ItemState.SKIPPED, Reason.CRASH_LOOPING)

    await clock.passes(days=4)
    view = await item.shows(ItemState.OPEN, Reason.CRASH_LOOPING)
    await item.calls("set_pod_warnings", times=2)
    assert item.warnings[-1] == "CrashLooping: container cart: CrashLoopBackOff"
    last_entry = view.history[-1]
    assert (last_entry.what, last_entry.who, last_entry.result) == ("opened again", "the item", "the skip ended")


async def test_skipped_item_that_is_settled_closes(cluster: FakeCluster, start_item: ItemStarter) -> None:
    item = await start_item(cluster)
    await item.sends("skip", SkipCommand("me", "vendor", until="2999-01-31"))
    await item.observed(closed=CURRENT)

    assert await item.handle.result() == CURRENT


async def test_snoozed_item_keeps_its_warning_and_opens(
    cluster: FakeCluster, start_item: ItemStarter, clock: Clock
) -> None:
    item = await start_item(cluster)
    view = await item.sends("snooze", SnoozeCommand("me", duration="10m"))
    await item.shows(ItemState.SNOOZED)
    assert view.until is not None

    await clock.passes(minutes=11)
    await item.shows(ItemState.OPEN)
    assert cluster.names.count("set_pod_warnings") == 0


@pytest.mark.parametrize(
    ("name", "word", "refusal"),
    [
        ("skip", SkipCommand("me", "", until="2999-01-31"), "Give a reason"),
        ("skip", SkipCommand("me", "why", until="soon"), "is not a date"),
        ("skip", SkipCommand("me", "why", until="2026-02-30"), "is not a date"),
        ("skip", SkipCommand("me", "why", until="9999-12-31"), "is not a date"),
        ("skip", SkipCommand("me", "why", until="2020-01-31"), "is in the past"),
        ("snooze", SnoozeCommand("me", duration="a while"), "is not a duration"),
        ("snooze", SnoozeCommand("me", duration="0m"), "must be longer than 0s"),
        ("snooze", SnoozeCommand("me", duration="9999d"), "longer than a year"),
    ],
)
async def test_word_that_cannot_be_meant_is_refused(
    cluster: FakeCluster, start_item: ItemStarter, name: str, word: ItemCommand, refusal: str
) -> None:
    item = await start_item(cluster)

    assert refusal in await item.refuses(name, word)
    assert (await item.view()).history == ()


async def test_two_operators_at_once_do_not_cross(cluster: FakeCluster, start_item: ItemStarter) -> None:
    item = await start_item(cluster)
    cluster.block("recheck_item")
    first = await item.handle.start_update(
        "resolve", ResolveCommand("ann"), wait_for_stage=WorkflowUpdateStage.ACCEPTED, result_type=ItemView
    )
    await item.calls("recheck_item")
    refusal = await item.refuses("skip", SkipCommand("bob", "why", until="2999-01-31"))
    cluster.unblock("recheck_item")

    assert refusal.startswith("Another command is being carried out: resolve by ann.")
    with pytest.raises(WorkflowUpdateFailedError):
        await first.result()
    assert (await item.sends("skip", SkipCommand("bob", "why", until="2999-01-31"))).state is ItemState.SKIPPED


@pytest.mark.parametrize(
    ("name", "command", "state"),
    [
        ("skip", SkipCommand("batch", "why", until="2999-01-31"), ItemState.SKIPPED),
        ("snooze", SnoozeCommand("batch", duration="2h"), ItemState.SNOOZED),
    ],
)
async def test_batches_say_it_by_signals(
    cluster: FakeCluster, start_item: ItemStarter, name: str, command: ItemCommand, state: ItemState
) -> None:
    item = await start_item(cluster)
    await item.handle.signal(name, command)

    await item.shows(state)


async def test_refused_signal_is_reported_by_the_item(cluster: FakeCluster, start_item: ItemStarter) -> None:
    item = await start_item(cluster)
    await item.handle.signal("skip", SkipCommand("batch", "", until="2999-01-31"))
    await item.handle.signal("resolve", ResolveCommand("batch"))
    await item.calls("recheck_item")

    async def both() -> bool:
        return len(await item.history()) == 2

    await until("both are reported", both)
    assert [(what, result.partition(":")[0]) for what, _, result in await item.history()] == [
        ("skip", "refused"),
        ("resolve", "refused"),
    ]
    assert (await item.view()).state is ItemState.OPEN


async def test_item_goes_on_in_a_new_run(client: Client, cluster: FakeCluster, clock: Clock) -> None:
    now = await clock.now()
    history = (HistoryEntry(now, "retry", "me", "", "failed"),)
    state = Item(cluster.ref.name, LOOPING, now, now, ItemState.SNOOZED, now + timedelta(hours=1), 1, history=history)
    handle = await client.start_workflow(
        RemediationItemWorkflow.run,
        RemediationItemInput(cluster.ref, state),
        id=item_id(cluster.ref.name, LOOPING.ref),
        task_queue=TASK_QUEUE,
    )
    item = OpenItem(handle, cluster, clock)

    assert await item.view() == view_of(state)
    await item.observed(closed=CURRENT)
    assert await handle.result() == CURRENT
    assert item.warnings == [None]


HOSTILE = ["<script>alert(1)</script> [x](javascript:alert(1)) " * 10, "⚠️ é" * 99]


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_page_tells_cause_and_next_step_and_fits_into_an_address(
    cluster: FakeCluster, start_item: ItemStarter, hostile: str
) -> None:
    pods = tuple(f"cart-{'x' * 50}-{number:02}" for number in range(20))
    evidence = ("scheduler: Unschedulable", *(hostile[:300],) * 5)
    item = await start_item(
        cluster, replace(PENDING, detail=hostile[:200], pods=pods, pod_count=999, evidence=evidence)
    )
    for _ in range(3):
        await item.refuses("resolve", ResolveCommand(hostile, hostile))
    page, view = await current_details(item.handle), await item.view()

    assert "PodPending: shop/Deployment/cart" in page
    assert "- scheduler: Unschedulable" in page
    assert view.next_step in page
    assert all(one in page for one in view.commands)
    assert view.closes in page
    assert "<script" not in page.replace("\\<", "")
    assert "[x](" not in page
    assert len(quote(page)) < 4096


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("reason", list(Reason))
def test_page_of_any_item_fits_into_an_address(reason: Reason, hostile: str) -> None:
    long, now = hostile[:253], datetime(2026, 1, 1, tzinfo=UTC)
    known = Facts(long, long, long, (long,) * 5, resource=long, budget=long, quota=long, direct=f"job/{long}")
    pods, evidence = ("p" * 253,) * 20, (hostile[:300],) * 6
    seen = Finding("n" * 63, "StatefulSet", "n" * 253, reason, hostile[:200], pods, 99, evidence, known)
    history = (HistoryEntry(now, "retry", hostile[:200], hostile[:200], hostile[:200]),) * 20
    item = Item("c" * 253, seen, now, now, ItemState.SNOOZED, now, 9, history=history)
    page = item_details(view_of(item))

    assert len(quote(page)) < 4096
    # Commands are shown as they are.
    assert "[x](" not in re.sub(r"```\n.*?\n```", "", page, flags=re.DOTALL)
    assert len(quote(item_details(view_of(replace(item, restartable=True))))) < 4096


def test_page_tells_how_many_commands_there_is_no_room_for() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    seen = replace(PENDING, kind="StatefulSet", reason=Reason.ON_DELETE, pods=tuple(f"cart-{one}" for one in range(9)))
    view = view_of(Item("prod", seen, now, now))
    page = item_details(view)
    shown = [one for one in view.commands if one in page]

    assert 0 < len(shown) < len(view.commands)
    assert f"\n# {len(view.commands) - len(shown)} more: kyma-upgrade queue show\n```" in page


def test_page_without_a_detail_has_no_line_for_it() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    item = Item("prod", PENDING, now, now, ItemState.SNOOZED, now)
    page = item_details(view_of(replace(item, finding=replace(PENDING, detail=None))))

    assert "\n> " in item_details(view_of(item))
    assert "\n> " not in page
    assert "snoozed until 2026-01-01T00:00:00Z; opened 2026-01-01T00:00:00Z; " in page


@pytest.mark.parametrize("reason", list(Reason))
def test_page_of_an_ordinary_item_tells_all_that_is_to_be_done(reason: Reason) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    view = view_of(Item("prod", replace(PENDING, reason=reason, facts=KNOWN, pods=("cart-1",)), now, now))
    page = item_details(view)

    assert markdown(view.next_step, 1000) in page
    assert all(one in page for one in view.commands)
    assert view.closes in page


KNOWN = Facts("n1", "app", "hub/app:1", ("pull",), budget="slow", quota="small", direct="job/cart-1")
