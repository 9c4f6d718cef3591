"""Temporal as the activities of the queue use it: a list of open items, started workflows and signals."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from temporalio.api.common.v1 import Memo, WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus as RunStatus
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import ListWorkflowExecutionsRequest, ListWorkflowExecutionsResponse
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from mesh.identity import item_workload
from mesh.remediation.item import Item, Observation
from mesh.survey.finding import Finding
from mesh.survey.reasons import Reason
from worker.data_converter import data_converter

#: Items in an answer of its list: more than one answer is an ordinary thing.
_PAGE = 2


def opened(workflow_id: str) -> Item:
    """An item that was opened long ago."""
    before = datetime(2026, 1, 1, tzinfo=UTC)
    workload = item_workload(workflow_id)
    finding = Finding(workload.namespace, workload.kind, workload.name, Reason.POD_PENDING, "why", (), 0)
    return Item("one", finding, before, before)


@dataclass(frozen=True)
class Start:
    """A workflow that was started, or that got a signal because it ran."""

    workflow: str
    id: str
    signal: str | None
    signal_arguments: tuple[Any, ...]
    item: Item | None = None
    first_task_after: timedelta | None = None


@dataclass
class FakeTemporal:
    """Attributes say what its list shows; `signalled` and `started` what it received."""

    open: set[str] = field(default_factory=set)
    #: What the memos of items say.
    items: dict[str, Item] = field(default_factory=dict)
    #: Its list cannot be read.
    unlisted: bool = False
    lists_read: int = 0
    signalled: list[str] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    started: list[Start] = field(default_factory=list)

    @property
    def client(self) -> Client:
        """As the activities take it."""
        return cast("Client", self)

    async def count_workflows(self, query: str) -> SimpleNamespace:
        self._check(query)
        return SimpleNamespace(count=len(self.open))

    @property
    def namespace(self) -> str:
        return "default"

    @property
    def workflow_service(self) -> FakeTemporal:
        return self

    async def list_workflow_executions(
        self, request: ListWorkflowExecutionsRequest, **_: bool
    ) -> ListWorkflowExecutionsResponse:
        self._check(request.query)
        first = int(request.next_page_token or 0)
        self.lists_read += first == 0
        page = sorted(self.open)[first : first + _PAGE]
        token = str(first + _PAGE).encode() if first + _PAGE < len(self.open) else b""
        return ListWorkflowExecutionsResponse(
            executions=[self._listed(workflow_id) for workflow_id in page], next_page_token=token
        )

    def _listed(self, workflow_id: str) -> WorkflowExecutionInfo:
        [payload] = data_converter.payload_converter.to_payloads([self.items.get(workflow_id) or opened(workflow_id)])
        return WorkflowExecutionInfo(
            execution=WorkflowExecution(workflow_id=workflow_id),
            status=RunStatus.WORKFLOW_EXECUTION_STATUS_RUNNING,
            memo=Memo(fields={"item": payload}),
        )

    def get_workflow_handle(self, workflow_id: str) -> _Handle:
        return _Handle(self, workflow_id)

    async def start_workflow(self, workflow: str, request: Any, **options: Any) -> None:  # noqa: ANN401  # many types
        signal = options.get("start_signal")
        if signal is None and options["id"] in self.open:
            raise WorkflowAlreadyStartedError(options["id"], workflow)
        signal_arguments = tuple(options.get("start_signal_args", ()))
        after = options.get("start_delay")
        self.started.append(
            Start(workflow, options["id"], signal, signal_arguments, getattr(request, "item", None), after)
        )

    def _check(self, query: str) -> None:
        assert query == 'WorkflowId STARTS_WITH "remediation:one:" AND ExecutionStatus = "Running"'
        if self.unlisted:
            raise RPCError("the list is away", RPCStatusCode.UNAVAILABLE, b"")


@dataclass(frozen=True)
class _Handle:
    temporal: FakeTemporal
    id: str

    async def signal(self, name: str, observation: Observation) -> None:
        assert name == "observed"
        self._find()
        self.temporal.signalled.append(self.id)
        self.temporal.observations.append(observation)

    async def describe(self) -> _Description:
        item = self.temporal.items.get(self.id)
        if self.id not in self.temporal.open and item is not None:
            return _Description(self.id, item, WorkflowExecutionStatus.COMPLETED)
        self._find()
        return _Description(self.id, item)

    def _find(self) -> None:
        if self.id not in self.temporal.open:
            raise RPCError("workflow not found", RPCStatusCode.NOT_FOUND, b"")


@dataclass(frozen=True)
class _Description:
    id: str
    item: Item | None
    status: WorkflowExecutionStatus = WorkflowExecutionStatus.RUNNING

    async def memo_value(self, key: str, _: None, *, type_hint: type) -> object:
        assert (key, type_hint) == ("item", dict)
        return msgspec.to_builtins(self.item) if self.item is not None else None
