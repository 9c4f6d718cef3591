"""Batches the ends of activities: activities that end together cost one workflow task, not one each."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator


class CompletionBatcher:
    """Lets activities of one worker end at multiples of `seconds`, and at once when no other one runs."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running = 0
        self._last_ended = asyncio.Event()

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Surrounds the work of one activity, and delays its end. A failure is not delayed."""
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._last_ended.set()
                self._last_ended = asyncio.Event()
        if self._running:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._last_ended.wait(), -time.time() % self._seconds)
