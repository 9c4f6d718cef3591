"""Kyma's module management: what a word resolves to, what is refused, and when an upgrade has really finished."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from mesh.errors import RefusedError
from mesh.k8s.objects import Pod, Workload
from mesh.kyma.targets import (
    Catalogue,
    ControlPlane,
    IstioResource,
    Kyma,
    ModuleTemplate,
    Target,
    carried_by_descriptor,
    carried_by_table,
    finished,
    reachable,
    refusal,
    resolve,
)
from mesh.wellknown import MODULE_LAST_APPLIED
from tests.mesh.build import NOW

MODULES = {"regular": "1.27.4", "fast": "1.30.0", "next": "1.31.0", "slow": "1.25.0"}
TARGET = Target("fast", "1.30.0", "1.30.2")
REGISTRY = "europe-docker.pkg.dev/kyma-project/prod/external/istio"
STARTED = NOW - timedelta(minutes=10)


# A cluster before its upgrade: module 1.27.4 of channel regular, Istio 1.29.3.


def kyma(channel: str = "", *, managed: bool = True, overall: str = "regular", **status: object) -> Kyma:
    """The Kyma CR as the API gives it; `status` overrides fields of the module's status."""
    entry = {"name": "istio", "channel": channel, "managed": managed}
    state = {"name": "istio", "version": "1.27.4", "state": "Ready", "template": named("istio-1.27.4")} | status
    return msgspec.convert(
        {
            "spec": {"channel": overall, "modules": [{"name": "other"}, entry]},
            "status": {"state": "Ready", "modules": [{"name": "other", "version": "9.9.9"}, state]},
        },
        Kyma,
    )


def named(name: str) -> dict[str, object]:
    return {"metadata": {"name": name}}


def istio(
    tag: str | None = "1.29.3-distroless",
    state: str = "Ready",
    ready: tuple[str, str] = ("True", "ReconcileSucceeded"),
    *reasons: str,
    since: datetime = NOW,
    description: str = "",
) -> IstioResource:
    """The Istio CR: `ready` is status and reason of its condition Ready, `reasons` those of further conditions."""
    conditions: list[dict[str, Any]] = [
        {"type": "Ready", "status": ready[0], "reason": ready[1], "lastTransitionTime": since},
        *({"type": f"Other{number}", "status": "False", "reason": one} for number, one in enumerate(reasons)),
    ]
    applied = {} if tag is None else {MODULE_LAST_APPLIED: json.dumps({"config": {}, "IstioTag": tag})}
    return msgspec.convert(
        {
            "metadata": {"annotations": applied},
            "status": {"state": state, "description": description, "conditions": conditions},
        },
        IstioResource,
    )


def module_template(version: str, *images: str, downtime: bool = False) -> ModuleTemplate:
    resources = [{"name": f"r{number}", "access": {"imageReference": one}} for number, one in enumerate(images)]
    spec = {
        "version": version,
        "requiresDowntime": downtime,
        "descriptor": {"component": {"name": "kyma-project.io/module/istio", "resources": resources}},
    }
    return msgspec.convert({"metadata": {"name": f"istio-{version}"}, "spec": spec}, ModuleTemplate)


TEMPLATES = {
    "1.30.0": module_template("1.30.0", f"{REGISTRY}/install-cni:9.9.9", f"{REGISTRY}/proxyv2:1.30.2-distroless"),
    "1.31.0": module_template("1.31.0", f"{REGISTRY}/pilot:1.31.0-distroless", downtime=True),
}


def catalogue(
    seen: Kyma | None = None, installed: IstioResource | None = None, channels: Mapping[str, str] = MODULES
) -> Catalogue:
    return Catalogue(seen or kyma(), installed or istio(), channels, TEMPLATES)


@pytest.mark.parametrize(
    ("to", "target"),
    [
        pytest.param("fast", Target("fast", "1.30.0", "1.30.2"), id="channel"),
        pytest.param("1.30.0", Target("fast", "1.30.0", "1.30.2"), id="module-version"),
        pytest.param("1.30.2", Target("fast", "1.30.0", "1.30.2"), id="istio-version"),
        pytest.param("1.30.2-distroless", Target("fast", "1.30.0", "1.30.2"), id="istio-tag"),
        pytest.param("regular", Target("regular", "1.27.4", "1.29.3"), id="channel-in-force"),
        pytest.param("next", Target("next", "1.31.0", "1.31.0", requires_downtime=True), id="needs-downtime"),
        pytest.param("current", Target("regular", "1.27.4", "1.29.3"), id="current"),
    ],
)
def test_word_resolves_to_a_target(to: str, target: Target) -> None:
    assert resolve(to, catalogue()) == target


