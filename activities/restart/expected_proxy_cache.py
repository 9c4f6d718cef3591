"""What one workload's template would get now, cheap enough to be asked at every look at a rollout."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from activities.istiod.injector import ask_injector
from activities.kube.client import ClusterClient
from activities.kube.injection_config import read_injector
from activities.kube.workloads import read_workload
from mesh.istio.expected_proxy import ExpectedProxy, injection_query
from mesh.istio.injection import Injector, decide
from mesh.k8s.objects import Namespace, Workload

#: A reading of the injector serves every restart for this long.
_FRESH_SECONDS = 5.0


class ExpectedProxyCache:
    """A short-lived memory of the injector, shared by all restarts of a worker."""

    def __init__(self, cluster: ClusterClient) -> None:
        self._cluster = cluster
        self._lock = asyncio.Lock()
        self._read_at = -_FRESH_SECONDS
        self._injector = Injector()
        self._answers: dict[str, ExpectedProxy] = {}
        #: By UID, with the generation whose template it is about, and the labels of the namespace.
        self._known: dict[str, tuple[tuple[int, Mapping[str, str] | None], ExpectedProxy]] = {}

    async def of(self, workload: Workload, namespace: Namespace) -> ExpectedProxy:
        """The proxy that its template would get; no image where it would get none, or where that cannot be told."""
        about = workload.metadata
        async with self._lock:
            if time.monotonic() - self._read_at > _FRESH_SECONDS:
                self._injector = await read_injector(self._cluster)
                self._read_at = time.monotonic()
                self._answers, self._known = {}, {}
            known, meant = self._known.get(about.uid), (about.generation, namespace.metadata.labels)
            if known is None or known[0] != meant:
                began = time.monotonic()
                known = self._known[about.uid] = (meant, await self._ask(workload, namespace))
                # An injector that hangs costs its time-out once, and not everybody who waits for it one after another.
                self._read_at += time.monotonic() - began
            return known[1]

    async def _ask(self, workload: Workload, namespace: Namespace) -> ExpectedProxy:
        about = workload.metadata
        if self._injector.edited:
            # Watches do not keep all that an edited injection template may read.
            workload = await read_workload(self._cluster, workload.ref)
        template = workload.template
        if template is None:
            return ExpectedProxy(None, None, "it has no Pod template")
        decision = decide(self._injector, about.namespace, namespace.metadata.labels or {}, template)
        if not decision.injected:
            return ExpectedProxy(None, None, decision.problem, refusal=decision.reason or None)
        question = injection_query(self._injector, about.namespace, decision, template)
        if question.key not in self._answers:
            self._answers |= await ask_injector(self._cluster, self._injector, [question])
        return self._answers[question.key]
