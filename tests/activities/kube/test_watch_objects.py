"""What is followed is never short and never doubled, whatever happens on the way."""

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

BEGINNING = event("ADDED", "a") + event("ADDED", "b") + END
TOLD = ["begun", "+a", "+b", "all at 42"]
EXPIRED = b'{"type":"ERROR","object":' + status(410, "too old resource version") + b"}\n"
UNKNOWN = Answer(status(401, "Unauthorized"), status=401)


class Server:
    """Answers in turn, and then never again."""

    def __init__(self, *answers: Answer) -> None:
        self._left = list(answers)
        self.asked: list[Query] = []

    def __call__(self, query: Query) -> Answer:
        self.asked.append(query)
        return self._left.pop(0) if self._left else Answer(silent=True)

    @property
    def versions(self) -> list[str]:
        """From which version each stream was asked for; none for everything."""
        return [query.get("resourceVersion", "") for query in self.asked]


async def told(server: Callable[[Query], Answer], folder: Path, count: int) -> list[str]:
    """The first so many changes in words."""
    found: list[str] = []
    async with (
        api_server(server, folder) as cluster,
        asyncio.timeout(20),
        contextlib.aclosing(watch_objects(cluster, "/api/v1/pods", Pod)) as changes,
    ):
        async for change in changes:
            found.append(words(change))
            if len(found) == count:
                break
    return found


def words(change: ObjectChange[Pod] | RelistStarted | Synced) -> str:
    match change:
        case RelistStarted():
            return "begun"
        case Synced(version):
            return f"all at {version}"
        case ObjectChange(pod, deleted):
            return f"{'-' if deleted else '+'}{pod.metadata.name}"


def changed(name: str, version: str, type_: str = "MODIFIED") -> bytes:
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": version}
    return json.dumps({"type": type_, "object": {"metadata": metadata}}).encode() + b"\n"


