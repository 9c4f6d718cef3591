"""A kubeconfig that cannot be used is named, with what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from activities.kube.client import connect
from mesh.errors import RefusedError


@pytest.mark.parametrize("named", [True, False])
async def test_kubeconfig_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    missing = str(tmp_path / "nowhere")
    monkeypatch.setattr("activities.kube.client.KUBE_CONFIG_DEFAULT_LOCATION", missing)

    with pytest.raises(RefusedError) as raised:
        await connect(missing if named else None)

    assert str(raised.value).startswith(f"The kubeconfig {missing} cannot be used: there is no such file.")


async def test_kubeconfig_that_is_none_is_told_with_the_reason(tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    odd.write_text("clusters: []\n")

    with pytest.raises(RefusedError, match="odd cannot be used: Invalid kube-config file"):
        await connect(str(odd))
