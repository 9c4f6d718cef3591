"""Gateways that no injector made: their owners roll them, and the survey tells them apart."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from temporalio.testing import ActivityEnvironment

from activities.cluster_watch import WatchActivities
from activities.edge import Served
from activities.kube.client import Cluster
from activities.kube.reading import read_uid
from activities.remediation import RecheckInput, RemediationActivities
from activities.shared_survey import SharedSurveys
from activities.surveying import take_survey
from deploy.local.demo.stage import wait_for
from deploy.local.gateway_api import install_gateway_api
from deploy.local.kubectl import apply, read
from deploy.local.service import Service
from mesh.causes import Reason
from mesh.classes import PodClass
from mesh.cluster import ClusterRef
from mesh.items import Look
from mesh.judging import Action
from mesh.looking import sighting_of
from mesh.sighting import Sighting
from mesh.world import Attempt
from tests.activities.temporal import FakeTemporal
from tests.e2e.conftest import NewProxy

pytestmark = pytest.mark.mesh


async def test_chart_gateway_and_gateway_api_gateway_are_nobodys_restart_but_their_owners(
    platform: Service, cluster: Cluster, namespace: str, new_proxy: NewProxy
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

    survey = await take_survey(cluster, [namespace, "istio-system"])
    found = {record.name: record for record in survey.records}

    for name in ("istio-ingressgateway", "edge-istio"):
        one = found[name]
        assert (one.klass, one.action, one.expected.source) == (PodClass.GATEWAY, Action.NONE, "template")
    # istiod follows its injector's ConfigMap at once.
    wait_for("istiod to roll its gateway", lambda: _images(platform, namespace) == ["1.30.2"])


async def test_gateway_that_its_owner_did_not_roll_is_an_item_until_it_did(
    platform: Service, cluster: Cluster, new_proxy: NewProxy
) -> None:
    new_proxy.give("1.30.2")
    attempt = Attempt(mark=datetime.now(UTC))

    survey = await take_survey(cluster, ["istio-system"], attempt)
    (record,) = (one for one in survey.records if one.name == "istio-ingressgateway")
    seen = sighting_of(record)
    assert seen is not None
    stands = await _recheck(cluster, seen)
    new_proxy.give("1.29.3")
    settled = await _recheck(cluster, seen)

    assert (record.klass, record.action) == (PodClass.GATEWAY, Action.REMEDIATE)
    assert seen.reason is Reason.GATEWAY_NOT_UPGRADED
    assert (seen.detail or "").endswith("runs Istio 1.29.3, its revision has 1.30.2")
    assert (stands.closed, stands.seen) == (None, seen)
    assert settled.closed == "its Pods are gateway"


async def _recheck(cluster: Cluster, seen: Sighting) -> Look:
    ref = ClusterRef("story", await read_uid(cluster))
    served, client, surveys = Served(cluster, ref), FakeTemporal().client, SharedSurveys(cluster)
    watch = WatchActivities(served, client, "queue", surveys)
    activities = RemediationActivities(served, client, "queue", watch, surveys)
    return await ActivityEnvironment().run(activities.recheck_item, RecheckInput(ref, seen))


def _images(platform: Service, namespace: str) -> list[str]:
    """The tags of the proxies of the Gateway API's gateways."""
    label = "gateway.networking.k8s.io/gateway-name"
    pods = (read(platform.mesh, "pods", "-n", namespace, "-l", label) or {"items": []})["items"]
    return [one["image"].rpartition(":")[2] for pod in pods for one in pod["spec"]["containers"]]
