"""Would a Pod get a sidecar, by whom, and which: against the truth table and Istio's own rules."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from mesh.istio.injection import Injector, decide_injection, injection_webhooks
from mesh.istio.injector_config import InjectorConfig, injector_config
from mesh.k8s.objects import Metadata, WebhookConfiguration
from mesh.k8s.selectors import LabelSelector, Requirement
from tests.mesh.build import Labels, config_map, injector, make_namespace, template, webhooks

TRUTH = json.loads(Path(__file__).with_name("injection_truth_table.json").read_text())
INJECT, REVISION = "sidecar.istio.io/inject", "istio.io/rev"
ENABLED = {"istio-injection": "enabled"}
NEVER, ALWAYS = "never_inject", "always_inject"
MARKED = LabelSelector(match_labels={"mark": "yes"})


def _words(case: list[object]) -> str:
    return " ".join(json.dumps(part).replace('"', "") for part in case)


def decided(
    by: Injector, labels: Labels, pod_labels: Labels = None, annotations: Labels = None, *, namespace: str = "app"
) -> str | None:
    """The revision that would inject."""
    there = make_namespace(namespace, labels or {}).metadata.labels or {}
    return decide_injection(by, namespace, there, template(pod_labels, annotations)).revision


@pytest.mark.parametrize(
    ("auto", "labels", "pod_labels", "annotations", "by"), TRUTH["cases"], ids=map(_words, TRUTH["cases"])
)
def test_truth_table_holds(auto: bool, labels: Labels, pod_labels: Labels, annotations: Labels, by: str | None) -> None:
    both = injector(webhooks("default", auto=auto), webhooks("canary"))

    assert decided(both, labels, pod_labels, annotations) == by


@pytest.mark.parametrize(
    ("config", "labels", "pod_labels", "revision"),
    [
        pytest.param({NEVER: (MARKED,)}, ENABLED, {"mark": "yes"}, None, id="never-selector"),
        pytest.param({NEVER: (MARKED,)}, ENABLED, {"mark": "no"}, "default", id="never-selector-of-others"),
        pytest.param({NEVER: (MARKED,)}, ENABLED, {"mark": "yes", INJECT: "true"}, "default", id="wish-beats-never"),
        pytest.param(
            {NEVER: (MARKED,), ALWAYS: (MARKED,)},
            ENABLED,
            {"mark": "yes"},
            None,
            id="never-beats-always",
        ),
        pytest.param({NEVER: (LabelSelector(),)}, ENABLED, {}, "default", id="empty-selector-ignored"),
        pytest.param({ALWAYS: (MARKED,)}, {}, {"mark": "yes"}, None, id="always-opens-no-unlabelled-namespace"),
        pytest.param({"policy": "disabled"}, ENABLED, {}, None, id="policy-disabled"),
        pytest.param({"policy": "disabled"}, ENABLED, {INJECT: "true"}, "default", id="wish-beats-policy"),
        pytest.param({"policy": "sometimes"}, ENABLED, {INJECT: "true"}, None, id="illegal-policy-beats-wish"),
        pytest.param({"policy": "disabled"}, ENABLED, {INJECT: "TRUE"}, None, id="values-are-case-sensitive"),
        pytest.param(
            {"policy": "disabled", ALWAYS: (MARKED,)},
            ENABLED,
            {"mark": "yes"},
            "default",
            id="always-beats-policy",
        ),
        pytest.param(
            {"policy": "sometimes", ALWAYS: (MARKED,)},
            ENABLED,
            {"mark": "yes"},
            None,
            id="illegal-beats-always",
        ),
    ],
)
def test_policy_of_the_revision_decides(
    config: dict[str, object], labels: Labels, pod_labels: Labels, revision: str | None
) -> None:
    by = injector(configs=(msgspec.convert({"revision": "default"} | config, InjectorConfig),))

    assert decided(by, labels, pod_labels) == revision


@pytest.mark.parametrize("namespace", ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"])
def test_ignored_namespace_gets_none_though_labelled(namespace: str) -> None:
    assert decided(injector(), ENABLED, {INJECT: "true"}, namespace=namespace) is None


def test_host_network_is_never_injected() -> None:
    found = decide_injection(injector(), "app", ENABLED, template({INJECT: "true"}, host_network=True))

    assert (found.injected, found.reason) == (False, "it uses the network of its node")


@pytest.mark.parametrize(
    ("configurations", "labels", "pod_labels", "revision"),
    [
        pytest.param((webhooks("canary"),), ENABLED, {INJECT: "true"}, None, id="only-canary-no-default"),
        pytest.param((webhooks("canary"),), {}, {INJECT: "true"}, None, id="only-canary-wish"),
        pytest.param((webhooks("canary"),), {REVISION: "canary"}, {}, "canary", id="only-canary-its-own"),
        pytest.param((webhooks("prod", revision="canary"),), {REVISION: "prod"}, {}, "canary", id="tag-as-revision"),
        pytest.param((webhooks("prod", revision="canary"),), ENABLED, {}, None, id="tag-is-not-the-default"),
        pytest.param((webhooks("default", revision="canary"),), ENABLED, {}, "canary", id="default-tag"),
        pytest.param((webhooks("default", revision="canary"),), {}, {INJECT: "true"}, "canary", id="default-tag-wish"),
        pytest.param((webhooks(deactivated=True),), ENABLED, {INJECT: "true"}, None, id="deactivated"),
        pytest.param(
            (webhooks(deactivated=True), webhooks("default", revision="default")), ENABLED, {}, "default", id="as-kyma"
        ),
        pytest.param(
            (webhooks(deactivated=True), webhooks("default", revision="canary")), ENABLED, {}, "canary", id="moved-tag"
        ),
    ],
)
def test_live_webhooks_decide_which_revision(
    configurations: tuple[WebhookConfiguration, ...], labels: Labels, pod_labels: Labels, revision: str | None
) -> None:
    assert decided(injector(*configurations, configs=()), labels, pod_labels) == revision


def test_webhook_of_something_else_injects_nothing() -> None:
    other = WebhookConfiguration(metadata=Metadata(name="other"), webhooks=webhooks().webhooks)

    assert decided(injector(other), ENABLED) is None


def test_revision_without_config_map_injects_by_its_selectors() -> None:
    assert decided(injector(configs=()), ENABLED) == "default"


@pytest.mark.parametrize(
    ("config", "values"),
    [
        pytest.param("policy: [", "{}", id="config-is-no-yaml"),
        pytest.param("- policy", "{}", id="config-is-a-list"),
        pytest.param("when: 2026-13-45", "{}", id="config-has-an-impossible-date"),
        pytest.param("neverInjectSelector: all", "{}", id="selectors-are-text"),
        pytest.param("neverInjectSelector: [{matchLabels: [a]}]", "{}", id="selector-is-misshapen"),
        pytest.param("policy: enabled", "{", id="values-are-no-json"),
        pytest.param("policy: enabled", "[]", id="values-are-a-list"),
        pytest.param("policy: enabled", '{"global": "all"}', id="global-is-text"),
    ],
)
def test_broken_config_map_is_reported_and_computes_nothing(config: str, values: str) -> None:
    found = injector_config(config_map(config, values, "canary"))

    assert (found.revision, found.image) == ("canary", None)
    assert "istio-sidecar-injector-canary does not parse" in (found.problem or "")


@pytest.mark.parametrize(
    ("values", "image"),
    [
        pytest.param({"hub": "h", "tag": "1.30.2"}, "h/proxyv2:1.30.2", id="plain"),
        pytest.param({"hub": "h", "tag": "1.30.2-distroless"}, "h/proxyv2:1.30.2-distroless", id="type-in-tag"),
        pytest.param({"hub": "h", "tag": "1.30.2", "variant": "debug"}, "h/proxyv2:1.30.2-debug", id="variant"),
        pytest.param(
            {"hub": "h", "tag": "1.30.2-debug", "variant": "debug"}, "h/proxyv2:1.30.2-debug", id="said-twice"
        ),
        pytest.param(
            {"hub": "h", "tag": "1.30.2-distroless", "variant": "debug"},
            "h/proxyv2:1.30.2-debug",
            id="variant-replaces",
        ),
        pytest.param(
            {"hub": "h", "tag": "1.30.2-distroless", "variant": "default"}, "h/proxyv2:1.30.2", id="variant-default"
        ),
        pytest.param({"hub": "h", "tag": "t", "proxy": {"image": "fips"}}, "h/fips:t", id="other-name"),
        pytest.param({"hub": "h", "tag": "t", "proxy": {"image": "r/p:9"}}, "r/p:9", id="whole-image"),
        pytest.param({"hub": "h"}, None, id="no-tag"),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_plain_image_is_the_one_istio_would_write(values: object, image: str | None) -> None:
    found = injector_config(config_map(values=json.dumps({"global": values})))

    assert (found.image, found.problem) == (image, None)


def test_revisions_are_those_of_webhooks_and_config_maps() -> None:
    by = injector(webhooks("canary"), configs=(InjectorConfig("old"),))

    assert by.revisions == ("canary", "old")


def test_of_several_webhooks_the_last_one_injects() -> None:
    both = Injector((*injection_webhooks([webhooks()]), *injection_webhooks([webhooks("default", revision="canary")])))

    assert decide_injection(both, "app", ENABLED, template()).revision == "canary"


@pytest.mark.parametrize(
    ("refusing", "revision"),
    [
        pytest.param(("default",), "canary", id="one"),
        pytest.param(("canary",), "default", id="the-other"),
        pytest.param(("default", "canary"), None, id="both"),
    ],
)
def test_revision_that_refuses_leaves_it_to_the_other_that_selects(
    refusing: tuple[str, ...], revision: str | None
) -> None:
    twice = (webhooks("default"), webhooks("default", revision="canary"))
    by = injector(*twice, configs=tuple(InjectorConfig(one, policy="disabled") for one in refusing))

    assert decided(by, ENABLED) == revision


@pytest.mark.parametrize("config", ["policy: off", "templates: {}"], ids=["no-text", "none"])
def test_policy_that_istio_does_not_know_injects_nothing(config: str) -> None:
    by = injector(configs=(injector_config(config_map(config)),))

    assert decided(by, ENABLED, {INJECT: "true"}) is None


def test_selectors_that_cannot_be_evaluated_are_ignored() -> None:
    impossible = LabelSelector(match_expressions=(Requirement("mark", "NotIn"),))
    by = injector(configs=(InjectorConfig("default", never_inject=(impossible,)),))

    assert decide_injection(by, "app", ENABLED, template({"mark": "x"})).injected


def test_nothing_is_certain_without_the_webhooks() -> None:
    found = decide_injection(Injector(problem="cannot be read"), "app", ENABLED, template())

    assert (found.injected, found.problem) == (False, "cannot be read")
