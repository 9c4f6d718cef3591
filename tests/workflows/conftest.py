"""A server that can skip time, and a cluster of its own for each test."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from activities.remediation.inputs import RemediationItemInput
from activities.search_attributes import item_search_attributes
from mesh.identity import TASK_QUEUE, ClusterRef
from mesh.plan.policy import Policy
from mesh.remediation.item import Item
from mesh.survey.finding import Finding
from tests.workflows.fakes import FakeCluster
from tests.workflows.open_item import PENDING, ItemStarter, OpenItem
from tests.workflows.stage import NO_SOAK, Clock, RunningUpgrade, compose_temporal, serve, start_upgrade
from workflows.remediation_item import RemediationItemWorkflow

_numbers = count(1)
Starter = Callable[..., Awaitable[RunningUpgrade]]


@pytest_asyncio.fixture(scope="session")
async def shared() -> AsyncIterator[WorkflowEnvironment]:
    """The server of all tests in which no time needs to pass, with a worker for all workflows."""
    async with compose_temporal() as environment:
        yield environment


@pytest_asyncio.fixture
async def temporal(request: pytest.FixtureRequest, shared: WorkflowEnvironment) -> AsyncIterator[WorkflowEnvironment]:
    """The server. One in which time passes is new for each test.

    A workflow that ends while one of its activities runs leaves the server's clock locked forever.
    """
    if "clock" not in request.fixturenames:
        yield shared
        return
    async with compose_temporal() as environment:
        yield environment


@pytest.fixture(autouse=True)
def no_errors_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Temporal only logs what is wrong with a workflow's code, and tries again."""
    yield
    errors = [one.getMessage() for one in caplog.get_records("call") if one.levelno >= logging.ERROR]
    assert errors == []


@pytest.fixture
def client(temporal: WorkflowEnvironment) -> Client:
    """A connection to the server."""
    return temporal.client


@pytest.fixture
def clock(temporal: WorkflowEnvironment) -> Clock:
    """The server's time."""
    return Clock(temporal)


@pytest_asyncio.fixture
async def cluster(client: Client) -> AsyncIterator[FakeCluster]:
    """A cluster under a name of its own, with a worker."""
    fake = FakeCluster(ClusterRef(f"cluster-{next(_numbers)}", "uid"))
    async with serve(client, fake):
        yield fake


@pytest_asyncio.fixture
async def leftovers() -> AsyncIterator[list[WorkflowHandle[Any, Any]]]:
    """Workflows that must not outlive the test: their timers would fire while another test lets time pass."""
    handles: list[WorkflowHandle[Any, Any]] = []
    yield handles
    for handle in handles:
        with contextlib.suppress(RPCError):
            await handle.terminate("end of the test")


@pytest.fixture
def upgrade_of(client: Client, leftovers: list[WorkflowHandle[Any, Any]]) -> Starter:
    """Starts an upgrade; without a policy there is no soak."""

    async def start(cluster: FakeCluster, policy: Policy = NO_SOAK) -> RunningUpgrade:
        running = await start_upgrade(client, cluster, policy)
        leftovers.append(running.handle)
        return running

    return start


@pytest.fixture
def start_item(client: Client, clock: Clock, leftovers: list[WorkflowHandle[Any, Any]]) -> ItemStarter:
    """Opens an item by its first finding, as `open_items` does: its Pods are warned."""

    async def start(cluster: FakeCluster, finding: Finding = PENDING) -> OpenItem:
        now = await clock.now()
        known = Item(cluster.ref.name, finding, now, now)
        handle = await client.start_workflow(
            RemediationItemWorkflow.run,
            RemediationItemInput(cluster.ref, known),
            id=known.id,
            task_queue=TASK_QUEUE,
            memo={"item": known},
            search_attributes=item_search_attributes(known),
        )
        leftovers.append(handle)
        item = OpenItem(handle, cluster, clock)
        await item.view()
        return item

    return start
