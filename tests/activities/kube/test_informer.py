"""The mirror shows what the cluster holds, wakes whom a change means, and never shows half of it."""

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
from activities.kube.paths import NAMESPACES, path
from activities.kube.watch import RelistStarted, Synced
from activities.kube.watch_events import ObjectChange
from mesh.errors import PermissionDeniedError, UnreachableError
from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.objects import DisruptionBudget, Metadata, Namespace, Pod, Workload, WorkloadReference
from mesh.k8s.workload_ref import WorkloadRef
from tests.mesh.build import budget, pod, space, template, workload

CART = workload()
SET = workload("ReplicaSet", "cart-1", owner=CART)
POD = pod(owner=SET)
CART_REF, TILL_REF = WorkloadRef("shop", "Deployment", "cart"), WorkloadRef("bank", "Deployment", "till")
Thing = Pod | Workload | DisruptionBudget | Namespace


def kind_of(one: Thing) -> str:
    return one.kind if isinstance(one, Workload) else _KINDS[type(one)]


_KINDS: dict[type, str] = {Pod: "Pod", DisruptionBudget: "PodDisruptionBudget", Namespace: "Namespace"}


class Server:
    """What the watches are told: everything that is there, and then every change."""

    def __init__(self, *things: Thing) -> None:
        self.there: dict[tuple[str, str], Thing] = {(kind_of(one), one.metadata.uid): one for one in things}
        self.begun: list[str] = []
        self.troubles: dict[str, Exception] = {}
        self.slow: dict[str, asyncio.Event] = {}
        self._queues: dict[str, asyncio.Queue[Any]] = {}

    def put(self, one: Thing) -> None:
        self.there[kind_of(one), one.metadata.uid] = one
        self._tell(kind_of(one), ObjectChange(one))

    def remove(self, one: Thing) -> None:
        del self.there[kind_of(one), one.metadata.uid]
        self._tell(kind_of(one), ObjectChange(one, deleted=True))

    def anew(self, kind: str) -> None:
        """As after a cut."""
        for event in (
            RelistStarted(),
            *(ObjectChange(one) for (of, _), one in self.there.items() if of == kind),
            Synced("2"),
        ):
            self._tell(kind, event)

    def fail(self, kind: str, error: Exception) -> None:
        self._tell(kind, error)

    def _tell(self, kind: str, event: object) -> None:
        where = NAMESPACES if kind == "Namespace" else path(kind)
        if where in self._queues:
            self._queues[where].put_nowait(event)

    async def watch_objects(self, _: object, where: str, __: object) -> AsyncGenerator[Any]:
        self.begun.append(where)
        if where in self.troubles:
            raise self.troubles[where]
        queue = self._queues[where] = asyncio.Queue()
        yield RelistStarted()
        if where in self.slow:
            await self.slow[where].wait()
        for (kind, _uid), one in list(self.there.items()):
            if where == (NAMESPACES if kind == "Namespace" else path(kind)):
                yield ObjectChange(one)
        yield Synced("1")
        while True:
            event = await queue.get()
            if isinstance(event, Exception):
                raise event
            yield event


