"""An open remediation item, as surveys, the watch, operators and the queue see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest
from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError

from activities.remediation.inputs import SetPodWarningsInput
from mesh.remediation.item import Item, ItemState, ItemView, Observation, view_of
from mesh.survey.finding import Finding
from mesh.survey.reasons import Reason
from tests.workflows.fakes import FakeCluster
from tests.workflows.stage import Clock, until
from workflows.item_commands import ItemCommand
from workflows.remediation_item import RemediationItemWorkflow

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
