"""A Temporal dev server with our search attributes, and settings that name it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.search_attributes import ALL
from mesh.identity import TASK_QUEUE, ClusterRef
from tests.cli.fakes import FakeItemWorkflow, FakeUpgradeWorkflow
from worker.data_converter import data_converter
from worker.settings import ClusterSettings, Settings, TemporalSettings

_numbers = count(1)


@pytest_asyncio.fixture(scope="session")
async def client() -> AsyncIterator[Client]:
    """A client of the server; no worker runs yet."""
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
        data_converter=data_converter,
        search_attributes=ALL,
        dev_server_log_level="error",
    )
    async with environment:
        yield environment.client


@pytest.fixture
def ref() -> ClusterRef:
    """A cluster of its own for each test."""
    return ClusterRef(f"cluster-{next(_numbers)}", "uid")


@pytest.fixture
def settings(client: Client, ref: ClusterRef) -> Settings:
    """The settings that flags would give."""
    address = client.service_client.config.target_host
    return Settings(
        cluster=ClusterSettings(cluster=ref.name), temporal=TemporalSettings(address=address, ui="http://ui/")
    )


@pytest_asyncio.fixture
async def at_work(client: Client) -> AsyncIterator[None]:
    """A worker for the stand-ins."""
    async with Worker(client, task_queue=TASK_QUEUE, workflows=[FakeUpgradeWorkflow, FakeItemWorkflow]):
        yield
