"""Stages for the stories: real meshes, shared where a story leaves them as it found them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.local import lifecycle
from deploy.local.demo.stage import raise_stage
from deploy.local.service import Service


@pytest.fixture
def shop(request: pytest.FixtureRequest) -> Iterator[Service]:
    """The demo's stage with its shop and a worker, before any upgrade; gone afterwards."""
    name = f"test-{request.node.name.replace('_', '-')}"[:32].rstrip("-")
    lifecycle.down(name)
    try:
        service = raise_stage(name)
        service.start_worker()
        yield service
    finally:
        lifecycle.down(name)
