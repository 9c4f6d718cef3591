"""One reading of the whole cluster, or of some namespaces: Pods, their owners, and what decides about injection.

One stream per kind, never a request per Pod. What may not be read is told and left out; whether that can be borne is
for the caller to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from activities.concurrency import gather_limited
from activities.kube.client import ClusterClient
from activities.kube.paths import NAMESPACES, PROXY_CONFIGS, WEBHOOKS, path
from activities.kube.reads import serves_kind, with_kind
from activities.kube.watch import list_streamed
from activities.kube.watch_events import HasMetadata
from mesh.errors import NotFoundError, PermissionDeniedError
from mesh.istio.injection import Injector, InjectorConfig, ProxyConfig, injection_webhooks, injector_config
from mesh.k8s.kinds import READ_KINDS
from mesh.k8s.objects import ConfigMap, DisruptionBudget, Metadata, Namespace, Pod, WebhookConfiguration, Workload
from mesh.k8s.owners import by_uid, missing_kinds
from mesh.k8s.raw_spec import RawObject, pod_with_raw_spec, workload_with_raw_spec
from mesh.survey.interning import Interner
from mesh.survey.reasons import unexplained
from mesh.survey.snapshot import ClusterSnapshot
from mesh.text import one_line
from mesh.wellknown import ISTIO_NAMESPACE

T = TypeVar("T", bound=HasMetadata)
K = TypeVar("K")
M = TypeVar("M")

_INJECTOR_MAP = "istio-sidecar-injector"
_MESH_MAP = "istio"
#: Namespaces asked at once where the whole cluster may not be read.
_AT_ONCE = 16
#: Kinds of owners read at the same time, beside the Pods: every stream has buffers of its own.
_KINDS_AT_ONCE = 2
#: Of more namespaces the events are read in one go.
_EVENT_NAMESPACES = 10


class _Event(msgspec.Struct, frozen=True, rename="camel"):
    """A Kubernetes Event, as far as it explains a Pod."""

    involved_object: Metadata = Metadata()
    reason: str = ""
    message: str = ""
    last_timestamp: datetime | None = None
    event_time: datetime | None = None

    @property
    def moment(self) -> datetime:
        """When it was last seen."""
        return self.last_timestamp or self.event_time or datetime.min.replace(tzinfo=UTC)


async def read_snapshot(cluster: ClusterClient, namespaces: Sequence[str] = ()) -> ClusterSnapshot:
    """Everything that a survey needs.

    The injector is read first: it decides how much of the others is kept. Kinds of which a Pod's owner was not found
    are read once more after the Pods: the newer side may only know more than the older one asks for.

    Raises:
        PermissionDeniedError: no Pod at all may be read.
    """
    return await _Reading(cluster, namespaces).world()


async def read_injector(cluster: ClusterClient) -> Injector:
    """Webhooks, ConfigMaps and ProxyConfigs of every revision, as they are now.

    Raises:
        PermissionDeniedError: some of it may not be read.
    """
    injector, problems = await _readable_injector(cluster)
    if problems:
        raise PermissionDeniedError(" ".join(problems), "Grant the rights, see deploy/rbac.yaml.")
    return injector


async def _readable_injector(cluster: ClusterClient) -> tuple[Injector, list[str]]:
    """Whatever of it may be read: without its webhooks nothing is certain, without the rest only some things."""
    problems: list[str] = []

    async def read(what: str, where: str, kind: type[M]) -> list[M] | None:
        try:
            return (await cluster.list_all(where, kind))[0]
        except NotFoundError:
            return []  # no Istio, or none of its kinds
        except PermissionDeniedError as error:
            problems.append(f"{what} may not be read: {error.message}")
            return None

    hooks, maps, proxies = await asyncio.gather(
        read("Injection webhooks", WEBHOOKS, WebhookConfiguration),
        read("Injector ConfigMaps", path("ConfigMap", ISTIO_NAMESPACE), ConfigMap),
        read("ProxyConfigs", PROXY_CONFIGS, ProxyConfig),
    )
    injector = Injector(
        injection_webhooks(hooks or ()),
        _configs(maps or ()),
        None if proxies is None else tuple(proxies),
        "injection webhooks may not be read" if hooks is None else None,
    )
    return injector, problems


def _configs(maps: Iterable[ConfigMap]) -> dict[str, InjectorConfig]:
    by_name = {one.metadata.name: one for one in maps}
    found = [
        injector_config(one, by_name.get(_MESH_MAP + name.removeprefix(_INJECTOR_MAP)))
        for name, one in by_name.items()
        if name.startswith(_INJECTOR_MAP)
    ]
    return {one.revision: one for one in found}


class _Reading:
    """A reading on its way, and what it was not allowed to see."""

    def __init__(self, cluster: ClusterClient, namespaces: Sequence[str]) -> None:
        self._cluster = cluster
        self._scopes: Sequence[str | None] = list(namespaces) or [None]
        self._taken_at = datetime.now(UTC)
        self._pool = Interner(self._taken_at)
        self._problems: list[str] = []
        self._unread: set[str] = set()
        #: Whether Pod specs are kept as they are, for injection templates that may read any field.
        self._whole = False

    async def world(self) -> ClusterSnapshot:
        injector, problems = await _readable_injector(self._cluster)
        self._whole = injector.edited
        # The Pods come as fast as the API server writes them, on one of its cores: the owners cost no further time.
        (pods, version), owners = await asyncio.gather(self._pods(), self._owners(READ_KINDS))
        if not pods and "Pod" in self._unread:
            problem = next(one for one in self._problems if one.startswith("Pod"))
            raise PermissionDeniedError(problem, "Grant it, or name namespaces that may be read with -n.")
        self._problems += problems
        await self._complete(pods, owners)
        spaces, budgets, told = await asyncio.gather(
            self._namespaces(),
            self._everywhere("PodDisruptionBudget", DisruptionBudget, lambda one: one),
            self._told(pods),
        )
        if spaces is None:
            injector = Injector(problem="namespaces may not be read")
        return ClusterSnapshot(
            taken_at=self._taken_at,
            resource_version=version,
            namespaces=spaces or {},
            pods=tuple(pods),
            owners=by_uid(owners.values()),
            injector=injector,
            budgets=tuple(budgets[0]),
            told=told,
            problems=tuple(self._problems),
            unread=frozenset(self._unread),
        )

    async def _everywhere(self, kind: str, form: type[T], keep: Callable[[T], K]) -> tuple[list[K], str]:
        """Everything of a kind in the scopes; where not all namespaces may be read together, one by one."""
        found: list[K] = []
        version, denied = "", []
        for scope in self._scopes:
            try:
                some, version = await list_streamed(self._cluster, path(kind, scope), form, keep)
                found += some
            except PermissionDeniedError as error:
                denied.append((scope, error))
        if denied and denied[0][0] is None:
            found, version, denied = await self._one_by_one(kind, form, keep, denied[0][1])
        if denied:
            names = ", ".join(sorted(str(scope) for scope, _ in denied if scope is not None))
            where = f" in {one_line(names)}" if names else ""
            self._problems.append(f"{kind.partition('.')[0]}s may not be read{where}: {denied[0][1].message}")
            self._unread.add(kind)
        return found, version

    async def _one_by_one(
        self, kind: str, form: type[T], keep: Callable[[T], K], error: PermissionDeniedError
    ) -> tuple[list[K], str, list[tuple[str | None, PermissionDeniedError]]]:
        try:
            spaces, _ = await self._cluster.list_all(NAMESPACES, Namespace)
        except PermissionDeniedError:
            return [], "", [(None, error)]

        async def one(name: str) -> tuple[list[K], str] | PermissionDeniedError:
            try:
                return await list_streamed(self._cluster, path(kind, name), form, keep)
            except PermissionDeniedError as denied:
                return denied

        names = [one.metadata.name for one in spaces]
        answers = await gather_limited(_AT_ONCE, names, one)
        read = [answer for answer in answers if not isinstance(answer, PermissionDeniedError)]
        refused = [
            (name, answer)
            for name, answer in zip(names, answers, strict=True)
            if isinstance(answer, PermissionDeniedError)
        ]
        version = read[-1][1] if read else ""
        return [kept for some, _ in read for kept in some], version, [*refused] if read else [(None, error)]

    async def _complete(self, pods: Sequence[Pod], owners: dict[str, Workload]) -> None:
        """Reads once more what was made while the Pods were read, or is really gone; then what is above it."""
        again: set[str] = set()
        while later := missing_kinds(pods, owners) - self._unread - again:
            again |= later
            owners |= await self._owners(sorted(later))

    async def _owners(self, kinds: Iterable[str]) -> dict[str, Workload]:
        """By UID."""
        groups = await gather_limited(_KINDS_AT_ONCE, kinds, self._workloads)
        return {one.metadata.uid: one for group in groups for one in group}

    async def _pods(self) -> tuple[list[Pod], str]:
        if self._whole:
            return await self._everywhere("Pod", RawObject, lambda one: self._pool.pod(pod_with_raw_spec(one)))
        return await self._everywhere("Pod", Pod, self._pool.pod)

    async def _workloads(self, kind: str) -> list[Workload]:
        if "." in kind and not await serves_kind(self._cluster, kind):
            return []  # a custom resource that this cluster does not have
        keep = self._pool.workload
        if self._whole:
            found, _ = await self._everywhere(kind, RawObject, lambda one: keep(workload_with_raw_spec(one, kind)))
        else:
            found, _ = await self._everywhere(kind, Workload, lambda one: keep(with_kind(one, kind)))
        return found

    async def _namespaces(self) -> Mapping[str, Namespace] | None:
        """None where they may not be read."""
        try:
            if self._scopes == [None]:
                found, _ = await self._cluster.list_all(NAMESPACES, Namespace)
            else:
                named = (self._cluster.find(f"{NAMESPACES}/{scope}", Namespace) for scope in self._scopes)
                found = [one for one in await asyncio.gather(*named) if one is not None]
        except PermissionDeniedError as error:
            self._problems.append(f"Namespaces may not be read: {error.message}")
            return None
        return {one.metadata.name: one for one in found}

    async def _told(self, pods: Iterable[Pod]) -> Mapping[str, str]:
        """The last warnings about Pods whose own status says little; none where events may not be read."""
        asked = {pod.metadata.uid: pod.metadata.namespace for pod in pods if unexplained(pod, self._taken_at)}
        places: list[str | None] = [*sorted(set(asked.values()))]
        if len(places) > _EVENT_NAMESPACES:
            places = [None]
        last: dict[str, _Event] = {}

        def keep(event: _Event) -> None:
            uid = event.involved_object.uid
            if uid in asked and (uid not in last or event.moment >= last[uid].moment):
                last[uid] = event

        for place in places:
            params = {"fieldSelector": "type=Warning,involvedObject.kind=Pod"}
            try:
                # In pages: API servers keep no cache of events to stream from.
                await self._cluster.list_transformed(path("Event", place), _Event, keep, params)
            except PermissionDeniedError:
                # They only add words to what is told anyway.
                break
        return {uid: one_line(f"{event.reason}: {event.message}") for uid, event in last.items()}
