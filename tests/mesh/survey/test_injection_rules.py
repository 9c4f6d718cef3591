"""Rules about injection and gateways, one case each."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mesh.istio.expected_proxy import ExpectedProxy
from mesh.istio.injector_config import injector_config
from mesh.k8s.objects import (
    ConfigMap,
    Container,
    Metadata,
    PodSpec,
    PodTemplate,
    Workload,
)
from mesh.survey.actions import Action
from mesh.survey.pod_class import PodClass
from mesh.survey.reasons import Reason
from mesh.survey.snapshot import UpgradeContext
from tests.mesh.build import (
    NEW,
    NOW,
    OLD,
    config_map,
    injector,
    make_namespace,
    pod,
    surveyed,
    verdict,
    webhooks,
    workload,
)

OFF = {"istio-injection": "disabled"}


MARKED = UpgradeContext(mark=NOW - timedelta(hours=1))

CANARY = config_map(values='{"global": {"hub": "hub", "tag": "1.31.0"}}', revision="canary")

UPGRADED = config_map(values='{"global": {"hub": "hub", "tag": "1.30.2"}}')

BLANK = config_map()


@pytest.mark.parametrize(
    ("rev", "of_namespace", "proxy", "configs", "detail"),
    [
        pytest.param(None, None, OLD, (UPGRADED,), "Istio 1.29.3, its revision has 1.30.2", id="older"),
        pytest.param(None, None, "hub/proxyv2:1.31.0", (UPGRADED,), "has 1.30.2", id="newer"),
        pytest.param(None, None, NEW, (UPGRADED,), None, id="as-its-revision"),
        pytest.param(None, None, "other/proxyv2:1.30.2-distroless", (UPGRADED,), None, id="of-that-version"),
        pytest.param("canary", None, NEW, (UPGRADED, CANARY), "has 1.31.0", id="its-own-revision"),
        pytest.param(None, "canary", NEW, (UPGRADED, CANARY), "has 1.31.0", id="its-namespace's-revision"),
        pytest.param("stable", None, NEW, (UPGRADED, CANARY), "has 1.31.0", id="by-a-tag"),
        pytest.param("gone", None, OLD, (UPGRADED,), None, id="no-such-revision"),
        pytest.param(None, None, OLD, (BLANK,), None, id="revision-does-not-tell"),
        pytest.param(None, None, "hub/proxyv2:latest", (UPGRADED,), None, id="no-version"),
    ],
)
def test_gateway_that_its_owner_did_not_roll_is_reported_to_an_upgrade_and_not_to_a_scan(
    rev: str | None, of_namespace: str | None, proxy: str, configs: tuple[ConfigMap, ...], detail: str | None
) -> None:
    by = injector(
        webhooks(), webhooks("stable", revision="canary"), configs=tuple(injector_config(one) for one in configs)
    )
    edge = _gateway({} if rev is None else {"istio.io/rev": rev})
    here = make_namespace(labels={} if of_namespace is None else {"istio.io/rev": of_namespace})
    one = pod("edge-1", owner=edge, proxy=proxy, injected=False)
    gateway = surveyed(edge, one, here, by=by, context=MARKED)

    assert verdict(gateway) == ((Action.REMEDIATE, Reason.GATEWAY_NOT_UPGRADED) if detail else (Action.NONE, None))
    assert (detail or "") in (gateway.detail or "")
    assert gateway.pod_class is PodClass.GATEWAY
    assert verdict(surveyed(edge, one, here, by=by)) == (Action.NONE, None)


def test_excluded_gateway_is_no_item() -> None:
    edge, off = _gateway({}), {"restarter.istio-operator.kyma-project.io/exclude": "true"}
    one = pod("edge-1", owner=edge, injected=False)
    by_policy = UpgradeContext(mark=NOW, exclude_namespaces=("shop",))

    assert surveyed(edge, one, context=MARKED).action is Action.REMEDIATE
    assert surveyed(edge, one, make_namespace(annotations=off), context=MARKED).action is Action.NONE
    assert surveyed(edge, one, context=by_policy).action is Action.NONE


def _gateway(labels: dict[str, str]) -> Workload:
    made_from = PodTemplate(
        metadata=Metadata(labels={"sidecar.istio.io/inject": "false"} | labels),
        spec=PodSpec(containers=(Container(name="istio-proxy", image=NEW),)),
    )
    return workload(name="edge", made_from=made_from)


def test_missing_sidecar_of_a_standalone_pod_is_reported_as_standalone() -> None:
    assert surveyed(pod(proxy=None)).reason is Reason.STANDALONE_POD


def test_sidecar_that_would_be_lost_is_left_alone() -> None:
    cart = workload()
    found = surveyed(cart, pod(owner=cart), make_namespace(labels=OFF))

    assert verdict(found) == (Action.REMEDIATE, Reason.WOULD_LOSE_SIDECAR)
    assert found.detail == "would get no sidecar: no injection webhook selects it"


def test_missing_answer_is_reported_with_its_reason() -> None:
    cart = workload()
    found = surveyed(cart, pod(owner=cart), expected=ExpectedProxy(None, None, "the injector refused: bad\nconfig"))

    assert verdict(found) == (Action.REMEDIATE, Reason.UNKNOWN_PROXY)
    assert (found.detail or "").endswith("the injector refused: bad config")
