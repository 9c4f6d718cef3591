"""An HTTP server of raw bytes: what an API server sends when it, or the way to it, has a bad day."""

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
    """One answer; `cut` ends the connection after that many bytes of the body. A `silent` one never comes."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    chunked: bool = False
    cut: int | None = None
    media_type: str = "application/json"
    silent: bool = False

    def sent(self) -> bytes:
        """Everything that goes over the wire."""
        body = self.body if self.cut is None else self.body[: self.cut]
        head = f"HTTP/1.1 {self.status} Said\r\nContent-Type: {self.media_type}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        if self.chunked:
            head += "Transfer-Encoding: chunked\r\n"
            whole = self.cut is None
            body = (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + (b"0\r\n\r\n" if whole else b"")
        else:
            # Without a length its end cannot be told from a cut.
            head += "Connection: close\r\n"
        return head.encode() + b"\r\n" + body


def always(answer: Answer) -> Callable[[Query], Answer]:
    """The same to each request."""
    return lambda _: answer


def in_turn(*answers: Answer) -> Callable[[Query], Answer]:
    """One to each request, in this order."""
    left = list(answers)
    return lambda _: left.pop(0)


@asynccontextmanager
async def server(answer: Callable[[str, Query], Answer], host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server that answers each request as told, given where it was sent (host and path) and its query; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            target = urlsplit(head.split(b" ")[1].decode())
            query = {key: values[0] for key, values in parse_qs(target.query).items()}
            said = answer(f"{writer.get_extra_info('sockname')[0]}{target.path}", query)
            if said.silent:
                await reader.read()
            writer.write(said.sent())
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
    """A connection to an API server that answers each request as told, given its query."""
    async with server(lambda _, query: answer(query)) as port:
        file = folder / "kubeconfig"
        file.write_text(json.dumps(kubeconfig(f"http://127.0.0.1:{port}")))
        async with await connect(str(file)) as cluster:
            yield cluster


def kubeconfig(address: str) -> dict[str, Any]:
    """Of a server that asks for no credentials."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "one", "cluster": {"server": address}}],
        "users": [{"name": "one", "user": {}}],
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
        "current-context": "one",
    }


def event(type_: str, name: str, **more: object) -> bytes:
    """A line of a watch about a Pod."""
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": "7"}
    return json.dumps({"type": type_, "object": {"kind": "Pod", "metadata": metadata, **more}}).encode() + b"\n"


#: As API servers write it: of a Pod, and without what every Pod has.
END = (
    b'{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"42",'
    b'"creationTimestamp":null,"annotations":{"k8s.io/initial-events-end":"true"}},"spec":{"containers":null},'
    b'"status":{}}}\n'
)


def status(code: int, message: str) -> bytes:
    """A `metav1.Status`."""
    return json.dumps({"kind": "Status", "status": "Failure", "code": code, "message": message}).encode()


def page(*names: str, token: str = "", version: str = "42") -> bytes:
    """A page of a list of Pods."""
    items = [{"metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}"}} for name in names]
    return json.dumps({"metadata": {"resourceVersion": version, "continue": token}, "items": items}).encode()