async def settled() -> None:
    """Until every watch has read what there is."""
    for _ in range(300):
        await asyncio.sleep(0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    return install(monkeypatch, Server())


def install(monkeypatch: pytest.MonkeyPatch, server: Server) -> Server:
    async def serves_kind(*_: object) -> bool:
        return True

    monkeypatch.setattr(informer_module, "watch_objects", server.watch_objects)
    monkeypatch.setattr(informer_module, "serves_kind", serves_kind)
    return server


@pytest.fixture
def informer() -> Informer:
    return Informer(None)  # type: ignore[arg-type]


def names(informer: Informer, one: Workload) -> list[str]:
    return sorted(pod.metadata.name for pod in informer.pods_of(one))


@pytest.mark.parametrize("order", [(CART, SET, POD), (POD, SET, CART), (SET, POD, CART), (POD, CART, SET)])
async def test_pods_are_found_through_replica_sets_in_any_order(
    server: Server, informer: Informer, order: tuple[Thing, ...]
) -> None:
    async with informer.running():
        for one in order:
            server.put(one)
            await settled()

        assert informer.workload(CART_REF) == CART
        assert names(informer, CART) == ["cart-1"]
    informer.stop()


async def test_pod_that_vanished_during_a_cut_is_gone(server: Server, informer: Informer) -> None:
    server.there = Server(CART, SET, POD, pod("cart-2", owner=SET)).there
    async with informer.running():
        assert names(informer, CART) == ["cart-1", "cart-2"]
        del server.there["Pod", POD.metadata.uid]
        server.anew("Pod")
        await settled()

        assert names(informer, CART) == ["cart-2"]
    informer.stop()


async def test_pod_that_its_maker_let_go_is_not_the_workloads_any_more(server: Server, informer: Informer) -> None:
    server.there = Server(CART, SET, POD).there
    async with informer.running():
        with informer.subscribe(CART_REF) as change:
            server.put(pod())
            await settled()

            assert change.is_set()
        assert names(informer, CART) == []
    informer.stop()


async def test_pod_of_another_namespace_that_names_the_workload_is_not_its_own(
    server: Server, informer: Informer
) -> None:
    server.there = Server(CART, SET, pod("forged", owner=SET, namespace="evil")).there
    async with informer.running():
        assert names(informer, CART) == []
    informer.stop()


ROLLOUT = workload(ARGO_ROLLOUT, "till")
TILL_SET = workload("ReplicaSet", "till-1", owner=ROLLOUT)


@pytest.mark.parametrize(
    ("changed", "woken"),
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
async def test_change_wakes_whom_it_means(server: Server, informer: Informer, changed: Thing, woken: set[str]) -> None:
    server.there = Server(CART, SET, ROLLOUT, TILL_SET).there
    keys = {"cart": CART_REF, "till": WorkloadRef("shop", ARGO_ROLLOUT, "till")}
    async with informer.running():
        with ExitStack() as stack:
            events = {name: stack.enter_context(informer.subscribe(key)) for name, key in keys.items()}
            server.put(changed)
            await settled()

            assert {name for name, event in events.items() if event.is_set()} == woken
    informer.stop()


async def test_owners_that_own_each_other_end_the_way_up(server: Server, informer: Informer) -> None:
    one = workload("ReplicaSet", "one")
    other = workload("ReplicaSet", "other", owner=one)
    async with asyncio.timeout(5), informer.running():
        for each in (workload("ReplicaSet", "one", owner=other), other, pod(owner=other)):
            server.put(each)
        await settled()

        assert names(informer, other) == ["cart-1"]
    informer.stop()


def again(one: Workload, uid: str) -> Workload:
    return msgspec.structs.replace(one, metadata=msgspec.structs.replace(one.metadata, uid=uid))


async def test_workload_made_anew_is_not_hurt_by_late_news_of_the_old_one(server: Server, informer: Informer) -> None:
    server.there = Server(CART).there
    new = again(CART, "new")
    async with informer.running():
        server.put(new)
        server.remove(CART)
        await settled()

        assert informer.workload(CART_REF) == new
    informer.stop()


async def test_argo_rollout_has_the_template_that_it_takes(server: Server, informer: Informer) -> None:
    taker = workload(ARGO_ROLLOUT, "till", lender=WorkloadReference(kind="Deployment", name="cart"))
    server.there = Server(taker, CART).there
    async with informer.running():
        found = informer.workload(WorkloadRef("shop", ARGO_ROLLOUT, "till"))

        assert found is not None
        assert found.template == CART.template
    informer.stop()


async def test_watches_begin_once_for_many_users_and_end_after_a_while(
    server: Server, informer: Informer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer_module, "_LINGER_SECONDS", 0.05)
    server.there = Server(CART, space()).there

    async def use() -> None:
        async with informer.running():
            assert informer.workload(CART_REF) == CART
            assert informer.namespace("shop") == space()

    await asyncio.gather(use(), use(), use())
    # The next user comes soon.
    await use()
    assert len(server.begun) == len(set(server.begun)) == len(informer_module._TYPES)
    running = informer._task
    assert running is not None
    await asyncio.wait([running], timeout=5)

    with pytest.raises(UnreachableError):
        informer.workload(CART_REF)
    assert informer.pods_of(CART) == []
    await use()
    assert len(server.begun) == 2 * len(informer_module._TYPES)
    informer.stop()


async def test_error_before_everything_is_known_reaches_every_user(server: Server, informer: Informer) -> None:
    denied = PermissionDeniedError("A permission is missing.")
    server.troubles[path("Pod")] = denied

    async def use() -> None:
        async with informer.running():
            raise AssertionError

    told = await asyncio.gather(use(), use(), return_exceptions=True)
    assert list(told) == [denied, denied]
    server.troubles.clear()
    async with informer.running():
        assert informer.workload(CART_REF) is None
    informer.stop()


async def test_later_error_wakes_everybody_and_is_told_at_the_next_look(server: Server, informer: Informer) -> None:
    server.there = Server(CART).there
    async with informer.running():
        with (
            informer.subscribe(CART_REF) as one,
            informer.subscribe(TILL_REF) as other,
        ):
            server.fail("Pod", PermissionDeniedError("A permission is missing."))
            await settled()

            assert (one.is_set(), other.is_set()) == (True, True)
        with pytest.raises(UnreachableError):
            informer.workload(CART_REF)
        async with informer.running():
            assert informer.workload(CART_REF) == CART
    informer.stop()


async def test_who_missed_the_end_is_not_shown_half_of_the_new_beginning(server: Server, informer: Informer) -> None:
    server.there = Server(CART, SET, POD).there
    async with informer.running():
        server.fail("Pod", PermissionDeniedError("A permission is missing."))
        await settled()
        slow = server.slow[path("Pod")] = asyncio.Event()

        async def use() -> None:
            async with informer.running():
                pass

        another = asyncio.create_task(use())
        await settled()
        with pytest.raises(UnreachableError):
            informer.workload(CART_REF)
        slow.set()
        await another

        assert informer.workload(CART_REF) == CART
        assert names(informer, CART) == ["cart-1"]
    informer.stop()


async def test_budgets_of_watches_that_have_ended_are_not_taken_for_none(server: Server, informer: Informer) -> None:
    server.there = Server(budget(1, 2)).there
    async with informer.running():
        assert informer.budgets("shop") == [budget(1, 2)]
        server.fail("Pod", PermissionDeniedError("A permission is missing."))
        await settled()

        with pytest.raises(UnreachableError):
            informer.budgets("shop")
    informer.stop()


async def test_news_that_comes_while_the_watches_end_is_not_kept(server: Server, informer: Informer) -> None:
    async with informer.running():
        server.put(POD)
    informer.stop()
    await settled()

    assert not informer._objects["Pod"]


async def test_nothing_is_kept_of_what_is_gone(server: Server, informer: Informer) -> None:
    server.there = Server(CART, SET, POD).there
    async with informer.running():
        for one in (POD, SET, CART):
            server.remove(one)
        await settled()

        assert not informer._pods
        assert not informer._replica_sets
        assert not informer._uids
        assert not any(informer._objects.values())
    informer.stop()


# Any changes at all.

DEPLOYMENTS = [workload("Deployment", name) for name in ("a", "b")]
NEWER = [again(one, f"newer/{one.metadata.name}") for one in DEPLOYMENTS]
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
        st.sampled_from(["put", "remove", "lose", "anew", "wait"]),
        st.sampled_from([*DEPLOYMENTS, *NEWER, *SETS, *PODS]),
    ),
    max_size=40,
)


