"""Kyma's custom resources: the channel in force, the module's entry, the installed Istio."""

from __future__ import annotations

import msgspec
import pytest

from mesh.kyma.resources import IstioResource, Kyma
from mesh.wellknown import MODULE_LAST_APPLIED
from tests.mesh.kyma.kyma_cluster import kyma


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
