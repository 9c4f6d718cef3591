"""Ends of activities: gathered while others are under way, and never held up by nobody."""

from __future__ import annotations

import asyncio

import pytest

from activities.restart.completion_batcher import CompletionBatcher

_NEVER = 1e9


async def ends(bunches: CompletionBatcher, done: asyncio.Event | None = None, error: Exception | None = None) -> None:
    async with bunches.one():
        if done is not None:
            await done.wait()
        if error is not None:
            raise error


async def test_one_alone_ends_at_once() -> None:
    async with asyncio.timeout(5):
        await ends(CompletionBatcher(_NEVER))


async def test_those_that_wait_end_with_the_last() -> None:
    bunches, done = CompletionBatcher(_NEVER), asyncio.Event()
    last = asyncio.create_task(ends(bunches, done))
    await asyncio.sleep(0)
    first = [asyncio.create_task(ends(bunches)) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert not any(one.done() for one in first)

    done.set()
    async with asyncio.timeout(5):
        await asyncio.gather(last, *first)


async def test_nobody_waits_for_longer_than_the_multiple() -> None:
    bunches = CompletionBatcher(0.05)
    other = asyncio.create_task(ends(bunches, asyncio.Event()))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await ends(bunches)
    assert not other.done()
    other.cancel()


async def test_failure_is_told_at_once_and_counts_as_an_end() -> None:
    bunches, done = CompletionBatcher(_NEVER), asyncio.Event()
    failing = asyncio.create_task(ends(bunches, done, ConnectionError()))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(ends(bunches))
    await asyncio.sleep(0)
    done.set()

    async with asyncio.timeout(5):
        with pytest.raises(ConnectionError):
            await failing
        await waiting


async def test_cancelled_one_holds_nobody_up() -> None:
    bunches = CompletionBatcher(_NEVER)
    other = asyncio.create_task(ends(bunches, asyncio.Event()))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(ends(bunches))
    await asyncio.sleep(0)
    other.cancel()

    async with asyncio.timeout(5):
        await waiting
