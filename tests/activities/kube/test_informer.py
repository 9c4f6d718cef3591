"""The informer shows what the cluster holds, notifies the subscribers of a change, and never shows half of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activities.kube import informer as informer_module
from activities.kube.informer import Informer
from activities.kube.paths import path
from activities.kube.watch import RelistStarted, Synced
from activities.kube.watch_events import ObjectChange
from mesh.errors import PermissionDeniedError, UnreachableError
from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.objects import DisruptionBudget, Metadata, Namespace, Pod, Workload, WorkloadReference
from mesh.k8s.workload_ref import WorkloadRef
from tests.mesh.build import budget, make_namespace, pod, template, workload

CART = workload()
SET = workload("ReplicaSet", "cart-1", owner=CART)
POD = pod(owner=SET)
CART_REF, TILL_REF = WorkloadRef("shop", "Deployment", "cart"), WorkloadRef("bank", "Deployment", "till")
AnyObject = Pod | Workload | DisruptionBudget | Namespace


def kind_of(item: AnyObject) -> str:
    return item.kind if isinstance(item, Workload) else _KINDS[type(item)]


_KINDS: dict[type, str] = {Pod: "Pod", DisruptionBudget: "PodDisruptionBudget", Namespace: "Namespace"}


class FakeServer:
    """What the watches receive: every object, then every change."""

    def __init__(self, *objects: AnyObject) -> None:
        self.objects: dict[tuple[str, str], AnyObject] = {(kind_of(item), item.metadata.uid): item for item in objects}
        self.started: list[str] = []
        self.errors: dict[str, Exception] = {}
        self.slow: dict[str, asyncio.Event] = {}
        self._queues: dict[str, asyncio.Queue[Any]] = {}

    def put(self, item: AnyObject) -> None:
        self.objects[kind_of(item), item.metadata.uid] = item
        self._send(kind_of(item), ObjectChange(item))

    def remove(self, item: AnyObject) -> None:
        del self.objects[kind_of(item), item.metadata.uid]
        self._send(kind_of(item), ObjectChange(item, deleted=True))

    def relist(self, kind: str) -> None:
        """Sends every object again, as after a cut."""
        for event in (
            RelistStarted(),
            *(ObjectChange(item) for (of, _), item in self.objects.items() if of == kind),
            Synced("2"),
        ):
            self._send(kind, event)

    def fail(self, kind: str, error: Exception) -> None:
        self._send(kind, error)

    def _send(self, kind: str, event: object) -> None:
        collection = path(kind)
        if collection in self._queues:
            self._queues[collection].put_nowait(event)

    async def watch_objects(self, _: object, collection: str, __: object) -> AsyncGenerator[Any]:
        self.started.append(collection)
        if collection in self.errors:
            raise self.errors[collection]
        queue = self._queues[collection] = asyncio.Queue()
        yield RelistStarted()
        if collection in self.slow:
            await self.slow[collection].wait()
        for (kind, _uid), item in list(self.objects.items()):
            if collection == path(kind):
                yield ObjectChange(item)
        yield Synced("1")
        while True:
            event = await queue.get()
            if isinstance(event, Exception):
                raise event
            yield event


async def all_read() -> None:
    """Waits until every watch has read what was sent."""
    for _ in range(300):
        await asyncio.sleep(0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    return installed(monkeypatch, FakeServer())


def installed(monkeypatch: pytest.MonkeyPatch, server: FakeServer) -> FakeServer:
    async def serves_kind(*_: object) -> bool:
        return True

    monkeypatch.setattr(informer_module, "watch_objects", server.watch_objects)
    monkeypatch.setattr(informer_module, "serves_kind", serves_kind)
    return server


@pytest.fixture
def informer() -> Informer:
    return Informer(None)  # type: ignore[arg-type]


def names(informer: Informer, item: Workload) -> list[str]:
    return sorted(pod.metadata.name for pod in informer.pods_of(item))


@pytest.mark.parametrize("order", [(CART, SET, POD), (POD, SET, CART), (SET, POD, CART), (POD, CART, SET)])
async def test_pods_are_found_through_replica_sets_in_any_order(
    server: FakeServer, informer: Informer, order: tuple[AnyObject, ...]
) -> None:
    async with informer.running():
        for item in order:
            server.put(item)
            await all_read()

        assert informer.workload(CART_REF) == CART
        assert names(informer, CART) == ["cart-1"]
    informer.stop()


async def test_pod_deleted_while_a_watch_was_cut_is_dropped(server: FakeServer, informer: Informer) -> None:
    server.objects = FakeServer(CART, SET, POD, pod("cart-2", owner=SET)).objects
    async with informer.running():
        assert names(informer, CART) == ["cart-1", "cart-2"]
        del server.objects["Pod", POD.metadata.uid]
        server.relist("Pod")
        await all_read()

        assert names(informer, CART) == ["cart-2"]
    informer.stop()


async def test_released_pod_does_not_belong_to_the_workload_any_more(server: FakeServer, informer: Informer) -> None:
    server.objects = FakeServer(CART, SET, POD).objects
    async with informer.running():
        with informer.subscribe(CART_REF) as change:
            server.put(pod())
            await all_read()

            assert change.is_set()
        assert names(informer, CART) == []
    informer.stop()


async def test_pod_of_another_namespace_does_not_belong_to_the_workload(server: FakeServer, informer: Informer) -> None:
    server.objects = FakeServer(CART, SET, pod("forged", owner=SET, namespace="evil")).objects
    async with informer.running():
        assert names(informer, CART) == []
    informer.stop()


ROLLOUT = workload(ARGO_ROLLOUT, "till")
TILL_SET = workload("ReplicaSet", "till-1", owner=ROLLOUT)


@pytest.mark.parametrize(
    ("changed", "notified"),
    [
        pytest.param(POD, {"cart"}, id="pod-of-a-replica-set"),
        pytest.param(SET, {"cart"}, id="replica-set"),
        pytest.param(CART, {"cart"}, id="workload"),
        pytest.param(pod("till-1-a", owner=TILL_SET), {"till"}, id="pod-of-an-argo-rollout"),
        pytest.param(ROLLOUT, {"till"}, id="argo-rollout"),
        pytest.param(budget(1, 2), {"cart", "till"}, id="budget-of-the-namespace"),
        pytest.param(budget(1, 2, namespace="bank"), set(), id="budget-elsewhere"),
        pytest.param(pod("alone"), set(), id="standalone"),
        pytest.param(pod("cart-9", owner=SET, namespace="bank"), set(), id="same-names-elsewhere"),
    ],
)
async def test_change_notifies_the_workloads_subscribers(
    server: FakeServer, informer: Informer, changed: AnyObject, notified: set[str]
) -> None:
    server.objects = FakeServer(CART, SET, ROLLOUT, TILL_SET).objects
    keys = {"cart": CART_REF, "till": WorkloadRef("shop", ARGO_ROLLOUT, "till")}
    async with informer.running():
        with ExitStack() as stack:
            events = {name: stack.enter_context(informer.subscribe(key)) for name, key in keys.items()}
            server.put(changed)
            await all_read()

            assert {name for name, event in events.items() if event.is_set()} == notified
    informer.stop()


async def test_owners_that_own_each_other_are_followed_once(server: FakeServer, informer: Informer) -> None:
    item = workload("ReplicaSet", "one")
    other = workload("ReplicaSet", "other", owner=item)
    async with asyncio.timeout(5), informer.running():
        for found in (workload("ReplicaSet", "one", owner=other), other, pod(owner=other)):
            server.put(found)
        await all_read()

        assert names(informer, other) == ["cart-1"]
    informer.stop()


def recreated(item: Workload, uid: str) -> Workload:
    return msgspec.structs.replace(item, metadata=msgspec.structs.replace(item.metadata, uid=uid))


async def test_late_deletion_does_not_drop_the_recreated_workload(server: FakeServer, informer: Informer) -> None:
    server.objects = FakeServer(CART).objects
    new = recreated(CART, "new")
    async with informer.running():
        server.put(new)
        server.remove(CART)
        await all_read()

        assert informer.workload(CART_REF) == new
    informer.stop()


async def test_argo_rollout_has_the_template_that_it_takes(server: FakeServer, informer: Informer) -> None:
    taker = workload(ARGO_ROLLOUT, "till", lender=WorkloadReference(kind="Deployment", name="cart"))
    server.objects = FakeServer(taker, CART).objects
    async with informer.running():
        found = informer.workload(WorkloadRef("shop", ARGO_ROLLOUT, "till"))

        assert found is not None
        assert found.template == CART.template
    informer.stop()


async def test_watches_start_once_for_many_users_and_end_after_the_last(
    server: FakeServer, informer: Informer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer_module, "_LINGER_SECONDS", 0.05)
    server.objects = FakeServer(CART, make_namespace()).objects

    async def use() -> None:
        async with informer.running():
            assert informer.workload(CART_REF) == CART
            assert informer.namespace("shop") == make_namespace()

    await asyncio.gather(use(), use(), use())
    # The next user comes soon.
    await use()
    assert len(server.started) == len(set(server.started)) == len(informer_module._TYPES)
    running = informer._task
    assert running is not None
    await asyncio.wait([running], timeout=5)

    with pytest.raises(UnreachableError):
        informer.workload(CART_REF)
    assert informer.pods_of(CART) == []
    await use()
    assert len(server.started) == 2 * len(informer_module._TYPES)
    informer.stop()


async def test_error_before_the_first_sync_is_raised_to_every_user(server: FakeServer, informer: Informer) -> None:
    denied = PermissionDeniedError("A permission is missing.")
    server.errors[path("Pod")] = denied

    async def use() -> None:
        async with informer.running():
            raise AssertionError

    raised = await asyncio.gather(use(), use(), return_exceptions=True)
    assert list(raised) == [denied, denied]
    server.errors.clear()
    async with informer.running():
        assert informer.workload(CART_REF) is None
    informer.stop()


async def test_later_error_notifies_every_subscriber_and_ends_reads(server: FakeServer, informer: Informer) -> None:
    server.objects = FakeServer(CART).objects
    async with informer.running():
        with (
            informer.subscribe(CART_REF) as item,
            informer.subscribe(TILL_REF) as other,
        ):
            server.fail("Pod", PermissionDeniedError("A permission is missing."))
            await all_read()

            assert (item.is_set(), other.is_set()) == (True, True)
        with pytest.raises(UnreachableError):
            informer.workload(CART_REF)
        async with informer.running():
            assert informer.workload(CART_REF) == CART
    informer.stop()


async def test_reads_while_the_watches_start_again_are_refused(server: FakeServer, informer: Informer) -> None:
    server.objects = FakeServer(CART, SET, POD).objects
    async with informer.running():
        server.fail("Pod", PermissionDeniedError("A permission is missing."))
        await all_read()
        slow = server.slow[path("Pod")] = asyncio.Event()

        async def use() -> None:
            async with informer.running():
                pass

        another = asyncio.create_task(use())
        await all_read()
        with pytest.raises(UnreachableError):
            informer.workload(CART_REF)
        slow.set()
        await another

        assert informer.workload(CART_REF) == CART
        assert names(informer, CART) == ["cart-1"]
    informer.stop()


async def test_budgets_are_not_empty_after_the_watches_have_ended(server: FakeServer, informer: Informer) -> None:
    server.objects = FakeServer(budget(1, 2)).objects
    async with informer.running():
        assert informer.budgets("shop") == [budget(1, 2)]
        server.fail("Pod", PermissionDeniedError("A permission is missing."))
        await all_read()

        with pytest.raises(UnreachableError):
            informer.budgets("shop")
    informer.stop()


async def test_change_that_arrives_while_the_watches_end_is_dropped(server: FakeServer, informer: Informer) -> None:
    async with informer.running():
        server.put(POD)
    informer.stop()
    await all_read()

    assert not informer._objects["Pod"]


async def test_nothing_is_kept_of_deleted_objects(server: FakeServer, informer: Informer) -> None:
    server.objects = FakeServer(CART, SET, POD).objects
    async with informer.running():
        for item in (POD, SET, CART):
            server.remove(item)
        await all_read()

        assert not informer._pods
        assert not informer._replica_sets
        assert not informer._uids
        assert not any(informer._objects.values())
    informer.stop()


# Any sequence of changes.

DEPLOYMENTS = [workload("Deployment", name) for name in ("a", "b")]
NEWER = [recreated(item, f"newer/{item.metadata.name}") for item in DEPLOYMENTS]
SETS = [
    workload("ReplicaSet", name, owner=owner, made_from=template()) for name in ("s", "t") for owner in [*NEWER, None]
]
PODS = [
    pod(name, owner=owner, namespace=namespace)
    for name in ("p", "q", "r")
    for namespace in ("shop", "bank")
    for owner in (*SETS[::3], *DEPLOYMENTS, None)
]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "remove", "lose", "relist", "wait"]),
        st.sampled_from([*DEPLOYMENTS, *NEWER, *SETS, *PODS]),
    ),
    max_size=40,
)


class ServerChanges:
    """Changes of the server. Those of a kind in `lost` are not sent until its watch lists again."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self.lost: set[str] = set()

    def put(self, item: AnyObject) -> None:
        objects, kind = self._server.objects, kind_of(item)
        # A name belongs to one object at a time.
        same = [old for (of, _), old in objects.items() if of == kind and _name(old.metadata) == _name(item.metadata)]
        for old in same:
            if old.metadata.uid != item.metadata.uid:
                self.remove(old)
        if kind in self.lost:
            objects[kind, item.metadata.uid] = item
        else:
            self._server.put(item)

    def remove(self, item: AnyObject) -> None:
        kind = kind_of(item)
        objects = self._server.objects.get((kind, item.metadata.uid))
        if objects is not None and kind in self.lost:
            del self._server.objects[kind, item.metadata.uid]
        elif objects is not None:
            self._server.remove(objects)

    def lose(self, item: AnyObject) -> None:
        self.lost.add(kind_of(item))

    def relist(self, item: AnyObject) -> None:
        self.lost.discard(kind_of(item))
        self._server.relist(kind_of(item))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
