"""What the executor checks before its write."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from activities.boundary import ServedCluster
from activities.kube.client import connect
from activities.restart.activities import RestartActivities
from activities.restart.outcome import RestartInput, RestartOutcome, RestartResult
from mesh.identity import ClusterRef
from mesh.k8s.workload_ref import WorkloadRef
from mesh.wellknown import EXCLUDE_FROM_RESTART
from tests.mesh.build import NOW
from tests.scale.synthetic_cluster import Size, SyntheticCluster, _Collection, served

REF = ClusterRef("one", "uid")


class ExcludingCluster(SyntheticCluster):
    """A cluster of one stale Deployment. Every object of a kind has the exclusion annotation."""

    def __init__(self, kind: str) -> None:
        super().__init__(Size(namespaces=1, deployments=1, pods_each=2, stale=1, standalone=0))
        self._kind = kind

    def collection(self, kind: str, namespace: str | None) -> _Collection:
        collection = super().collection(kind, namespace)
        if kind != self._kind:
            return collection

        def excluded(number: int) -> bytes:
            made = json.loads(collection.make(number))
            made["metadata"].setdefault("annotations", {})[EXCLUDE_FROM_RESTART] = "true"
            return json.dumps(made).encode()

        return replace(collection, make=excluded)


@pytest.mark.parametrize("kind", ["deployments", "namespaces"])
async def test_workload_that_was_excluded_since_the_survey_is_left_alone(tmp_path: Path, kind: str) -> None:
    synthetic = ExcludingCluster(kind)
    async with served(synthetic, tmp_path) as kubeconfig, await connect(str(kubeconfig)) as cluster:
        activities = RestartActivities(ServedCluster(cluster, REF))
        workload = WorkloadRef(synthetic.namespace(0), "Deployment", synthetic.deployment(0))
        request = RestartInput(REF, workload, NOW, timedelta(seconds=3))
        result = await ActivityEnvironment().run(activities.restart_workload, request)
        activities._informer.stop()

    assert result == RestartResult(workload, RestartOutcome.EXCLUDED)
    assert synthetic.patched == []
