"""The activities that an upgrade runs, each with its summary and options. Every call can be repeated."""

from __future__ import annotations

from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.control_plane import (
        ApplyTargetInput,
        AwaitControlPlaneInput,
        AwaitControlPlaneResult,
        ControlPlaneActivities,
        ResolvedTarget,
        ResolveTargetInput,
    )
    from activities.gates import CheckGateInput, CheckWindowInput, GateActivities, WindowState
    from activities.hold import HoldActivities, HoldInput
    from activities.remediation.activities import RemediationActivities
    from activities.remediation.inputs import OpenItemsInput
    from activities.survey.activities import SurveyActivities, SurveyInput, SurveySummary
    from mesh.identity import ClusterRef
    from mesh.kyma.targets import Target
    from mesh.plan.policy import Policy

    from workflows import activity_options
    from workflows.messages import ItemCounts

#: How long hold and lease last without renewal, and how often they are renewed.
_HOLD_LASTS = timedelta(minutes=30)
RENEW_HOLD_EVERY = timedelta(minutes=10)
#: A closed gate is tried so often before the upgrade pauses.
_GATE_TRIES = 6
_GATE_EVERY = timedelta(seconds=5)


class ActivityCalls:
    """Runs activities in one cluster.

    Every method raises ActivityError, or ApplicationError with a sentence, when the cluster or the activity fails.
    """

    def __init__(self, cluster: ClusterRef, policy: Policy) -> None:
        self._cluster = cluster
        self._policy = policy

    async def resolve_target(self, to: str) -> ResolvedTarget:
        """Resolves what the user wrote; refused before anything is changed."""
        return await workflow.execute_activity_method(
            ControlPlaneActivities.resolve_target,
            ResolveTargetInput(self._cluster, to),
            **activity_options.short(self._cluster, f"Resolve target {to}"),
        )

    async def renew_hold(self) -> None:
        """Takes or renews the lease, and the hold if restarts are ours."""
        await workflow.execute_activity_method(
            HoldActivities.renew_hold,
            self._hold_input(),
            **activity_options.short(self._cluster, "Renew hold and lease"),
        )

    async def await_hold(self) -> None:
        """Waits until the API server refuses the module's restarts."""
        await workflow.execute_activity_method(
            HoldActivities.await_hold,
            self._hold_input(),
            **activity_options.short(self._cluster, "Wait until the hold is in force"),
        )

    async def release_hold(self) -> None:
        """Releases hold and lease; never fails."""
        try:
            await workflow.execute_activity_method(
                HoldActivities.release_hold,
                self._hold_input(),
                **activity_options.short(self._cluster, "Release hold and lease"),
            )
        except ActivityError:
            # Both expire when they are not renewed.
            workflow.logger.warning("hold_not_released")

    async def apply_target(self, target: Target) -> None:
        """Has the module move the control plane to the target's channel."""
        await workflow.execute_activity_method(
            ControlPlaneActivities.apply_target,
            ApplyTargetInput(self._cluster, target),
            **activity_options.short(self._cluster, f"Switch the module to channel {target.channel}"),
        )

    async def await_control_plane(self, target: Target) -> None:
        """Waits for the control plane as long as it moves, which may be hours."""
        result: AwaitControlPlaneResult = await workflow.execute_activity_method(
            ControlPlaneActivities.await_control_plane,
            AwaitControlPlaneInput(self._cluster, target, self._policy.no_progress.control_plane),
            **activity_options.long_running(self._cluster, f"Wait until the control plane runs {target}"),
        )
        if result.trouble is not None:
            raise ApplicationError(f"The control plane does not reach {target}: {result.trouble}")

    async def check_gate(self, target: Target) -> None:
        """Checks that a new Pod would come back with the target's proxy."""
        request = CheckGateInput(self._cluster, target.istio or "", self._policy.gates.prometheus)
        closed = None
        for attempt in range(_GATE_TRIES):
            if attempt:
                await workflow.sleep(
                    _GATE_EVERY, summary=f"Check the gate again: {closed}"[: activity_options.SUMMARY_LIMIT]
                )
            result = await workflow.execute_activity_method(
                GateActivities.check_gate,
                request,
                **activity_options.short(
                    self._cluster, "Check the gate: istiod is ready, new Pods get the target proxy"
                ),
            )
            closed = result.closed_because
            if closed is None:
                return
        raise ApplicationError(f"The gate is closed: {closed}.")

    async def check_windows(self) -> WindowState:
        """Checks whether the policy's windows are open, and when that changes."""
        return await workflow.execute_activity_method(
            GateActivities.check_window,
            CheckWindowInput(self._cluster, self._policy.windows),
            **activity_options.short(self._cluster, f"Check maintenance windows: {'; '.join(self._policy.windows)}"),
        )

    async def await_worker(self) -> None:
        """Waits without limit until a worker serves the cluster."""
        await workflow.execute_activity_method(
            GateActivities.ping_worker,
            self._cluster,
            **activity_options.short_queued(self._cluster, "Wait for a worker of this cluster"),
        )

    async def survey(self, request: SurveyInput) -> SurveySummary:
        """Surveys all Pods and plans the waves."""
        return await workflow.execute_activity_method(
            SurveyActivities.survey_cluster,
            request,
            **activity_options.survey(self._cluster, "Survey the cluster"),
        )

    async def open_items(self, request: SurveyInput, read_after: datetime | None) -> ItemCounts:
        """Opens an item for each workload that an operator must settle; counts all open items."""
        opened = await workflow.execute_activity_method(
            RemediationActivities.open_items,
            OpenItemsInput(request, read_after),
            **activity_options.survey(self._cluster, "Open remediation items"),
        )
        return ItemCounts(opened.count, opened.by_reason)

    def _hold_input(self) -> HoldInput:
        info = workflow.info()
        holder = f"{info.workflow_id}/{info.first_execution_run_id}"
        return HoldInput(self._cluster, holder, _HOLD_LASTS, hold=self._policy.restarts == "ours")
