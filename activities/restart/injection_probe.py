"""Finds out whether new Pods are injected at all: an injector that does not answer is no fault of a workload."""

from __future__ import annotations

import asyncio
import math
import time

from activities.gates import probe_injection
from activities.kube.client import ClusterClient
from mesh.errors import UpgradeError

#: Seconds for which all restarts of a worker share one answer.
_SHARED_SECONDS = 5.0


class InjectorUnavailableError(Exception):
    """New Pods are not injected; the message says why. It never leaves the restart: its outcome is `postponed`."""


class InjectionProbe:
    """Probes injection through the API server, once for all restarts of a worker."""

    def __init__(self, cluster: ClusterClient) -> None:
        self._cluster = cluster
        self._lock = asyncio.Lock()
        self._probed_at = -math.inf
        self._problem: str | None = None

    async def check(self, *, max_age: float = _SHARED_SECONDS) -> None:
        """Probes injection, unless that was done within the last `max_age` seconds.

        Raises:
            InjectorUnavailableError: new Pods are refused, or get no sidecar.
        """
        asked_at = time.monotonic()
        async with self._lock:
            if asked_at - self._probed_at > max_age:
                self._problem = await self._probe()
                self._probed_at = time.monotonic()
        if self._problem is not None:
            raise InjectorUnavailableError(self._problem)

    async def _probe(self) -> str | None:
        try:
            image = await probe_injection(self._cluster)
        except UpgradeError as error:
            return f"a new Pod would be refused: {error.message}"
        return None if image is not None else "a new Pod would get no sidecar"
