"""The steps of an upgrade: its activities, each with its summary and options. Every step can be tried again."""

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
    from activities.remediation.activities import OpenItemsInput, RemediationActivities
    from activities.survey.activities import SurveyActivities, SurveyInput, SurveySummary
    from mesh.identity import ClusterRef
    from mesh.kyma.targets import Target
    from mesh.plan.policy import Policy

    from workflows import activity_options
    from workflows.messages import ItemCounts

#: How long hold and lease last without renewal, and how often they are renewed.
_HOLD_LASTS = timedelta(minutes=30)
HOLD_RENEWED = timedelta(minutes=10)
#: A gate that is shut is tried again this often before the upgrade pauses.
_GATE_TRIES = 6
_GATE_EVERY = timedelta(seconds=5)
#: Bytes that a summary may have.
_SUMMARY = 200


class ActivityCalls:
    """What an upgrade does in one cluster. Trouble is an ActivityError, or an ApplicationError with its sentence."""

    def __init__(self, cluster: ClusterRef, policy: Policy) -> None:
        self._cluster = cluster
        self._policy = policy

    async def resolve(self, to: str) -> ResolvedTarget:
        """The user's word, resolved and allowed; refused before anything is changed."""
        return await workflow.execute_activity_method(
            ControlPlaneActivities.resolve_target,
            ResolveTargetInput(self._cluster, to),
            summary=f"what {to} means here",
            **activity_options.short(self._cluster),
        )

    async def renew_hold(self) -> None:
        """Takes the lease, and the hold if restarts are ours, or keeps them for another while."""
        await workflow.execute_activity_method(
            HoldActivities.renew_hold,
            self._hold_input(),
            summary="hold and lease",
            **activity_options.short(self._cluster),
        )

    async def await_hold(self) -> None:
        """Until the API server really refuses the module's restarts."""
        await workflow.execute_activity_method(
            HoldActivities.await_hold,
            self._hold_input(),
            summary="is the hold in force",
            **activity_options.short(self._cluster),
        )

    async def release_hold(self) -> None:
        """Lets go of hold and lease; never fails."""
        try:
            await workflow.execute_activity_method(
                HoldActivities.release_hold,
                self._hold_input(),
                summary="let go of hold and lease",
                **activity_options.short(self._cluster),
            )
        except ActivityError:
            # Both end by themselves when they are not renewed.
            workflow.logger.warning("hold_not_released")

    async def apply(self, target: Target) -> None:
        """Has the module move the control plane."""
        await workflow.execute_activity_method(
            ControlPlaneActivities.apply_target,
            ApplyTargetInput(self._cluster, target),
            summary=f"channel {target.channel}",
            **activity_options.short(self._cluster),
        )

    async def await_control_plane(self, target: Target) -> None:
        """For as long as the control plane moves, which may be hours."""
        result: AwaitControlPlaneResult = await workflow.execute_activity_method(
            ControlPlaneActivities.await_control_plane,
            AwaitControlPlaneInput(self._cluster, target, self._policy.no_progress.control_plane),
            summary=f"wait for {target}",
            **activity_options.long_running(self._cluster),
        )
        if result.trouble is not None:
            raise ApplicationError(f"The control plane does not reach {target}: {result.trouble}")

    async def gate(self, target: Target) -> None:
        """Whether a Pod that is made anew now would come back with the target's proxy."""
        ask = CheckGateInput(self._cluster, target.istio or "", self._policy.gates.prometheus)
        shut = None
        for attempt in range(_GATE_TRIES):
            if attempt:
                await workflow.sleep(_GATE_EVERY, summary=f"gate is shut: {shut}")
            result = await workflow.execute_activity_method(
                GateActivities.check_gate,
                ask,
                summary="gate: istiod ready, injector gives the target",
                **activity_options.short(self._cluster),
            )
            shut = result.closed_because
            if shut is None:
                return
        raise ApplicationError(f"The gate is shut: {shut}.")

    async def window(self) -> WindowState:
        """Whether the policy's windows are open, and until when, or when they open."""
        return await workflow.execute_activity_method(
            GateActivities.check_window,
            CheckWindowInput(self._cluster, self._policy.windows),
            summary=f"windows: {'; '.join(self._policy.windows)}"[:_SUMMARY],
            **activity_options.short(self._cluster),
        )

    async def await_worker(self) -> None:
        """Until a worker serves the cluster, however long that takes."""
        await workflow.execute_activity_method(
            GateActivities.ping_worker,
            self._cluster,
            summary="is there a worker for this cluster",
            **activity_options.short_queued(self._cluster),
        )

    async def survey(self, ask: SurveyInput) -> SurveySummary:
        """Judges every Pod and plans the waves."""
        return await workflow.execute_activity_method(
            SurveyActivities.survey_cluster,
            ask,
            summary="every Pod, once",
            **activity_options.survey(self._cluster),
        )

    async def open_items(self, ask: SurveyInput, read_after: datetime | None) -> ItemCounts:
        """Opens an item for everything that a person must settle; counts all that stand then."""
        opened = await workflow.execute_activity_method(
            RemediationActivities.open_items,
            OpenItemsInput(ask, read_after),
            summary="remediation items",
            **activity_options.survey(self._cluster),
        )
        return ItemCounts(opened.count, opened.by_reason)

    def _hold_input(self) -> HoldInput:
        info = workflow.info()
        holder = f"{info.workflow_id}/{info.first_execution_run_id}"
        return HoldInput(self._cluster, holder, _HOLD_LASTS, hold=self._policy.restarts == "ours")
