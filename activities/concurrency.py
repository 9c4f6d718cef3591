"""Many things at the same time, and not all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def gather_limited(most: int, ones: Iterable[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
    """What `work` makes of each, in their order, at most so many of them at a time."""
    limit = asyncio.Semaphore(most)

    async def limited(one: T) -> R:
        async with limit:
            return await work(one)

    return await asyncio.gather(*(limited(one) for one in ones))
