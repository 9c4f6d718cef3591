"""Drift is what really differs beyond the image, and nothing else."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.istio.drift import Drift, drift_of, quantity
from mesh.istio.expected_proxy import ExpectedProxy, SidecarShape
from mesh.k8s.objects import Container, Pod, PodSpec, Resources
from mesh.survey.actions import Action
from mesh.survey.pod_class import PodClass
from tests.mesh.build import NEW, few_examples, pod, surveyed, workload

EXPECTED = SidecarShape(Resources(requests={"cpu": "100m", "memory": "128Mi"}), "istio-validation", "default")


def injected(
    resources: Resources | None = EXPECTED.resources, setup: str | None = "istio-validation", revision: str = "default"
) -> Pod:
    made = pod(proxy=NEW, annotations={"sidecar.istio.io/status": f'{{"revision":"{revision}"}}'})
    first = (Container(name=setup),) if setup else ()
    proxy = Container(name="istio-proxy", image=NEW, resources=resources)
    return msgspec.structs.replace(made, spec=PodSpec(containers=(proxy,), init_containers=first))


@pytest.mark.parametrize(
    ("one", "found"),
    [
        (injected(), {}),
        (injected(Resources(requests={"cpu": "0.1", "memory": "134217728"})), {}),
        (
            injected(Resources(requests={"cpu": "200m", "memory": "128Mi"}, limits={"cpu": "2"})),
            {Drift.RESOURCES: "cpu request 200m, would get 100m; cpu limit 2, would get none"},
        ),
        (injected(setup="istio-init"), {Drift.CNI: "has istio-init, would get istio-validation"}),
        (injected(setup=None), {Drift.CNI: "has no init container, would get istio-validation"}),
        (injected(revision="canary"), {Drift.REVISION: "injected by revision canary, would be by default"}),
    ],
    ids=["none", "written-otherwise", "resources", "cni-mode", "no-init-container", "revision"],
)
def test_drift_is_what_differs(one: Pod, found: dict[Drift, str]) -> None:
    assert drift_of(one, EXPECTED) == found


def test_lost_status_is_drift_and_the_pod_still_a_sidecar_of_the_mesh() -> None:
    cart = workload()
    bare = msgspec.structs.replace(
        injected(), metadata=msgspec.structs.replace(pod(owner=cart).metadata, annotations={})
    )
    found = surveyed(cart, bare, expected=ExpectedProxy(NEW, "injector", shape=EXPECTED))

    assert (found.pod_class, set(found.drift)) == (PodClass.CURRENT, {Drift.STATUS})
    assert found.detail == "sidecar.istio.io/status is missing"


@pytest.mark.parametrize("status", ["", "{", "[]", "null", "{}", '{"revision": ""}', '{"revision": 7}'])
def test_status_that_tells_no_revision_is_drift(status: str) -> None:
    annotated = msgspec.structs.replace(
        injected(), metadata=pod(annotations={"sidecar.istio.io/status": status}).metadata
    )

    assert drift_of(annotated, EXPECTED) == {Drift.STATUS: "sidecar.istio.io/status names no revision"}


def test_drift_is_reported_and_never_acted_on() -> None:
    """Kyma restarts such a workload at every reconciliation. Source: its restarter, ImageResourcesPredicate."""
    cart = workload()
    grown = msgspec.structs.replace(injected(Resources(requests={"cpu": "4"})), metadata=pod(owner=cart).metadata)
    found = surveyed(cart, grown, expected=ExpectedProxy(NEW, "injector", shape=EXPECTED))

    assert (found.pod_class, found.action, found.reason) == (PodClass.CURRENT, Action.NONE, None)
    assert Drift.RESOURCES in found.drift


def test_no_drift_is_reported_for_a_computed_proxy() -> None:
    cart = workload()

    assert surveyed(cart, pod(owner=cart, proxy=NEW), expected=ExpectedProxy(NEW, "configmap")).drift == {}


@pytest.mark.parametrize(
    ("one", "other"), [("100m", "0.1"), ("1Ki", "1024"), ("1k", "1000"), ("1.5Gi", "1536Mi"), ("1e3", "1k")]
)
def test_quantities_written_otherwise_are_equal(one: str, other: str) -> None:
    assert quantity(one) == quantity(other)


@few_examples
@given(st.text(max_size=12))
def test_quantity_of_any_text_is_a_number_or_the_text(text: str) -> None:
    found = quantity(text)

    assert found == text or isinstance(found, Decimal)
