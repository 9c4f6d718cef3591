"""Connections: an unusable kubeconfig is named with the reason, and the environment's proxy is used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from activities.kube.client import connect
from mesh.errors import RefusedError
from mesh.k8s.objects import Pod
from tests.activities.api_server import Answer, http_server, kubeconfig, page


@pytest.mark.parametrize("named", [True, False])
async def test_missing_kubeconfig_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    missing = str(tmp_path / "nowhere")
    monkeypatch.setattr("activities.kube.credentials.KUBE_CONFIG_DEFAULT_LOCATION", missing)

    with pytest.raises(RefusedError) as raised:
        await connect(missing if named else None)

    assert str(raised.value).startswith(f"The kubeconfig {missing} cannot be used: there is no such file.")


async def test_unusable_kubeconfig_is_named_with_the_reason(tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    odd.write_text("clusters: []\n")

    with pytest.raises(RefusedError, match="odd cannot be used: Invalid kube-config file"):
        await connect(str(odd))


@pytest.mark.parametrize("text", ["root:x:0:0:root:/root:/bin/bash\n", "- a\n", "a: [\n"], ids=["text", "list", "torn"])
async def test_file_that_is_no_kubeconfig_is_refused(tmp_path: Path, text: str) -> None:
    odd = tmp_path / "odd"
    odd.write_text(text)

    with pytest.raises(RefusedError, match="odd cannot be used: it is not a kubeconfig file"):
        await connect(str(odd))


async def test_missing_context_is_named(tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    odd.write_text("current-context: a\nclusters: []\nusers: []\ncontexts: [{name: a, context: {cluster: a}}]\n")

    with pytest.raises(RefusedError, match="odd cannot be used: it has no context nope"):
        await connect(str(odd), "nope")


async def test_netrc_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kubectl does not read it either, and a login from it cannot be sent beside a token."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login anna password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with http_server(lambda _, __: Answer(page("a"))) as port:
        assert await _names(tmp_path, f"http://127.0.0.1:{port}") == ["a"]


async def test_proxy_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    async with http_server(lambda _, __: Answer(page("by-proxy"))) as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        assert await _names(tmp_path, "http://api.example:6443") == ["by-proxy"]


async def test_no_proxy_is_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        http_server(lambda _, __: Answer(page("by-proxy"))) as proxy,
        http_server(lambda _, __: Answer(page("a"))) as port,
    ):
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert await _names(tmp_path, f"http://127.0.0.1:{port}") == ["a"]


async def _names(folder: Path, address: str) -> list[str]:
    file = folder / "kubeconfig"
    file.write_text(json.dumps(kubeconfig(address) | {"users": [{"name": "one", "user": {"token": "secret"}}]}))
    async with await connect(str(file)) as cluster:
        found, _ = await cluster.list_all("/api/v1/pods", Pod)
        return [pod.metadata.name for pod in found]
