"""Streams of Pods in protobuf are complete, or an error; the generated code is that of the schema.

That real Pods are decoded as their JSON is, tests/e2e/test_reasons.py shows.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from activities.kube.client import ClusterClient
from activities.kube.protobuf import MEDIA_TYPE
from activities.kube.watch import list_streamed
from mesh.errors import PermissionDeniedError, UnreachableError
from mesh.k8s.objects import Pod
from tests.activities.api_server import Answer, Query, always, api_server, in_turn, page, status

pytestmark = pytest.mark.usefixtures("slept")

_STREAM = f"{MEDIA_TYPE};stream=watch"


def field(number: int, value: bytes | str | int) -> bytes:
    """As protobuf writes it: a number, or something with a length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups[-1] |= 0x80
        groups.append(value & 0x7F)
    return bytes(groups)


def sent(message: bytes) -> bytes:
    """An object by itself."""
    return b"k8s\x00" + field(1, field(1, "v1") + field(2, "Pod")) + field(2, message)


def event(kind: str, message: bytes) -> bytes:
    frame = field(1, kind) + field(2, field(1, sent(message)))
    return len(frame).to_bytes(4, "big") + frame


def pod(name: str, padding: int = 0) -> bytes:
    metadata = field(1, name) + field(3, "shop") + field(5, f"uid-{name}") + field(2, "x" * padding)
    return field(1, metadata)


def refusal(code: int, message: str) -> bytes:
    return field(3, message) + field(6, code)


#: An annotation, at a resource version.
END = event("BOOKMARK", field(1, field(6, "42") + field(12, field(1, "k8s.io/initial-events-end") + field(2, "true"))))
COMPLETE = event("ADDED", pod("a")) + event("ADDED", pod("b")) + END


async def names(cluster: ClusterClient) -> tuple[list[str], str]:
    return await list_streamed(cluster, "/api/v1/pods", Pod, lambda pod: pod.metadata.name)


def frames(body: bytes) -> Answer:
    return Answer(body, media_type=_STREAM)


@pytest.mark.parametrize("chunked", [True, False])
async def test_stream_is_read_to_its_bookmark(tmp_path: Path, chunked: bool) -> None:
    answer = Answer(COMPLETE, chunked=chunked, media_type=_STREAM)
    async with api_server(always(answer), tmp_path) as cluster:
        assert await names(cluster) == (["a", "b"], "42")


async def test_stream_cut_at_any_byte_is_an_error(tmp_path: Path) -> None:
    answer = Answer(COMPLETE, chunked=True, media_type=_STREAM)
    async with api_server(always(answer), tmp_path) as cluster:
        for cut in range(len(COMPLETE)):
            answer.cut = cut
            with pytest.raises(UnreachableError):
                await names(cluster)


async def test_changes_before_the_bookmark_count(tmp_path: Path) -> None:
    body = COMPLETE.removesuffix(END) + event("DELETED", pod("a")) + event("MODIFIED", pod("b")) + END
    async with api_server(always(frames(body)), tmp_path) as cluster:
        assert await names(cluster) == (["b"], "42")


async def test_object_of_a_megabyte_is_one_frame(tmp_path: Path) -> None:
    async with api_server(lambda _: frames(event("ADDED", pod("a", 1_500_000)) + END), tmp_path) as cluster:
        assert await names(cluster) == (["a"], "42")


async def test_expired_stream_begins_again(tmp_path: Path) -> None:
    old = event("ADDED", pod("old")) + event("ERROR", refusal(410, "too old resource version"))
    async with api_server(in_turn(frames(old), frames(COMPLETE)), tmp_path) as cluster:
        assert await names(cluster) == (["a", "b"], "42")


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"\x00\x00\x00\x03abc", id="no-event"),
        pytest.param(event("ADDED", b"\xff\xff"), id="no-pod"),
        pytest.param(b"\x00\x00\x00\x09" + field(1, "ADDED") + field(2, b""), id="no-object"),
    ],
)
async def test_undecodable_frame_is_an_error(tmp_path: Path, garbage: bytes) -> None:
    async with api_server(lambda _: frames(garbage + END), tmp_path) as cluster:
        with pytest.raises(UnreachableError, match="cannot be read"):
            await names(cluster)


async def test_refusal_in_protobuf_is_decoded(tmp_path: Path) -> None:
    denied = 'pods is forbidden: User "u" cannot watch resource "pods"'

    def answer(query: Query) -> Answer:
        if "watch" in query:
            return Answer(sent(refusal(403, denied)), status=403, media_type=MEDIA_TYPE)
        return Answer(page("a"))

    async with api_server(answer, tmp_path) as cluster:
        assert await names(cluster) == (["a"], "42")


async def test_missing_permission_is_an_error(tmp_path: Path) -> None:
    denied = 'pods is forbidden: User "u" cannot list resource "pods"'
    answers = {
        True: Answer(sent(refusal(403, denied)), status=403, media_type=MEDIA_TYPE),
        False: Answer(status(403, denied), status=403),
    }
    async with api_server(lambda query: answers["watch" in query], tmp_path) as cluster:
        with pytest.raises(PermissionDeniedError, match="A permission is missing"):
            await names(cluster)


def test_generated_code_is_that_of_the_schema(tmp_path: Path) -> None:
    schema = "activities/kube/pod.proto"
    root = Path(__file__).parents[3]
    outputs = [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I.", *outputs, schema], cwd=root, check=True)

    for name in ("pod_pb2.py", "pod_pb2.pyi"):
        generated, committed = (folder / "activities" / "kube" / name for folder in (tmp_path, root))
        assert committed.read_text() == generated.read_text(), "run: make proto"
