"""Single readings: which custom resources there are, and whose template an Argo Rollout has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from activities.kube.reads import read_workload, serves_kind
from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.workload_ref import WorkloadRef
from tests.activities.api_server import Answer, api_server, status

FORBIDDEN = 'path "/apis/argoproj.io/v1alpha1" is forbidden: User "somebody" cannot get path'


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
async def test_kind_is_served_when_its_group_says_so(tmp_path: Path, answer: Answer, there: bool) -> None:
    async with api_server(lambda _: answer, tmp_path) as cluster:
        assert await serves_kind(cluster, ARGO_ROLLOUT) is there


ROLLOUT = {"metadata": {"name": "cart"}, "spec": {"workloadRef": {"kind": "Deployment", "name": "lender"}}}
LENDER = {
    "metadata": {"name": "lender"},
    "spec": {
        "selector": {"matchLabels": {"app": "cart"}},
        "template": {"metadata": {"labels": {"app": "cart"}}, "spec": {"containers": [{"name": "app"}]}},
    },
}


@pytest.mark.parametrize(
    ("lender", "template"),
    [
        pytest.param(Answer(json.dumps(LENDER).encode()), True, id="there"),
        pytest.param(Answer(status(404, "not found"), 404), False, id="gone"),
    ],
)
async def test_argo_rollout_is_read_with_the_template_that_it_takes(
    tmp_path: Path, lender: Answer, template: bool
) -> None:
    answers = [Answer(json.dumps(ROLLOUT).encode()), lender]
    async with api_server(lambda _: answers.pop(0), tmp_path) as cluster:
        found = await read_workload(cluster, WorkloadRef("shop", ARGO_ROLLOUT, "cart"))

    assert (found.kind, found.metadata.name) == (ARGO_ROLLOUT, "cart")
    assert (found.template is not None) is template
    assert found.label_selector.query() == ("app=cart" if template else "")
    assert answers == []
