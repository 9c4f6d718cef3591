"""A fake API server that sends raw bytes: answers that are cut, silent, refused or undecodable."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from activities.kube.client import ClusterClient, connect

Query = dict[str, str]


@dataclass
class Answer:
    """One answer. `cut` ends the connection after that many bytes of the body; a `silent` one is never sent."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    chunked: bool = False
    cut: int | None = None
    media_type: str = "application/json"
    silent: bool = False

    def to_bytes(self) -> bytes:
        """Returns head and body as they are sent."""
        body = self.body if self.cut is None else self.body[: self.cut]
        head = f"HTTP/1.1 {self.status} Reason\r\nContent-Type: {self.media_type}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        if self.chunked:
            head += "Transfer-Encoding: chunked\r\n"
            complete = self.cut is None
            body = (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + (b"0\r\n\r\n" if complete else b"")
        else:
            # Without a length its end looks like a cut.
            head += "Connection: close\r\n"
        return head.encode() + b"\r\n" + body


def always(answer: Answer) -> Callable[[Query], Answer]:
    """Answers each request alike."""
    return lambda _: answer


def in_turn(*answers: Answer) -> Callable[[Query], Answer]:
    """Answers the requests with these, in this order."""
    left = list(answers)
    return lambda _: left.pop(0)


@asynccontextmanager
async def http_server(answer: Callable[[str, Query], Answer], host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server that answers each request by its target (host and path) and query; yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            target = urlsplit(head.split(b" ")[1].decode())
            query = {key: values[0] for key, values in parse_qs(target.query).items()}
            reply = answer(f"{writer.get_extra_info('sockname')[0]}{target.path}", query)
            if reply.silent:
                await reader.read()
            writer.write(reply.to_bytes())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, host, 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await listening.wait_closed()


@asynccontextmanager
async def api_server(answer: Callable[[Query], Answer], folder: Path) -> AsyncIterator[ClusterClient]:
    """Yields the client of an API server that answers each request by its query."""
    async with api_server_of_paths(lambda _, query: answer(query), folder) as cluster:
        yield cluster


@asynccontextmanager
async def api_server_of_paths(answer: Callable[[str, Query], Answer], folder: Path) -> AsyncIterator[ClusterClient]:
    """Yields the client of an API server that answers each request by its target (host and path) and query."""
    async with http_server(answer) as port:
        file = folder / "kubeconfig"
        file.write_text(json.dumps(kubeconfig(f"http://127.0.0.1:{port}")))
        async with await connect(str(file)) as cluster:
            yield cluster


def kubeconfig(address: str) -> dict[str, Any]:
    """Returns the kubeconfig of a server that demands no credentials."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "one", "cluster": {"server": address}}],
        "users": [{"name": "one", "user": {}}],
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
        "current-context": "one",
    }


def event(type_: str, name: str, **more: object) -> bytes:
    """Returns a line of a watch about a Pod."""
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": "7"}
    return json.dumps({"type": type_, "object": {"kind": "Pod", "metadata": metadata, **more}}).encode() + b"\n"


#: The bookmark after the initial events as API servers write it: a Pod without the fields that every Pod has.
END = (
    b'{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"42",'
    b'"creationTimestamp":null,"annotations":{"k8s.io/initial-events-end":"true"}},"spec":{"containers":null},'
    b'"status":{}}}\n'
)


def status(code: int, message: str) -> bytes:
    """Returns a `metav1.Status` of a refusal."""
    return json.dumps({"kind": "Status", "status": "Failure", "code": code, "message": message}).encode()


def page(*names: str, token: str = "", version: str = "42") -> bytes:
    """Returns a page of a list of Pods."""
    items = [{"metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}"}} for name in names]
    return json.dumps({"metadata": {"resourceVersion": version, "continue": token}, "items": items}).encode()
