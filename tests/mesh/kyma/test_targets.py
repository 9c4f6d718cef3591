"""What a channel or version resolves to, and what is refused."""

from __future__ import annotations

import pytest

from mesh.errors import RefusedError
from mesh.kyma.resources import Kyma
from mesh.kyma.targets import (
    Catalogue,
    Target,
    carried_by_descriptor,
    carried_by_table,
    reachable,
    resolve,
    target_refusal,
)
from tests.mesh.kyma.kyma_cluster import REGISTRY, TARGET, catalogue, istio, kyma, module_template


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
def test_channel_or_version_resolves_to_a_target(to: str, target: Target) -> None:
    assert resolve(to, catalogue()) == target


@pytest.mark.parametrize("to", ["stable", "1.99.0", "", "latest", "1.30"])
def test_unknown_target_is_refused_with_the_targets_that_can_be_reached(to: str) -> None:
    with pytest.raises(RefusedError) as refused:
        resolve(to, catalogue())

    assert repr(to) in refused.value.message
    assert refused.value.remedy == (
        "Choose one of: fast (module 1.30.0, Istio 1.30.2), regular (module 1.27.4, Istio 1.29.3), current."
    )


def test_what_kyma_would_refuse_is_not_offered() -> None:
    offered = reachable(catalogue(channels={"slow": "1.25.0", "next": "1.31.0", "odd": "1.99.0"}))

    assert offered == "Choose one of: odd (module 1.99.0, Istio unknown), current."


def test_version_of_several_channels_keeps_the_channel_in_force() -> None:
    many = catalogue(channels={"alpha": "1.27.4", "regular": "1.27.4"})

    assert resolve("1.27.4", many).channel == "regular"


def test_version_of_a_module_and_of_istio_is_the_modules() -> None:
    both = catalogue(channels={"regular": "1.27.4", "odd": "1.29.3"})

    assert resolve("1.29.3", both).module == "1.29.3"


def test_cluster_without_the_module_is_refused() -> None:
    with pytest.raises(RefusedError, match="no module istio"):
        resolve("fast", catalogue(Kyma()))


@pytest.mark.parametrize(
    ("target", "offered", "message"),
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
def test_refusal_is_kymas_own(target: Target, offered: Catalogue, message: str | None) -> None:
    found = target_refusal(target, offered)

    assert message in found if message and found else found is message


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


def test_target_as_text() -> None:
    assert str(TARGET) == "Istio 1.30.2 (module 1.30.0, channel fast)"
    assert str(Target("x", "9.9.9", None)) == "Istio unknown (module 9.9.9, channel x)"
