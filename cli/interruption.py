"""Runs the work of a command until it is done or interrupted."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import click

from cli.exit_codes import INTERRUPTED


def run(work: Coroutine[Any, Any, int], interrupted: Callable[[], str] = lambda: "Interrupted.") -> int:
    """Runs a command's work and returns its exit code.

    SIGINT and SIGTERM cancel the work and end with 130 and the message of `interrupted`; an upgrade goes on.
    """
    # Libraries log errors that this command prints as sentences.
    logging.getLogger().addHandler(logging.NullHandler())
    return asyncio.run(_run(work, interrupted))


async def _run(work: Coroutine[Any, Any, int], interrupted: Callable[[], str]) -> int:
    task = asyncio.ensure_future(work)
    by_signal = False

    def interrupt() -> None:
        nonlocal by_signal
        by_signal = True
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        return await task
    except asyncio.CancelledError:
        if not by_signal:
            raise
        click.echo(interrupted(), err=True)
        return INTERRUPTED
