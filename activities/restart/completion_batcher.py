"""Ends of activities, gathered: those that end together are one workflow task, not one each."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator


class CompletionBatcher:
    """Lets activities of one worker end at multiples of `seconds`, and at once when none is under way any more."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._under_way = 0
        self._last_ended = asyncio.Event()

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Around what an activity does. A failure is told without delay."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._last_ended.set()
                self._last_ended = asyncio.Event()
        if self._under_way:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._last_ended.wait(), -time.time() % self._seconds)
