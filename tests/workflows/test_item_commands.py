"""What operators do with a remediation item: retry, resolve, skip, snooze."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import (
    Client,
    WorkflowUpdateFailedError,
    WorkflowUpdateStage,
)

from activities.remediation.inputs import RemediationItemInput
from mesh.errors import PermissionDeniedError
from mesh.history import HistoryEntry
from mesh.identity import TASK_QUEUE, item_id
from mesh.remediation.item import Item, ItemState, ItemView, Observation, view_of
from mesh.survey.reasons import Reason
from tests.workflows.fakes import FakeCluster
from tests.workflows.open_item import ALONE, CART, CURRENT, LOOPING, PENDING, ItemStarter, OpenItem
from tests.workflows.stage import Clock, until
from workflows.item_commands import ItemCommand, ResolveCommand, SkipCommand, SnoozeCommand
from workflows.remediation_item import RemediationItemWorkflow


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
