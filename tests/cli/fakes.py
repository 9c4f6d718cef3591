"""Fake workflows, so that a command can meet an upgrade in any state."""
# ruff: noqa: ARG002  # the signatures are the real ones

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from activities.remediation.inputs import RemediationItemInput
from activities.search_attributes import NEEDS_ATTENTION, PHASE, TARGET
from mesh.remediation.item import Observation
from workflows.messages import (
    AttachInput,
    ItemCounts,
    OperatorInput,
    Phase,
    Progress,
    Result,
    UpgradeInput,
    UpgradeResult,
    WorkloadCounts,
)

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@workflow.defn(name="Upgrade", sandboxed=False)
class FakeUpgradeWorkflow:
    """Behaves as its target says: `done`, `items`, `fails`, `refused`; any other target runs until it is aborted."""

    @workflow.init
    def __init__(self, request: UpgradeInput) -> None:
        self._request = request
        self._ended: str | None = None
        self._progress = Progress(
            cluster=request.cluster.name,
            target=request.to,
            phase=Phase.RESTARTING,
            needs_attention=None,
            next_step=None,
            started_at=START,
            ended_at=None,
            result=None,
            workloads=WorkloadCounts(planned=2),
            wave=None,
            items=ItemCounts(),
        )

    @workflow.run
    async def run(self, request: UpgradeInput) -> UpgradeResult:
        self._show()
        if request.to in ("fails", "refused"):
            kind = {"fails": None, "refused": "RefusedError"}[request.to]
            raise ApplicationError("That cannot be.", type=kind, non_retryable=True)
        await workflow.wait_condition(lambda: request.to in ("done", "items") or self._ended is not None)
        if self._ended:
            return UpgradeResult("aborted", replace(self._progress, phase=Phase.ABORTED, result="aborted"))
        items = ItemCounts(1, {"PodPending": 1}) if request.to == "items" else ItemCounts()
        result: Result = "done-with-items" if items.open else "done"
        return UpgradeResult(result, replace(self._progress, phase=Phase.DONE, result=result, items=items))

    @workflow.query
    def progress(self) -> Progress:
        return self._progress

    @workflow.update
    def attach(self, request: AttachInput) -> Progress:
        return self._progress

    @attach.validator
    def _same(self, request: AttachInput) -> None:
        if request.to != self._request.to:
            raise ApplicationError(f"An upgrade to {self._request.to} is under way.", type="ConflictError")

    @workflow.update
    def pause(self, operator: OperatorInput) -> Progress:
        reason = f"paused by {operator.who}: {operator.because}"
        self._progress = replace(self._progress, phase=Phase.PAUSED, needs_attention=reason, next_step="resume")
        self._show()
        return self._progress

    @workflow.update
    def resume(self, operator: OperatorInput) -> Progress:
        self._progress = replace(self._progress, phase=Phase.RESTARTING, needs_attention=None)
        self._show()
        return self._progress

    @resume.validator
    def _is_paused(self, operator: OperatorInput) -> None:
        if self._progress.needs_attention is None:
            raise ApplicationError("It is not paused.", type="RefusedError")

    @workflow.update
    def abort(self, operator: OperatorInput) -> Progress:
        self._ended = operator.because
        return self._progress

    def _show(self) -> None:
        workflow.upsert_search_attributes(
            [
                PHASE.value_set(str(self._progress.phase)),
                TARGET.value_set(self._request.to),
                NEEDS_ATTENTION.value_set(self._progress.needs_attention is not None),
            ]
        )


@workflow.defn(name="RemediationItem", sandboxed=False)
class FakeItemWorkflow:
    """Open until an observation closes it; its memo is what the queue shows."""

    def __init__(self) -> None:
        self._closed = False

    @workflow.run
    async def run(self, request: RemediationItemInput) -> str:
        await workflow.wait_condition(lambda: self._closed)
        return "closed"

    @workflow.signal
    def observed(self, observation: Observation) -> None:
        view = workflow.memo_value("item", type_hint=dict)
        if observation.closed is not None:
            workflow.upsert_memo({"item": {**view, "state": "resolved"}})
            self._closed = True
