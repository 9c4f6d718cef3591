"""Reads the whole cluster, or some namespaces, once: Pods, their owners, and what decides about injection.

One stream per kind, never a request per Pod. What cannot be read for want of permissions is left out and named in the
snapshot; whether that is enough, the caller decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from activities.concurrency import gather_limited
from activities.kube.client import ClusterClient
from activities.kube.discovery import serves_kind
from activities.kube.injection_config import read_permitted_injector
from activities.kube.paths import NAMESPACES, path
from activities.kube.watch import list_streamed
from activities.kube.watch_events import HasMetadata
from activities.kube.workloads import with_kind
from mesh.errors import PermissionDeniedError
from mesh.istio.injection import Injector
from mesh.k8s.kinds import READ_KINDS
from mesh.k8s.objects import DisruptionBudget, Metadata, Namespace, Pod, Workload
from mesh.k8s.owners import missing_kinds, workloads_by_uid
from mesh.k8s.raw_spec import RawObject, pod_with_raw_spec, workload_with_raw_spec
from mesh.survey.interning import Interner
from mesh.survey.pod_rules import needs_events
from mesh.survey.snapshot import ClusterSnapshot
from mesh.text import one_line

T = TypeVar("T", bound=HasMetadata)
K = TypeVar("K")

#: Namespaces that are read at the same time, where one list of the whole cluster is not permitted.
_NAMESPACES_AT_ONCE = 16
#: Kinds of owners that are read at the same time, beside the Pods: every stream has buffers of its own.
_KINDS_AT_ONCE = 2
#: Events of more namespaces than these are read in one list.
_EVENT_NAMESPACES = 10


class _Event(msgspec.Struct, frozen=True, rename="camel"):
    """A Kubernetes Event, the fields of it that explain a Pod."""

    involved_object: Metadata = Metadata()
    reason: str = ""
    message: str = ""
    last_timestamp: datetime | None = None
    event_time: datetime | None = None

    @property
    def last_seen(self) -> datetime:
        return self.last_timestamp or self.event_time or datetime.min.replace(tzinfo=UTC)


async def read_snapshot(cluster: ClusterClient, namespaces: Sequence[str] = ()) -> ClusterSnapshot:
    """Reads everything that a survey needs.

    The injector is read first: it decides how much of the other objects is kept. Kinds of which a Pod's owner was not
    found are read again after the Pods: owners may have been created since.

    Raises:
        PermissionDeniedError: no Pod at all can be read.
    """
    return await _SnapshotReader(cluster, namespaces).read()


class _SnapshotReader:
    """Reads one snapshot, and collects what it has no permission to read."""

    def __init__(self, cluster: ClusterClient, namespaces: Sequence[str]) -> None:
        self._cluster = cluster
        #: None stands for all namespaces.
        self._scopes: Sequence[str | None] = list(namespaces) or [None]
        self._taken_at = datetime.now(UTC)
        self._interner = Interner(self._taken_at)
        self._problems: list[str] = []
        self._unread: set[str] = set()
        #: Whether Pod specs are kept as they are, for injection templates that may read any field.
        self._raw_specs = False

    async def read(self) -> ClusterSnapshot:
        injector, injector_problems = await read_permitted_injector(self._cluster)
        self._raw_specs = injector.has_edited_templates
        # The Pods come as fast as the API server writes them, on one of its cores: the owners cost no further time.
        (pods, version), owners = await asyncio.gather(self._pods(), self._owners(READ_KINDS))
        if not pods and "Pod" in self._unread:
            problem = next(problem for problem in self._problems if problem.startswith("Pod"))
            raise PermissionDeniedError(problem, "Grant the permission, or name namespaces with -n.")
        self._problems += injector_problems
        await self._add_missing_owners(pods, owners)
        namespaces, (budgets, _), warnings = await asyncio.gather(
            self._namespaces(),
            self._list("PodDisruptionBudget", DisruptionBudget, lambda budget: budget),
            self._last_warnings(pods),
        )
        if namespaces is None:
            injector = Injector(problem="namespaces cannot be read")
        return ClusterSnapshot(
            taken_at=self._taken_at,
            resource_version=version,
            namespaces=namespaces or {},
            pods=tuple(pods),
            owners=workloads_by_uid(owners.values()),
            injector=injector,
            budgets=tuple(budgets),
            pod_events=warnings,
            problems=tuple(self._problems),
            unread_kinds=frozenset(self._unread),
        )

    async def _list(self, kind: str, form: type[T], transform: Callable[[T], K]) -> tuple[list[K], str]:
        """Lists a kind in the scopes; where all namespaces together are not permitted, one by one."""
        results: list[K] = []
        version = ""
        denied: list[tuple[str | None, PermissionDeniedError]] = []
        for scope in self._scopes:
            try:
                part, version = await list_streamed(self._cluster, path(kind, scope), form, transform)
                results += part
            except PermissionDeniedError as error:
                denied.append((scope, error))
        if denied and denied[0][0] is None:
            results, version, denied = await self._list_by_namespace(kind, form, transform, denied[0][1])
        if denied:
            names = ", ".join(sorted(scope for scope, _ in denied if scope is not None))
            where = f" in {one_line(names)}" if names else ""
            self._problems.append(f"{kind.partition('.')[0]}s cannot be read{where}: {denied[0][1].message}")
            self._unread.add(kind)
        return results, version

    async def _list_by_namespace(
        self, kind: str, form: type[T], transform: Callable[[T], K], error: PermissionDeniedError
    ) -> tuple[list[K], str, list[tuple[str | None, PermissionDeniedError]]]:
        try:
            namespaces, _ = await self._cluster.list_all(NAMESPACES, Namespace)
        except PermissionDeniedError:
            return [], "", [(None, error)]

        async def list_namespace(name: str) -> tuple[list[K], str] | PermissionDeniedError:
            try:
                return await list_streamed(self._cluster, path(kind, name), form, transform)
            except PermissionDeniedError as denied:
                return denied

        names = [namespace.metadata.name for namespace in namespaces]
        answers = await gather_limited(_NAMESPACES_AT_ONCE, names, list_namespace)
        permitted = [answer for answer in answers if not isinstance(answer, PermissionDeniedError)]
        if not permitted:
            return [], "", [(None, error)]
        results = [result for part, _ in permitted for result in part]
        denied: list[tuple[str | None, PermissionDeniedError]] = [
            (name, answer)
            for name, answer in zip(names, answers, strict=True)
            if isinstance(answer, PermissionDeniedError)
        ]
        return results, permitted[-1][1], denied

    async def _add_missing_owners(self, pods: Sequence[Pod], owners: dict[str, Workload]) -> None:
        """Reads the kinds of owners that were not found once more, then what owns those."""
        read_again: set[str] = set()
        while missing := missing_kinds(pods, owners) - self._unread - read_again:
            read_again |= missing
            owners |= await self._owners(sorted(missing))

    async def _owners(self, kinds: Iterable[str]) -> dict[str, Workload]:
        """Reads all workloads of these kinds, by UID."""
        lists = await gather_limited(_KINDS_AT_ONCE, kinds, self._workloads)
        return {workload.metadata.uid: workload for workloads in lists for workload in workloads}

    async def _pods(self) -> tuple[list[Pod], str]:
        compact = self._interner.pod
        if self._raw_specs:
            return await self._list("Pod", RawObject, lambda pod: compact(pod_with_raw_spec(pod)))
        return await self._list("Pod", Pod, compact)

    async def _workloads(self, kind: str) -> list[Workload]:
        if "." in kind and not await serves_kind(self._cluster, kind):
            return []  # a custom resource that this cluster does not have
        compact = self._interner.workload
        if self._raw_specs:
            workloads, _ = await self._list(
                kind, RawObject, lambda workload: compact(workload_with_raw_spec(workload, kind))
            )
        else:
            workloads, _ = await self._list(kind, Workload, lambda workload: compact(with_kind(workload, kind)))
        return workloads

    async def _namespaces(self) -> Mapping[str, Namespace] | None:
        """Reads the namespaces in scope, by name; None without the permission."""
        try:
            if self._scopes == [None]:
                namespaces, _ = await self._cluster.list_all(NAMESPACES, Namespace)
            else:
                reads = (self._cluster.find(f"{NAMESPACES}/{scope}", Namespace) for scope in self._scopes)
                namespaces = [namespace for namespace in await asyncio.gather(*reads) if namespace is not None]
        except PermissionDeniedError as error:
            self._problems.append(f"Namespaces cannot be read: {error.message}")
            return None
        return {namespace.metadata.name: namespace for namespace in namespaces}

    async def _last_warnings(self, pods: Iterable[Pod]) -> Mapping[str, str]:
        """Reads the last Warning of each Pod whose status says little, by UID; none without the permission."""
        wanted = {pod.metadata.uid: pod.metadata.namespace for pod in pods if needs_events(pod, self._taken_at)}
        scopes: list[str | None] = [*sorted(set(wanted.values()))]
        if len(scopes) > _EVENT_NAMESPACES:
            scopes = [None]
        last: dict[str, _Event] = {}

        def keep_last(event: _Event) -> None:
            uid = event.involved_object.uid
            if uid in wanted and (uid not in last or event.last_seen >= last[uid].last_seen):
                last[uid] = event

        params = {"fieldSelector": "type=Warning,involvedObject.kind=Pod"}
        for scope in scopes:
            try:
                # In pages: API servers keep no cache of Events to stream from.
                await self._cluster.list_transformed(path("Event", scope), _Event, keep_last, params)
            except PermissionDeniedError:
                # Events only add a cause to a reason that is known without them.
                break
        return {uid: one_line(f"{event.reason}: {event.message}") for uid, event in last.items()}
