"""Surveys for many who ask at the same time: one reading serves everybody who asked before it began."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from activities.kube.client import ClusterClient
from activities.survey.run import run_survey
from mesh.k8s.workload_ref import WorkloadRef
from mesh.survey.snapshot import UpgradeContext
from mesh.survey.survey import SurveyedWorkload

#: Of more namespaces the whole cluster is read in one go.
_NAMESPACES = 5
#: What was read is kept for this long: for those that may be told of the last minute.
_KEPT_SECONDS = 60.0


class SurveyIndex:
    """What one survey saw, by workload."""

    def __init__(self, began: float, at: datetime, found: dict[WorkloadRef, SurveyedWorkload]) -> None:
        self.began = began
        self.at = at
        self._found = found

    def of(self, workload: WorkloadRef) -> SurveyedWorkload | None:
        """None for a workload without Pods."""
        return self._found.get(workload)


class SurveyCache:
    """Judges as an upgrade that begins now would, so that gateways that their owner did not roll are told too."""

    def __init__(self, cluster: ClusterClient) -> None:
        self._cluster = cluster
        self._lock = asyncio.Lock()
        self._asked: set[str] = set()
        #: By namespace; the empty name stands for all of them.
        self._known: dict[str, SurveyIndex] = {}

    async def of(self, namespace: str, max_age: float = 0.0) -> SurveyIndex:
        """What a survey saw of a namespace that began at most so many seconds before now.

        Raises:
            PermissionDeniedError: a part cannot be read.
        """
        since = time.monotonic() - max_age
        self._asked.add(namespace)
        async with self._lock:
            known = self._newest(namespace)
            if known is None or known.began < since:
                # Who read before may have failed, and then took all that was asked along.
                self._asked.add(namespace)
                known = await self._read()
            self._asked.discard(namespace)
            return known

    def _newest(self, namespace: str) -> SurveyIndex | None:
        found = [one for name in (namespace, "") if (one := self._known.get(name)) is not None]
        return max(found, key=lambda one: one.began, default=None)

    async def _read(self) -> SurveyIndex:
        """Reads for all who have asked by now, if they are not too many namespaces."""
        names = sorted(self._asked) if len(self._asked) <= _NAMESPACES else []
        self._asked.clear()
        began, now = time.monotonic(), datetime.now(UTC)
        survey = await run_survey(self._cluster, names, UpgradeContext(mark=now))
        found = SurveyIndex(began, now, {one.ref: one for one in survey.workloads})
        if not names:
            self._known.clear()
        self._known |= dict.fromkeys(names or [""], found)
        asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._forget, found)
        return found

    def _forget(self, records: SurveyIndex) -> None:
        self._known = {name: one for name, one in self._known.items() if one is not records}
