"""Temporal as the activities of the queue use it: a list of open items, and what was started and told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from mesh.items import ItemView


@dataclass(frozen=True)
class Start:
    """A workflow that was started, or signalled where it ran."""

    workflow: str
    id: str
    signal: str
    said: tuple[Any, ...]


@dataclass
class FakeTemporal:
    """Attributes say what its list shows, `told` and `started` what came."""

    open: set[str] = field(default_factory=set)
    #: What the memos of open items say.
    views: dict[str, ItemView] = field(default_factory=dict)
    #: Its list cannot be read.
    unlisted: bool = False
    readings: int = 0
    told: list[str] = field(default_factory=list)
    started: list[Start] = field(default_factory=list)

    @property
    def client(self) -> Client:
        """As the activities take it."""
        return cast("Client", self)

    async def count_workflows(self, query: str) -> SimpleNamespace:
        self._check(query)
        return SimpleNamespace(count=len(self.open))

    async def list_workflows(self, query: str, **_: int) -> AsyncIterator[SimpleNamespace]:
        self._check(query)
        self.readings += 1
        for one in sorted(self.open):
            yield SimpleNamespace(id=one)

    def get_workflow_handle(self, identity: str) -> _Handle:
        return _Handle(self, identity)

    async def start_workflow(self, workflow: str, _: object, **options: Any) -> None:  # noqa: ANN401  # many types
        said = tuple(options.get("start_signal_args", ()))
        self.started.append(Start(workflow, options["id"], options["start_signal"], said))

    def _check(self, query: str) -> None:
        assert query == 'WorkflowId STARTS_WITH "remediation:one:" AND ExecutionStatus = "Running"'
        if self.unlisted:
            raise RPCError("the list is away", RPCStatusCode.UNAVAILABLE, b"")


@dataclass(frozen=True)
class _Handle:
    temporal: FakeTemporal
    id: str

    async def signal(self, name: str) -> None:
        assert name == "changed"
        self._find()
        self.temporal.told.append(self.id)

    async def describe(self) -> _Description:
        self._find()
        return _Description(self.temporal.views.get(self.id))

    def _find(self) -> None:
        if self.id not in self.temporal.open:
            raise RPCError("workflow not found", RPCStatusCode.NOT_FOUND, b"")


@dataclass(frozen=True)
class _Description:
    view: ItemView | None
    status: WorkflowExecutionStatus = WorkflowExecutionStatus.RUNNING

    async def memo_value(self, key: str, _: None, *, type_hint: type) -> ItemView | None:
        assert (key, type_hint) == ("item", ItemView)
        return self.view