@pytest.mark.parametrize("to", ["stable", "1.99.0", "", "latest", "1.30"])
def test_word_that_means_nothing_is_refused_with_what_can_be_reached(to: str) -> None:
    with pytest.raises(RefusedError) as refused:
        resolve(to, catalogue())

    assert repr(to) in refused.value.message
    assert refused.value.remedy == (
        "It can be one of: fast (module 1.30.0, Istio 1.30.2), regular (module 1.27.4, Istio 1.29.3), current."
    )


def test_what_kyma_would_refuse_is_not_offered() -> None:
    offered = reachable(catalogue(channels={"slow": "1.25.0", "next": "1.31.0", "odd": "1.99.0"}))

    assert offered == "It can be one of: odd (module 1.99.0, Istio unknown), current."


def test_version_of_several_channels_keeps_the_channel_in_force() -> None:
    many = catalogue(channels={"alpha": "1.27.4", "regular": "1.27.4"})

    assert resolve("1.27.4", many).channel == "regular"


def test_module_version_is_meant_before_an_istio_version() -> None:
    both = catalogue(channels={"regular": "1.27.4", "odd": "1.29.3"})

    assert resolve("1.29.3", both).module == "1.29.3"


def test_cluster_without_the_module_is_refused() -> None:
    with pytest.raises(RefusedError, match="no module istio"):
        resolve("fast", catalogue(Kyma()))


@pytest.mark.parametrize(
    ("seen", "channel"),
    [(kyma("fast"), "fast"), (kyma(), "regular"), (kyma(overall=""), "regular")],
    ids=["of-the-module", "of-the-cluster", "default"],
)
def test_channel_in_force(seen: Kyma, channel: str) -> None:
    assert seen.channel == channel


def test_module_is_found_among_others() -> None:
    assert (kyma().module_index, Kyma().module_index) == (1, -1)
    assert (kyma().module_status.version, Kyma().module_status.version) == ("1.27.4", "")


@pytest.mark.parametrize(
    ("target", "seen", "words"),
    [
        pytest.param(TARGET, catalogue(), None, id="allowed"),
        pytest.param(Target("regular", "1.27.4", "1.29.3"), catalogue(), None, id="same-again"),
        pytest.param(Target("fast", "1.30.0", None), catalogue(), None, id="istio-unknown"),
        pytest.param(TARGET, catalogue(installed=istio(None)), None, id="nothing-installed-yet"),
        pytest.param(Target("slow", "1.25.0", "1.28.2"), catalogue(), "modules are never downgraded", id="module-down"),
        pytest.param(Target("x", "1.28.0", "1.29.1"), catalogue(), "Istio is never downgraded", id="istio-down"),
        pytest.param(Target("next", "1.31.0", "1.31.0"), catalogue(), "upgrade to 1.30 first", id="skipped-minor"),
        pytest.param(TARGET, catalogue(kyma(managed=False)), "unmanaged", id="unmanaged"),
    ],
)
def test_refusal_is_kymas_own(target: Target, seen: Catalogue, words: str | None) -> None:
    found = refusal(target, seen)

    assert words in found if words and found else found is words


@pytest.mark.parametrize(
    ("module", "istio_version"),
    [
        ("1.25.2", "1.28.2"),
        ("1.26.3", "1.28.5"),
        ("1.27.4", "1.29.3"),
        ("1.30.0", "1.30.2"),
        ("1.30.0-experimental", "1.30.2"),
        ("1.31.0", None),
        ("0.9.0", None),
        ("newest", None),
    ],
)
def test_table_tells_what_released_modules_carry(module: str, istio_version: str | None) -> None:
    found = carried_by_table(module)

    assert (str(found) if found else None) == istio_version


@pytest.mark.parametrize(
    ("images", "istio_version"),
    [
        pytest.param([f"{REGISTRY}/proxyv2:1.31.1-distroless"], "1.31.1", id="proxy"),
        pytest.param([f"{REGISTRY}/ztunnel:9.9.9", f"{REGISTRY}/pilot:1.31.1"], "1.31.1", id="pilot-among-others"),
        pytest.param([f"{REGISTRY}/istio-proxy-fips:1.31.1-1"], "1.31.1", id="fips"),
        pytest.param([f"{REGISTRY}/proxyv2@sha256:abc", f"{REGISTRY}/pilot:1.31.1"], "1.31.1", id="digest-tells-none"),
        pytest.param([f"{REGISTRY}/manager:1.31.1"], None, id="others-only"),
        pytest.param([], None, id="none"),
    ],
)
def test_descriptor_tells_what_a_module_carries(images: list[str], istio_version: str | None) -> None:
    found = carried_by_descriptor(module_template("9.9.9", *images).spec.descriptor)

    assert (str(found) if found else None) == istio_version


