"""Trouble pauses: the upgrade says why, waits for an operator and then tries that very step again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from activities.search_attributes import NEEDS_ATTENTION, PHASE
from activities.survey.activities import SurveyInput
from mesh.errors import PermissionDeniedError, RejectedError, UnreachableError, UpgradeError
from mesh.identity import TASK_QUEUE, wave_id
from mesh.plan.policy import Budget, Policy
from mesh.plan.waves import WaveGroup, WaveRule
from mesh.survey.reasons import Reason
from tests.workflows.conftest import Starter
from tests.workflows.fakes import FakeCluster, workloads
from tests.workflows.stage import NO_SOAK, Clock, attribute, current_details, until
from workflows.messages import Phase, WaveControl, WaveInput
from workflows.wave import WaveWorkflow
from workflows.wave_coordinator import WaveCoordinator


async def test_control_plane_trouble_pauses_and_resume_waits_again(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.trouble.append("the Istio CR says: gateway is not ready")
    upgrade = await upgrade_of(cluster)
    seen = await upgrade.reaches(Phase.PAUSED)

    assert seen.needs_attention is not None
    assert "gateway is not ready" in seen.needs_attention
    assert seen.next_step is not None
    assert cluster.ref.name in seen.next_step
    assert await attribute(upgrade.handle, NEEDS_ATTENTION) is True
    assert await attribute(upgrade.handle, PHASE) == "paused"
    assert cluster.names[-1] == "await_control_plane"

    cluster.block("check_gate")
    await upgrade.resume()
    await upgrade.calls("check_gate")

    assert cluster.names[-3:] == ["await_control_plane", "await_control_plane", "check_gate"]
    assert await attribute(upgrade.handle, NEEDS_ATTENTION) is False
    assert await attribute(upgrade.handle, PHASE) == "control-plane"
    assert (await upgrade.progress()).needs_attention is None
    cluster.unblock("check_gate")
    assert (await upgrade.ends()).result == "done"


@pytest.mark.parametrize("step", ["await_hold", "apply_target", "check_gate", "survey_cluster", "open_items"])
async def test_step_that_trying_again_cannot_help_pauses(cluster: FakeCluster, upgrade_of: Starter, step: str) -> None:
    cluster.fail(step, PermissionDeniedError("The worker may not do this.", "Apply deploy/rbac.yaml."))
    upgrade = await upgrade_of(cluster)
    seen = await upgrade.reaches(Phase.PAUSED)

    assert seen.needs_attention == "The worker may not do this. Apply deploy/rbac.yaml."
    assert cluster.names[-1] == step
    calls = len(cluster.calls)

    await upgrade.resume()
    assert (await upgrade.ends()).result == "done"
    assert cluster.names[calls] == step


async def test_step_that_fails_again_and_again_pauses(cluster: FakeCluster, upgrade_of: Starter, clock: Clock) -> None:
    cluster.fail("survey_cluster", *(UnreachableError("The API server does not answer.") for _ in range(8)))
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("survey_cluster")
    await clock.passes(minutes=2)
    seen = await upgrade.reaches(Phase.PAUSED)

    assert seen.needs_attention == "The API server does not answer."
    assert cluster.names.count("survey_cluster") == 8
    await upgrade.resume()
    assert (await upgrade.ends()).result == "done"


async def test_trouble_of_a_moment_does_not_pause(cluster: FakeCluster, upgrade_of: Starter, clock: Clock) -> None:
    cluster.fail("apply_target", *(UnreachableError("The API server does not answer.") for _ in range(3)))
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("apply_target")
    await clock.passes(minutes=1)

    assert (await upgrade.ends()).result == "done"
    assert cluster.names.count("apply_target") == 4


async def test_gate_that_opens_soon_does_not_pause(cluster: FakeCluster, upgrade_of: Starter, clock: Clock) -> None:
    cluster.gate_shut.extend(["istiod is not rolled out"] * 3)
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("check_gate")
    await clock.passes(seconds=15)

    assert (await upgrade.ends()).result == "done"


async def test_gate_that_stays_shut_pauses_and_is_tried_again(
    cluster: FakeCluster, upgrade_of: Starter, clock: Clock
) -> None:
    cluster.gate_shut.extend(["istiod is not rolled out"] * 6)
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("check_gate")
    await clock.passes(seconds=25)
    seen = await upgrade.reaches(Phase.PAUSED)

    assert seen.needs_attention == "The gate is closed: istiod is not rolled out."
    assert cluster.names.count("check_gate") == 6
    assert "survey_cluster" not in cluster.names
    await upgrade.resume()
    assert (await upgrade.ends()).result == "done"


async def test_more_failures_than_the_budget_pause_until_resumed(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.stale = {"canary": workloads("a", "b", "c"), "to 30%": workloads("d"), "to 100%": workloads("e")}
    cluster.failing = dict.fromkeys(workloads("a", "b"), Reason.ROLLOUT_TIMED_OUT)
    upgrade = await upgrade_of(cluster, Policy(soak=timedelta(0), budget=Budget(failed=0, at_least=1)))
    seen = await upgrade.reaches(Phase.PAUSED)

    assert seen.needs_attention is not None
    assert seen.needs_attention.startswith("2 restarts failed, and the budget is 1;")
    assert "shop/Deployment/b" in seen.needs_attention
    assert "d" not in cluster.restarted

    # An operator has seen these failures: they do not pause it again after every wave that comes.
    await upgrade.resume()
    assert (await upgrade.ends()).result == "done"
    assert cluster.restarted[-2:] == ["d", "e"]


async def test_failures_after_a_resume_pause_again_when_they_spend_the_budget(
    cluster: FakeCluster, upgrade_of: Starter
) -> None:
    cluster.stale = {"canary": workloads("a", "b"), "to 30%": workloads("c", "d"), "to 100%": workloads("e")}
    cluster.failing = dict.fromkeys(workloads("a", "b", "c", "d"), Reason.ROLLOUT_TIMED_OUT)
    upgrade = await upgrade_of(cluster, Policy(soak=timedelta(0), budget=Budget(failed=0, at_least=1)))
    await upgrade.reaches(Phase.PAUSED)
    await upgrade.resume()
    await upgrade.calls("restart_workload", times=4)
    seen = await upgrade.reaches(Phase.PAUSED)

    assert seen.needs_attention is not None
    assert "shop/Deployment/d" in seen.needs_attention
    assert "e" not in cluster.restarted


async def test_failures_within_the_budget_do_not_pause(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.failing = dict.fromkeys(workloads("cart", "till"), Reason.ROLLOUT_TIMED_OUT)
    upgrade = await upgrade_of(cluster)

    assert (await upgrade.ends()).result == "done"


async def test_hold_that_cannot_be_renewed_pauses_in_the_middle_of_a_wave(
    cluster: FakeCluster, upgrade_of: Starter, clock: Clock
) -> None:
    # Restarts that are cut again and again: no time is skipped while an activity runs.
    cluster.fail("restart_workload", *(UnreachableError("The API server does not answer.") for _ in range(60)))
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("restart_workload")
    cluster.fail("renew_hold", PermissionDeniedError("no right to write the lease"))
    await clock.passes(minutes=11)
    seen = await upgrade.reaches(Phase.PAUSED)

    assert seen.needs_attention == "hold and lease could not be renewed: no right to write the lease"
    assert await attribute(upgrade.handle, NEEDS_ATTENTION) is True
    assert "Waiting for an operator" in await current_details(upgrade.handle)


async def test_wave_that_is_cancelled_by_hand_pauses(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.block("restart_workload")
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("restart_workload")
    await upgrade.wave(0).cancel()
    seen = await upgrade.reaches(Phase.PAUSED)

    assert seen.needs_attention is not None
    assert seen.needs_attention.startswith("wave 0 ended before it was done")
    await until("the restart is cancelled", lambda: not cluster.in_flight.total())
    cluster.unblock("restart_workload")
    await upgrade.resume()
    assert (await upgrade.ends()).result == "done"
    # What the wave left was found by the next survey.
    assert [request.rule.name for request in cluster.asked("list_wave_members")] == ["canary", "to 100%", "canary"]


async def test_wave_that_cannot_look_up_its_members_pauses(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.fail("list_wave_members", RejectedError("what the API server answered cannot be read"))
    upgrade = await upgrade_of(cluster)
    seen = await upgrade.reaches(Phase.PAUSED)

    assert seen.needs_attention is not None
    assert "what the API server answered cannot be read" in seen.needs_attention
    await upgrade.resume()
    assert (await upgrade.ends()).result == "done"


async def test_wave_of_an_earlier_upgrade_that_still_runs_pauses(
    cluster: FakeCluster, upgrade_of: Starter, client: Client
) -> None:
    """An upgrade was terminated, and its wave lives a moment longer."""
    earlier = SurveyInput(cluster.ref, NO_SOAK)
    cluster.block("list_wave_members")
    left = await client.start_workflow(
        WaveWorkflow.run,
        WaveInput(earlier, WaveRule(0, "canary", WaveGroup.CANARY), 0, datetime(2026, 1, 1, tzinfo=UTC), 1),
        id=wave_id(cluster.ref.name, 0),
        task_queue=TASK_QUEUE,
    )
    upgrade = await upgrade_of(cluster)
    seen = await upgrade.reaches(Phase.PAUSED)

    assert seen.needs_attention is not None
    assert f"{left.id} of an earlier upgrade still runs" in seen.needs_attention
    await left.terminate()
    cluster.unblock("list_wave_members")
    await upgrade.resume()
    assert (await upgrade.ends()).result == "done"
    assert sorted(cluster.restarted) == ["cart", "stock", "till"]


async def test_wave_receives_the_newest_signal_last() -> None:
    """Two signals on their way at once could arrive in any order."""

    class SlowWave:
        def __init__(self) -> None:
            self.received: list[WaveControl] = []

        async def signal(self, _: object, control: WaveControl) -> None:
            await asyncio.sleep(0.01 if control.paused else 0)
            self.received.append(control)

    waves, wave = WaveCoordinator("c"), SlowWave()
    waves._open[0] = wave  # type: ignore[assignment]
    pausing = asyncio.create_task(waves.send(WaveControl(paused=True)))
    await asyncio.sleep(0)
    await waves.send(WaveControl(paused=False))
    await pausing

    assert wave.received == [WaveControl(paused=True), WaveControl(paused=False)]


async def test_steering_a_wave_that_has_just_ended_is_harmless() -> None:
    """Between a wave's end and its parent's next task the server answers that it is not there."""

    class EndedWave:
        async def signal(self, *_: object) -> None:
            raise ApplicationError("Unable to signal external workflow because it was not found")

    waves = WaveCoordinator("c")
    waves._open[0] = EndedWave()  # type: ignore[assignment]
    await waves.send(WaveControl(paused=True))


@pytest.mark.parametrize("error", [UpgradeError("it broke"), PermissionDeniedError("no right")])
async def test_failure_of_preflight_fails_with_its_sentence(
    cluster: FakeCluster, upgrade_of: Starter, error: UpgradeError
) -> None:
    cluster.fail("resolve_target", error)
    upgrade = await upgrade_of(cluster)

    with pytest.raises(WorkflowFailureError) as failure:
        await upgrade.ends()
    assert str(failure.value.cause).endswith(error.message)
