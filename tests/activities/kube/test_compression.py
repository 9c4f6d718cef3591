"""Answers come uncompressed in a Pod, and where the kubeconfig disables compression."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from activities.kube.client import connect

_OF_CLUSTER = {"far": {"server": "http://far"}, "near": {"server": "http://near", "disable-compression": True}}


def _kubeconfig(folder: Path, current: str) -> Path:
    file = folder / "config"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": current,
        "clusters": [{"name": name, "cluster": one} for name, one in _OF_CLUSTER.items()],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "me"}} for name in _OF_CLUSTER],
        "users": [{"name": "me", "user": {}}],
    }
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.mark.parametrize(
    ("current", "context", "near"),
    [("far", None, False), ("near", None, True), ("far", "near", True), ("near", "far", False)],
)
async def test_kubeconfig_says_whether_answers_are_compressed(
    tmp_path: Path, current: str, context: str | None, near: bool
) -> None:
    async with await connect(str(_kubeconfig(tmp_path, current)), context) as cluster:
        assert cluster._uncompressed is near
