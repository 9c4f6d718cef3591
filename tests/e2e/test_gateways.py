"""Gateways whose proxy no injector adds: their owners restart them, and the survey recognises them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from temporalio.testing import ActivityEnvironment

from activities.boundary import ServedCluster
from activities.kube.client import ClusterClient
from activities.kube.discovery import read_uid
from activities.remediation.activities import RemediationActivities
from activities.remediation.inputs import RecheckItemInput
from activities.remediation.watch import ClusterWatchActivities
from activities.survey.cache import SurveyCache
from activities.survey.run import run_survey
from deploy.local.demo.stage import wait_for
from deploy.local.gateway_api import install_gateway_api
from deploy.local.kubectl import apply, read
from deploy.local.service import Service
from mesh.identity import ClusterRef
from mesh.remediation.item import Observation
from mesh.remediation.recheck import finding_of
from mesh.survey.actions import Action
from mesh.survey.finding import Finding
from mesh.survey.pod_class import PodClass
from mesh.survey.reasons import Reason
from mesh.survey.snapshot import UpgradeContext
from tests.activities.fake_temporal import FakeTemporal
from tests.e2e.conftest import NewProxy

pytestmark = pytest.mark.mesh


async def test_gateways_of_charts_and_of_the_gateway_api_are_restarted_by_their_owners_alone(
    platform: Service, cluster: ClusterClient, namespace: str, new_proxy: NewProxy
) -> None:
    install_gateway_api(platform.mesh)
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
    apply(
        platform.mesh,
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "edge", "namespace": namespace},
            "spec": {"gatewayClassName": "istio", "listeners": listeners},
        },
    )
    wait_for("istiod's gateway", lambda: _images(platform, namespace) != [])
    new_proxy.give("1.30.2")

    survey = await run_survey(cluster, [namespace, "istio-system"])
    found = {record.name: record for record in survey.workloads}

    for name in ("istio-ingressgateway", "edge-istio"):
        one = found[name]
        assert (one.pod_class, one.action, one.expected.source) == (PodClass.GATEWAY, Action.NONE, "template")
    # istiod follows its injector's ConfigMap at once.
    wait_for("istiod to roll its gateway", lambda: _images(platform, namespace) == ["1.30.2"])


async def test_gateway_that_its_owner_did_not_restart_is_an_item_until_it_does(
    platform: Service, cluster: ClusterClient, new_proxy: NewProxy
) -> None:
    new_proxy.give("1.30.2")
    attempt = UpgradeContext(mark=datetime.now(UTC))

    survey = await run_survey(cluster, ["istio-system"], attempt)
    (record,) = (one for one in survey.workloads if one.name == "istio-ingressgateway")
    finding = finding_of(record)
    assert finding is not None
    still_stale = await _recheck(cluster, finding)
    new_proxy.give("1.29.3")
    settled = await _recheck(cluster, finding)

    assert (record.pod_class, record.action) == (PodClass.GATEWAY, Action.REMEDIATE)
    assert finding.reason is Reason.GATEWAY_NOT_UPGRADED
    assert (finding.detail or "").endswith("runs Istio 1.29.3, its revision has 1.30.2")
    assert (still_stale.closed, still_stale.finding) == (None, finding)
    assert settled.closed == "the gateway runs the version of its revision"


async def _recheck(cluster: ClusterClient, finding: Finding) -> Observation:
    ref = ClusterRef("story", await read_uid(cluster))
    served, client, surveys = ServedCluster(cluster, ref), FakeTemporal().client, SurveyCache(cluster)
    watch = ClusterWatchActivities(served, client, "queue", surveys)
    activities = RemediationActivities(served, client, "queue", watch, surveys)
    return await ActivityEnvironment().run(activities.recheck_item, RecheckItemInput(ref, finding))


def _images(platform: Service, namespace: str) -> list[str]:
    """The tags of the proxies of the Gateway API's gateways."""
    label = "gateway.networking.k8s.io/gateway-name"
    pods = (read(platform.mesh, "pods", "-n", namespace, "-l", label) or {"items": []})["items"]
    return [one["image"].rpartition(":")[2] for pod in pods for one in pod["spec"]["containers"]]
