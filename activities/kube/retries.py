"""Retries of requests that only read: short troubles of the API server are waited out here, not by Temporal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mesh.errors import UnreachableError

T = TypeVar("T")

#: Seconds before each retry.
_PAUSES = (0.2, 0.8, 3.2)
#: The longest Retry-After that is obeyed, in seconds.
_MAX_PAUSE = 30.0


async def with_retries(read: Callable[[], Awaitable[T]]) -> T:
    """Calls `read` until it succeeds, up to four times, and waits as long as the server asks for (Retry-After).

    Raises:
        UnreachableError: the last call failed as well.
    """
    for pause in _PAUSES:
        try:
            return await read()
        except UnreachableError as error:
            await asyncio.sleep(max(pause, min(error.retry_after or 0, _MAX_PAUSE)))
    return await read()
