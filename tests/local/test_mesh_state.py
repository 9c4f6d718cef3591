"""What is written down about a mesh, which addresses and names it may have, and its kubeconfig."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import yaml

from deploy.local import addresses, kubeconfig, lifecycle
from deploy.local.__main__ import parser
from deploy.local.errors import LocalMeshError
from deploy.local.mesh import ControlPlane, Mesh, State
from deploy.local.places import remove_if_empty
from deploy.local.processes import Started
from deploy.local.stages import all_stages


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)


def test_first_free_range_skips_ranges_and_single_addresses() -> None:
    assert addresses.first_free([]) == "127.64.0.0/16"
    assert addresses.first_free(["127.64.0.0/16", "127.65.3.4"]) == "127.66.0.0/16"


def test_no_range_is_free_when_all_are_taken() -> None:
    assert addresses.first_free(["127.64.0.0/10"]) is None


@pytest.mark.parametrize("name", ["", "Demo", "a/b", "../x", "-a", "a" * 33, "a_b"])
def test_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(LocalMeshError):
        Mesh.named(name)


def test_state_is_read_as_it_was_written() -> None:
    mesh = Mesh.named("demo")
    assert Mesh.find("demo") is None

    mesh.write_state(State(service_range="127.64.0.0/16"))
    mesh.change_state(ready=True, istio={"default": ControlPlane("1.29.3", "127.64.1.1:443")})

    assert Mesh.load("demo").state == State(
        service_range="127.64.0.0/16", ready=True, istio={"default": ControlPlane("1.29.3", "127.64.1.1:443")}
    )


def test_mesh_that_is_not_there_is_said_with_the_command_that_makes_it() -> None:
    with pytest.raises(LocalMeshError, match=r"no local mesh called demo\. .*up --name demo"):
        Mesh.load("demo")


def test_ready_mesh_with_a_dead_part_is_not_whole() -> None:
    mesh = Mesh.named("demo")
    mesh.write_state(State(service_range="127.64.0.0/16", ready=True))
    assert mesh.whole

    mesh.record_system("etcd", Started(pid=1, started=-1))

    assert not mesh.whole
    assert lifecycle.status("demo")["state"] == "broken"


def test_damaged_state_is_no_obstacle_for_down(tmp_path: Path) -> None:
    mesh = Mesh.named("demo")
    mesh.directory.mkdir(parents=True)
    (mesh.directory / "mesh.json").write_text("{")
    assert not mesh.whole

    assert lifecycle.down("demo")
    assert not (tmp_path / ".local").exists()


def test_down_of_a_mesh_that_is_not_there_says_so() -> None:
    assert not lifecycle.down("demo")
    assert lifecycle.status("demo") == {"name": "demo", "state": "absent"}


def test_folders_are_removed_as_far_as_they_are_empty(tmp_path: Path) -> None:
    (tmp_path / "keep" / "a" / "b").mkdir(parents=True)
    (tmp_path / "keep" / "file").touch()

    remove_if_empty(tmp_path / "keep" / "a" / "b")

    assert [path.name for path in (tmp_path / "keep").iterdir()] == ["file"]


def _config(name: str, server: str = "https://127.0.0.1:1") -> kubeconfig.Config:
    return kubeconfig.compose(name, server, ca=b"ca", certificate=b"cert", key=b"key")


def test_kubeconfig_keeps_other_contexts_and_loses_only_its_own(tmp_path: Path) -> None:
    file = tmp_path / "sub" / "config"
    kubeconfig.add(file, _config("work"))
    kubeconfig.add(file, _config("demo"))
    kubeconfig.add(file, _config("demo", "https://127.0.0.1:2"))

    both = yaml.safe_load(file.read_text())
    assert both["current-context"] == "demo"
    assert [(c["name"], c["cluster"]["server"]) for c in both["clusters"]] == [
        ("work", "https://127.0.0.1:1"),
        ("demo", "https://127.0.0.1:2"),
    ]
    assert file.stat().st_mode & 0o077 == 0

    kubeconfig.remove(file, "demo")
    assert [context["name"] for context in yaml.safe_load(file.read_text())["contexts"]] == ["work"]

    kubeconfig.remove(file, "work")
    assert not file.exists()


def test_documented_arguments_are_understood() -> None:
    def parse(line: str) -> argparse.Namespace:
        return parser(line.split()).parse_args(line.split())

    up = parse("up --name n --istio 1.29.3 --plain-sidecars --nodes 5")
    istio = parse("istio --name n --tag t --revision r --set a=b --set c=d")

    assert (up.name, up.istio, up.kubeconfig, up.plain_sidecars, up.nodes) == ("n", "1.29.3", None, True, 5)
    assert (istio.tag, istio.revision, istio.sets) == ("t", "r", ["a=b", "c=d"])
    for command in ("down", "status", "kyma"):
        assert parse(f"{command} --name n").name == "n"


def test_stages_have_names_of_their_own_and_templates_without_leftovers() -> None:
    stages = all_stages()

    assert len({stage["metadata"]["name"] for stage in stages}) == len(stages)
    for stage in stages:
        template = stage["spec"]["next"].get("statusTemplate", "")
        assert template.count("{{ range") + template.count("{{ if") + template.count("{{ with") == template.count(
            "{{ end"
        )
