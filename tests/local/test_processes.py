"""Detached processes: they outlive nobody's patience, and a stranger with the same pid is never touched."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local import checks, processes
from deploy.local.errors import LocalMeshError
from deploy.local.mesh import Mesh
from deploy.local.processes import MARK, Started


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mesh:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Mesh.named("test")


def test_spawned_process_has_its_own_session_its_log_and_the_mark(mesh: Mesh) -> None:
    process = mesh.spawn(
        "talker", ["sh", "-c", 'echo "hello $NAME"; exec sleep 60'], {"NAME": "you", "PATH": os.environ["PATH"]}
    )
    try:
        assert process.alive
        assert os.getsid(process.pid) == process.pid
        assert mesh.processes("guests") == {"talker": process}
        _until(lambda: process in processes.marked(mesh.directory) and mesh.log("talker").read_text() == "hello you\n")
    finally:
        assert mesh.kill("talker", grace=0)
    assert not process.alive
    assert mesh.processes() == {}
    assert not mesh.kill("talker")


def test_process_that_ignores_the_request_is_killed_with_its_children(mesh: Mesh) -> None:
    script = 'trap "" TERM; (trap "" TERM; sleep 61) & echo ready; while :; do sleep 61; done'
    process = mesh.spawn("stubborn", ["sh", "-c", script])
    _until(lambda: mesh.log("stubborn").read_text() == "ready\n")

    mesh.kill("stubborn", grace=0.2)

    _until(lambda: not processes.marked(mesh.directory))
    assert not process.alive


def test_second_process_of_a_name_replaces_the_first(mesh: Mesh) -> None:
    first = mesh.spawn("one", ["sleep", "60"])
    second = mesh.spawn("one", ["sleep", "60"])
    try:
        assert not first.alive
        assert second.alive
    finally:
        mesh.kill("one", grace=0)


def test_stranger_with_the_same_pid_is_not_ours(mesh: Mesh) -> None:
    process = mesh.spawn("innocent", ["sleep", "60"])
    try:
        stranger = Started(process.pid, process.started - 1)
        processes.stop([stranger], grace=0)

        assert not stranger.alive
        assert process.alive
    finally:
        mesh.kill("innocent", grace=0)


def test_damaged_pid_file_names_nobody(mesh: Mesh) -> None:
    file = mesh.directory / "run" / "guests" / "x.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")

    assert mesh.processes() == {}
    assert not mesh.kill("x")


def test_caller_itself_is_never_among_the_marked(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, str(mesh.directory))

    assert os.getpid() not in [process.pid for process in processes.marked(mesh.directory)]


def test_address_that_is_not_this_machines_is_said(tmp_path: Path) -> None:
    with pytest.raises(LocalMeshError, match=r"192\.0\.2\.1 cannot be used"):
        checks.can_run("192.0.2.1", tmp_path)


def test_full_disk_is_said_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_BUILD_BYTES", 2**60)
    with pytest.raises(LocalMeshError, match="XDG_CACHE_HOME"):
        checks.room_for_build(tmp_path / "not" / "yet")


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
