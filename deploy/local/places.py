"""Where things lie: built binaries in the cache, everything of a running mesh in one directory of the state folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from deploy.local.progress import say

_PRODUCT = "kyma-upgrade"
_QUIET_SECONDS = 1.0


def cache_root() -> Path:
    """The cache: `$XDG_CACHE_HOME/kyma-upgrade`, or the same below `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / _PRODUCT


def meshes_root() -> Path:
    """The folder with one directory per mesh: `$XDG_STATE_HOME/kyma-upgrade/meshes`."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / _PRODUCT / "meshes"


@contextlib.contextmanager
def hold(name: str, waiting: str = "another command works on this mesh") -> Iterator[None]:
    """Holds a lock between processes; says so when it has to wait.

    The lock lies in the cache, so that a state folder without meshes can vanish.
    """
    folder = cache_root() / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{name}.lock")
    try:
        lock.acquire(timeout=_QUIET_SECONDS)
    except Timeout:
        say(f"{waiting}: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def remove_if_empty(folder: Path) -> None:
    """Removes `folder` and the folders above it as long as they are empty, never the home directory."""
    for candidate in (folder, *folder.parents):
        if candidate == Path.home():
            return
        with contextlib.suppress(FileNotFoundError):
            try:
                candidate.rmdir()
            except OSError:
                return
