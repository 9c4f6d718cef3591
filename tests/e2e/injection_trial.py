"""Compares what injectors do with a Pod, through the API server's webhooks, with what the product predicts."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from activities.istiod.injector import ask_injector
from activities.kube.client import ClusterClient
from activities.kube.injection_config import read_injector
from activities.kube.paths import NAMESPACES, path
from deploy.local.binaries import ISTIO_HUB
from deploy.local.kubectl import apply
from deploy.local.mesh import Mesh
from mesh.errors import RejectedError
from mesh.istio.expected_proxy import NO_SIDECAR, ExpectedProxy, InjectionQuery, injection_query
from mesh.istio.injection import InjectionDecision, Injector, decide_injection
from mesh.k8s.objects import ClientConfig, Namespace, PodTemplate
from mesh.k8s.raw_spec import RawObject, workload_with_raw_spec

#: The revisions of the mesh; the tag of an image tells which of them injected.
TAGS = {"default": "1.29.3", "canary": "1.30.2"}

_NOBODY = ClientConfig(url="https://127.0.0.1:1/inject")
_SERVICE_ACCOUNTS = "/api/v1/serviceaccounts"
_TIMEOUT_SECONDS = 30.0
_POLL_SECONDS = 0.1

Labels = Mapping[str, str]
T = TypeVar("T")


@dataclass(frozen=True)
class Injected:
    """The revision that injected a Pod, None without injection, and the image of the proxy."""

    revision: str | None = None
    image: str | None = None


#: The API server does not take the Pod, because an injector refuses it.
REFUSED = Injected("refused")


@dataclass(frozen=True)
class Case:
    """A Pod in a namespace with the labels `space`, and what istiod does with it."""

    name: str
    expected: Injected
    space: Labels
    labels: Labels
    annotations: Labels
    spec: Mapping[str, Any] = field(default_factory=dict)
    namespace: str | None = None

    def template(self) -> dict[str, Any]:
        """Returns the Pod template of a workload."""
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
    """A case in one line.

    `by` is the revision that injects (None: no revision does; `refused`: the injector refuses the Pod), with its plain
    proxy unless an `image` is given; one without a slash is of Istio's hub, None is no proxy.
    """
    if image == "":
        image = f"proxyv2:{TAGS[by]}" if by in TAGS else None
    whole = image if image is None or "/" in image else f"{ISTIO_HUB}/{image}"
    return Case(name, Injected(by, whole), space, labels or {}, annotations or {}, spec or {}, namespace)


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


@dataclass(frozen=True)
class InjectionResult:
    """What became of a case, and what the product predicted: `answered` by asking the injector, `rendered` without.

    `query` is the key under which the injector's answer serves other templates too.
    """

    case: Case
    injected: Injected
    decision: InjectionDecision
    query: str = ""
    answered: ExpectedProxy = NO_SIDECAR
    rendered: ExpectedProxy = NO_SIDECAR


class Trial:
    """A mesh in which Pods are tried. `maker` makes them; `reader` predicts with the permissions of the worker."""

    def __init__(self, mesh: Mesh, maker: ClusterClient, reader: ClusterClient) -> None:
        self._mesh = mesh
        self._maker = maker
        self._reader = reader
        self._names: dict[frozenset[tuple[str, str]], str] = {}
        self._labels: dict[str, Labels] = {}

    async def open_namespaces(self, cases: Collection[Case]) -> None:
        """Makes a namespace for each set of labels; returns when all of them take Pods."""
        spaces: dict[str, Labels] = {}
        for one in cases:
            if one.namespace is not None:
                spaces[one.namespace] = one.space
            else:
                name = self._names.setdefault(frozenset(one.space.items()), f"space-{len(self._names)}")
                spaces[name] = one.space
        apply(self._mesh, *(_namespace(name, labels) for name, labels in spaces.items()))
        named = {(self._namespace(one), str(one.spec.get("serviceAccountName", "default"))) for one in cases}
        apply(self._mesh, *(_account(*key) for key in named if key[1] != "default"))
        await _until("the service accounts", self._accounts, lambda found: found >= named)
        found, _ = await self._reader.list_all(NAMESPACES, Namespace)
        self._labels = {one.metadata.name: one.metadata.labels or {} for one in found}

    @asynccontextmanager
    async def within(self, set_up: SetUp) -> AsyncIterator[tuple[InjectionResult, ...]]:
        """The mesh in that state, for the API server, for istiod and for the product, and what its cases come to."""
        before = [await self._inject(one) for one in set_up.witnesses]
        for one, seen in zip(set_up.witnesses, before, strict=True):
            assert seen != one.expected, f"{one.name} is no witness of {set_up.name}"
        with set_up.change(self._mesh):
            for one in set_up.witnesses:
                await self._wait_until_injected(one, one.expected)
            injector = await read_injector(self._reader)
            yield tuple(await asyncio.gather(*(self._result(injector, one) for one in set_up.cases)))
        for one, seen in zip(set_up.witnesses, before, strict=True):
            await self._wait_until_injected(one, seen)

    async def _result(self, injector: Injector, one: Case) -> InjectionResult:
        namespace = self._namespace(one)
        template = await self._template(one)
        decision = decide_injection(injector, namespace, self._labels[namespace], template)
        seen = await self._inject(one)
        if decision.webhook is None:
            return InjectionResult(one, seen, decision)
        question = injection_query(injector, namespace, decision, template)
        alone = InjectionDecision(dataclasses.replace(decision.webhook, client=_NOBODY))
        return InjectionResult(
            one,
            seen,
            decision,
            question.key,
            await self._ask(injector, question),
            await self._ask(injector, dataclasses.replace(question, decision=alone)),
        )

    async def _template(self, one: Case) -> PodTemplate:
        """Returns the template as a workload's is stored: with the API server's defaults."""
        body = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"generateName": "tried-"}}
        where = f"{NAMESPACES}/{self._namespace(one)}/podtemplates"
        made = await self._maker.create(where, body | {"template": one.template()}, dict[str, Any], dry_run=True)
        workload = workload_with_raw_spec(
            RawObject(spec=msgspec.Raw(msgspec.json.encode({"template": made["template"]}))), ""
        )
        assert workload.template is not None
        return workload.template

    async def _ask(self, injector: Injector, question: InjectionQuery) -> ExpectedProxy:
        return (await ask_injector(self._reader, injector, [question]))[question.key]

    async def _inject(self, one: Case) -> Injected:
        """Creates the Pod as a server-side dry run, which goes through the webhooks and leaves nothing."""
        namespace = self._namespace(one)
        pod = {"apiVersion": "v1", "kind": "Pod"} | one.template()
        pod["metadata"] |= {"generateName": "tried-", "namespace": namespace}
        try:
            made = await self._maker.create(path("Pod", namespace), pod, dict[str, Any], dry_run=True)
        except RejectedError as error:
            if "sidecar-injector.istio.io" not in error.message:
                raise
            return REFUSED
        status = made["metadata"].get("annotations", {}).get("sidecar.istio.io/status")
        containers = [*made["spec"]["containers"], *made["spec"].get("initContainers", [])]
        images = [container["image"] for container in containers if container["name"] == "istio-proxy"]
        assert len(images) < 2
        return Injected(json.loads(status)["revision"] if status else None, images[0] if images else None)

    def _namespace(self, one: Case) -> str:
        return one.namespace or self._names[frozenset(one.space.items())]

    async def _accounts(self) -> set[tuple[str, str]]:
        """The service accounts by namespace and name: Pods without theirs are refused."""
        found, _ = await self._maker.list_all(_SERVICE_ACCOUNTS, Namespace)
        return {(one.metadata.namespace, one.metadata.name) for one in found}

    async def _wait_until_injected(self, one: Case, wanted: Injected) -> None:
        await _until(f"{one.name} to become {wanted}", lambda: self._inject(one), lambda seen: seen == wanted)


def _namespace(name: str, labels: Labels) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}}


def _account(namespace: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name}}


async def _until(what: str, look: Callable[[], Awaitable[T]], done: Callable[[T], bool]) -> None:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while not done(found := await look()):
        assert time.monotonic() < deadline, f"waited in vain for {what}: {found}"
        await asyncio.sleep(_POLL_SECONDS)
