"""The class of a Pod: one test per class, and their order."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from mesh.istio.expected_proxy import ExpectedProxy
from mesh.istio.injector_config import InjectorConfig
from mesh.istio.proxy_status import NO_CONNECTED_PROXIES, ConnectedProxies
from mesh.k8s.objects import Condition, Container, ContainerStatus, Pod, PodSpec, Workload
from mesh.survey.actions import Action
from mesh.survey.builder import SurveyBuilder
from mesh.survey.pod_class import WORKLOAD_ORDER, PodClass, live_proxy, version_text
from mesh.survey.reasons import Reason
from mesh.survey.snapshot import UpgradeContext
from tests.mesh.build import (
    APP,
    NEW,
    OLD,
    STATUS,
    injector,
    make_namespace,
    make_snapshot,
    pod,
    surveyed,
    template,
    workload,
)

OFF = make_namespace(labels={"istio-injection": "disabled"})
PIN = "sidecar.istio.io/proxyImage"
EXCLUDE = {"restarter.istio-operator.kyma-project.io/exclude": "true"}
AMBIENT = {"ambient.istio.io/redirection": "enabled"}
NO_ANSWER = ExpectedProxy(None, None, "the injector did not answer")
GONE = timedelta(seconds=9)


def class_of(*things: Pod | Workload, **options: object) -> PodClass:
    return surveyed(*things, **options).pod_class  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "pod_class"),
    [
        pytest.param(pod(deleted=GONE, phase="Failed"), "terminating", id="terminating"),
        pytest.param(pod(phase="Succeeded", annotations=AMBIENT), "finished", id="finished"),
        pytest.param(pod(proxy=None, annotations=AMBIENT), "ambient", id="ambient"),
        pytest.param(pod(injected=False), "gateway", id="gateway"),
        pytest.param(pod(proxy=None, namespace="kube-system"), "uninjected", id="uninjected"),
        pytest.param(pod(proxy=None), "missing", id="missing"),
        pytest.param(pod(namespace="kube-system"), "orphaned", id="orphaned"),
        pytest.param(pod(proxy="mine/p:1.2.3", annotations={PIN: "mine/p:1.2.3"}), "pinned", id="pinned"),
        pytest.param(pod(proxy=NEW), "current", id="current"),
        pytest.param(pod(proxy=OLD), "stale", id="stale"),
        pytest.param(pod(proxy=OLD, native=False), "stale", id="stale-with-a-plain-sidecar"),
        pytest.param(pod(proxy=NEW, native=False), "current", id="current-with-a-plain-sidecar"),
        pytest.param(pod(proxy="other/proxyv2:1.30.2"), "stale", id="other-registry-is-stale"),
        pytest.param(pod(proxy=NEW + "@sha256:abc"), "stale", id="digest-is-stale"),
        pytest.param(pod(phase="Pending", ready="False"), "stale", id="stale-though-pending"),
        pytest.param(pod(phase="Unknown", ready="Unknown"), "stale", id="stale-though-unknown"),
    ],
)
def test_class_is_the_first_that_holds(one: Pod, pod_class: str) -> None:
    assert class_of(one) == pod_class


def test_class_is_unknown_without_an_answer_about_the_expected_proxy() -> None:
    assert class_of(pod(), expected=NO_ANSWER) is PodClass.UNKNOWN


@pytest.mark.parametrize("one", [pod(proxy=None), pod(injected=False)], ids=["missing", "gateway"])
def test_pod_without_injected_sidecar_needs_no_answer(one: Pod) -> None:
    assert class_of(one, expected=NO_ANSWER) is not PodClass.UNKNOWN


@pytest.mark.parametrize("value", ["", "true", "{", '{"containers": null}', "[]"])
def test_status_annotation_counts_though_it_does_not_parse(value: str) -> None:
    one = pod(injected=False, annotations={"sidecar.istio.io/status": value})

    assert class_of(one) is PodClass.STALE


def test_of_two_proxies_the_first_counts() -> None:
    one = pod(native=False)
    proxies = (Container(name="istio-proxy", image=NEW), Container(name="istio-proxy", image=OLD))
    both = msgspec.structs.replace(one, spec=PodSpec(containers=(APP, proxies[0]), init_containers=(proxies[1],)))

    assert live_proxy(both) == NEW
    assert class_of(both) is PodClass.CURRENT


def test_standalone_pod_is_compared_with_what_it_would_get_when_created_again() -> None:
    labelled = pod(labels={"sidecar.istio.io/inject": "false"})

    assert class_of(labelled) is PodClass.ORPHANED


@pytest.mark.parametrize(
    ("proxy", "pin", "pod_class"),
    [
        pytest.param("mine/p:1.2.3", "mine/p:1.2.3", "pinned", id="live-as-pinned"),
        pytest.param(OLD, "mine/p:1.2.3", "stale", id="pinned-after-it-was-made"),
        pytest.param("mine/proxyv2:1.30.2", "mine/proxyv2:1.30.2", "current", id="pinned-to-the-revisions-version"),
        pytest.param(NEW, NEW, "current", id="pinned-to-the-revisions-image"),
        pytest.param("mine/p:tip", "mine/p:tip", "pinned", id="version-of-the-pin-unknown"),
    ],
)
def test_pin_is_compared_with_the_revision(proxy: str, pin: str, pod_class: str) -> None:
    cart = workload(made_from=template({"app": "cart"}, {PIN: pin}))

    assert class_of(cart, pod(owner=cart, proxy=proxy, annotations={PIN: pin})) == pod_class


@pytest.mark.parametrize(
    ("pin", "pod_class"),
    [("hub/proxyv2:tip", "unknown"), ("mine/p:top", "pinned")],
    ids=["the-revisions-own", "another"],
)
def test_pin_is_compared_though_no_version_is_known(pin: str, pod_class: str) -> None:
    tip = injector(configs=(InjectorConfig("default", image="hub/proxyv2:tip"),))

    assert class_of(pod(proxy=pin, annotations={PIN: pin}), by=tip) == pod_class


def test_pin_that_left_the_template_holds_no_longer() -> None:
    cart = workload()
    left_over = pod(owner=cart, proxy="mine/p:1.2.3", annotations={PIN: "mine/p:1.2.3"})

    assert class_of(cart, left_over) is PodClass.STALE


def test_pin_holds_though_the_injector_does_not_answer() -> None:
    one = pod(proxy="mine/p:1.2.3", annotations={PIN: "mine/p:1.2.3"})

    assert class_of(one, expected=NO_ANSWER) is PodClass.PINNED


@pytest.mark.parametrize(
    ("one", "pod_class"),
    [
        pytest.param(pod(), "excluded", id="stale"),
        pytest.param(pod(proxy=None), "excluded", id="missing"),
        pytest.param(pod(namespace="kube-system"), "excluded", id="orphaned"),
        pytest.param(pod(proxy=NEW), "current", id="current-stays"),
        pytest.param(pod(injected=False), "gateway", id="gateway-stays"),
        pytest.param(pod(deleted=GONE), "terminating", id="terminating-stays"),
    ],
)
def test_exclusion_replaces_only_classes_that_would_be_acted_on(one: Pod, pod_class: str) -> None:
    annotated = make_namespace(one.metadata.namespace, annotations=EXCLUDE)

    assert surveyed(one, annotated).pod_class == pod_class


def test_exclusion_does_not_hide_what_is_unknown() -> None:
    assert class_of(pod(annotations=EXCLUDE), expected=NO_ANSWER) is PodClass.UNKNOWN


@pytest.mark.parametrize(
    "cart",
    [
        pytest.param(workload(annotations=EXCLUDE), id="on-the-workload"),
        pytest.param(workload(made_from=template({"app": "cart"}, EXCLUDE)), id="on-the-template"),
    ],
)
def test_exclusion_holds_wherever_it_is_written(cart: Workload) -> None:
    assert class_of(cart, pod(owner=cart)) is PodClass.EXCLUDED


def test_exclusion_of_a_standalone_pod_holds() -> None:
    assert class_of(pod(annotations=EXCLUDE)) is PodClass.EXCLUDED


@pytest.mark.parametrize("value", ["false", "True", "yes", ""])
def test_exclusion_with_another_value_does_not_hold(value: str) -> None:
    cart = workload(annotations=dict.fromkeys(EXCLUDE, value))

    assert class_of(cart, pod(owner=cart)) is PodClass.STALE


def test_namespace_that_the_policy_excludes_is_left_alone() -> None:
    found = surveyed(pod(), context=UpgradeContext(exclude_namespaces=("shop",)))

    assert (found.pod_class, found.action) == (PodClass.EXCLUDED, "none")


SUSPENDED = {"conditions": (Condition(type="Suspended", status="True"),)}
NOT_FAILED = {"conditions": (Condition(type="Failed", status="False"),)}
ENDED = {kind: {"conditions": (Condition(type=kind, status="True"),)} for kind in ("Complete", "Failed")}


@pytest.mark.parametrize(
    ("owner", "pod_class"),
    [
        pytest.param(workload("Job", status=ENDED["Failed"]), "finished", id="job-failed"),
        pytest.param(workload("Job", status=ENDED["Complete"]), "finished", id="job-complete"),
        pytest.param(workload("Job"), "stale", id="job-goes-on"),
        pytest.param(workload("Job", status=SUSPENDED), "stale", id="job-suspended"),
        pytest.param(workload("Job", status=NOT_FAILED), "stale", id="job-not-failed"),
        pytest.param(workload("ReplicaSet", replicas=2), "finished", id="replica-set-is-full"),
        pytest.param(workload("ReplicaSet", replicas=0), "finished", id="replica-set-wants-none"),
        pytest.param(workload("ReplicaSet", replicas=2, ready=1), "stale", id="replica-set-waits"),
        pytest.param(workload("StatefulSet", replicas=2, ready=1), "stale", id="stateful-set-waits"),
        pytest.param(workload("DaemonSet", replicas=3), "finished", id="daemon-set-is-full"),
        pytest.param(workload("DaemonSet", replicas=3, ready=2), "stale", id="daemon-set-waits"),
        pytest.param(None, "stale", id="standalone"),
    ],
)
def test_failed_pod_is_finished_when_nothing_waits_for_it(owner: Workload | None, pod_class: str) -> None:
    failed = pod(owner=owner, phase="Failed", ready="False")

    assert class_of(*([owner] if owner else []), failed) == pod_class


def test_failed_pod_of_a_cron_job_is_finished_with_its_job() -> None:
    cron = workload("CronJob", "nightly")
    job = workload("Job", "nightly-1", owner=cron, status=ENDED["Failed"])
    found = surveyed(cron, job, pod(owner=job, phase="Failed", ready="False"))

    assert (found.kind, found.pod_class) == ("CronJob", PodClass.FINISHED)


def test_failed_pod_whose_owner_is_gone_is_not_finished() -> None:
    assert class_of(pod(owner=workload("ReplicaSet"), phase="Failed", ready="False")) is PodClass.STALE


def test_workload_order_has_every_class_once() -> None:
    assert sorted(WORKLOAD_ORDER) == sorted(PodClass)


def test_version_of_an_image_is_text() -> None:
    assert (version_text(NEW), version_text("hub/proxyv2:tip")) == ("1.30.2", None)


def test_status_of_the_builders_is_what_istio_writes() -> None:
    assert msgspec.json.decode(STATUS)["revision"] == "default"


@pytest.mark.parametrize(
    ("proxy", "plane", "pod_class"),
    [
        ("1.31.0", "1.31.0", "current"),
        ("1.30.2", "1.31.0", "stale"),
        (None, "1.31.0", "unknown"),
        ("1.31.0", None, "unknown"),
    ],
)
def test_proxy_whose_image_names_no_version_is_what_istiod_says(
    proxy: str | None, plane: str | None, pod_class: str
) -> None:
    cart = workload()
    image = "hub/proxyv2:latest"
    asked = SurveyBuilder(make_snapshot(cart, pod(owner=cart, proxy=image)))
    answers = {one.key: ExpectedProxy(image, "injector") for one in asked.queries}
    connected = ConnectedProxies(
        versions={("shop", "cart-1"): proxy} if proxy else {}, istiod_versions={"default": plane} if plane else {}
    )
    (found,) = asked.survey(answers, connected=connected).workloads

    assert asked.needs_proxy_versions(answers)
    assert found.pod_class == pod_class


@pytest.mark.parametrize(
    ("connected", "why"),
    [
        (NO_CONNECTED_PROXIES, "no istiod lists it"),
        (
            ConnectedProxies(problems=("istiod-1 does not answer: timeout", "istiod-2 does not either")),
            "no istiod lists it; istiod-1 does not answer: timeout; istiod-2 does not either",
        ),
        (
            ConnectedProxies(doubts={("shop", "cart-1"): "two istiods disagree: 1.29.3, 1.30.2"}),
            "two istiods disagree: 1.29.3, 1.30.2",
        ),
        (
            ConnectedProxies(versions={("shop", "cart-1"): "1.30.2"}),
            "it runs 1.30.2, and the istiods of revision default have no common known version",
        ),
        (
            ConnectedProxies(versions={("shop", "cart-1"): ""}, istiod_versions={"default": "1.30.2"}),
            "it reports no version",
        ),
        (
            ConnectedProxies(versions={("shop", "cart-1"): "unknown"}, istiod_versions={"default": "1.30.2"}),
            "it reports version unknown",
        ),
    ],
    ids=["not-listed", "not-all-were-asked", "doubt", "control-plane-unknown", "no-version", "no-number"],
)
def test_unknown_version_is_reported_with_its_reason(connected: ConnectedProxies, why: str) -> None:
    cart = workload()
    image = "hub/proxyv2:latest"
    asked = SurveyBuilder(make_snapshot(cart, pod(owner=cart, proxy=image)))
    answers = {one.key: ExpectedProxy(image, "injector") for one in asked.queries}
    found = asked.survey(answers, connected=connected)
    (one,) = found.workloads

    assert (one.pod_class, one.action, one.reason) == (PodClass.UNKNOWN, Action.REMEDIATE, Reason.UNKNOWN_PROXY)
    assert one.detail == f"tag latest names no version; Pod cart-1: {why}"
    assert found.notes == connected.problems


def test_version_is_unknown_of_the_pod_that_is_named() -> None:
    """The other one may be pinned, gone or of another image: the detail is about one that is not known."""
    cart = workload()
    image = "hub/proxyv2:latest"
    asked = SurveyBuilder(make_snapshot(cart, *(pod(name, owner=cart, proxy=image) for name in ("cart-1", "cart-2"))))
    answers = {one.key: ExpectedProxy(image, "injector") for one in asked.queries}
    connected = ConnectedProxies(versions={("shop", "cart-1"): "1.31.0"}, istiod_versions={"default": "1.31.0"})
    (found,) = asked.survey(answers, connected=connected).workloads

    assert found.detail == "tag latest names no version; Pod cart-2: no istiod lists it"


def test_digest_is_the_same_image_under_any_name() -> None:
    cart = workload()
    wanted = ExpectedProxy("mirror/proxyv2:1.30.2@sha256:ab", "injector")
    runs = ContainerStatus(name="istio-proxy", image_id="hub/proxyv2@sha256:ab")

    assert surveyed(cart, pod(owner=cart, proxy=NEW, statuses=(runs,)), expected=wanted).pod_class is PodClass.CURRENT
    assert surveyed(cart, pod(owner=cart, proxy=NEW), expected=wanted).pod_class is PodClass.STALE
