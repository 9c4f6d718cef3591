"""Keeps a reading of the cluster while it is fresh, so that callers of one moment judge from the same one.

What is kept does not depend on a caller; each judges it for a context of its own (docs/adr/0014).
"""

from __future__ import annotations

import asyncio
import time
import weakref
from dataclasses import dataclass
from datetime import datetime, timedelta

from activities.kube.client import ClusterClient
from activities.survey.run import ClusterReading, read_cluster
from mesh.k8s.workload_ref import WorkloadRef
from mesh.survey.snapshot import UpgradeContext
from mesh.survey.survey import Survey, SurveyedWorkload

#: A reading serves for this long after it began. Members of a wave wait longer than that for their turn, and before its
#: write each restart checks again whether the workload is stale, excluded or unreachable for a restart, whether it
#: would be injected, and whether its last rollout failed. It does not check again whether enough Pods are Ready.
MAX_AGE_SECONDS = 60.0
#: A reading that took longer than that is kept for those that already wait for it.
_HANDED_OVER_SECONDS = 1.0
#: Of more namespaces than this the whole cluster is read at once.
_MOST_NAMESPACES = 5
#: Stands for all namespaces together.
_ALL = ""


class CachedReading:
    """A reading of the cluster, or of some namespaces, as it is shared by callers.

    `began` is a monotonic time in seconds, `taken_at` the same moment by the clock.
    """

    def __init__(self, began: float, reading: ClusterReading) -> None:
        self.began = began
        self.taken_at = reading.snapshot.taken_at
        self._reading = reading
        self._queue_index: dict[WorkloadRef, SurveyedWorkload] | None = None

    @property
    def now(self) -> datetime:
        """The time now, by the clock of `taken_at`."""
        return self.taken_at + timedelta(seconds=time.monotonic() - self.began)

    def survey(self, context: UpgradeContext, namespace: str | None = None) -> Survey:
        """Judges the reading for a caller's context; with `namespace`, that namespace alone."""
        return self._reading.survey(context, namespace)

    def workload(self, ref: WorkloadRef) -> SurveyedWorkload | None:
        """Returns a workload as the remediation queue judges it; None for one without Pods.

        It is judged as by an upgrade that begins with the reading, so that gateways that their owner did not roll
        are found too. Thousands of items ask: the reading is judged once for all of them.
        """
        if self._queue_index is None:
            survey = self.survey(UpgradeContext(mark=self.taken_at))
            self._queue_index = {workload.ref: workload for workload in survey.workloads}
        return self._queue_index.get(ref)


@dataclass(frozen=True, slots=True)
class _Freshness:
    """What a caller asks of a reading: the earliest monotonic time and the earliest clock time of its begin."""

    began_after: float
    read_after: datetime | None = None

    def met_by(self, reading: CachedReading) -> bool:
        by_clock = self.read_after is None or reading.taken_at >= self.read_after
        return by_clock and reading.began >= self.began_after


class SurveyCache:
    """Reads the cluster for all callers of a worker. A reading serves everyone who asked before it began."""

    def __init__(self, cluster: ClusterClient) -> None:
        self._cluster = cluster
        # Two locks: an operator who waits for one namespace does not wait for a reading of a large cluster.
        self._cluster_lock = asyncio.Lock()
        self._namespaces_lock = asyncio.Lock()
        #: Namespaces of the next reading. A reading begins a new set; its callers keep the old one, to know its size.
        self._asked: set[str] = set()
        self._known: dict[str, CachedReading] = {}

    @property
    def kept(self) -> int:
        """The number of readings in memory."""
        return len(set(self._known.values()))

    async def get(
        self, namespace: str = _ALL, *, max_age: float = 0.0, read_after: datetime | None = None
    ) -> CachedReading:
        """Returns a reading of a namespace, or of the whole cluster.

        It began at most `max_age` seconds ago, and not before `read_after`. Without an age it begins after the call.

        Raises:
            PermissionDeniedError: a part cannot be read.
        """
        freshness = _Freshness(time.monotonic() - max_age, read_after)
        if namespace == _ALL:
            return await self._get_cluster(freshness)
        reading = await self._get_namespace(namespace, freshness)
        # Outside of the lock for namespaces: callers of a few do not wait for the cluster.
        return reading or await self._get_cluster(freshness)

    async def _get_namespace(self, namespace: str, freshness: _Freshness) -> CachedReading | None:
        """Returns a reading of a namespace, None where the callers that wait need a reading of the cluster."""
        asked = self._asked
        asked.add(namespace)
        async with self._namespaces_lock:
            reading = self._newest(namespace, freshness)
            if reading is not None:
                self._asked.discard(namespace)
                return reading
            if len(asked) <= _MOST_NAMESPACES:
                # A reading of the caller's own set may have failed: then the caller is in the next one.
                asked = self._asked
                asked.add(namespace)
            if asked is self._asked:
                self._asked = set()
            return await self._read(tuple(sorted(asked))) if len(asked) <= _MOST_NAMESPACES else None

    async def _get_cluster(self, freshness: _Freshness) -> CachedReading:
        async with self._cluster_lock:
            reading = self._newest(_ALL, freshness)
            if reading is None:
                # Two snapshots of a large cluster at the same time would be twice the memory.
                self._known.clear()
                reading = await self._read(())
            return reading

    async def _read(self, namespaces: tuple[str, ...]) -> CachedReading:
        began = time.monotonic()
        reading = CachedReading(began, await read_cluster(self._cluster, namespaces))
        self._known |= dict.fromkeys(namespaces or (_ALL,), reading)
        left = max(began + MAX_AGE_SECONDS - time.monotonic(), _HANDED_OVER_SECONDS)
        # The timer must not keep a reading that is replaced before.
        asyncio.get_running_loop().call_later(left, self._drop, weakref.ref(reading))
        return reading

    def _newest(self, namespace: str, freshness: _Freshness) -> CachedReading | None:
        readings = (self._known.get(name) for name in (namespace, _ALL))
        known = [reading for reading in readings if reading is not None and freshness.met_by(reading)]
        return max(known, key=lambda reading: reading.began, default=None)

    def _drop(self, dropped: weakref.ref[CachedReading]) -> None:
        self._known = {name: reading for name, reading in self._known.items() if reading is not dropped()}
