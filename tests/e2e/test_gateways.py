"""Gateways that no injector made: their owners roll them, and the survey tells them apart."""

from __future__ import annotations

import pytest

from activities.kube.client import Cluster
from activities.surveying import take_survey
from deploy.local.demo.stage import wait_for
from deploy.local.gateway_api import install_gateway_api
from deploy.local.kubectl import apply, read
from deploy.local.service import Service
from mesh.classes import PodClass
from mesh.survey import Action
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


def _images(platform: Service, namespace: str) -> list[str]:
    """The tags of the proxies of the Gateway API's gateways."""
    label = "gateway.networking.k8s.io/gateway-name"
    pods = (read(platform.mesh, "pods", "-n", namespace, "-l", label) or {"items": []})["items"]
    return [one["image"].rpartition(":")[2] for pod in pods for one in pod["spec"]["containers"]]