async def test_informer_equals_the_server_after_any_changes(
    monkeypatch: pytest.MonkeyPatch, steps: list[tuple[str, Workload | Pod]]
) -> None:
    server, informer = installed(monkeypatch, FakeServer()), Informer(None)  # type: ignore[arg-type]
    changes = ServerChanges(server)
    async with informer.running():
        for step, item in steps:
            if step == "wait":
                await all_read()
            else:
                getattr(changes, step)(item)
        for kind in changes.lost:
            server.relist(kind)
        await all_read()
        workloads = [item for item in server.objects.values() if isinstance(item, Workload)]
        pods = [item for item in server.objects.values() if isinstance(item, Pod) and item.metadata.namespace == "shop"]
        for item in (*DEPLOYMENTS, *NEWER):
            controllers = {item.metadata.uid}
            controllers |= {found.metadata.uid for found in workloads if _is_controlled(found, controllers)}
            by_name = {_name(found.metadata): found for found in workloads if found.kind == "Deployment"}

            assert names(informer, item) == sorted(
                found.metadata.name for found in pods if _is_controlled(found, controllers)
            )
            assert informer.workload(item.ref) == by_name.get(_name(item.metadata))
    informer.stop()


def _name(metadata: Metadata) -> tuple[str, str]:
    return (metadata.namespace, metadata.name)


def _is_controlled(item: AnyObject, controllers: set[str]) -> bool:
    controller = item.metadata.controller()
    return controller is not None and controller.uid in controllers
