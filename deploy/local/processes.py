"""Detached processes that are found again: by pid *and* start time, and by a mark in their environment.

A pid alone may belong to a stranger after a reboot or a long night; the start time from /proc tells them apart. The
mark catches what no pid file names: children of children, and what a crash left before it wrote the file.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

MARK = "KYMA_UPGRADE_LOCAL_MESH"
"""Environment variable that every process of a mesh carries; its value is the directory of the mesh."""

_START_TIME_FIELD = 19  # of /proc/PID/stat after the command's closing bracket (proc(5): field 22)
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Started:
    """One process, beyond doubt: `started` is in clock ticks since boot."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether this very process runs (a zombie does not)."""
        seen = _stat(self.pid)
        return seen is not None and seen == ("running", self.started)


def started(pid: int) -> Started | None:
    """The process that has this pid now."""
    seen = _stat(pid)
    return Started(pid, seen[1]) if seen else None


def spawn(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> Started:
    """Starts a program in a session of its own; it outlives the caller, and its output is appended to `log`."""
    cwd.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    # Not Popen: it warns when its object dies before the process, which is the whole point here.
    pid = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", 'cd "$0" && exec "$@"', str(cwd), *argv],
        dict(env),
        setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )
    process = started(pid)
    return process or Started(pid, -1)


def stop(processes: Iterable[Started], *, grace: float) -> None:
    """Ends processes and their sessions: asks, waits up to `grace` seconds for all together, then insists."""
    living = [process for process in processes if process.alive]
    for process in living:
        _signal(process, signal.SIGTERM if grace else signal.SIGKILL)
    deadline = time.monotonic() + grace
    while (living := [process for process in living if _reap(process).alive]) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    for process in living:
        _signal(process, signal.SIGKILL)
    while any(_reap(process).alive for process in living):
        time.sleep(_POLL_SECONDS)


def marked(directory: Path) -> list[Started]:
    """Every process that carries the mark of this directory, except the caller's own."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == str(directory):
                found.append(started(process.pid))
    return [process for process in found if process]


def record(file: Path, process: Started) -> None:
    """Writes the pid file of a process, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(asdict(process)))
    draft.replace(file)


def recorded(file: Path) -> Started | None:
    """Reads a pid file; one that is missing or damaged names nobody."""
    try:
        return Started(**json.loads(file.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def run(argv: Sequence[str], *, env: Mapping[str, str], stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end and keeps what it says; the exit code is the caller's to judge."""
    return subprocess.run(argv, env=dict(env), input=stdin, text=True, capture_output=True, check=False)


def _stat(pid: int) -> tuple[str, int] | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return "zombie" if fields[0] in "ZX" else "running", int(fields[_START_TIME_FIELD])


def _signal(process: Started, number: signal.Signals) -> None:
    if not process.alive:
        return
    with contextlib.suppress(ProcessLookupError):
        # A process that leads its session (all that `spawn` starts) takes its children along.
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid, number)


def _reap(process: Started) -> Started:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    return process
