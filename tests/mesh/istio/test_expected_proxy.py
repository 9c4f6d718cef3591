"""One query for all templates that must get the same proxy; what is computed where the injector does not answer."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from mesh.istio.expected_proxy import (
    ExpectedProxy,
    InjectionQuery,
    computed_proxy,
    injecting_revision,
    injection_query,
    proxy_in_answer,
)
from mesh.istio.injection import Injector, decide_injection
from mesh.istio.injector_config import InjectorConfig, ProxyConfig, injector_config
from mesh.k8s.objects import Container, Metadata, PodSpec, PodTemplate, Resources
from mesh.wellknown import SIDECAR_STATUS
from tests.mesh.build import NEW, Labels, config_map, injector, pod, template

ENABLED = {"istio-injection": "enabled"}
OWN_PROXY = msgspec.structs.replace(template(), spec=PodSpec(containers=(Container(name="istio-proxy", image="auto"),)))


def query_of(by: Injector, about: PodTemplate, namespace: str = "app") -> InjectionQuery:
    return injection_query(by, namespace, decide_injection(by, namespace, ENABLED, about), about)


def proxy_config(namespace: str = "app", labels: Labels = None, *, image: str | None = "debug") -> ProxyConfig:
    selector = {} if labels is None else {"selector": {"matchLabels": dict(labels)}}
    spec = {**selector, **({} if image is None else {"image": {"imageType": image}})}
    return msgspec.convert({"metadata": {"name": "one", "namespace": namespace}, "spec": spec}, ProxyConfig)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(template({"app": "a"}), template({"app": "b"}), id="labels"),
        pytest.param(template(None, {"note": "1"}), template(None, {"note": "2"}), id="annotations-of-others"),
    ],
)
def test_one_query_serves_templates_that_get_the_same_proxy(one: PodTemplate, other: PodTemplate) -> None:
    by = injector()

    assert query_of(by, one).key == query_of(by, other, "elsewhere").key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(template(None, {"sidecar.istio.io/proxyImage": "x/y"}), template(), id="istio's-annotations"),
        pytest.param(OWN_PROXY, template(), id="own-proxy"),
    ],
)
def test_templates_that_may_get_another_proxy_are_asked_about_by_themselves(
    one: PodTemplate, other: PodTemplate
) -> None:
    by = injector()

    assert query_of(by, one).key != query_of(by, other).key


def test_edited_template_that_reads_labels_is_asked_about_for_each() -> None:
    by = injector(configs=(replace(injector_config(config_map()), image_is_common=False),))

    assert query_of(by, template({"app": "a"})).key != query_of(by, template({"app": "b"})).key
    assert query_of(by, template()).key != query_of(by, template(), "elsewhere").key


def test_query_about_an_edited_template_has_the_raw_spec_or_a_problem() -> None:
    by = injector(configs=(replace(injector_config(config_map()), image_is_common=False),))
    fast, slow = (
        msgspec.structs.replace(template(), spec=msgspec.structs.replace(template().spec, raw=text))
        for text in ('{"nodeSelector":{"disk":"fast"}}', "{}")
    )

    assert query_of(by, fast).key != query_of(by, slow).key
    assert (query_of(by, fast).problem, query_of(injector(), template()).problem) == (None, None)
    assert "edited" in (query_of(by, template()).problem or "")


def test_proxy_config_separates_the_templates_to_which_it_applies() -> None:
    by = replace(injector(), proxy_configs=(proxy_config(labels={"app": "a"}),))

    assert query_of(by, template({"app": "a"})).key != query_of(by, template({"app": "b"})).key
    assert query_of(by, template({"app": "b"})).key == query_of(by, template({"app": "c"})).key
    assert query_of(by, template({"app": "a"})).key != query_of(by, template({"app": "a"}), "elsewhere").key


def test_unreadable_proxy_configs_may_apply_to_any_template() -> None:
    by = replace(injector(), proxy_configs=None)

    assert query_of(by, template({"app": "a"})).key != query_of(by, template({"app": "b"})).key
    assert computed_proxy(by, query_of(by, template()), "no answer") == ExpectedProxy(None, None, "no answer")


@pytest.mark.parametrize(
    ("annotations", "image"),
    [
        pytest.param({}, NEW, id="plain"),
        pytest.param({"prometheus.io/port": "9"}, NEW, id="of-other-tools"),
        pytest.param({"sidecar.istio.io/proxyImage": "mine/p:1"}, "mine/p:1", id="pin"),
        pytest.param({"sidecar.istio.io/proxyImage": "p:1"}, None, id="pin-without-repository"),
        pytest.param({"sidecar.istio.io/proxyImageType": "debug"}, None, id="image-type"),
        pytest.param({"proxy.istio.io/config": "image: {imageType: debug}"}, None, id="proxy-config"),
        pytest.param({"inject.istio.io/templates": "gateway"}, None, id="other-template"),
    ],
)
def test_image_is_computed_only_for_templates_that_cannot_shape_it(annotations: Labels, image: str | None) -> None:
    by = injector()

    assert computed_proxy(by, query_of(by, template(None, annotations)), "no answer").image == image


def test_template_with_its_own_proxy_is_not_computed() -> None:
    by = injector()

    assert computed_proxy(by, query_of(by, OWN_PROXY), "no answer") == ExpectedProxy(None, None, "no answer")


@pytest.mark.parametrize(
    ("found", "image"),
    [
        pytest.param(proxy_config("app"), None, id="of-the-namespace"),
        pytest.param(proxy_config("istio-system"), None, id="of-the-mesh"),
        pytest.param(proxy_config("app", {"app": "a"}), None, id="by-label"),
        pytest.param(proxy_config("app", {"app": "b"}), NEW, id="of-others"),
        pytest.param(proxy_config("other"), NEW, id="of-another-namespace"),
        pytest.param(proxy_config("app", image=None), NEW, id="without-an-image"),
    ],
)
def test_image_is_not_computed_where_a_proxy_config_shapes_it(found: ProxyConfig, image: str | None) -> None:
    by = replace(injector(), proxy_configs=(found,))

    assert computed_proxy(by, query_of(by, template({"app": "a"})), "no answer").image == image


def test_config_map_that_does_not_parse_is_reported_with_the_query_that_has_no_answer() -> None:
    by = injector(configs=(InjectorConfig("default", problem="ConfigMap x does not parse: y"),))

    assert (
        computed_proxy(by, query_of(by, template()), "no answer").problem == "no answer; ConfigMap x does not parse: y"
    )


def test_answer_tells_the_sidecar_and_what_is_around_it() -> None:
    limits = Resources(requests={"cpu": "100m"})
    patched = pod(proxy=NEW)
    proxy = Container(name="istio-proxy", image=NEW, resources=limits)
    spec = PodSpec(containers=(proxy,), init_containers=(Container(name="istio-validation"),))
    found = proxy_in_answer(msgspec.structs.replace(patched, spec=spec))

    assert (found.image, found.source, found.problem) == (NEW, "injector", None)
    assert found.shape is not None
    assert (found.shape.resources, found.shape.init_container, found.shape.revision) == (
        limits,
        "istio-validation",
        "default",
    )


def test_answer_without_a_sidecar_is_a_refusal_of_the_injector() -> None:
    assert proxy_in_answer(pod(proxy=None)) == ExpectedProxy(None, "injector")


@pytest.mark.parametrize(
    ("status", "revision"),
    [
        ('{"revision":"canary"}', "canary"),
        ('{"containers":["istio-proxy"]}', None),
        ('{"revision":7}', None),
        ("true", None),
        ("{", None),
        ("", None),
        (None, None),
    ],
)
def test_revision_is_read_leniently(status: str | None, revision: str | None) -> None:
    annotations = {} if status is None else {SIDECAR_STATUS: status}
    about = Metadata(name="a", annotations=annotations)

    assert injecting_revision(msgspec.structs.replace(pod(), metadata=about)) == revision
