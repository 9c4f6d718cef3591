"""Knows which proxy a workload's template would get now, at a price that each observation of a rollout can pay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from activities.istiod.injector import ask_injector
from activities.kube.client import ClusterClient
from activities.kube.injection_config import read_injector
from activities.kube.workloads import read_workload
from mesh.istio.expected_proxy import ExpectedProxy, injection_query
from mesh.istio.injection import Injector, decide_injection
from mesh.k8s.objects import Namespace, Workload

#: Seconds for which one reading of the injector serves all restarts.
_MAX_AGE_SECONDS = 5.0


class ExpectedProxyCache:
    """Keeps the injector's configuration and answers for a few seconds, for all restarts of a worker."""

    def __init__(self, cluster: ClusterClient) -> None:
        self._cluster = cluster
        self._lock = asyncio.Lock()
        self._read_at = -_MAX_AGE_SECONDS
        self._injector = Injector()
        self._answers: dict[str, ExpectedProxy] = {}
        #: By the workload's UID, with what the answer depends on: its generation, and the labels of its namespace.
        self._known: dict[str, tuple[tuple[int, Mapping[str, str] | None], ExpectedProxy]] = {}

    async def get(self, workload: Workload, namespace: Namespace) -> ExpectedProxy:
        """Returns the proxy that the workload's template would get.

        It has no image where the template would get no proxy, and where that is not known.
        """
        metadata = workload.metadata
        async with self._lock:
            if time.monotonic() - self._read_at > _MAX_AGE_SECONDS:
                self._injector = await read_injector(self._cluster)
                self._read_at = time.monotonic()
                self._answers, self._known = {}, {}
            known, depends_on = self._known.get(metadata.uid), (metadata.generation, namespace.metadata.labels)
            if known is None or known[0] != depends_on:
                began = time.monotonic()
                known = self._known[metadata.uid] = (depends_on, await self._ask(workload, namespace))
                # The timeout of an injector that hangs is waited for once, not by each caller after the other.
                self._read_at += time.monotonic() - began
            return known[1]

    async def _ask(self, workload: Workload, namespace: Namespace) -> ExpectedProxy:
        name = workload.metadata.namespace
        if self._injector.has_edited_templates:
            # An edited injection template may read fields that the informer does not keep.
            workload = await read_workload(self._cluster, workload.ref)
        template = workload.template
        if template is None:
            return ExpectedProxy(None, None, "it has no Pod template")
        decision = decide_injection(self._injector, name, namespace.metadata.labels or {}, template)
        if not decision.injected:
            return ExpectedProxy(None, None, decision.problem, refusal=decision.reason or None)
        query = injection_query(self._injector, name, decision, template)
        if query.key not in self._answers:
            self._answers |= await ask_injector(self._cluster, self._injector, [query])
        return self._answers[query.key]