class Story:
    """Changes of the server. Those of a kind in `lost` are not told until its watch begins anew."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.lost: set[str] = set()

    def put(self, one: Thing) -> None:
        there, kind = self._server.there, kind_of(one)
        # A name belongs to one object at a time.
        same = [old for (of, _), old in there.items() if of == kind and _place(old.metadata) == _place(one.metadata)]
        for old in same:
            if old.metadata.uid != one.metadata.uid:
                self.remove(old)
        if kind in self.lost:
            there[kind, one.metadata.uid] = one
        else:
            self._server.put(one)

    def remove(self, one: Thing) -> None:
        kind = kind_of(one)
        there = self._server.there.get((kind, one.metadata.uid))
        if there is not None and kind in self.lost:
            del self._server.there[kind, one.metadata.uid]
        elif there is not None:
            self._server.remove(there)

    def lose(self, one: Thing) -> None:
        self.lost.add(kind_of(one))

    def anew(self, one: Thing) -> None:
        self.lost.discard(kind_of(one))
        self._server.anew(kind_of(one))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
async def test_any_changes_leave_the_mirror_equal_to_the_server(
    monkeypatch: pytest.MonkeyPatch, steps: list[tuple[str, Workload | Pod]]
) -> None:
    server, informer = install(monkeypatch, Server()), Informer(None)  # type: ignore[arg-type]
    story = Story(server)
    async with informer.running():
        for step, one in steps:
            if step == "wait":
                await settled()
            else:
                getattr(story, step)(one)
        for kind in story.lost:
            server.anew(kind)
        await settled()
        workloads = [one for one in server.there.values() if isinstance(one, Workload)]
        pods = [one for one in server.there.values() if isinstance(one, Pod) and one.metadata.namespace == "shop"]
        for one in (*DEPLOYMENTS, *NEWER):
            makers = {one.metadata.uid}
            makers |= {each.metadata.uid for each in workloads if _made(each, makers)}
            shown = {_place(each.metadata): each for each in workloads if each.kind == "Deployment"}

            assert names(informer, one) == sorted(each.metadata.name for each in pods if _made(each, makers))
            assert informer.workload(one.ref) == shown.get(_place(one.metadata))
    informer.stop()


def _place(about: Metadata) -> tuple[str, str]:
    return (about.namespace, about.name)


def _made(one: Thing, makers: set[str]) -> bool:
    maker = one.metadata.controller()
    return maker is not None and maker.uid in makers
