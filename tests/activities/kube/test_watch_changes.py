"""Changes are reported from the moment on at which the watches have started, whatever happens to a connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from activities.kube.watch import ObjectReference, watch_changes
from mesh.errors import PermissionDeniedError
from tests.activities.api_server import Answer, Query, api_server_of_paths, status
from tests.activities.kube.test_watch_objects import EXPIRED, UNAUTHORIZED, bookmark, changed

pytestmark = pytest.mark.usefixtures("slept")

ITEM = Answer(b'{"metadata":{"resourceVersion":"42"}}')
NONE = Answer(status(404, "not found"), status=404)
CART, TILL = ObjectReference("Pod", "shop", "cart"), ObjectReference("Pod", "shop", "till")


class Server:
    """Sends the streams of Pods in turn, then nothing more; of other kinds nothing ever changes."""

    def __init__(self, *streams: Answer) -> None:
        self._streams = list(streams)
        self.lists: list[str] = []
        #: The versions that the watches of Pods began at.
        self.versions: list[str] = []
        self.requests = 0

    def __call__(self, target: str, query: Query) -> Answer:
        self.requests += 1
        kind = target.rpartition("/")[2]
        if "limit" in query:
            self.lists.append(kind)
            return ITEM
        if "watch" not in query:
            return NONE  # no Argo Rollouts
        if kind != "pods":
            return Answer(silent=True)
        self.versions.append(query["resourceVersion"])
        return self._streams.pop(0) if self._streams else Answer(silent=True)


@asynccontextmanager
async def watching(answers: Server, folder: Path) -> AsyncIterator[asyncio.Queue[ObjectReference | str]]:
    """What the watch reports, "started" among it."""
    reported: asyncio.Queue[ObjectReference | str] = asyncio.Queue()
    async with asyncio.timeout(20), api_server_of_paths(answers, folder) as client:
        watch = asyncio.create_task(watch_changes(client, reported.put_nowait, lambda: reported.put_nowait("started")))
        try:
            yield reported
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)


async def until(done: Callable[[], bool]) -> None:
    while not done():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.02)


async def reports(reported: asyncio.Queue[ObjectReference | str], count: int) -> list[ObjectReference | str]:
    return [await reported.get() for _ in range(count)]


async def test_changes_are_reported_and_existing_objects_are_not(tmp_path: Path) -> None:
    answers = Server(Answer(changed("cart", "43") + changed("till", "44", "DELETED")))
    async with watching(answers, tmp_path) as reported:
        assert await reports(reported, 3) == ["started", CART, TILL]

    # One item of a list tells where to begin, for each kind; nothing is listed.
    assert sorted(answers.lists) == sorted(set(answers.lists))
    assert len(answers.lists) == 7


async def test_cut_watch_resumes_after_the_last_change(tmp_path: Path) -> None:
    first = changed("cart", "43") + changed("till", "44")
    answers = Server(Answer(first, cut=len(first) - 5), Answer(changed("till", "44") + bookmark("60")))
    async with watching(answers, tmp_path) as reported:
        assert await reports(reported, 3) == ["started", CART, TILL]
        await until(lambda: len(answers.versions) == 3)

    assert answers.versions == ["42", "43", "60"]


async def test_expired_watch_begins_at_the_newest_version(tmp_path: Path) -> None:
    answers = Server(Answer(EXPIRED), Answer(changed("cart", "43")))
    async with watching(answers, tmp_path) as reported:
        assert await reports(reported, 2) == ["started", CART]

    assert answers.lists.count("pods") == 2
    assert answers.versions[:2] == ["42", "42"]


async def test_expired_token_is_renewed(tmp_path: Path) -> None:
    async with watching(Server(UNAUTHORIZED, Answer(changed("cart", "43"))), tmp_path) as reported:
        assert await reports(reported, 2) == ["started", CART]


async def test_missing_permission_ends_all_watches(tmp_path: Path) -> None:
    denied = Answer(status(403, 'pods is forbidden: User "u" cannot watch resource "pods"'), status=403)
    async with api_server_of_paths(Server(denied), tmp_path) as client:
        with pytest.raises(ExceptionGroup) as raised:
            await watch_changes(client, lambda _: None, lambda: None)

    assert raised.group_contains(PermissionDeniedError, match="A permission is missing")
