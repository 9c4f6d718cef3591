"""A streamed list is complete or an error, whatever happens to the connection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from activities.kube.client import ClusterClient
from activities.kube.watch import list_streamed
from mesh.errors import PermissionDeniedError, RejectedError, UnreachableError
from mesh.k8s.objects import Pod
from tests.activities.api_server import END, Answer, Query, always, api_server, event, in_turn, page, status

pytestmark = pytest.mark.usefixtures("slept")

COMPLETE = event("ADDED", "a") + event("ADDED", "b") + END


async def names(cluster: ClusterClient) -> tuple[list[str], str]:
    return await list_streamed(cluster, "/api/v1/pods", Pod, lambda pod: pod.metadata.name)


def streams_or(stream: Answer, pages: Callable[[Query], Answer]) -> Callable[[Query], Answer]:
    return lambda query: stream if "sendInitialEvents" in query else pages(query)


@pytest.mark.parametrize("chunked", [True, False])
async def test_stream_is_read_to_its_bookmark(tmp_path: Path, chunked: bool) -> None:
    async with api_server(always(Answer(COMPLETE, chunked=chunked)), tmp_path) as cluster:
        assert await names(cluster) == (["a", "b"], "42")


@pytest.mark.parametrize("chunked", [True, False])
async def test_stream_cut_at_any_byte_is_an_error(tmp_path: Path, chunked: bool) -> None:
    answer = Answer(COMPLETE, chunked=chunked)
    async with api_server(always(answer), tmp_path) as cluster:
        for cut in range(0, len(COMPLETE) - 1, 1 if chunked else 3):
            answer.cut = cut
            with pytest.raises(UnreachableError):
                await names(cluster)


async def test_cut_stream_is_read_again(tmp_path: Path) -> None:
    answers = in_turn(Answer(COMPLETE, cut=100), Answer(COMPLETE, chunked=True, cut=300), Answer(COMPLETE))
    async with api_server(answers, tmp_path) as cluster:
        assert await names(cluster) == (["a", "b"], "42")


async def test_changes_before_the_bookmark_count(tmp_path: Path) -> None:
    body = event("ADDED", "a") + event("ADDED", "b") + event("DELETED", "a") + event("MODIFIED", "b") + END
    async with api_server(always(Answer(body)), tmp_path) as cluster:
        assert await names(cluster) == (["b"], "42")


async def test_object_of_a_megabyte_is_one_line(tmp_path: Path) -> None:
    large = event("ADDED", "a", padding="x" * 1_500_000)
    async with api_server(always(Answer(large + END)), tmp_path) as cluster:
        assert await names(cluster) == (["a"], "42")


async def test_expired_stream_begins_again(tmp_path: Path) -> None:
    gone = b'{"type":"ERROR","object":' + status(410, "too old resource version") + b"}\n"
    answers = in_turn(Answer(event("ADDED", "old") + gone), Answer(COMPLETE))
    async with api_server(answers, tmp_path) as cluster:
        assert await names(cluster) == (["a", "b"], "42")


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(Answer(status(422, "sendInitialEvents is forbidden"), status=422), id="without-the-feature"),
        pytest.param(Answer(status(403, 'User "u" cannot watch resource "pods"'), status=403), id="right-to-list-only"),
    ],
)
async def test_pages_are_read_where_streams_are_refused(tmp_path: Path, refusal: Answer) -> None:
    pages = in_turn(Answer(page("a", token="next")), Answer(page("b")))
    async with api_server(streams_or(refusal, pages), tmp_path) as cluster:
        assert await names(cluster) == (["a", "b"], "42")


async def test_retry_after_is_obeyed(tmp_path: Path, slept: list[float]) -> None:
    busy = Answer(status(429, "too many requests"), status=429, headers={"Retry-After": "7"})
    async with api_server(in_turn(busy, Answer(COMPLETE)), tmp_path) as cluster:
        assert await names(cluster) == (["a", "b"], "42")
    assert slept == [7.0]


async def test_missing_permission_is_an_error(tmp_path: Path) -> None:
    denied = Answer(status(403, 'pods is forbidden: User "u" cannot list resource "pods"'), status=403)
    async with api_server(always(denied), tmp_path) as cluster:
        with pytest.raises(PermissionDeniedError, match="A permission is missing"):
            await names(cluster)


async def test_undecodable_object_is_named(tmp_path: Path) -> None:
    odd = event("ADDED", "odd", spec="nonsense")
    answers = streams_or(Answer(odd + END), always(Answer(status(400, "asked for in vain"), status=400)))
    async with api_server(answers, tmp_path) as cluster:
        with pytest.raises(RejectedError):
            await names(cluster)
