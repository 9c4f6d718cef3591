"""An API server of a cluster of any size: every object of it is a recorded one under another name.

Speaks as much of the API as a survey and the queue need: WatchLists, pages, watches, patches of Pods and Deployments.
A Pod is made while it is sent, so that a large cluster needs no memory.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.activities.api_server import kubeconfig, status
from tests.scale.record import RECORDED

#: Longest names that the API server takes; a Deployment's leaves room for what its ReplicaSet's adds.
LONGEST_NAMESPACE, LONGEST_NAME, LONGEST_DEPLOYMENT = 63, 253, 242
_OLD, _NEW = "1.29.3", "1.30.2"
_VERSION = "1000"
_CHUNK = 256 * 1024
_PATH = re.compile(
    r"/(?:api|apis/[^/]+)/[^/]+(?:/namespaces/(?P<namespace>[^/]+)(?=/))?/(?P<kind>[a-z]+)(?:/(?P<name>[^/]+))?"
)


@dataclass(frozen=True)
class Size:
    """Of the Deployments the first are `stale`; standalone Pods all are. `names` are padded to this length."""

    namespaces: int
    deployments: int
    pods_each: int
    stale: int
    standalone: int
    names: int = 0


class _Form:
    """A recorded object; whatever of `holes` it contains is another thing in each object made of it."""

    def __init__(self, recorded: object, holes: Mapping[str, str]) -> None:
        text = json.dumps(recorded, separators=(",", ":"))
        # The longest first: names of Pods begin with their owners'.
        found = sorted(holes, key=len, reverse=True)
        self._parts = re.split("(" + "|".join(map(re.escape, found)) + ")", text)
        self._holes = [(at, holes[part]) for at, part in enumerate(self._parts) if part in holes]

    def made(self, **values: str) -> bytes:
        """The object with these values in its holes."""
        parts = self._parts.copy()
        for at, hole in self._holes:
            parts[at] = values[hole]
        return "".join(parts).encode()


@dataclass(frozen=True)
class _Collection:
    """Objects by number, made when they are sent."""

    numbers: Sequence[int] = ()
    make: Callable[[int], bytes] = lambda _: b""


class SyntheticCluster:
    """The cluster. `current` are the numbers of the Deployments whose Pods run the new proxy."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.current = set(range(size.stale, size.deployments))
        self.patched: list[str] = []
        self._watches: list[tuple[str, asyncio.Queue[bytes | None]]] = []
        recorded: dict[str, Any] = json.loads(RECORDED.read_text())
        pod, alone, replica_set = recorded["Pod"], recorded["standalone"], recorded["ReplicaSet"]
        deployment = recorded["Deployment"]
        holes = {"recorded-namespace": "namespace", "recorded-deployment": "name", _OLD: "tag"}
        uids = {
            deployment["metadata"]["uid"]: "uid",
            replica_set["metadata"]["uid"]: "set_uid",
            pod["metadata"]["uid"]: "pod_uid",
        }
        owned = holes | uids | {replica_set["metadata"]["name"]: "set_name", pod["metadata"]["name"]: "pod_name"}
        self._pod = _Form(pod, owned)
        self._replica_set = _Form(_scaled(replica_set, size.pods_each), owned)
        self._deployment = _Form(_scaled(deployment, size.pods_each), owned)
        self._alone = _Form(alone, holes | {alone["metadata"]["uid"]: "pod_uid", "recorded-standalone": "pod_name"})
        self._namespace = _Form(recorded["Namespace"], {"recorded-namespace": "namespace"})
        self._maps = [_Form(one, {_OLD: "tag"}).made(tag=_NEW) for one in recorded["ConfigMap"]]
        self._hooks = [json.dumps(one).encode() for one in recorded["MutatingWebhookConfiguration"]]
        self._spaces = {self.namespace(number): number for number in range(size.namespaces)}
        self._deployments = {self.deployment(number): number for number in range(size.deployments)}

    def namespace(self, number: int) -> str:
        """The name of that namespace."""
        return f"space-{number}".ljust(min(self.size.names, LONGEST_NAMESPACE), "x")

    def deployment(self, number: int) -> str:
        """The name of that Deployment."""
        return f"work-{number}-".ljust(min(self.size.names, LONGEST_DEPLOYMENT), "y")

    def alone(self, number: int) -> str:
        """The name of that standalone Pod."""
        return f"alone-{number}".ljust(min(self.size.names, LONGEST_NAME), "z")

    def touch(self, namespace: str, name: str) -> None:
        """Tells whoever watches Pods that something of this one changed."""
        metadata = {"name": name, "namespace": namespace, "uid": name, "resourceVersion": _VERSION}
        line = json.dumps({"type": "MODIFIED", "object": {"metadata": metadata}}).encode() + b"\n"
        for kind, changes in self._watches:
            if kind == "pods":
                changes.put_nowait(line)

    def end(self) -> None:
        """Ends all watches."""
        for _, changes in self._watches:
            changes.put_nowait(None)

    def collection(self, kind: str, namespace: str | None) -> _Collection:
        """All objects of a kind, or those of a namespace."""
        size, space = self.size, self._spaces.get(namespace or "", -1)
        deployments = range(size.deployments) if namespace is None else range(space, size.deployments, size.namespaces)
        if space < 0 and namespace is not None:
            deployments = range(0)
        match kind:
            case "pods":
                each, owned = size.pods_each, size.deployments * size.pods_each
                if namespace is None:
                    return _Collection(range(owned + size.standalone), self._make_pod)
                alone = range(owned + space, owned + size.standalone, size.namespaces) if space >= 0 else ()
                mine = [one * each + replica for one in deployments for replica in range(each)]
                return _Collection([*mine, *alone], self._make_pod)
            case "deployments":
                return _Collection(deployments, lambda number: self._make(self._deployment, number))
            case "replicasets":
                return _Collection(deployments, lambda number: self._make(self._replica_set, number))
            case "namespaces":
                numbers = list(self._spaces.values()) if namespace is None else [space]
                return _Collection(numbers, lambda one: self._namespace.made(namespace=self.namespace(one)))
            case "mutatingwebhookconfigurations":
                return _Collection(range(len(self._hooks)), self._hooks.__getitem__)
            case "configmaps" if namespace == "istio-system":
                return _Collection(range(len(self._maps)), self._maps.__getitem__)
            case _:
                return _Collection()

    def _make(self, form: _Form, number: int, **more: str) -> bytes:
        name = self.deployment(number)
        return form.made(
            namespace=self.namespace(number % self.size.namespaces),
            name=name,
            set_name=f"{name}585754cb96",
            uid=_uid(1, number),
            set_uid=_uid(2, number),
            tag=_NEW if number in self.current else _OLD,
            **more,
        )

    def _make_pod(self, number: int) -> bytes:
        owner, uid = number // self.size.pods_each, _uid(3, number)
        if owner < self.size.deployments:
            # As the API server cuts them: k8s.io/apiserver/pkg/storage/names, maxGeneratedNameLength.
            name = f"{self.deployment(owner)}585754cb96-"[:58] + f"{number:05}"
            return self._make(self._pod, owner, pod_name=name, pod_uid=uid)
        alone = number - self.size.deployments * self.size.pods_each
        space = self.namespace(alone % self.size.namespaces)
        return self._alone.made(namespace=space, name="", tag=_OLD, pod_name=self.alone(alone), pod_uid=uid)

    # What it answers.

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        found = _PATH.fullmatch(request.path)
        if found is None or found["kind"] == "proxyconfigs":
            return _refused(404, "not found")
        namespace, kind, name = found["namespace"], found["kind"], found["name"]
        if request.method == "PATCH":
            self.patched.append(name)
            if kind == "deployments":
                self.current.add(self._deployments[name])
        if request.method != "GET":
            return web.json_response({})
        if kind == "namespaces" and name is not None:
            return web.Response(body=self._namespace.made(namespace=name))
        if name is not None:
            return _refused(404, f"{name} not found")
        collection = self.collection(kind, namespace)
        if "sendInitialEvents" in request.query:
            return await self._stream(request, collection)
        if "watch" in request.query:
            return await self._watch(request, kind)
        return _page(request, collection)

    async def _stream(self, request: web.Request, collection: _Collection) -> web.StreamResponse:
        response = await _begun(request)
        chunk = bytearray()
        for number in collection.numbers:
            chunk += b'{"type":"ADDED","object":'
            chunk += collection.make(number)
            chunk += b"}\n"
            if len(chunk) > _CHUNK:
                await response.write(bytes(chunk))
                chunk.clear()
        mark = {"resourceVersion": _VERSION, "annotations": {"k8s.io/initial-events-end": "true"}}
        end = {"type": "BOOKMARK", "object": {"metadata": mark}}
        await response.write(bytes(chunk) + json.dumps(end).encode() + b"\n")
        return response

    async def _watch(self, request: web.Request, kind: str) -> web.StreamResponse:
        response = await _begun(request)
        changes: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._watches.append((kind, changes))
        while (line := await changes.get()) is not None:
            await response.write(line)
        return response