def bookmark(version: str) -> bytes:
    return json.dumps({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": version}}}).encode() + b"\n"


async def test_everything_comes_first_then_every_change(tmp_path: Path) -> None:
    server = Server(
        Answer(BEGINNING + changed("b", "43") + changed("c", "44", "ADDED") + changed("a", "45", "DELETED"))
    )

    assert await told(server, tmp_path, 7) == [*TOLD, "+b", "+c", "-a"]
    assert len(server.asked) == 1


@pytest.mark.parametrize("cut", [0, 50, len(event("ADDED", "a")), len(event("ADDED", "a")) + 1, len(BEGINNING) - 1])
@pytest.mark.parametrize("chunked", [True, False])
async def test_beginning_that_was_cut_begins_anew(tmp_path: Path, cut: int, chunked: bool, slept: list[float]) -> None:
    server = Server(Answer(BEGINNING, cut=cut, chunked=chunked), Answer(BEGINNING))
    before = ["begun", *["+a"][: cut // len(event("ADDED", "a"))], *["+b"][: cut // (len(BEGINNING) - 1)]]

    assert await told(server, tmp_path, len(before) + 4) == [*before, *TOLD]
    assert server.versions == ["", ""]
    assert slept == [1.0]


@pytest.mark.parametrize("chunked", [True, False])
async def test_stream_that_was_cut_later_goes_on_from_the_last_change(tmp_path: Path, chunked: bool) -> None:
    first = BEGINNING + changed("b", "43") + changed("c", "44", "ADDED")
    # In the middle of the last change, which therefore was not told.
    server = Server(Answer(first, cut=len(first) - 5, chunked=chunked), Answer(changed("c", "44", "ADDED")))

    assert await told(server, tmp_path, 6) == [*TOLD, "+b", "+c"]
    assert server.versions == ["", "43"]
    assert "sendInitialEvents" not in server.asked[1]


async def test_bookmarks_move_the_version_on(tmp_path: Path) -> None:
    server = Server(Answer(BEGINNING + bookmark("60")), Answer(changed("a", "61")), Answer(changed("b", "62")))

    assert await told(server, tmp_path, 7) == [*TOLD, "all at 60", "+a", "+b"]
    assert server.versions == ["", "60", "61"]


async def test_bookmark_before_the_beginning_is_over_completes_nothing(tmp_path: Path) -> None:
    server = Server(Answer(event("ADDED", "a") + bookmark("41") + event("ADDED", "b") + END))

    assert await told(server, tmp_path, 4) == TOLD


@pytest.mark.parametrize(
    "expired",
    [Answer(EXPIRED), Answer(status(410, "too old resource version"), status=410)],
    ids=["in-the-stream", "at-once"],
)
async def test_version_too_old_begins_anew(tmp_path: Path, expired: Answer) -> None:
    server = Server(Answer(BEGINNING), expired, Answer(event("ADDED", "b") + END))

    assert await told(server, tmp_path, 7) == [*TOLD, "begun", "+b", "all at 42"]
    assert server.versions == ["", "42", ""]


@pytest.mark.parametrize("refusal", [400, 422])
async def test_server_without_watch_lists_is_listed_and_watched(tmp_path: Path, refusal: int) -> None:
    server = Server(
        Answer(status(refusal, "sendInitialEvents is forbidden"), status=refusal),
        Answer(page("a", token="next")),
        Answer(page("b")),
        Answer(changed("b", "43", "DELETED")),
    )

    assert await told(server, tmp_path, 5) == [*TOLD, "-b"]
    assert ["watch" in query for query in server.asked] == [True, False, False, True]
    assert server.versions[-1] == "42"


async def test_token_that_ran_out_is_refused_once(tmp_path: Path) -> None:
    server = Server(UNKNOWN, Answer(BEGINNING), UNKNOWN, Answer(changed("a", "43")))

    assert await told(server, tmp_path, 6) == ["begun", *TOLD, "+a"]


@pytest.mark.parametrize("before", [[], [Answer(BEGINNING)]], ids=["at-the-beginning", "later"])
async def test_credentials_refused_twice_are_an_error(tmp_path: Path, before: list[Answer]) -> None:
    server = Server(*before, UNKNOWN, UNKNOWN)
    with pytest.raises(PermissionDeniedError) as raised:
        await told(server, tmp_path, 100)

    assert raised.value.status == 401
    assert len(server.asked) == len(before) + 2


@pytest.mark.parametrize("before", [[], [Answer(BEGINNING)]], ids=["at-the-beginning", "later"])
async def test_right_that_is_missing_is_told_at_once(tmp_path: Path, before: list[Answer]) -> None:
    denied = Answer(status(403, 'pods is forbidden: User "u" cannot watch resource "pods"'), status=403)
    server = Server(*before, denied)
    with pytest.raises(PermissionDeniedError, match="A permission is missing"):
        await told(server, tmp_path, 100)

    assert len(server.asked) == len(before) + 1


async def test_kind_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        await told(Server(Answer(status(404, "not found"), status=404)), tmp_path, 100)


async def test_server_that_asks_for_patience_gets_as_much_as_it_asks_for(tmp_path: Path, slept: list[float]) -> None:
    busy = Answer(status(429, "too many requests"), status=429, headers={"Retry-After": "7"})
    server = Server(busy, Answer(BEGINNING), Answer(status(503, "down"), status=503), Answer(changed("a", "43")))

    assert await told(server, tmp_path, 6) == ["begun", *TOLD, "+a"]
    assert slept == [7.0, 1.0, 1.0]


async def test_streams_that_end_at_once_are_not_asked_for_without_a_pause(tmp_path: Path, slept: list[float]) -> None:
    server = Server(Answer(BEGINNING), Answer(), Answer(), Answer(EXPIRED), Answer(EXPIRED), Answer(BEGINNING))

    assert await told(server, tmp_path, 9) == [*TOLD, "begun", "begun", *TOLD[1:]]
    assert slept == [1.0] * 5


@pytest.mark.parametrize("garbage", [b"<html>Bad day</html>\n", b"\n", b'{"type":"ADDED"\n'])
async def test_what_is_no_event_is_a_cut(tmp_path: Path, garbage: bytes) -> None:
    server = Server(Answer(event("ADDED", "a") + garbage), Answer(BEGINNING + garbage), Answer(changed("a", "43")))

    assert await told(server, tmp_path, 7) == ["begun", "+a", *TOLD, "+a"]
    assert server.versions == ["", "", "42"]
