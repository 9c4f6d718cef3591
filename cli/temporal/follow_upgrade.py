"""Waits for an upgrade: one line per change, a sign of life every minute, and an exit code at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cli.exit_codes import NEEDS_OPERATOR, TIMED_OUT
from cli.render.output import say
from cli.temporal.upgrade_status import Upgrade, find_upgrade
from mesh.errors import RefusedError, UnreachableError

if TYPE_CHECKING:
    from temporalio.client import Client

_POLL_SECONDS = 2.0
#: CI systems end jobs that say nothing for a while.
_HEARTBEAT_SECONDS = 55.0
#: A Temporal that restarts is back within minutes; one that is away for longer is not coming back by itself.
_AWAY_SECONDS = 600.0
_AWAY = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "ABORTED", "INTERNAL", "RESOURCE_EXHAUSTED"})


@dataclass(frozen=True, slots=True)
class WaitOptions:
    """`seconds` of all, None without end; `through_pauses` goes on waiting while an operator is needed."""

    seconds: float | None = None
    through_pauses: bool = False


async def follow(client: Client, cluster: str, patience: WaitOptions) -> tuple[Upgrade, int]:
    """Returns when the upgrade has ended, needs an operator, or patience is over; the last look and the exit code."""
    started = time.monotonic()
    teller = _Teller()
    away_since: float | None = None
    seen: Upgrade | None = None
    while True:
        try:
            seen, away_since = await _look(client, cluster), None
        except _AwayError as error:
            away_since = away_since or time.monotonic()
            teller.tell("Temporal does not answer; waiting for it.")
            if time.monotonic() - away_since > _AWAY_SECONDS:
                raise UnreachableError(
                    "Temporal has not answered for ten minutes; the upgrade goes on once it is back.",
                    f"Attach again: kyma-upgrade wait --cluster {cluster}",
                ) from error
        else:
            teller.tell(line_of(seen.document))
            if seen.ended:
                return seen, seen.code
            if seen.document["needsAttention"] and not patience.through_pauses:
                return seen, NEEDS_OPERATOR
        if patience.seconds is not None and time.monotonic() - started >= patience.seconds:
            if seen is None:
                raise UnreachableError("Temporal did not answer in time.", "The upgrade, if there is one, goes on.")
            say(f"The time is over; the upgrade goes on. Attach again: kyma-upgrade wait --cluster {cluster}")
            return seen, TIMED_OUT
        await asyncio.sleep(_POLL_SECONDS)


def line_of(document: Mapping[str, Any]) -> str:
    """One line that changes whenever something happened."""
    parts = [document["phase"]]
    if document["target"]:
        parts.append(f"to {document['target']}")
    wave, counts = document["wave"], document["workloads"]
    if wave and document["phase"] not in ("done", "final-survey"):
        parts.append(f"wave {wave['number'] + 1} of {wave['of']} ({wave['name']})")
    if counts["planned"]:
        seen_done = counts["restarted"] + counts["current"]
        parts.append(f"{seen_done} of {counts['planned']} workloads seen done")
    if document["items"]["open"]:
        parts.append(f"{document['items']['open']} items open")
    if document["needsAttention"]:
        parts.append(f"WAITING FOR AN OPERATOR: {document['needsAttention']}")
    if not document["live"] and document["result"] is None:
        parts.append("no worker answers")
    return ", ".join(parts)


class _AwayError(Exception):
    """Temporal does not answer at the moment."""


async def _look(client: Client, cluster: str) -> Upgrade:
    from temporalio.service import RPCError

    try:
        found = await find_upgrade(client, cluster)
    except RPCError as error:
        if error.status.name in _AWAY:
            raise _AwayError from error
        raise
    if found is None:
        raise RefusedError(
            f"There is no upgrade of cluster {cluster}.", "Start one: kyma-upgrade start --to …, or check --cluster."
        )
    return found


class _Teller:
    """Says what is new, and that it still lives when nothing is."""

    def __init__(self) -> None:
        self._last = ""
        self._at = 0.0

    def tell(self, line: str) -> None:
        """Says the line if it is new or the last one was long ago."""
        now = time.monotonic()
        if line != self._last:
            say(f"{time.strftime('%H:%M:%S')} {line}")
        elif now - self._at >= _HEARTBEAT_SECONDS:
            say(f"{time.strftime('%H:%M:%S')} still: {line}")
        else:
            return
        self._last, self._at = line, now