@pytest.mark.parametrize("descriptor", [None, "text", [], {}, {"component": None}, {"component": {"resources": 1}}])
def test_descriptor_that_cannot_be_read_tells_nothing(descriptor: object) -> None:
    assert carried_by_descriptor(descriptor) is None


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ('{"IstioTag": "1.30.2-distroless"}', "1.30.2-distroless"),
        ('{"IstioTag": 1}', None),
        ("{}", None),
        ("[]", None),
        ("{", None),
    ],
)
def test_installed_tag_is_read_leniently(text: str, tag: str | None) -> None:
    found = msgspec.convert({"metadata": {"annotations": {MODULE_LAST_APPLIED: text}}}, IstioResource)

    assert found.installed_tag == tag


# A cluster after it.


def done(**status: object) -> Kyma:
    return kyma("fast", **{"version": "1.30.0", "template": named("istio-1.30.0"), **status})  # type: ignore[arg-type]


def rolled(kind: str, name: str, container: str, image: str, **changes: object) -> Workload:
    counts: dict[str, object] = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    if kind == "DaemonSet":
        counts |= {"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}
    spec = {"replicas": 1, "template": {"spec": {"containers": [{"name": container, "image": image}]}}}
    metadata = {"name": name, "generation": 2, "labels": {}}
    return msgspec.convert({"kind": kind, "metadata": metadata, "spec": spec, "status": counts | changes}, Workload)


def manager(image: str = f"{REGISTRY}/istio-manager:1.30.0", **changes: object) -> Workload:
    return rolled("Deployment", "istio-controller-manager", "manager", image, **changes)


def control_plane(version: str = "1.30.2", **changes: object) -> tuple[Workload, ...]:
    """`changes` are of the ingress gateway's status."""
    return (
        rolled("Deployment", "istiod", "discovery", f"{REGISTRY}/pilot:1.30.2-distroless"),
        rolled("Deployment", "istio-ingressgateway", "istio-proxy", f"{REGISTRY}/proxyv2:{version}", **changes),
        rolled("DaemonSet", "istio-cni-node", "install-cni", f"{REGISTRY}/install-cni:1.30.2-distroless"),
        rolled("Deployment", "customers-own", "istio-proxy", f"{REGISTRY}/proxyv2:1.0.0"),
    )


POD = msgspec.convert({"status": {"startTime": STARTED}}, Pod)
TAG = "1.30.2-distroless"
AFTER = ControlPlane(done(), istio(TAG), manager(), (POD,), control_plane())


def test_upgrade_is_finished_when_every_part_is() -> None:
    found = finished(AFTER, TARGET)

    assert (found.done, found.trouble, found.maintenance, found.words()) == (True, None, False, "done")


def test_upgrade_before_the_channel_changed_is_not() -> None:
    assert not finished(replace(AFTER, kyma=kyma(), manager=manager("x:1.27.4"), istio=istio()), TARGET).done


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        pytest.param({"kyma": kyma("fast")}, "Kyma CR", id="version-before"),
        pytest.param({"kyma": done(template=named("istio-1.27.4"))}, "Kyma CR", id="version-ahead-of-its-template"),
        pytest.param({"kyma": done(state="Processing")}, "Kyma CR", id="module-in-progress"),
        pytest.param({"kyma": done(maintenance=True)}, "Kyma CR", id="waits-for-kymas-window"),
        pytest.param({"kyma": done(message="waiting for the next window")}, "Kyma CR", id="module-says-something"),
        pytest.param({"kyma": done(template=None)}, "Kyma CR", id="template-not-tracked"),
        pytest.param({"manager": None}, "module manager", id="manager-not-there"),
        pytest.param({"manager": manager("m:1.27.4")}, "module manager", id="manager-of-the-version-before"),
        pytest.param({"manager": manager(observedGeneration=1)}, "module manager", id="manager-not-yet-seen"),
        pytest.param({"manager": manager(updatedReplicas=0)}, "module manager", id="manager-not-rolled"),
        pytest.param({"manager": manager(availableReplicas=0)}, "module manager", id="manager-not-available"),
        pytest.param({"istio": istio()}, "Istio CR", id="istio-tag-before"),
        pytest.param({"istio": istio(None)}, "Istio CR", id="istio-tag-not-there"),
        pytest.param({"istio": istio(TAG, "Processing")}, "Istio CR", id="reconciles"),
        pytest.param({"istio": istio(TAG, "Ready", ("Unknown", "ReconcileUnknown"))}, "Istio CR", id="ready-flickers"),
        pytest.param({"istio": istio(TAG, since=STARTED - timedelta(hours=1))}, "Istio CR", id="of-the-old-manager"),
        pytest.param({"istio_workloads": ()}, "istio-system", id="no-istiod"),
        pytest.param({"istio_workloads": control_plane("1.29.3")}, "istio-system", id="ingress-of-the-version-before"),
        pytest.param({"istio_workloads": control_plane(updatedReplicas=0)}, "istio-system", id="ingress-not-rolled"),
    ],
)
def test_no_single_part_is_believed(changes: dict[str, Any], part: str) -> None:
    found = finished(replace(AFTER, **changes), TARGET)

    assert [one.name for one in found.parts if not one.done] == [part]
    assert found.words().startswith(f"{part}: ")


