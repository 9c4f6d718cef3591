"""The survey on a real cluster: what the live injector would give decides, and every Pod is counted once."""

from __future__ import annotations

import pytest

from activities.kube.client import ClusterClient
from activities.survey.run import run_survey
from deploy.local.kubectl import read
from deploy.local.service import Service
from mesh.survey.pod_class import PodClass
from mesh.survey.survey import SurveyedWorkload
from tests.e2e.conftest import NewProxy
from tests.e2e.workloads import make

pytestmark = pytest.mark.mesh


async def test_edited_injector_makes_the_survey_follow(
    platform: Service, cluster: ClusterClient, namespace: str, new_proxy: NewProxy
) -> None:
    make(platform.mesh, namespace, "follows")
    before = await _record(cluster, namespace, "follows")
    new_proxy.give("9.9.9")

    after = await _record(cluster, namespace, "follows")

    assert (before.pod_class, before.expected.source) == (PodClass.CURRENT, "injector")
    assert (after.pod_class, after.expected.source) == (PodClass.STALE, "injector")
    assert (after.expected.image or "").endswith("proxyv2:9.9.9")
    assert after.stale_pods == 2


async def test_totals_are_those_of_the_api_server(platform: Service, cluster: ClusterClient, namespace: str) -> None:
    make(platform.mesh, namespace, "counted", "StatefulSet")

    survey = await run_survey(cluster)
    pods = read(platform.mesh, "pods", "-A")["items"]

    assert survey.pods == len(pods)
    assert sum(survey.classes.values()) == len(pods)


async def _record(cluster: ClusterClient, namespace: str, name: str) -> SurveyedWorkload:
    survey = await run_survey(cluster, [namespace])
    return next(record for record in survey.workloads if record.name == name)
