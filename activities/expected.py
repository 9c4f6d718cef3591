"""What one workload's template would get now, cheap enough to be asked at every look at a rollout."""

from __future__ import annotations

import asyncio
import time

from activities.injector import ask_all
from activities.kube.client import Cluster
from activities.kube.reading import read_workload
from activities.kube.world import read_injector
from mesh.asking import Expected, question_of
from mesh.injection import Injector, decide
from mesh.objects import Namespace, Workload

#: A reading of the injector serves every restart for this long.
_FRESH_SECONDS = 5.0


class ExpectedProxies:
    """A short-lived memory of the injector, shared by all restarts of a worker."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = asyncio.Lock()
        self._read_at = -_FRESH_SECONDS
        self._injector = Injector()
        self._answers: dict[str, Expected] = {}
        #: By UID, with the generation whose template it is about.
        self._known: dict[str, tuple[int, Expected]] = {}

    async def of(self, workload: Workload, namespace: Namespace) -> Expected:
        """The proxy that its template would get; no image, and the reason as problem, where it would get none."""
        about = workload.metadata
        async with self._lock:
            if time.monotonic() - self._read_at > _FRESH_SECONDS:
                self._injector = await read_injector(self._cluster)
                self._read_at = time.monotonic()
                self._answers, self._known = {}, {}
            known = self._known.get(about.uid)
            if known is None or known[0] != about.generation:
                known = self._known[about.uid] = (about.generation, await self._ask(workload, namespace))
            return known[1]

    async def _ask(self, workload: Workload, namespace: Namespace) -> Expected:
        about = workload.metadata
        if self._injector.edited:
            # Watches do not keep all that an edited injection template may read.
            workload = await read_workload(self._cluster, workload.kind, about.namespace, about.name)
        template = workload.template
        if template is None:
            return Expected(None, None, "it has no Pod template")
        decision = decide(self._injector, about.namespace, namespace.metadata.labels or {}, template)
        if not decision.injected:
            return Expected(None, None, decision.problem or decision.reason)
        question = question_of(self._injector, about.namespace, decision, template)
        if question.key not in self._answers:
            self._answers |= await ask_all(self._cluster, self._injector, [question])
        return self._answers[question.key]
