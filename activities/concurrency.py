"""Runs many calls at the same time, within a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def gather_limited(limit: int, items: Iterable[T], func: Callable[[T], Awaitable[R]]) -> list[R]:
    """Awaits `func` for each item, at most `limit` at a time; returns the results in the order of the items."""
    semaphore = asyncio.Semaphore(limit)

    async def limited(item: T) -> R:
        async with semaphore:
            return await func(item)

    return await asyncio.gather(*(limited(item) for item in items))
