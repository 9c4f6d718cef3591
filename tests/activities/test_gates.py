"""Gates: maintenance windows of the policy, as the activity checks them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from temporalio.testing import ActivityEnvironment

from activities.boundary import ServedCluster
from activities.gates import CheckWindowInput, GateActivities, WindowState
from activities.kube.client import ClusterClient
from mesh.identity import ClusterRef
from tests.activities.saturday_windows import ALWAYS, SUNDAYS, UNTIL_ONE, UNTIL_TWO, at
from tests.mesh.build import NOW

CLUSTER = ClusterRef("one", "uid-one")


@pytest.mark.parametrize(
    ("windows", "state"),
    [
        pytest.param((UNTIL_TWO,), WindowState(open=True, changes_at=at(14)), id="open"),
        pytest.param((UNTIL_TWO, UNTIL_ONE), WindowState(open=True, changes_at=at(13)), id="first-one-to-close"),
        pytest.param((ALWAYS,), WindowState(open=True, changes_at=None), id="always-open"),
        pytest.param((SUNDAYS,), WindowState(open=False, changes_at=at(0, 6)), id="shut"),
        pytest.param((UNTIL_TWO, SUNDAYS), WindowState(open=False, changes_at=None), id="never-together"),
        pytest.param(
            ("Sat 14:00-18:00 Europe/Berlin",), WindowState(open=True, changes_at=at(16)), id="by-the-time-of-its-zone"
        ),
    ],
)
async def test_windows_are_open_or_shut_until_a_time(
    monkeypatch: pytest.MonkeyPatch, windows: tuple[str, ...], state: WindowState
) -> None:
    monkeypatch.setattr("activities.gates.datetime", SimpleNamespace(now=lambda _: NOW))
    gates = GateActivities(ServedCluster(cast("ClusterClient", None), CLUSTER))

    assert await ActivityEnvironment().run(gates.check_window, CheckWindowInput(CLUSTER, windows)) == state