MANUAL, ENVOY_FILTER = "ProxySidecarManualRestartRequired", "IngressTargetingUserResourceFound"


@pytest.mark.parametrize(
    ("seen", "settled"),
    [
        pytest.param(istio(TAG, "Warning", ("False", "ReconcileFailed"), MANUAL), True, id="pods-left-over"),
        pytest.param(istio(TAG, "Warning", ("False", "ReconcileFailed"), ENVOY_FILTER), True, id="customers-filter"),
        pytest.param(istio(TAG, "Warning", ("False", "ReconcileFailed")), False, id="no-harmless-reason"),
        pytest.param(istio(TAG, "Warning", ("False", "IstioVersionUpdateNotAllowed"), MANUAL), False, id="refused"),
        pytest.param(istio(TAG, "Warning", ("False", "OlderCRExists"), MANUAL), False, id="not-the-oldest"),
        pytest.param(
            istio(TAG, "Warning", ("False", "ReconcileFailed"), MANUAL, since=STARTED - timedelta(1)),
            False,
            id="of-the-old-manager",
        ),
        pytest.param(istio(TAG, "Error", ("False", "ReconcileFailed"), MANUAL), False, id="error"),
    ],
)
def test_warning_is_settled_only_by_harmless_reasons(seen: IstioResource, settled: bool) -> None:
    assert finished(replace(AFTER, istio=seen), TARGET).done is settled


def test_resource_is_judged_without_manager_pods_too() -> None:
    assert finished(replace(AFTER, manager_pods=()), TARGET).done


def test_target_whose_istio_is_unknown_is_judged_by_the_rest() -> None:
    assert finished(AFTER, Target("fast", "1.30.0", None)).done


def test_manager_is_told_by_its_label_where_its_image_has_a_digest() -> None:
    digest = manager("m@sha256:abc")
    labels = msgspec.structs.replace(digest.metadata, labels={"app.kubernetes.io/version": "1.30.0"})

    assert finished(replace(AFTER, manager=msgspec.structs.replace(digest, metadata=labels)), TARGET).done


@pytest.mark.parametrize(
    ("changes", "trouble"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"kyma": done(state="Error")}, None, id="state-without-words"),
        pytest.param(
            {"kyma": done(state="Warning", message="module template update not allowed")},
            "module istio is in state Warning: module template update not allowed",
            id="module-refuses",
        ),
        pytest.param(
            {"istio": istio(state="Warning", ready=("False", "IstioVersionUpdateNotAllowed"), description="too far")},
            "too far",
            id="istio-refuses",
        ),
        pytest.param(
            {"istio": istio(state="Error", description="it\nfailed")},
            "the Istio CR is in state Error: it failed",
            id="istio-fails",
        ),
        pytest.param({"kyma": done(message="waiting for next maintenance window")}, None, id="waiting-is-no-trouble"),
    ],
)
def test_trouble_is_what_kyma_says(changes: dict[str, Any], trouble: str | None) -> None:
    assert finished(replace(AFTER, **changes), TARGET).trouble == trouble


def test_maintenance_is_told() -> None:
    assert finished(replace(AFTER, kyma=done(maintenance=True)), TARGET).maintenance


def test_target_is_told_in_words() -> None:
    assert TARGET.words() == "Istio 1.30.2 (module 1.30.0, channel fast)"
    assert Target("x", "9.9.9", None).words() == "Istio unknown (module 9.9.9, channel x)"
