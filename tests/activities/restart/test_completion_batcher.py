"""Activities end together while others run, and at once when no other one runs."""

from __future__ import annotations

import asyncio

import pytest

from activities.restart.completion_batcher import CompletionBatcher

_NEVER = 1e9


async def run_activity(
    batcher: CompletionBatcher, done: asyncio.Event | None = None, error: Exception | None = None
) -> None:
    async with batcher.slot():
        if done is not None:
            await done.wait()
        if error is not None:
            raise error


async def test_single_activity_ends_at_once() -> None:
    async with asyncio.timeout(5):
        await run_activity(CompletionBatcher(_NEVER))


async def test_waiting_activities_end_with_the_last_one() -> None:
    batcher, done = CompletionBatcher(_NEVER), asyncio.Event()
    last = asyncio.create_task(run_activity(batcher, done))
    await asyncio.sleep(0)
    first = [asyncio.create_task(run_activity(batcher)) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert not any(one.done() for one in first)

    done.set()
    async with asyncio.timeout(5):
        await asyncio.gather(last, *first)


async def test_no_activity_waits_longer_than_the_next_multiple() -> None:
    batcher = CompletionBatcher(0.05)
    other = asyncio.create_task(run_activity(batcher, asyncio.Event()))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await run_activity(batcher)
    assert not other.done()
    other.cancel()


async def test_failure_is_not_delayed_and_counts_as_an_end() -> None:
    batcher, done = CompletionBatcher(_NEVER), asyncio.Event()
    failing = asyncio.create_task(run_activity(batcher, done, ConnectionError()))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(run_activity(batcher))
    await asyncio.sleep(0)
    done.set()

    async with asyncio.timeout(5):
        with pytest.raises(ConnectionError):
            await failing
        await waiting


async def test_cancelled_activity_delays_no_other_one() -> None:
    batcher = CompletionBatcher(_NEVER)
    other = asyncio.create_task(run_activity(batcher, asyncio.Event()))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(run_activity(batcher))
    await asyncio.sleep(0)
    other.cancel()

    async with asyncio.timeout(5):
        await waiting
