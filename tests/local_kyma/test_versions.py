"""Which Istio a module carries, and which steps the module refuses."""

import pytest

from deploy.local.kyma.versions import default_channels, istio_of, module_of, refuse_update

LOWER = "target Istio version ({}) is lower than current version ({}) - downgrade not supported"
MAJOR = (
    "target Istio version ({}) is different than current Istio version ({}) - major version upgrade is not supported"
)
MINOR = (
    "target Istio version ({}) is higher than current Istio version ({}) - "
    "the difference between versions exceed one minor version"
)


@pytest.mark.parametrize(
    ("current", "target", "refusal"),
    [
        ("1.10.0", "1.10.0", None),
        ("1.10.0", "1.10.3", None),
        ("1.10.0", "1.11.0", None),
        ("1.10.0", "1.10.0-beta.1", None),
        ("1.29.3-distroless", "1.30.2-distroless", None),
        ("1.11.0", "1.10.0", LOWER),
        ("1.16.1-distroless", "1.16.0-distroless", LOWER),
        ("2.0.0", "1.30.2", LOWER),
        ("1.10.0", "1.12.0", MINOR),
        ("1.16.1-distroless", "1.18.0-distroless", MINOR),
        ("1.10.0", "2.0.0", MAJOR),
    ],
)
def test_step_between_istio_versions(current: str, target: str, refusal: str | None) -> None:
    expected = refusal and refusal.format(target, current)

    assert refuse_update(current, target) == expected


@pytest.mark.parametrize(
    ("module", "istio"),
    [
        ("1.23.3", "1.27.4"),
        ("1.24.0", "1.27.1"),
        ("1.26.2", "1.28.3"),
        ("1.26.8", "1.28.6"),
        ("1.27.4", "1.29.3"),
        ("1.29.0", "1.30.2"),
    ],
)
def test_module_carries_its_istio(module: str, istio: str) -> None:
    assert istio_of(module) == istio


def test_higher_module_may_carry_lower_istio() -> None:
    assert refuse_update(istio_of("1.23.3"), istio_of("1.24.0"))


@pytest.mark.parametrize("module", ["1.27.5", "1.31.0", "0.9.0"])
def test_unknown_module_is_named(module: str) -> None:
    with pytest.raises(ValueError, match=module):
        istio_of(module)


def test_newest_module_of_an_istio_is_taken() -> None:
    assert [module_of("1.28.6"), module_of("1.27.4"), module_of("1.30.2")] == ["1.26.8", "1.24.3", "1.30.0"]


def test_unknown_istio_is_named() -> None:
    with pytest.raises(ValueError, match=r"1\.31\.0"):
        module_of("1.31.0")


def test_default_channels_offer_an_upgrade_and_a_downgrade() -> None:
    assert default_channels("1.27.4") == {"regular": "1.27.4", "fast": "1.30.0", "previous": "1.26.8"}
