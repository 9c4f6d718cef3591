"""The informer: what the cluster holds now, kept current by one watch per kind, for every wait that looks into it.

A hundred rollouts in flight cost the API server as much as one. The watches run while a caller uses the informer, and
a while longer. Each kind has a watch of its own: a workload may be newer here than its Pods, or older.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeVar

from activities.kube.client import ClusterClient
from activities.kube.discovery import serves_kind
from activities.kube.paths import path
from activities.kube.watch import RelistStarted, Synced, watch_objects
from activities.kube.workloads import with_kind
from mesh.errors import UnreachableError
from mesh.k8s.kinds import ARGO_ROLLOUT, EVICTABLE_KINDS, RESTARTABLE_KINDS, kind_of
from mesh.k8s.objects import DisruptionBudget, Namespace, Pod, Workload
from mesh.k8s.owners import with_template_of
from mesh.k8s.workload_ref import WorkloadRef
from mesh.survey.interning import Interner

K = TypeVar("K")
V = TypeVar("V")
_Object = Pod | Workload | DisruptionBudget | Namespace

_TYPES: Mapping[str, type[_Object]] = MappingProxyType(
    {
        "Pod": Pod,
        "PodDisruptionBudget": DisruptionBudget,
        "Namespace": Namespace,
        **dict.fromkeys((*RESTARTABLE_KINDS, *EVICTABLE_KINDS, ARGO_ROLLOUT), Workload),
    }
)
#: Seconds for which the watches outlive their last user: the next wave begins soon.
_LINGER_SECONDS = 120.0
#: Different parts of Pods that are shared. Beyond them sharing begins again, since nothing tells which are in use.
_SHARED = 20_000


class Informer:
    """The Pods, workloads, budgets and namespaces of one cluster. It is read inside of `running`.

    Every reading raises UnreachableError where the watches have ended.
    """

    def __init__(self, cluster: ClusterClient) -> None:
        self._cluster = cluster
        self._users = 0
        self._closing: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._synced: asyncio.Future[None] | None = None
        self._subscribers: dict[WorkloadRef, set[asyncio.Event]] = {}
        self._clear()

    def _clear(self) -> None:
        self._interner = Interner(datetime.now(UTC))
        #: By kind and UID.
        self._objects: dict[str, dict[str, _Object]] = {kind: {} for kind in _TYPES}
        self._uids: dict[WorkloadRef, str] = {}
        #: Pods and ReplicaSets by the UID of their controller, then by their own.
        self._pods: dict[str, dict[str, Pod]] = {}
        self._replica_sets: dict[str, dict[str, Workload]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Starts the watches where they do not run, and enters once every object is known.

        Raises:
            PermissionDeniedError: one of the kinds may not be watched.
        """
        self._users += 1
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        try:
            if self._synced is None or self._task is None or self._task.done():
                self._clear()
                self._synced = asyncio.get_running_loop().create_future()
                self._task = asyncio.create_task(self._run(self._synced))
            await asyncio.shield(self._synced)
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._closing = asyncio.get_running_loop().call_later(_LINGER_SECONDS, self.stop)

    def stop(self) -> None:
        """Ends the watches and drops every object."""
        if self._task is not None:
            self._task.cancel()
        self._task = self._synced = self._closing = None
        self._clear()

    def workload(self, ref: WorkloadRef) -> Workload | None:
        """Returns a workload, an Argo Rollout with the template that it takes; None when there is none."""
        workload = self._object(ref)
        if not isinstance(workload, Workload):
            return None
        reference = workload.spec.workload_ref
        if reference is None:
            return workload
        lender = self._object(WorkloadRef(ref.namespace, reference.kind, reference.name))
        return with_template_of(workload, lender) if isinstance(lender, Workload) else workload

    def pods_of(self, workload: Workload) -> list[Pod]:
        """Returns every Pod whose controller is the workload or a ReplicaSet of it, in the workload's namespace."""
        uid, namespace = workload.metadata.uid, workload.metadata.namespace
        controllers = [uid, *self._replica_sets.get(uid, ())]
        pods = (pod for controller in controllers for pod in self._pods.get(controller, {}).values())
        return [pod for pod in pods if pod.metadata.namespace == namespace]

    def may_belong_to(self, pod: Pod, workload: Workload) -> bool:
        """Whether a Pod that the workload's selector selects is the workload's, and not another's.

        One whose controller is not known here may be.
        """
        controller = pod.metadata.controller()
        if controller is None or controller.uid == workload.metadata.uid:
            return controller is not None
        replica_set = self._objects["ReplicaSet"].get(controller.uid)
        owner = replica_set.metadata.controller() if replica_set is not None else None
        return replica_set is None or (owner is not None and owner.uid == workload.metadata.uid)

    def budgets(self, namespace: str) -> list[DisruptionBudget]:
        """Returns the PodDisruptionBudgets of a namespace."""
        budgets = self._synced_objects()["PodDisruptionBudget"].values()
        return [
            budget
            for budget in budgets
            if isinstance(budget, DisruptionBudget) and budget.metadata.namespace == namespace
        ]

    def namespace(self, name: str) -> Namespace:
        """Returns a namespace; one that does not exist has neither labels nor annotations."""
        namespace = self._object(WorkloadRef("", "Namespace", name))
        return namespace if isinstance(namespace, Namespace) else Namespace()

    @contextmanager
    def subscribe(self, ref: WorkloadRef) -> Iterator[asyncio.Event]:
        """Yields an event that is set at each change of a workload, of its Pods, or of a budget of its namespace."""
        event = asyncio.Event()
        self._subscribers.setdefault(ref, set()).add(event)
        try:
            yield event
        finally:
            subscribers = self._subscribers[ref]
            subscribers.discard(event)
            if not subscribers:
                del self._subscribers[ref]

    def _object(self, ref: WorkloadRef) -> _Object | None:
        return self._synced_objects().get(ref.kind, {}).get(self._uids.get(ref, ""))

    def _synced_objects(self) -> dict[str, dict[str, _Object]]:
        synced = self._synced is not None and self._synced.done()
        if self._task is None or self._task.done() or not synced:
            # The caller enters `running` again, and learns there what is wrong. Half of the objects would mislead one
            # that has not noticed yet that another caller started the watches again.
            raise UnreachableError("The watches of the cluster have ended.")
        return self._objects

    async def _run(self, synced: asyncio.Future[None]) -> None:
        try:
            kinds = [kind for kind in _TYPES if "." not in kind or await serves_kind(self._cluster, kind)]
            async with asyncio.TaskGroup() as group:
                listed = [asyncio.Event() for _ in kinds]
                for kind, event in zip(kinds, listed, strict=True):
                    group.create_task(self._watch(kind, event))
                for event in listed:
                    await event.wait()
                synced.set_result(None)
        except* Exception as errors:  # noqa: BLE001
            # All of them end the watches; the first is raised to the callers that wait for the beginning.
            if not synced.done():
                synced.set_exception(errors.exceptions[0])
        finally:
            self._notify(self._subscribers)

    async def _watch(self, kind: str, listed: asyncio.Event) -> None:
        objects = self._objects[kind]
        unseen: set[str] = set()
        async with aclosing(watch_objects(self._cluster, path(kind), _TYPES[kind])) as changes:
            async for change in changes:
                if objects is not self._objects[kind]:
                    return  # Everything was dropped, and this watch is about to end.
                match change:
                    case RelistStarted():
                        unseen = set(objects)
                    case Synced():
                        for uid in unseen:
                            self._apply(kind, objects[uid], deleted=True)
                        unseen = set()
                        listed.set()
                    case _:
                        unseen.discard(change.object.metadata.uid)
                        self._apply(kind, self._compacted(kind, change.object), deleted=change.deleted)

    def _compacted(self, kind: str, found: _Object) -> _Object:
        if isinstance(found, Pod):
            if len(self._interner) > _SHARED:
                self._interner = Interner(datetime.now(UTC))
            return self._interner.pod(found)
        if isinstance(found, Workload):
            workload = with_kind(found, kind)
            # Each rollout leaves a ReplicaSet behind: all that is asked of one here is who controls it.
            return self._interner.link(workload) if kind == "ReplicaSet" and found.metadata.controller() else workload
        return found

    def _apply(self, kind: str, changed: _Object, *, deleted: bool) -> None:
        metadata = changed.metadata
        previous = self._objects[kind].get(metadata.uid)
        _put(self._objects[kind], metadata.uid, changed, deleted=deleted)
        controller = metadata.controller()
        if previous is not None and previous.metadata.controller() != controller:
            self._detach(kind, previous)
        if isinstance(changed, Pod):
            if controller is not None:
                _put_below(self._pods, controller.uid, metadata.uid, changed, deleted=deleted)
        else:
            ref = WorkloadRef(metadata.namespace, kind, metadata.name)
            if not deleted or self._uids.get(ref) == metadata.uid:
                _put(self._uids, ref, metadata.uid, deleted=deleted)
            if isinstance(changed, Workload) and controller is not None:
                _put_below(self._replica_sets, controller.uid, metadata.uid, changed, deleted=deleted)
        self._notify(self._affected(kind, changed))

    def _detach(self, kind: str, previous: _Object) -> None:
        """Takes an object from its previous controller: one releases a Pod whose labels it does not select any more."""
        controller = previous.metadata.controller()
        if controller is not None:
            controlled: dict[str, dict[str, Any]] = self._pods if isinstance(previous, Pod) else self._replica_sets
            _put_below(controlled, controller.uid, previous.metadata.uid, previous, deleted=True)
        self._notify(self._affected(kind, previous))

    def _affected(self, kind: str, changed: _Object) -> Iterable[WorkloadRef]:
        """The workloads whose subscribers a change of an object concerns."""
        metadata, controller = changed.metadata, changed.metadata.controller()
        if isinstance(changed, DisruptionBudget):
            return [ref for ref in self._subscribers if ref.namespace == metadata.namespace]
        refs = [] if isinstance(changed, Pod) else [WorkloadRef(metadata.namespace, kind, metadata.name)]
        passed: set[str] = set()
        # Owners may own each other: owner references are not validated.
        while controller is not None and controller.uid not in passed:
            passed.add(controller.uid)
            controller_kind = kind_of(controller)
            refs.append(WorkloadRef(metadata.namespace, controller_kind, controller.name))
            owner = self._objects.get(controller_kind, {}).get(controller.uid)
            controller = owner.metadata.controller() if owner is not None else None
        return refs

    def _notify(self, refs: Iterable[WorkloadRef]) -> None:
        for ref in refs:
            for event in self._subscribers.get(ref, ()):
                event.set()


def _put(mapping: dict[K, V], key: K, value: V, *, deleted: bool) -> None:
    if deleted:
        mapping.pop(key, None)
    else:
        mapping[key] = value


def _put_below(mapping: dict[str, dict[K, V]], controller: str, key: K, value: V, *, deleted: bool) -> None:
    controlled = mapping.setdefault(controller, {})
    _put(controlled, key, value, deleted=deleted)
    if not controlled:
        del mapping[controller]
