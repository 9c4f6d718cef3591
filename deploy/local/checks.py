"""What a machine must have before minutes are spent on it: each check says what is wrong and what to do."""

from __future__ import annotations

import errno
import shutil
import socket
import sys
from pathlib import Path

from deploy.local.errors import LocalMeshError

_BUILD_BYTES = 10 * 2**30
_RUN_BYTES = 2**30
_INOTIFY_INSTANCES = 32
_WEBHOOK_PORT = 443


def can_run(probe_address: str, folder: Path) -> None:
    """Checks that a mesh can run here: Linux, port 443 on a loopback address, disk, inotify.

    Args:
        probe_address: a loopback address of the range that the mesh's Services will have.
        folder: where the mesh will keep its data.
    """
    if not sys.platform.startswith("linux"):
        raise LocalMeshError(
            f"The local mesh runs on Linux, and this is {sys.platform}.",
            "Use a Linux machine, or bring a kubeconfig of a kind or k3d cluster instead of the local mesh.",
        )
    _can_bind(probe_address)
    _room(folder, _RUN_BYTES, "A mesh keeps up to 1 GiB of data")
    limit = Path("/proc/sys/fs/inotify/max_user_instances")
    instances = int(limit.read_text()) if limit.exists() else _INOTIFY_INSTANCES
    if instances < _INOTIFY_INSTANCES:
        raise LocalMeshError(
            f"This machine allows {instances} inotify instances per user, too few for an API server.",
            "Allow more: sysctl -w fs.inotify.max_user_instances=512",
        )


def room_for_build(folder: Path) -> None:
    """Checks for the disk that the sources and the compiler's cache take."""
    _room(folder, _BUILD_BYTES, "Building the local mesh takes up to 10 GiB (sources and compiler cache)")


def _can_bind(address: str) -> None:
    with socket.socket() as probe:
        # As Go listens: a connection of a former run that lingers is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, _WEBHOOK_PORT))
        except PermissionError:
            raise LocalMeshError(
                f"istiod must listen on port {_WEBHOOK_PORT} of a loopback address ({address}), and this user may not.",
                "Allow it: sysctl -w net.ipv4.ip_unprivileged_port_start=443 (as root), or run as root.",
            ) from None
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise LocalMeshError(
                    f"Something listens on port {_WEBHOOK_PORT} of every address, also of {address} that istiod needs.",
                    "Stop it, or let it listen on its own address only (`ss -ltnp 'sport = :443'` names it).",
                ) from None
            raise LocalMeshError(
                f"The loopback address {address} cannot be used: {error.strerror}.",
                "The whole of 127.0.0.0/8 must be loopback, as it is on Linux unless the `lo` interface was changed.",
            ) from None


def _room(folder: Path, needed: int, why: str) -> None:
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise LocalMeshError(
            f"{why}, and {there} has {free / 2**30:.1f} GiB free.",
            "Free some disk, or set XDG_CACHE_HOME and XDG_STATE_HOME to folders on a larger one.",
        )