def _uid(sort: int, number: int) -> str:
    return f"{sort:08}-0000-4000-8000-{number:012}"


def _scaled(recorded: dict[str, Any], replicas: int) -> dict[str, Any]:
    """A controller of more Pods than it was recorded with, all of them well."""
    counts = {name: replicas for name, value in recorded["status"].items() if name.lower().endswith("replicas")}
    return {
        **recorded,
        "spec": {**recorded["spec"], "replicas": replicas},
        "status": {**recorded["status"], **counts},
    }


def _refused(code: int, message: str) -> web.Response:
    return web.Response(status=code, body=status(code, message))


async def _begun(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    return response


def _page(request: web.Request, collection: _Collection) -> web.Response:
    begin = int(request.query.get("continue", 0))
    end = begin + int(request.query.get("limit", len(collection.numbers)))
    metadata = {"resourceVersion": _VERSION, "continue": str(end) if end < len(collection.numbers) else ""}
    items = b",".join(collection.make(number) for number in collection.numbers[begin:end])
    body = b'{"metadata":' + json.dumps(metadata).encode() + b',"items":[' + items + b"]}"
    return web.Response(body=body)


@asynccontextmanager
async def served(cluster: SyntheticCluster, folder: Path) -> AsyncIterator[Path]:
    """Serves the cluster; yields its kubeconfig."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", cluster.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address, port = runner.addresses[0][:2]
        file = folder / "kubeconfig"
        file.write_text(json.dumps(kubeconfig(f"http://{address}:{port}")))
        yield file
    finally:
        cluster.end()
        await runner.cleanup()
