"""Follows an upgrade until it ends: prints one line per change, and a sign of life every minute."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from temporalio.client import Client
from temporalio.service import RPCError

from cli.exit_codes import NEEDS_OPERATOR, TIMED_OUT
from cli.render.output import say
from cli.render.status_table import status_line
from cli.temporal.upgrade_status import Upgrade, find_upgrade, no_upgrade
from mesh.durations import parse_duration
from mesh.errors import RefusedError, UnreachableError

_POLL_SECONDS = 2.0
#: CI systems end jobs that print nothing for some minutes.
_SIGN_OF_LIFE_SECONDS = 55.0
#: A Temporal server that restarts is back within minutes.
_OUTAGE_SECONDS = 600.0
_UNAVAILABLE = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "ABORTED", "INTERNAL", "RESOURCE_EXHAUSTED"})


@dataclass(frozen=True, slots=True)
class WaitOptions:
    """How long to wait: `seconds` in all, None without limit; `through_pauses` also while an operator is needed.

    `timeout` is how the operator wrote the limit.
    """

    seconds: float | None = None
    through_pauses: bool = False
    timeout: str = ""

    @classmethod
    def of(cls, timeout: str | None, *, through_pauses: bool) -> WaitOptions:
        """Parses a duration like `90s` or `2h30m`.

        Raises:
            RefusedError: the text is not a duration.
        """
        if timeout is None:
            return cls(None, through_pauses)
        duration = parse_duration(timeout)
        if duration is None:
            raise RefusedError(f"{timeout!r} is not a duration.", "Write 30m, 2h30m or 3d.")
        return cls(duration.total_seconds(), through_pauses, timeout)


async def follow(client: Client, cluster: str, options: WaitOptions) -> tuple[Upgrade, int]:
    """Returns the last status and the exit code when the upgrade ends, needs an operator, or the time is over."""
    started = time.monotonic()
    progress = _ProgressLines()
    outage_since: float | None = None
    upgrade: Upgrade | None = None
    while True:
        try:
            upgrade, outage_since = await _read(client, cluster), None
        except _UnavailableError as error:
            outage_since = outage_since or time.monotonic()
            progress.show("Temporal does not answer; waiting for it.")
            if time.monotonic() - outage_since > _OUTAGE_SECONDS:
                raise UnreachableError(
                    "Temporal has not answered for ten minutes. The upgrade goes on when Temporal is back.",
                    f"Attach again: kyma-upgrade wait --cluster {cluster}",
                ) from error
        else:
            progress.show(status_line(upgrade.document))
            if upgrade.ended:
                return upgrade, upgrade.code
            if upgrade.document["needsAttention"] and not options.through_pauses:
                return upgrade, NEEDS_OPERATOR
        if options.seconds is not None and time.monotonic() - started >= options.seconds:
            if upgrade is None:
                raise UnreachableError("Temporal did not answer in time.", "An upgrade that was running goes on.")
            say(f"--timeout {options.timeout} passed. The upgrade goes on.")
            say(f"Attach again: kyma-upgrade wait --cluster {cluster}")
            return upgrade, TIMED_OUT
        await asyncio.sleep(_POLL_SECONDS)


class _UnavailableError(Exception):
    """Temporal does not answer at the moment."""


async def _read(client: Client, cluster: str) -> Upgrade:
    try:
        upgrade = await find_upgrade(client, cluster)
    except RPCError as error:
        if error.status.name in _UNAVAILABLE:
            raise _UnavailableError from error
        raise
    if upgrade is None:
        raise no_upgrade(cluster)
    return upgrade


class _ProgressLines:
    """Prints lines that are new, and repeats the last one as a sign of life."""

    def __init__(self) -> None:
        self._last = ""
        self._printed_at = 0.0

    def show(self, line: str) -> None:
        """Prints the line if it is new, or if the last one was printed long ago."""
        now = time.monotonic()
        if line != self._last:
            say(f"{time.strftime('%H:%M:%S')} {line}")
        elif now - self._printed_at >= _SIGN_OF_LIFE_SECONDS:
            say(f"{time.strftime('%H:%M:%S')} still: {line}")
        else:
            return
        self._last, self._printed_at = line, now
