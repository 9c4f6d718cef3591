"""Meshes for the stories. Stories that leave the control plane's version alone share one mesh in each test process."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_asyncio

from activities.kube.client import ClusterClient, connect
from activities.kube.discovery import read_uid
from deploy.local import lifecycle
from deploy.local.demo.stage import FROM_ISTIO, open_shop, raise_stage, wait_for
from deploy.local.kubectl import apply, kubectl, read
from deploy.local.mesh import Mesh
from deploy.local.service import Service
from mesh.identity import ClusterRef
from tests.e2e.cart import NEW, Cart, OpenCart
from tests.e2e.command import run
from tests.e2e.restarts import Restarts
from tests.e2e.workloads import make

#: Other images of one Istio version: what a new Pod gets changes, and the control plane stays where it is.
TAGS = (FROM_ISTIO.replace("distroless", "debug"), FROM_ISTIO)
#: Pace of the Istio module where its version stays.
QUICK = ("--stale-state=0", "--processing=0", "--manager-start=0.1", "--step=0.1")
#: Label of the namespaces that stories open.
_STORY = "local-mesh/story"
_INJECTOR = ("configmap", "istio-sidecar-injector", "-n", "istio-system")


@pytest.fixture
def shop(request: pytest.FixtureRequest) -> Iterator[Service]:
    """The demo's mesh with its shop and a worker, before any upgrade; removed afterwards."""
    name = f"test-{request.node.name.removeprefix('test_').replace('_', '-')}"[:32].rstrip("-")
    lifecycle.down(name)
    try:
        service = raise_stage(name)
        open_shop(service.mesh)
        service.start_worker()
        yield service
    finally:
        lifecycle.down(name)


@contextmanager
def stage_at_work(name: str, *pace: str) -> Iterator[Service]:
    """A mesh of its own with a worker; removed afterwards."""
    lifecycle.down(name)
    try:
        service = raise_stage(name, *pace)
        service.start_worker()
        yield service
    finally:
        lifecycle.down(name)


@pytest.fixture(scope="session")
def platform(worker_id: str) -> Iterator[Service]:
    """A mesh with Kyma, the service installed and Temporal, without worker and workloads; shared by stories."""
    name = f"test-platform-{worker_id}"
    lifecycle.down(name)
    try:
        yield raise_stage(name, *QUICK)
    finally:
        lifecycle.down(name)


@pytest.fixture(scope="module")
def stage(platform: Service) -> Iterator[Service]:
    """The platform with a worker, for upgrades of everything in it; afterwards the injector gives its first proxy."""
    wait_for("earlier stories' namespaces to be gone", lambda: not _story_namespaces(platform.mesh))
    proxy = NewProxy(platform.mesh)
    before = proxy.values()
    platform.start_worker()
    yield platform
    items = ("queue", "list", "-o", "json")
    wait_for("the queue to be empty", lambda: run(platform.environment, *items).document["items"] == [])
    platform.mesh.kill("worker")
    proxy.write(before, f":{before['global']['tag']}")


def open_namespace(mesh: Mesh, name: str) -> None:
    """A namespace of a story, labelled for injection."""
    labels = {"istio-injection": "enabled", _STORY: "yes"}
    apply(mesh, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})


def _story_namespaces(mesh: Mesh) -> list[Any]:
    found = read(mesh, "namespaces", "-l", _STORY) or {"items": []}
    return list(found["items"])


@pytest_asyncio.fixture(scope="session")
async def cluster(platform: Service) -> AsyncIterator[ClusterClient]:
    """A connection with the rights of the worker's own service account."""
    async with await connect(str(platform.worker_kubeconfig)) as connection:
        yield connection


@pytest.fixture
def namespace(platform: Service) -> Iterator[str]:
    """A new namespace with a random name, labelled for injection."""
    name = f"story-{secrets.token_hex(4)}"
    open_namespace(platform.mesh, name)
    yield name
    kubectl(platform.mesh, "delete", "namespace", name, "--wait=false")


@pytest_asyncio.fixture
async def restarts(cluster: ClusterClient, namespace: str) -> AsyncIterator[Restarts]:
    """A worker's restarts in the story's namespace."""
    worker = Restarts(cluster, ClusterRef("story", await read_uid(cluster)), namespace)
    yield worker
    worker.stop()


@pytest.fixture
def new_proxy(platform: Service) -> Iterator[NewProxy]:
    """Changes the proxy that the injector gives; restored afterwards."""
    proxy = NewProxy(platform.mesh)
    before = proxy.values()
    yield proxy
    proxy.write(before, f":{before['global']['tag']}")


@pytest.fixture
def stale(platform: Service, namespace: str, new_proxy: NewProxy) -> OpenCart:
    """Creates the Deployment cart with the given settings, and makes its Pods stale."""

    def opened(**how: Any) -> Cart:  # noqa: ANN401
        make(platform.mesh, namespace, "cart", **how)
        new_proxy.give(NEW)
        return Cart(platform.mesh, namespace)

    return opened


class NewProxy:
    """The injector's ConfigMap, edited as an installation of Istio edits it."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    def give(self, tag: str) -> None:
        """Gives new Pods this image tag; returns when one gets it."""
        values = self.values()
        values["global"]["tag"] = tag
        self.write(values, f":{tag}")

    def give_image(self, image: str) -> None:
        """Gives new Pods this image; returns when one gets it."""
        values = self.values()
        values["global"]["proxy"]["image"] = image
        self.write(values, image)

    def values(self) -> Any:  # noqa: ANN401  # JSON
        """Returns the settings of its templates."""
        return json.loads(read(self._mesh, *_INJECTOR)["data"]["values"])

    def write(self, values: object, given: str) -> None:
        """Changes the settings; returns when a new Pod gets an image that ends with `given`."""
        patch = json.dumps({"data": {"values": json.dumps(values)}})
        kubectl(self._mesh, "patch", *_INJECTOR, "--type=merge", "-p", patch)
        pod = '{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"try-","namespace":"kyma-upgrade-probe"},'
        pod += '"spec":{"containers":[{"name":"try","image":"pause"}]}}'
        command = ("create", "--dry-run=server", "-o", "yaml", "-f", "-")
        wait_for(f"the injector to give {given}", lambda: f"{given}\n" in kubectl(self._mesh, *command, stdin=pod), 30)
