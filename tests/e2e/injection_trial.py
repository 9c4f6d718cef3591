"""One Pod twice: made for real through the API server's webhooks, and foretold by the product."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from activities.injector import ask_all
from activities.kube.client import Cluster
from activities.kube.paths import NAMESPACES, path
from activities.kube.world import read_injector
from deploy.local.binaries import ISTIO_HUB
from deploy.local.kubectl import apply
from deploy.local.mesh import Mesh
from mesh.asking import Expected, question_of
from mesh.injection import Decision, Injector, decide
from mesh.objects import ClientConfig, Namespace, PodTemplate

#: The revisions of the mesh; the tag of an image tells which of them injected.
TAGS = {"default": "1.29.3", "canary": "1.30.2"}

_NOBODY = ClientConfig(url="https://127.0.0.1:1/inject")
_SERVICE_ACCOUNTS = "/api/v1/serviceaccounts"
_PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.1

Labels = Mapping[str, str]
T = TypeVar("T")


@dataclass(frozen=True)
class Seen:
    """Who injected a Pod, and the image of its proxy; without a revision nobody did."""

    revision: str | None = None
    image: str | None = None


@dataclass(frozen=True)
class Case:
    """A Pod in a namespace with the labels `space`, and what istiod makes of it."""

    name: str
    expected: Seen
    space: Labels
    labels: Labels
    annotations: Labels
    spec: Mapping[str, Any] = field(default_factory=dict)
    namespace: str | None = None

    def template(self) -> dict[str, Any]:
        """As it stands in a workload."""
        metadata = {"labels": dict(self.labels), "annotations": dict(self.annotations)}
        return {"metadata": metadata, "spec": {"containers": [{"name": "app", "image": "app:1"}]} | dict(self.spec)}


def case(
    name: str,
    by: str | None,
    space: Labels,
    labels: Labels | None = None,
    annotations: Labels | None = None,
    *,
    image: str | None = "",
    spec: Mapping[str, Any] | None = None,
    namespace: str | None = None,
) -> Case:
    """A case in one line: `by` injects, with its plain proxy unless an `image` is given (without a hub: Istio's)."""
    plain = f"proxyv2:{TAGS[by]}" if by else None
    shown = plain if image == "" else image
    whole = shown if shown is None or "/" in shown else f"{ISTIO_HUB}/{shown}"
    return Case(name, Seen(by, whole), space, labels or {}, annotations or {}, spec or {}, namespace)


@dataclass(frozen=True)
class SetUp:
    """A state of the mesh's Istio, and what happens in it.

    `change` brings it about and takes it back. Each of the `witnesses` comes out otherwise without it, so that both
    can be waited for.
    """

    name: str
    cases: tuple[Case, ...]
    witnesses: tuple[Case, ...] = ()
    change: Callable[[Mesh], AbstractContextManager[None]] = lambda _: nullcontext()


class Trial:
    """A mesh to try Pods in. `maker` makes them; `reader` foretells with the rights of the worker."""

    def __init__(self, mesh: Mesh, maker: Cluster, reader: Cluster) -> None:
        self._mesh = mesh
        self._maker = maker
        self._reader = reader
        self._names: dict[frozenset[tuple[str, str]], str] = {}
        self._labels: dict[str, Labels] = {}
        self._injector = Injector()

    async def open_namespaces(self, cases: Iterable[Case]) -> None:
        """Makes a namespace for each set of labels; returns when all of them take Pods."""
        spaces: dict[str, Labels] = {}
        for one in cases:
            if one.namespace is not None:
                spaces[one.namespace] = one.space
            else:
                name = self._names.setdefault(frozenset(one.space.items()), f"space-{len(self._names)}")
                spaces[name] = one.space
        apply(self._mesh, *(_namespace(name, labels) for name, labels in spaces.items()))
        await _until("Pods to be accepted everywhere", self._accounts, lambda found: found >= set(spaces))
        found, _ = await self._reader.list_all(NAMESPACES, Namespace)
        self._labels = {one.metadata.name: one.metadata.labels or {} for one in found}

    @asynccontextmanager
    async def within(self, set_up: SetUp) -> AsyncIterator[None]:
        """The mesh in that state, for the API server, for istiod and for the product."""
        before = {one.name: await self.seen(one) for one in set_up.witnesses}
        for one in set_up.witnesses:
            assert before[one.name] != one.expected, f"{one.name} is no witness of {set_up.name}"
        with set_up.change(self._mesh):
            for one in set_up.witnesses:
                await self._await(one, one.expected)
            self._injector = await read_injector(self._reader)
            yield
        for one in set_up.witnesses:
            await self._await(one, before[one.name])

    async def seen(self, one: Case) -> Seen:
        """What really becomes of it. A server-side dry run: it goes through the webhooks and leaves nothing behind.

        Raises:
            RejectedError: the injector refuses it.
        """
        namespace = self._namespace(one)
        pod = {"apiVersion": "v1", "kind": "Pod"} | one.template()
        pod["metadata"] |= {"generateName": "tried-", "namespace": namespace}
        made = await self._maker.create(path("Pod", namespace), pod, dict[str, Any], dry_run=True)
        status = made["metadata"].get("annotations", {}).get("sidecar.istio.io/status")
        containers = [*made["spec"]["containers"], *made["spec"].get("initContainers", [])]
        images = [container["image"] for container in containers if container["name"] == "istio-proxy"]
        assert len(images) < 2
        return Seen(json.loads(status)["revision"] if status else None, images[0] if images else None)

    def decided(self, one: Case) -> Decision:
        """Whether it gets a sidecar, and from which revision, as the product foretells."""
        namespace = self._namespace(one)
        return decide(self._injector, namespace, self._labels[namespace], _template(one))

    async def told(self, one: Case, *, reachable: bool = True) -> Expected:
        """Which proxy it gets, as the product foretells; without istiod's help when that is not `reachable`."""
        decision = self.decided(one)
        if decision.webhook is not None and not reachable:
            decision = Decision(dataclasses.replace(decision.webhook, client=_NOBODY))
        question = question_of(self._injector, self._namespace(one), decision, _template(one))
        return (await ask_all(self._reader, self._injector, [question]))[question.key]

    def _namespace(self, one: Case) -> str:
        return one.namespace or self._names[frozenset(one.space.items())]

    async def _accounts(self) -> set[str]:
        """Namespaces that have their service account: before that every Pod is refused."""
        found, _ = await self._maker.list_all(_SERVICE_ACCOUNTS, Namespace)
        return {one.metadata.namespace for one in found if one.metadata.name == "default"}

    async def _await(self, one: Case, wanted: Seen) -> None:
        await _until(f"{one.name} to become {wanted}", lambda: self.seen(one), lambda seen: seen == wanted)


def _template(one: Case) -> PodTemplate:
    return msgspec.convert(one.template(), PodTemplate)


def _namespace(name: str, labels: Labels) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}}


async def _until(what: str, look: Callable[[], Awaitable[T]], done: Callable[[T], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not done(found := await look()):
        assert time.monotonic() < deadline, f"waited in vain for {what}: {found}"
        await asyncio.sleep(_POLL_SECONDS)
