"""What operators and pipelines may tell an upgrade, and what is refused with a sentence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError, CancelledError

from activities.control_plane import ResolvedTarget
from activities.search_attributes import NEEDS_ATTENTION
from mesh.kyma.targets import Target
from mesh.plan.policy import InFlight, Policy
from tests.workflows.conftest import Starter
from tests.workflows.fakes import TARGET, FakeCluster, workloads
from tests.workflows.stage import Clock, RunningUpgrade, attribute, current_details, start_upgrade, until
from workflows.messages import AttachInput, ControlsState, OperatorInput, Phase, Progress, UpgradeState
from workflows.operator_controls import OperatorControls
from workflows.upgrade import UpgradeWorkflow

ONE_BY_ONE = Policy(soak=timedelta(0), in_flight=InFlight(cluster=1))


async def _in_the_middle_of_a_wave(cluster: FakeCluster, upgrade_of: Starter) -> RunningUpgrade:
    """The first of three restarts is in flight."""
    cluster.stale = {"canary": workloads("a", "b", "c"), "to 100%": workloads("d")}
    cluster.block("restart_workload")
    upgrade = await upgrade_of(cluster, ONE_BY_ONE)
    await upgrade.calls("restart_workload")
    return upgrade


async def _wave_shows(upgrade: RunningUpgrade, text: str) -> None:
    async def shown() -> bool:
        return text in await current_details(upgrade.wave(0))

    await until(text, shown)


async def test_pause_in_the_middle_of_a_wave_starts_nothing_new_until_resume(
    cluster: FakeCluster, upgrade_of: Starter
) -> None:
    upgrade = await _in_the_middle_of_a_wave(cluster, upgrade_of)
    seen = await upgrade.pause()

    # A pipeline that waits must learn of it now, not after the wave, which will not end.
    assert seen.phase is Phase.PAUSED
    assert seen.needs_attention == "paused by me: because of the test"
    assert await attribute(upgrade.handle, NEEDS_ATTENTION) is True

    await _wave_shows(upgrade, "0 of 3 done, 1 in flight")
    cluster.unblock("restart_workload")
    await _wave_shows(upgrade, "1 of 3 done, 0 in flight")
    assert cluster.restarted == ["a"]

    seen = await upgrade.resume()
    assert seen.phase is Phase.RESTARTING
    assert (await upgrade.ends()).result == "done"
    assert cluster.restarted == ["a", "b", "c", "d"]
    assert await attribute(upgrade.handle, NEEDS_ATTENTION) is False


async def test_pause_between_steps_holds_the_next_step_back(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.block("check_gate")
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("check_gate")
    await upgrade.pause()
    cluster.unblock("check_gate")
    await until("the gate is finished", lambda: "check_gate" in cluster.finished)
    await upgrade.reaches(Phase.PAUSED)
    assert "survey_cluster" not in cluster.names

    await upgrade.resume()
    assert (await upgrade.ends()).result == "done"


async def test_abort_while_paused_ends_it(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.trouble.append("the Istio CR is in state Error")
    upgrade = await upgrade_of(cluster)
    await upgrade.reaches(Phase.PAUSED)
    await upgrade.abort()
    result = await upgrade.ends()

    assert result.result == "aborted"
    assert result.progress.phase is Phase.ABORTED
    assert result.progress.needs_attention is None
    assert result.progress.ended_at is not None
    assert cluster.names[-2:] == ["await_control_plane", "release_hold"]


async def test_abort_in_the_middle_of_a_wave_lets_finish_what_is_in_flight(
    cluster: FakeCluster, upgrade_of: Starter
) -> None:
    upgrade = await _in_the_middle_of_a_wave(cluster, upgrade_of)
    await upgrade.abort()
    await _wave_shows(upgrade, "0 of 3 done, 1 in flight")
    assert "release_hold" not in cluster.names

    cluster.unblock("restart_workload")
    result = await upgrade.ends()
    assert result.result == "aborted"
    assert result.progress.workloads.restarted == 1
    assert cluster.restarted == ["a"]
    assert cluster.names[-1] == "release_hold"


async def test_abort_of_a_paused_wave_ends_it(cluster: FakeCluster, upgrade_of: Starter) -> None:
    upgrade = await _in_the_middle_of_a_wave(cluster, upgrade_of)
    await upgrade.pause()
    await upgrade.abort()
    cluster.unblock("restart_workload")

    assert (await upgrade.ends()).result == "aborted"
    assert cluster.restarted == ["a"]


async def test_abort_in_a_soak_does_not_wait_for_its_end(cluster: FakeCluster, upgrade_of: Starter) -> None:
    upgrade = await upgrade_of(cluster, Policy(soak=timedelta(hours=6)))
    await upgrade.reaches(Phase.SOAKING)
    await upgrade.abort()

    assert (await upgrade.ends()).result == "aborted"


async def test_abort_does_not_wait_for_a_control_plane_that_takes_days(
    cluster: FakeCluster, upgrade_of: Starter
) -> None:
    # Kyma's own maintenance window may be days away.
    cluster.block("await_control_plane")
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("await_control_plane")
    await upgrade.abort()

    assert (await upgrade.ends()).result == "aborted"
    assert cluster.names[-1] == "release_hold"


async def test_abort_in_preflight_ends_it_before_the_control_plane(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.block("resolve_target")
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("resolve_target")
    await upgrade.abort()
    cluster.unblock("resolve_target")

    assert (await upgrade.ends()).result == "aborted"
    assert "apply_target" not in cluster.names
    assert cluster.names[-1] == "release_hold"


@pytest.mark.parametrize("step", ["renew_hold", "await_control_plane", "check_gate", "restart_workload"])
async def test_cancellation_releases_the_hold_and_ends_cancelled(
    cluster: FakeCluster, upgrade_of: Starter, step: str
) -> None:
    cluster.block(step)
    upgrade = await upgrade_of(cluster)
    await upgrade.calls(step)
    await upgrade.handle.cancel()

    with pytest.raises(WorkflowFailureError) as failure:
        await upgrade.ends()

    assert isinstance(failure.value.cause, CancelledError)
    assert (await upgrade.handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert cluster.names[-1] == "release_hold"
    assert (await upgrade.progress()).phase is Phase.ABORTED


async def test_cancellation_of_a_paused_upgrade_releases_the_hold(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.trouble.append("the Istio CR is in state Error")
    upgrade = await upgrade_of(cluster)
    await upgrade.reaches(Phase.PAUSED)
    await upgrade.handle.cancel()

    with pytest.raises(WorkflowFailureError) as failure:
        await upgrade.ends()
    assert isinstance(failure.value.cause, CancelledError)
    assert cluster.names[-1] == "release_hold"


async def test_hold_is_not_released_during_a_renewal(cluster: FakeCluster, upgrade_of: Starter, clock: Clock) -> None:
    cluster.trouble.append("the Istio CR is in state Error")
    upgrade = await upgrade_of(cluster)
    await upgrade.reaches(Phase.PAUSED)
    cluster.block("renew_hold")
    await clock.passes(minutes=10)
    await upgrade.calls("renew_hold", times=2)
    await upgrade.abort()
    assert (await upgrade.progress()).result is None
    cluster.unblock("renew_hold")

    # Else the renewal could take the lease again after its release, for no upgrade.
    assert (await upgrade.ends()).result == "aborted"
    assert cluster.finished[-2:] == ["renew_hold", "release_hold"]


async def test_resume_of_what_is_not_paused_is_refused(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.block("check_gate")
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("check_gate")

    assert await _refusal(upgrade.resume) == (
        "RefusedError",
        "The upgrade is not paused. See what it does: kyma-upgrade status",
    )
    cluster.unblock("check_gate")


async def test_second_pause_is_refused(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.block("check_gate")
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("check_gate")
    await upgrade.pause()

    kind, sentence = await _refusal(upgrade.pause)
    assert kind == "RefusedError"
    assert sentence == "The upgrade is already paused by me: because of the test."
    cluster.unblock("check_gate")


@pytest.mark.parametrize("command", ["pause", "resume"])
async def test_other_commands_are_refused_once_it_is_being_aborted(
    cluster: FakeCluster, upgrade_of: Starter, command: str
) -> None:
    upgrade = await _in_the_middle_of_a_wave(cluster, upgrade_of)
    await upgrade.abort()

    kind, sentence = await _refusal(getattr(upgrade, command))
    assert kind == "RefusedError"
    assert sentence.startswith("The upgrade is being aborted")
    cluster.unblock("restart_workload")


async def test_abort_at_the_end_of_a_run_is_carried_out_by_the_next_one(cluster: FakeCluster, client: Client) -> None:
    cluster.stale = {"canary": workloads("cart")}
    state = UpgradeState(
        datetime(2026, 1, 1, tzinfo=UTC),
        ResolvedTarget(TARGET, installed="1.29.3", already_installed=False),
        hold_taken=True,
        controls=ControlsState(aborted=True),
    )
    upgrade = await start_upgrade(client, cluster, state=state)

    assert (await upgrade.ends()).result == "aborted"
    assert cluster.restarted == []
    assert cluster.names[-1] == "release_hold"


@pytest.mark.parametrize("check", ["check_pause", "check_resume", "check_abort", "check_running"])
def test_every_command_after_the_end_is_refused(check: str) -> None:
    """For the moment between its result and its end; a workflow that has ended refuses by itself."""
    controls = OperatorControls()
    controls.ended = True

    with pytest.raises(ApplicationError, match=r"The upgrade has ended\."):
        getattr(controls, check)()


@pytest.mark.parametrize("second", [AttachInput("fast"), AttachInput("1.30.0", TARGET), AttachInput("1.30.2", TARGET)])
async def test_second_start_with_the_same_target_is_answered(
    cluster: FakeCluster, upgrade_of: Starter, second: AttachInput
) -> None:
    cluster.block("check_gate")
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("check_gate")
    seen = await upgrade.handle.execute_update(UpgradeWorkflow.attach, second)

    assert seen.phase is Phase.CONTROL_PLANE
    cluster.unblock("check_gate")


@pytest.mark.parametrize(
    "second", [AttachInput("regular"), AttachInput("fast", Target("fast", "1.31.0", "1.30.3"))], ids=["word", "target"]
)
async def test_second_start_with_another_target_is_a_conflict(
    cluster: FakeCluster, upgrade_of: Starter, second: AttachInput
) -> None:
    cluster.block("check_gate")
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("check_gate")

    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await upgrade.handle.execute_update(UpgradeWorkflow.attach, second)

    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "ConflictError"
    assert str(TARGET) in refused.value.cause.message
    cluster.unblock("check_gate")


async def test_second_start_before_the_target_is_resolved_compares_what_was_asked_for(
    cluster: FakeCluster, upgrade_of: Starter
) -> None:
    cluster.block("resolve_target")
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("resolve_target")

    seen = await upgrade.handle.execute_update(UpgradeWorkflow.attach, AttachInput("fast"))
    assert seen.phase is Phase.PREFLIGHT
    with pytest.raises(WorkflowUpdateFailedError):
        await upgrade.handle.execute_update(UpgradeWorkflow.attach, AttachInput("regular"))
    cluster.unblock("resolve_target")


async def test_decisions_tell_who_and_why(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.block("check_gate")
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("check_gate")
    await upgrade.handle.execute_update("pause", OperatorInput("ada", "the shop opens"))
    resume = f"kyma-upgrade resume --cluster {cluster.ref.name}"
    assert (await upgrade.progress()).next_step == f"Resume when you are ready: {resume}"
    await upgrade.handle.execute_update("resume", OperatorInput())

    page = await current_details(upgrade.handle)
    assert "paused by ada: the shop opens" in page
    assert "resumed by an operator: no reason given" in page
    cluster.unblock("check_gate")


async def _refusal(command: Callable[[], Awaitable[Progress]]) -> tuple[str | None, str]:
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await command()
    assert isinstance(refused.value.cause, ApplicationError)
    return refused.value.cause.type, refused.value.cause.message
