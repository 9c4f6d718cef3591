"""A watch of objects misses nothing and repeats nothing, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from activities.kube.watch import RelistStarted, Synced, watch_objects
from activities.kube.watch_events import ObjectChange
from mesh.errors import NotFoundError, PermissionDeniedError
from mesh.k8s.objects import Pod
from tests.activities.api_server import END, Answer, Query, api_server, event, page, status

pytestmark = pytest.mark.usefixtures("slept")

FIRST_EVENT = event("ADDED", "a")
INITIAL_EVENTS = FIRST_EVENT + event("ADDED", "b") + END
LISTED = ["relist", "+a", "+b", "synced at 42"]
EXPIRED = b'{"type":"ERROR","object":' + status(410, "too old resource version") + b"}\n"
UNAUTHORIZED = Answer(status(401, "Unauthorized"), status=401)


class Server:
    """Sends these answers in turn, then none."""

    def __init__(self, *answers: Answer) -> None:
        self._left = list(answers)
        self.asked: list[Query] = []

    def __call__(self, query: Query) -> Answer:
        self.asked.append(query)
        return self._left.pop(0) if self._left else Answer(silent=True)

    @property
    def versions(self) -> list[str]:
        """The version that each stream began at; empty for one that began with every object."""
        return [query.get("resourceVersion", "") for query in self.asked]


async def reported(server: Callable[[Query], Answer], folder: Path, count: int) -> list[str]:
    """The first so many events, described."""
    found: list[str] = []
    async with (
        api_server(server, folder) as cluster,
        asyncio.timeout(20),
        contextlib.aclosing(watch_objects(cluster, "/api/v1/pods", Pod)) as changes,
    ):
        async for change in changes:
            found.append(described(change))
            if len(found) == count:
                break
    return found


def described(change: ObjectChange[Pod] | RelistStarted | Synced) -> str:
    match change:
        case RelistStarted():
            return "relist"
        case Synced(version):
            return f"synced at {version}"
        case ObjectChange(pod, deleted):
            return f"{'-' if deleted else '+'}{pod.metadata.name}"


def changed(name: str, version: str, type_: str = "MODIFIED") -> bytes:
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": version}
    return json.dumps({"type": type_, "object": {"metadata": metadata}}).encode() + b"\n"


def bookmark(version: str) -> bytes:
    return json.dumps({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": version}}}).encode() + b"\n"


async def test_every_object_comes_first_then_every_change(tmp_path: Path) -> None:
    server = Server(
        Answer(INITIAL_EVENTS + changed("b", "43") + changed("c", "44", "ADDED") + changed("a", "45", "DELETED"))
    )

    assert await reported(server, tmp_path, 7) == [*LISTED, "+b", "+c", "-a"]
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "cut", [0, 50, len(event("ADDED", "a")), len(event("ADDED", "a")) + 1, len(INITIAL_EVENTS) - 1]
)
@pytest.mark.parametrize("chunked", [True, False])
async def test_cut_list_begins_again(tmp_path: Path, cut: int, chunked: bool, slept: list[float]) -> None:
    server = Server(Answer(INITIAL_EVENTS, cut=cut, chunked=chunked), Answer(INITIAL_EVENTS))
    before = ["relist", *["+a"][: cut // len(FIRST_EVENT)], *["+b"][: cut // (len(INITIAL_EVENTS) - 1)]]

    assert await reported(server, tmp_path, len(before) + 4) == [*before, *LISTED]
    assert server.versions == ["", ""]
    assert slept == [1.0]


@pytest.mark.parametrize("chunked", [True, False])
async def test_cut_watch_resumes_after_the_last_change(tmp_path: Path, chunked: bool) -> None:
    first = INITIAL_EVENTS + changed("b", "43") + changed("c", "44", "ADDED")
    # Cut in the middle of the last change, which therefore was not reported.
    server = Server(Answer(first, cut=len(first) - 5, chunked=chunked), Answer(changed("c", "44", "ADDED")))

    assert await reported(server, tmp_path, 6) == [*LISTED, "+b", "+c"]
    assert server.versions == ["", "43"]
    assert "sendInitialEvents" not in server.asked[1]


async def test_watch_resumes_at_the_last_bookmark(tmp_path: Path) -> None:
    server = Server(Answer(INITIAL_EVENTS + bookmark("60")), Answer(changed("a", "61")), Answer(changed("b", "62")))

    assert await reported(server, tmp_path, 7) == [*LISTED, "synced at 60", "+a", "+b"]
    assert server.versions == ["", "60", "61"]


async def test_bookmark_amid_the_initial_events_is_not_synced(tmp_path: Path) -> None:
    server = Server(Answer(event("ADDED", "a") + bookmark("41") + event("ADDED", "b") + END))

    assert await reported(server, tmp_path, 4) == LISTED


@pytest.mark.parametrize(
    "expired",
    [Answer(EXPIRED), Answer(status(410, "too old resource version"), status=410)],
    ids=["in-the-stream", "at-once"],
)
async def test_expired_watch_lists_again(tmp_path: Path, expired: Answer) -> None:
    server = Server(Answer(INITIAL_EVENTS), expired, Answer(event("ADDED", "b") + END))

    assert await reported(server, tmp_path, 7) == [*LISTED, "relist", "+b", "synced at 42"]
    assert server.versions == ["", "42", ""]


@pytest.mark.parametrize("refusal", [400, 422])
async def test_server_without_watch_lists_is_listed_in_pages_then_watched(tmp_path: Path, refusal: int) -> None:
    server = Server(
        Answer(status(refusal, "sendInitialEvents is forbidden"), status=refusal),
        Answer(page("a", token="next")),
        Answer(page("b")),
        Answer(changed("b", "43", "DELETED")),
    )

    assert await reported(server, tmp_path, 5) == [*LISTED, "-b"]
    assert ["watch" in query for query in server.asked] == [True, False, False, True]
    assert server.versions[-1] == "42"


async def test_expired_token_may_be_refused_once(tmp_path: Path) -> None:
    server = Server(UNAUTHORIZED, Answer(INITIAL_EVENTS), UNAUTHORIZED, Answer(changed("a", "43")))

    assert await reported(server, tmp_path, 6) == ["relist", *LISTED, "+a"]


@pytest.mark.parametrize("before", [[], [Answer(INITIAL_EVENTS)]], ids=["at-the-beginning", "later"])
async def test_credentials_refused_twice_are_an_error(tmp_path: Path, before: list[Answer]) -> None:
    server = Server(*before, UNAUTHORIZED, UNAUTHORIZED)
    with pytest.raises(PermissionDeniedError) as raised:
        await reported(server, tmp_path, 100)

    assert raised.value.status == 401
    assert len(server.asked) == len(before) + 2


@pytest.mark.parametrize("before", [[], [Answer(INITIAL_EVENTS)]], ids=["at-the-beginning", "later"])
async def test_missing_permission_is_raised_at_once(tmp_path: Path, before: list[Answer]) -> None:
    denied = Answer(status(403, 'pods is forbidden: User "u" cannot watch resource "pods"'), status=403)
    server = Server(*before, denied)
    with pytest.raises(PermissionDeniedError, match="A permission is missing"):
        await reported(server, tmp_path, 100)

    assert len(server.asked) == len(before) + 1


async def test_missing_kind_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        await reported(Server(Answer(status(404, "not found"), status=404)), tmp_path, 100)


async def test_retry_after_is_obeyed(tmp_path: Path, slept: list[float]) -> None:
    busy = Answer(status(429, "too many requests"), status=429, headers={"Retry-After": "7"})
    server = Server(busy, Answer(INITIAL_EVENTS), Answer(status(503, "down"), status=503), Answer(changed("a", "43")))

    assert await reported(server, tmp_path, 6) == ["relist", *LISTED, "+a"]
    assert slept == [7.0, 1.0, 1.0]


async def test_streams_that_end_at_once_are_resumed_after_a_pause(tmp_path: Path, slept: list[float]) -> None:
    server = Server(
        Answer(INITIAL_EVENTS), Answer(), Answer(), Answer(EXPIRED), Answer(EXPIRED), Answer(INITIAL_EVENTS)
    )

    assert await reported(server, tmp_path, 9) == [*LISTED, "relist", "relist", *LISTED[1:]]
    assert slept == [1.0] * 5


@pytest.mark.parametrize("garbage", [b"<html>Bad day</html>\n", b"\n", b'{"type":"ADDED"\n'])
async def test_undecodable_record_counts_as_a_cut(tmp_path: Path, garbage: bytes) -> None:
    server = Server(Answer(event("ADDED", "a") + garbage), Answer(INITIAL_EVENTS + garbage), Answer(changed("a", "43")))

    assert await reported(server, tmp_path, 7) == ["relist", "+a", *LISTED, "+a"]
    assert server.versions == ["", "", "42"]
