"""What the cluster holds now, kept current by one watch per kind: for everybody who waits for something in it.

A hundred rollouts in flight cost the API server as much as one. The watches run while somebody uses the mirror, and
a while longer. Each kind has a watch of its own: a workload may be newer here than its Pods, or older.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeVar

from activities.kube.client import ClusterClient
from activities.kube.paths import path
from activities.kube.reads import serves_kind, with_kind
from activities.kube.watch import RelistStarted, Synced, watch_objects
from mesh.errors import UnreachableError
from mesh.k8s.kinds import ARGO_ROLLOUT, EVICTABLE_KINDS, RESTARTABLE_KINDS, kind_of
from mesh.k8s.objects import DisruptionBudget, Namespace, Pod, Workload
from mesh.k8s.owners import taking_from
from mesh.k8s.workload_ref import WorkloadRef
from mesh.survey.interning import Interner

K = TypeVar("K")
V = TypeVar("V")
_Object = Pod | Workload | DisruptionBudget | Namespace

_FORMS: Mapping[str, type[_Object]] = MappingProxyType(
    {
        "Pod": Pod,
        "PodDisruptionBudget": DisruptionBudget,
        "Namespace": Namespace,
        **dict.fromkeys((*RESTARTABLE_KINDS, *EVICTABLE_KINDS, ARGO_ROLLOUT), Workload),
    }
)
#: Seconds for which the watches outlive their last user: the next wave begins soon.
_LINGER_SECONDS = 120.0
#: So many different parts of Pods are shared; then sharing begins anew, since nobody tells which are still in use.
_SHARED = 20_000


class Informer:
    """The Pods, workloads, budgets and namespaces of one cluster. To be read inside of `running`."""

    def __init__(self, cluster: ClusterClient) -> None:
        self._cluster = cluster
        self._users = 0
        self._closing: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._known: asyncio.Future[None] | None = None
        self._waiting: dict[WorkloadRef, set[asyncio.Event]] = {}
        self._forget()

    def _forget(self) -> None:
        self._pool = Interner(datetime.now(UTC))
        #: By kind and UID.
        self._objects: dict[str, dict[str, _Object]] = {kind: {} for kind in _FORMS}
        self._uids: dict[WorkloadRef, str] = {}
        #: Pods and ReplicaSets by the UID of their controller.
        self._pods: dict[str, dict[str, Pod]] = {}
        self._replica_sets: dict[str, dict[str, Workload]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Begins the watches if nobody did, and gives way once everything is known.

        Raises:
            PermissionDeniedError: something may not be watched.
        """
        self._users += 1
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        try:
            if self._known is None or self._task is None or self._task.done():
                self._forget()
                self._known = asyncio.get_running_loop().create_future()
                self._task = asyncio.create_task(self._run(self._known))
            await asyncio.shield(self._known)
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._closing = asyncio.get_running_loop().call_later(_LINGER_SECONDS, self.stop)

    def stop(self) -> None:
        """Ends the watches and forgets everything."""
        if self._task is not None:
            self._task.cancel()
        self._task = self._known = self._closing = None
        self._forget()

    def workload(self, ref: WorkloadRef) -> Workload | None:
        """None when there is none of that name. An Argo Rollout has the template that it takes."""
        found = self._object(ref)
        if not isinstance(found, Workload):
            return None
        reference = found.spec.workload_ref
        if reference is None:
            return found
        lender = self._object(WorkloadRef(ref.namespace, reference.kind, reference.name))
        return taking_from(found, lender) if isinstance(lender, Workload) else found

    def pods_of(self, workload: Workload) -> list[Pod]:
        """Every Pod that it or a ReplicaSet of its own made. A reference into another namespace means nothing."""
        uid, namespace = workload.metadata.uid, workload.metadata.namespace
        makers = [uid, *self._replica_sets.get(uid, ())]
        pods = (pod for maker in makers for pod in self._pods.get(maker, {}).values())
        return [pod for pod in pods if pod.metadata.namespace == namespace]

    def may_belong_to(self, pod: Pod, workload: Workload) -> bool:
        """Whether a Pod is the workload's: its selector may select another's as well. A maker unknown here may be."""
        maker = pod.metadata.controller()
        if maker is None or maker.uid == workload.metadata.uid:
            return maker is not None
        between = self._objects["ReplicaSet"].get(maker.uid)
        above = between.metadata.controller() if between is not None else None
        return between is None or (above is not None and above.uid == workload.metadata.uid)

    def budgets(self, namespace: str) -> list[DisruptionBudget]:
        """The PodDisruptionBudgets of a namespace."""
        every = self._there()["PodDisruptionBudget"].values()
        return [one for one in every if isinstance(one, DisruptionBudget) and one.metadata.namespace == namespace]

    def namespace(self, name: str) -> Namespace:
        """A namespace; one that is gone has neither labels nor annotations."""
        found = self._object(WorkloadRef("", "Namespace", name))
        return found if isinstance(found, Namespace) else Namespace()

    @contextmanager
    def subscribe(self, ref: WorkloadRef) -> Iterator[asyncio.Event]:
        """An event that is set whenever something of a workload changed, or a budget of its namespace."""
        event = asyncio.Event()
        self._waiting.setdefault(ref, set()).add(event)
        try:
            yield event
        finally:
            waiting = self._waiting[ref]
            waiting.discard(event)
            if not waiting:
                del self._waiting[ref]

    def _object(self, ref: WorkloadRef) -> _Object | None:
        return self._there().get(ref.kind, {}).get(self._uids.get(ref, ""))

    def _there(self) -> dict[str, dict[str, _Object]]:
        known = self._known is not None and self._known.done()
        if self._task is None or self._task.done() or not known:
            # Whoever waits begins anew, and learns there what is wrong. Half of what is there would mislead those who
            # have not noticed yet that another user began the watches anew.
            raise UnreachableError("The watches of the cluster have ended.")
        return self._objects

    async def _run(self, known: asyncio.Future[None]) -> None:
        try:
            kinds = [kind for kind in _FORMS if "." not in kind or await serves_kind(self._cluster, kind)]
            async with asyncio.TaskGroup() as group:
                begun = [asyncio.Event() for _ in kinds]
                for kind, event in zip(kinds, begun, strict=True):
                    group.create_task(self._follow(kind, _FORMS[kind], event))
                for event in begun:
                    await event.wait()
                known.set_result(None)
        except* Exception as errors:  # noqa: BLE001
            # The first one is told to whoever waits; all of them end the watches.
            if not known.done():
                known.set_exception(errors.exceptions[0])
        finally:
            self._wake(self._waiting)

    async def _follow(self, kind: str, form: type[_Object], begun: asyncio.Event) -> None:
        there = self._objects[kind]
        unseen: set[str] = set()
        async with contextlib.aclosing(watch_objects(self._cluster, path(kind), form)) as changes:
            async for change in changes:
                if there is not self._objects[kind]:
                    return  # Everything was forgotten, and this watch is about to end.
                match change:
                    case RelistStarted():
                        unseen = set(there)
                    case Synced():
                        for uid in unseen:
                            self._take(kind, there[uid], deleted=True)
                        unseen = set()
                        begun.set()
                    case _:
                        unseen.discard(change.object.metadata.uid)
                        self._take(kind, self._compact(kind, change.object), deleted=change.deleted)

    def _compact(self, kind: str, one: _Object) -> _Object:
        if isinstance(one, Pod):
            if len(self._pool) > _SHARED:
                self._pool = Interner(datetime.now(UTC))
            return self._pool.pod(one)
        if isinstance(one, Workload):
            one = with_kind(one, kind)
            # Each rollout leaves one behind. They are asked for nothing else here.
            return self._pool.link(one) if kind == "ReplicaSet" and one.metadata.controller() else one
        return one

    def _take(self, kind: str, one: _Object, *, deleted: bool) -> None:
        about = one.metadata
        before = self._objects[kind].get(about.uid)
        _put(self._objects[kind], about.uid, one, deleted=deleted)
        maker = about.controller()
        if before is not None and before.metadata.controller() != maker:
            self._release(kind, before)
        if isinstance(one, Pod):
            if maker is not None:
                _put_below(self._pods, maker.uid, about.uid, one, deleted=deleted)
        else:
            ref = WorkloadRef(about.namespace, kind, about.name)
            if not deleted or self._uids.get(ref) == about.uid:
                _put(self._uids, ref, about.uid, deleted=deleted)
            if isinstance(one, Workload) and maker is not None:
                _put_below(self._replica_sets, maker.uid, about.uid, one, deleted=deleted)
        self._wake(self._meant(kind, one))

    def _release(self, kind: str, before: _Object) -> None:
        """It was made by another, or by one that has let it go: a Pod does once its labels are not its maker's."""
        maker = before.metadata.controller()
        if maker is not None:
            made: dict[str, dict[str, Any]] = self._pods if isinstance(before, Pod) else self._replica_sets
            _put_below(made, maker.uid, before.metadata.uid, before, deleted=True)
        self._wake(self._meant(kind, before))

    def _meant(self, kind: str, one: _Object) -> Iterable[WorkloadRef]:
        """The workloads that a change of an object means."""
        about, maker = one.metadata, one.metadata.controller()
        if isinstance(one, DisruptionBudget):
            return [ref for ref in self._waiting if ref.namespace == about.namespace]
        refs = [] if isinstance(one, Pod) else [WorkloadRef(about.namespace, kind, about.name)]
        seen: set[str] = set()
        # Owners may own each other: anybody may write references.
        while maker is not None and maker.uid not in seen:
            seen.add(maker.uid)
            kind = kind_of(maker)
            refs.append(WorkloadRef(about.namespace, kind, maker.name))
            above = self._objects.get(kind, {}).get(maker.uid)
            maker = above.metadata.controller() if above is not None else None
        return refs

    def _wake(self, refs: Iterable[WorkloadRef]) -> None:
        for ref in refs:
            for event in self._waiting.get(ref, ()):
                event.set()


def _put(into: dict[K, V], key: K, value: V, *, deleted: bool) -> None:
    if deleted:
        into.pop(key, None)
    else:
        into[key] = value


def _put_below(into: dict[str, dict[K, V]], above: str, key: K, value: V, *, deleted: bool) -> None:
    below = into.setdefault(above, {})
    _put(below, key, value, deleted=deleted)
    if not below:
        del into[above]
