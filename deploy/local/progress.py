"""Progress for people: one line on stderr per step, with the seconds since the command began."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

_BEGAN = time.monotonic()
_HEARTBEAT_SECONDS = 15.0


def say(message: str) -> None:
    """Prints one line with the elapsed seconds."""
    print(f"[{time.monotonic() - _BEGAN:6.1f}s] {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def heartbeat(describe: Callable[[], str]) -> Iterator[None]:
    """Reports on a long step every quarter of a minute, so that a compiler does not look like a hang."""
    done = threading.Event()

    def report() -> None:
        while not done.wait(_HEARTBEAT_SECONDS):
            say(describe())

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
