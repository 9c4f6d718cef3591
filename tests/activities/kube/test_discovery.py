"""The API server says which custom resources it serves; without the permission to ask, all of them count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from activities.kube.discovery import serves_kind
from mesh.k8s.kinds import ARGO_ROLLOUT
from tests.activities.api_server import Answer, api_server, status

FORBIDDEN = 'path "/apis/argoproj.io/v1alpha1" is forbidden: User "u" cannot get path'


def kinds(*names: str) -> bytes:
    """An APIResourceList."""
    return json.dumps({"resources": [{"name": f"{name.lower()}s", "kind": name} for name in names]}).encode()


@pytest.mark.parametrize(
    ("answer", "there"),
    [
        pytest.param(Answer(kinds("AnalysisRun", "Rollout")), True, id="served"),
        pytest.param(Answer(b"404 page not found", 404), False, id="no-such-group"),
        pytest.param(Answer(kinds("Workflow", "CronWorkflow")), False, id="group-of-another-product"),
        pytest.param(Answer(status(403, FORBIDDEN), 403), True, id="may-not-be-asked"),
    ],
)
async def test_kind_is_served_when_its_group_lists_it(tmp_path: Path, answer: Answer, there: bool) -> None:
    async with api_server(lambda _: answer, tmp_path) as cluster:
        assert await serves_kind(cluster, ARGO_ROLLOUT) is there
