"""The stand-in as a process: both halves in one, each woken by its watches. The command starts it detached."""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Protocol

from deploy.local.istio import install_istio
from deploy.local.kyma import objects
from deploy.local.kyma.api import Api, ApiError
from deploy.local.kyma.command import add_pace, installed_istio
from deploy.local.kyma.leader import Leader
from deploy.local.kyma.lifecycle import LifecycleManager, LifecyclePace
from deploy.local.kyma.module_operator import OperatorPace
from deploy.local.mesh import Mesh

log = logging.getLogger("stand-in")


class Half(Protocol):
    """One of the two controllers."""

    def watched(self) -> list[tuple[str, dict[str, str | int]]]:
        """The paths, with queries, whose changes wake it."""
        ...

    def reconcile(self) -> float | None:
        """One pass; seconds until the next if nothing wakes it, None for never."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run both halves until asked to end."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.kyma.process")
    parser.add_argument("--name", required=True)
    add_pace(parser)
    arguments = parser.parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(os.EX_OK))
    mesh = Mesh.load(arguments.name)
    admin = Api(mesh.kubeconfig)
    naming, _ = installed_istio(admin)
    own = mesh.directory / f"{objects.MANAGER}.kubeconfig"

    def install(images: objects.Images, settings: list[str]) -> None:
        install_istio(mesh, images.tag, sets=settings, kubeconfig=own)

    halves = (
        LifecycleManager(
            admin, naming, LifecyclePace(arguments.stale_state, arguments.processing, arguments.window_in)
        ),
        Leader(admin, own, install, OperatorPace(arguments.manager_start, arguments.step, arguments.quiet)),
    )
    for half in halves:
        threading.Thread(target=keep_reconciling, args=(admin, half), daemon=True).start()
    threading.Event().wait()
    return os.EX_OK


def keep_reconciling(api: Api, half: Half) -> None:
    """Reconcile forever: at once, when a watched object changes, and when `reconcile` asks for it."""
    wake = threading.Event()
    for path, query in half.watched():
        threading.Thread(target=_watch, args=(api, path, query, wake), daemon=True).start()
    while True:
        wake.clear()
        try:
            again = half.reconcile()
        except ApiError as error:
            log.warning("%s: %s", type(half).__name__, error)
            again = 2.0
        except Exception:
            log.exception("%s", type(half).__name__)
            again = 5.0
        wake.wait(again)


def _watch(api: Api, path: str, query: dict[str, str | int], wake: threading.Event) -> None:
    while True:
        try:
            for _ in api.watch(path, **query):
                wake.set()
        except Exception as error:  # noqa: BLE001  # a watch that breaks is begun again, whatever broke it
            log.info("watch of %s broke: %s", path, error)
            time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
