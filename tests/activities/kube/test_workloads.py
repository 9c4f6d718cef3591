"""A single workload is read with everything that it consists of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from activities.kube.workloads import read_workload
from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.workload_ref import WorkloadRef
from tests.activities.api_server import Answer, api_server, status

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
