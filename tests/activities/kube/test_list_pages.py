"""A list read in pages is complete or an error, whatever happens to the connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from activities.kube.client import ClusterClient
from mesh.errors import PermissionDeniedError, RejectedError, UnreachableError
from mesh.k8s.objects import Pod
from tests.activities.api_server import Answer, always, api_server, event, in_turn, page, status

pytestmark = pytest.mark.usefixtures("slept")

COMPLETE = page("a", "b")


async def names(cluster: ClusterClient) -> tuple[list[str], str]:
    return await cluster.list_transformed("/api/v1/pods", Pod, lambda pod: pod.metadata.name)


async def test_pages_are_read_to_their_end(tmp_path: Path) -> None:
    pages = in_turn(Answer(page("a", token="next")), Answer(page("b", "c", token="more")), Answer(page("d")))
    async with api_server(pages, tmp_path) as cluster:
        assert await names(cluster) == (["a", "b", "c", "d"], "42")


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("token", ["", "next"])
async def test_page_cut_at_any_byte_is_an_error(tmp_path: Path, token: str, chunked: bool) -> None:
    cut, whole = Answer(page("a", token=token), chunked=chunked), Answer(page("b"))
    async with api_server(lambda query: whole if "continue" in query else cut, tmp_path) as cluster:
        for at in range(0, len(cut.body), 1 if chunked else 3):
            cut.cut = at
            with pytest.raises(UnreachableError):
                await names(cluster)


async def test_later_page_cut_at_any_byte_is_an_error(tmp_path: Path) -> None:
    first, last = Answer(page("a", token="next")), Answer(page("b"))
    async with api_server(lambda query: last if "continue" in query else first, tmp_path) as cluster:
        for at in range(len(last.body)):
            last.cut = at
            with pytest.raises(UnreachableError):
                await names(cluster)


async def test_cut_page_is_read_again(tmp_path: Path) -> None:
    pages = in_turn(
        Answer(page("a", token="next"), cut=40),
        Answer(page("a", token="next")),
        Answer(page("b"), cut=60, chunked=True),
        Answer(page("b")),
    )
    async with api_server(pages, tmp_path) as cluster:
        assert await names(cluster) == (["a", "b"], "42")


async def test_list_whose_pages_expired_begins_again(tmp_path: Path) -> None:
    pages = in_turn(
        Answer(page("old", token="next")),
        Answer(status(410, "expired"), status=410),
        Answer(page("a", token="next", version="43")),
        Answer(page("b", version="43")),
    )
    async with api_server(pages, tmp_path) as cluster:
        assert await names(cluster) == (["a", "b"], "43")


async def test_list_whose_pages_always_expire_is_an_error(tmp_path: Path) -> None:
    async with api_server(always(Answer(status(410, "expired"), status=410)), tmp_path) as cluster:
        with pytest.raises(UnreachableError, match="expire faster than they are read"):
            await names(cluster)


async def test_watch_reads_lines_longer_than_the_clients_own_limit(tmp_path: Path) -> None:
    large = event("MODIFIED", "a", padding="x" * 400_000)
    async with api_server(always(Answer(large)), tmp_path) as cluster:
        records = [record async for record in cluster.watch_records("/api/v1/pods", {"watch": True}, 60)]
    assert records == [large.removesuffix(b"\n")]


async def test_retry_after_is_obeyed(tmp_path: Path, slept: list[float]) -> None:
    busy = Answer(status(429, "too many requests"), status=429, headers={"Retry-After": "7"})
    async with api_server(in_turn(busy, Answer(COMPLETE)), tmp_path) as cluster:
        assert await names(cluster) == (["a", "b"], "42")
    assert slept == [7.0]


async def test_page_is_read_again_with_a_renewed_token(tmp_path: Path) -> None:
    unknown = Answer(status(401, "Unauthorized"), status=401)
    pages = in_turn(Answer(page("a", token="next")), unknown, Answer(page("b")))
    async with api_server(pages, tmp_path) as cluster:
        assert await names(cluster) == (["a", "b"], "42")


@pytest.mark.parametrize(
    ("code", "message", "match"),
    [
        (403, 'pods is forbidden: User "u" cannot list resource "pods"', "A permission is missing"),
        (401, "Unauthorized", "does not know these credentials"),
    ],
)
async def test_missing_permission_is_an_error(tmp_path: Path, code: int, message: str, match: str) -> None:
    async with api_server(always(Answer(status(code, message), status=code)), tmp_path) as cluster:
        with pytest.raises(PermissionDeniedError, match=match):
            await names(cluster)


@pytest.mark.parametrize("token", ["", "next"])
async def test_undecodable_object_is_named(tmp_path: Path, token: str) -> None:
    odd = b'{"metadata":{"name":"odd","namespace":"shop"},"spec":"nonsense"}'
    pages = Answer(b'{"metadata":{"continue":"%s"},"items":[%s]}' % (token.encode(), odd))
    async with api_server(always(pages), tmp_path) as cluster:
        with pytest.raises(RejectedError, match="shop/odd"):
            await names(cluster)
