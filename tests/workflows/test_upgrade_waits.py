"""What an upgrade waits for between waves: windows, approvals, a worker, the injector; and its way from run to run."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta

import pytest
from temporalio.client import WorkflowUpdateFailedError

from activities.gates import WindowState
from activities.search_attributes import NEEDS_ATTENTION, PHASE
from mesh.plan.policy import InFlight, Policy
from tests.workflows.conftest import Starter
from tests.workflows.fakes import FakeCluster, workloads
from tests.workflows.stage import (
    NO_SOAK,
    Clock,
    RunningUpgrade,
    attribute,
    current_details,
)
from workflows.messages import ApproveInput, LimitInput, Phase, Progress

SATURDAYS = ("Sat 00:00-04:00",)


def windows(*texts: str) -> Policy:
    return Policy(soak=timedelta(0), windows=texts)


def approving(*waves: str) -> Policy:
    return Policy(soak=timedelta(0), approve=waves)


async def approve(upgrade: RunningUpgrade, wave: int | None = None) -> Progress:
    request = ApproveInput("me", "it looks well", wave)
    seen: Progress = await upgrade.handle.execute_update("approve", request, result_type=Progress)
    return seen


async def test_shut_window_holds_back_every_wave_until_it_opens(
    cluster: FakeCluster, upgrade_of: Starter, clock: Clock
) -> None:
    opens = await clock.now() + timedelta(hours=5)
    cluster.windows = deque([WindowState(open=False, changes_at=opens)])
    upgrade = await upgrade_of(cluster, windows(*SATURDAYS))
    seen = await upgrade.reaches(Phase.WAITING_WINDOW)

    # Nobody is needed: it goes on by itself.
    assert seen.needs_attention is None
    assert cluster.restarted == []
    cluster.windows = deque([WindowState(open=True, changes_at=opens + timedelta(hours=4))])
    await clock.passes(hours=5)

    assert (await upgrade.ends()).result == "done"
    assert min(cluster.times("list_wave_members")) >= opens


async def test_window_that_closes_lets_finish_what_is_in_flight_and_starts_nothing(
    cluster: FakeCluster, upgrade_of: Starter, clock: Clock
) -> None:
    cluster.stale = {"to 100%": workloads("a", "b", "c")}
    cluster.block("restart_workload")
    # No time is skipped while an activity runs, so this is a second of everybody's.
    closes = await clock.now() + timedelta(seconds=1)
    opens = closes + timedelta(days=6)
    cluster.windows = deque([WindowState(open=True, changes_at=closes), WindowState(open=False, changes_at=opens)])
    policy = Policy(soak=timedelta(0), windows=SATURDAYS, in_flight=InFlight(cluster=1, namespace=1))
    upgrade = await upgrade_of(cluster, policy)
    await upgrade.calls("restart_workload")
    await asyncio.sleep(1.2)
    cluster.unblock("restart_workload")
    seen = await upgrade.reaches(Phase.WAITING_WINDOW)

    assert cluster.restarted == ["a"]
    assert (seen.workloads.restarted, seen.workloads.left) == (1, 2)
    cluster.windows = deque([WindowState(open=True, changes_at=None)])
    await clock.passes(days=6, hours=7)
    assert (await upgrade.ends()).result == "done"
    assert cluster.restarted == ["a", "b", "c"]
    # The window is checked again before it should open: a clock may have been changed.
    assert cluster.times("restart_workload")[1] >= closes + timedelta(hours=5)


async def test_workload_whose_own_window_is_shut_is_deferred_and_the_waves_go_on(
    cluster: FakeCluster, upgrade_of: Starter, clock: Clock
) -> None:
    [late] = workloads("late")
    opens = await clock.now() + timedelta(days=2)
    cluster.deferred = {late: opens}
    upgrade = await upgrade_of(cluster, NO_SOAK)
    await upgrade.reaches(Phase.WAITING_WINDOW)

    assert sorted(cluster.restarted) == ["cart", "stock", "till"]
    await clock.passes(days=2, seconds=1)
    assert (await upgrade.ends()).result == "done"
    assert cluster.restarted[-1] == "late"
    assert cluster.times("restart_workload")[-1] >= opens


async def test_member_whose_window_closed_is_left_by_its_wave(
    cluster: FakeCluster, upgrade_of: Starter, clock: Clock
) -> None:
    late, other = workloads("late", "other")
    cluster.stale = {"to 100%": [other, late]}
    cluster.until = {late: await clock.now() - timedelta(minutes=1)}
    # The restart ends only after the window has opened again, so that the next survey finds it open.
    cluster.block("restart_workload")
    upgrade = await upgrade_of(cluster, NO_SOAK)
    await upgrade.calls("restart_workload")
    cluster.until = {}
    cluster.unblock("restart_workload")

    assert (await upgrade.ends()).result == "done"
    assert cluster.restarted == ["other", "late"]
    assert cluster.names.count("list_wave_members") == 2


async def test_wave_waits_for_approval_and_is_approved(cluster: FakeCluster, upgrade_of: Starter) -> None:
    upgrade = await upgrade_of(cluster, approving("canary"))
    seen = await upgrade.reaches(Phase.WAITING_APPROVAL)

    assert seen.needs_attention == "wave 0, canary, waits for approval"
    assert seen.next_step is not None
    assert "kyma-upgrade approve" in seen.next_step
    assert await attribute(upgrade.handle, NEEDS_ATTENTION) is True
    assert await attribute(upgrade.handle, PHASE) == "waiting-approval"
    assert cluster.restarted == []

    await approve(upgrade)
    result = await upgrade.ends()
    assert result.result == "done"
    assert len(cluster.restarted) == 3
    assert "approved canary by me: it looks well" in await current_details(upgrade.handle)


async def test_every_wave_waits_where_the_policy_wants_all(cluster: FakeCluster, upgrade_of: Starter) -> None:
    upgrade = await upgrade_of(cluster, approving("all"))
    await upgrade.reaches(Phase.WAITING_APPROVAL)
    await approve(upgrade)
    await upgrade.calls("restart_workload")
    await upgrade.reaches(Phase.WAITING_APPROVAL)

    assert cluster.restarted == ["cart"]
    await approve(upgrade)
    assert (await upgrade.ends()).result == "done"


async def test_wave_that_was_approved_before_does_not_wait(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.block("check_gate")
    upgrade = await upgrade_of(cluster, approving("canary"))
    await upgrade.calls("check_gate")
    await approve(upgrade, wave=0)
    cluster.unblock("check_gate")

    assert (await upgrade.ends()).result == "done"


async def test_approval_that_nothing_waits_for_is_refused(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.block("check_gate")
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("check_gate")

    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await approve(upgrade)
    assert "No wave waits for approval" in str(refused.value.cause)
    cluster.unblock("check_gate")


async def test_abort_ends_an_upgrade_that_waits_for_approval(cluster: FakeCluster, upgrade_of: Starter) -> None:
    upgrade = await upgrade_of(cluster, approving("all"))
    await upgrade.reaches(Phase.WAITING_APPROVAL)
    await upgrade.abort()

    assert (await upgrade.ends()).result == "aborted"
    assert cluster.restarted == []


async def test_waves_of_one_step_overlap_under_one_limit(cluster: FakeCluster, upgrade_of: Starter) -> None:
    names = [f"w{number}" for number in range(12)]
    cluster.stale = {"one": workloads(*names[:4]), "two": workloads(*names[4:8]), "three": workloads(*names[8:])}
    cluster.steps = {"one": 5, "two": 5, "three": 5}
    cluster.block("restart_workload")
    upgrade = await upgrade_of(cluster, Policy(soak=timedelta(0), in_flight=InFlight(cluster=6, namespace=6)))
    # All of the first, and two of the second that already fit.
    await upgrade.calls("restart_workload", times=6)

    assert cluster.names.count("list_wave_members") == 2
    assert sorted(cluster.restarted) == names[:6]
    cluster.unblock("restart_workload")
    assert (await upgrade.ends()).result == "done"
    assert sorted(cluster.restarted) == sorted(names)
    assert cluster.most_in_flight == 6
    # The gate is before the step, not before each of its parts.
    assert cluster.names.count("check_gate") == 2


async def test_limit_changes_what_begins_while_a_wave_runs(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.stale = {"to 100%": workloads(*"abcdef")}
    cluster.block("restart_workload")
    upgrade = await upgrade_of(cluster, Policy(soak=timedelta(0), in_flight=InFlight(cluster=1, namespace=50)))
    await upgrade.calls("restart_workload")
    await upgrade.handle.execute_update("limit", LimitInput("me", "it works", 4))
    await upgrade.calls("restart_workload", times=4)

    assert cluster.in_flight.total() == 4
    cluster.unblock("restart_workload")
    assert (await upgrade.ends()).result == "done"
    assert cluster.most_in_flight == 4


@pytest.mark.parametrize("number", [0, -1, 201])
async def test_limit_that_is_none_is_refused(cluster: FakeCluster, upgrade_of: Starter, number: int) -> None:
    cluster.block("check_gate")
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("check_gate")

    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await upgrade.handle.execute_update("limit", LimitInput(in_flight=number))
    assert f"{number} is not a limit" in str(refused.value.cause)
    cluster.unblock("check_gate")


async def test_upgrade_waits_for_its_queue_where_the_policy_wants_it(
    cluster: FakeCluster, upgrade_of: Starter, clock: Clock
) -> None:
    cluster.items = {"StandalonePod": 1}
    upgrade = await upgrade_of(cluster, Policy(soak=timedelta(0), remediation="wait"))
    seen = await upgrade.reaches(Phase.WAITING_QUEUE)

    assert seen.items.open == 1
    assert seen.needs_attention is None
    assert "kyma-upgrade queue list" in (seen.next_step or "")
    await clock.passes(seconds=16)
    await upgrade.calls("open_items", times=2)
    # What its owner fixed meanwhile is a candidate: it is restarted.
    cluster.stale = {"canary": workloads("fixed")}
    cluster.items = {}
    await clock.passes(seconds=16)
    result = await upgrade.ends()
    assert (result.result, result.progress.items.open) == ("done", 0)
    assert cluster.restarted[-1] == "fixed"


async def test_upgrade_waits_for_its_queue_no_longer_than_it_may(
    cluster: FakeCluster, upgrade_of: Starter, clock: Clock
) -> None:
    cluster.items = {"StandalonePod": 1}
    policy = Policy(soak=timedelta(0), remediation="wait", remediation_timeout=timedelta(hours=2))
    upgrade = await upgrade_of(cluster, policy)
    await upgrade.reaches(Phase.WAITING_QUEUE)
    for _ in range(40):
        await clock.passes(minutes=3, seconds=5)
        await asyncio.sleep(0.05)
    result = await upgrade.ends()

    assert (result.result, result.progress.items.open) == ("done-with-items", 1)
    # Soon at first, later every five minutes.
    assert 20 <= cluster.names.count("open_items") <= 70


async def test_injector_that_does_not_answer_pauses_and_no_workload_is_to_blame(
    cluster: FakeCluster, upgrade_of: Starter
) -> None:
    cart, till, stock = workloads("cart", "till", "stock")
    cluster.stale = {"to 100%": [cart, till, stock]}
    cluster.held = {cart: "a new Pod would be refused: istiod does not answer"}
    upgrade = await upgrade_of(cluster, Policy(soak=timedelta(0), in_flight=InFlight(cluster=1, namespace=1)))
    seen = await upgrade.reaches(Phase.PAUSED)

    assert seen.needs_attention == "a new Pod would be refused: istiod does not answer"
    assert await attribute(upgrade.handle, NEEDS_ATTENTION) is True
    assert cluster.restarted == ["cart"]
    await upgrade.resume()
    result = await upgrade.ends()
    assert result.result == "done"
    assert result.progress.workloads.restarted == 3
    assert cluster.restarted == ["cart", "cart", "till", "stock"]


async def test_failures_over_the_budget_pause_in_the_middle_of_a_wave(
    cluster: FakeCluster, upgrade_of: Starter
) -> None:
    from mesh.plan.policy import Budget
    from mesh.survey.reasons import Reason

    names = workloads(*"abcdefgh")
    cluster.stale = {"to 100%": names}
    cluster.failing = dict.fromkeys(names[:3], Reason.ROLLOUT_TIMED_OUT)
    policy = Policy(
        soak=timedelta(0),
        in_flight=InFlight(cluster=1, namespace=1),
        budget=Budget(failed=0, at_least=1),
    )
    upgrade = await upgrade_of(cluster, policy)
    seen = await upgrade.reaches(Phase.PAUSED)

    assert seen.needs_attention is not None
    assert seen.needs_attention.startswith("2 restarts failed, and the budget is 1")
    assert len(cluster.restarted) < 8
    await upgrade.resume()
    # The third failure is the only one since.
    assert (await upgrade.ends()).progress.workloads.restarted == 5


async def test_waves_of_a_step_may_share_a_reading_until_an_operator_gives_a_command(
    cluster: FakeCluster, upgrade_of: Starter, clock: Clock
) -> None:
    cluster.stale = {
        "canary": workloads("a"),
        "one": workloads("b", "c"),
        "two": workloads("d"),
        "three": workloads("e"),
    }
    cluster.steps = {"canary": 1, "one": 5, "two": 5, "three": 5}
    upgrade = await upgrade_of(cluster, Policy(soak=timedelta(minutes=1), in_flight=InFlight(cluster=1)))
    await upgrade.reaches(Phase.SOAKING)
    cluster.block("restart_workload")
    await clock.passes(minutes=1)
    await upgrade.calls("restart_workload", times=2)
    await clock.passes(seconds=5)
    await upgrade.pause()
    await upgrade.resume()
    cluster.unblock("restart_workload")
    await upgrade.ends()

    canary, one, two, three = (request.read_after for request in cluster.asked("list_wave_members"))
    plan, final = cluster.times("survey_cluster")
    assert plan < canary < one < two
    # One step and no further command: the third wave may use what the second one read.
    assert two == three
    [opened] = (request.read_after for request in cluster.asked("open_items"))
    assert two < opened <= final
