"""A Temporal dev server: the time-skipping server handles search attributes differently."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from worker.data_converter import data_converter


@pytest_asyncio.fixture(scope="session")
async def bare_temporal() -> AsyncIterator[Client]:
    """A client of a server without our search attributes."""
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
        data_converter=data_converter,
        dev_server_log_level="error",
    )
    async with environment:
        yield environment.client
