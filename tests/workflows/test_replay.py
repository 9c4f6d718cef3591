"""Upgrades that are under way go on under a new version: every recorded history still replays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from tests.workflows.altered import AlteredWaveWorkflow
from tests.workflows.record import HISTORIES, SCENES
from tests.workflows.sandbox import strict_runner
from worker.data_converter import data_converter
from workflows.registry import ALL_WORKFLOWS

_FILES = sorted(HISTORIES.glob("*.json"))


def _replayer(workflows: Sequence[type]) -> Replayer:
    return Replayer(workflows=workflows, workflow_runner=strict_runner(), data_converter=data_converter)


def _history(file: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(file.stem, file.read_text())


def test_every_scene_is_recorded() -> None:
    assert {file.stem for file in _FILES} >= set(SCENES)


@pytest.mark.parametrize("file", _FILES, ids=lambda file: file.stem)
async def test_recorded_history_replays(file: Path) -> None:
    await _replayer(ALL_WORKFLOWS).replay_workflow(_history(file))


async def test_inserted_timer_is_caught() -> None:
    with pytest.raises(NondeterminismError):
        await _replayer([AlteredWaveWorkflow]).replay_workflow(_history(HISTORIES / "wave.json"))
