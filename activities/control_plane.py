"""The control plane by Kyma's module management: what is there, what would be refused, change, wait."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity

from activities.boundary import ServedCluster, heartbeating, translating_errors
from activities.kube.client import JSON_PATCH, ClusterClient
from activities.kube.kyma import read_catalogue, read_control_plane
from activities.kube.paths import path
from mesh.errors import ChangedMeanwhileError, NotFoundError, RefusedError, UpgradeError
from mesh.identity import ClusterRef
from mesh.kyma.readiness import Readiness, check_readiness
from mesh.kyma.resources import MODULE, Kyma
from mesh.kyma.targets import Target, reachable, refusal, resolve
from mesh.wellknown import KYMA_NAMESPACE

_POLL_SECONDS = 1.0
#: Ready flickers and a module's version runs ahead of its state: the check must hold this often in a row.
_SETTLED_AFTER = 4
#: Kyma's own retries settle many troubles; one that stays this long is told.
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ResolveTargetInput:
    """`to` as the user typed it."""

    cluster: ClusterRef
    to: str


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """What `to` means here, and whether the control plane is there already."""

    target: Target
    installed: str | None
    already_installed: bool


@dataclass(frozen=True, slots=True)
class ApplyTargetInput:
    """Move the control plane to this target."""

    cluster: ClusterRef
    target: Target


@dataclass(frozen=True, slots=True)
class AwaitControlPlaneInput:
    """Wait for this target; give up after a time without any change in what is seen."""

    cluster: ClusterRef
    target: Target
    no_progress: timedelta


@dataclass(frozen=True, slots=True)
class AwaitControlPlaneResult:
    """`trouble` is None when the control plane is done; else what to tell an operator."""

    trouble: str | None
    parts: tuple[str, ...]


async def resolve_target(cluster: ClusterClient, to: str) -> ResolvedTarget:
    """Reads the catalogue and resolves; RefusedError for what is unknown or what Kyma would refuse."""
    try:
        catalogue = await read_catalogue(cluster)
    except NotFoundError as error:
        raise RefusedError(
            "This cluster has no Kyma CR kyma-system/default, so the kyma driver cannot upgrade it.",
            "Check --context.",
        ) from error
    target = resolve(to, catalogue)
    refused = refusal(target, catalogue)
    if refused is not None:
        raise RefusedError(f"{target} is refused: {refused}", reachable(catalogue))
    if target.istio is None:
        raise RefusedError(
            f"Nothing in the cluster tells which Istio module {target.module} carries.",
            f"Its ModuleTemplate {MODULE}-{target.module} must name its images.",
        )
    installed = catalogue.istio.installed
    status = catalogue.kyma.module_status
    already_installed = catalogue.kyma.channel == target.channel and status.version == target.module
    return ResolvedTarget(target, str(installed) if installed else None, already_installed)


class ControlPlaneActivities:
    """Activities of the kyma driver."""

    def __init__(self, served: ServedCluster) -> None:
        self._served = served

    @activity.defn
    @heartbeating
    async def resolve_target(self, ask: ResolveTargetInput) -> ResolvedTarget:
        """What the user's word means in this cluster; refused before anything is touched."""
        return await resolve_target(self._served.connection_for(ask.cluster), ask.to)

    @activity.defn
    @heartbeating
    async def apply_target(self, ask: ApplyTargetInput) -> bool:
        """Sets the channel of module istio in the Kyma CR; False when it was set already."""
        cluster = self._served.connection_for(ask.cluster)
        location = path("Kyma", KYMA_NAMESPACE, "default")
        kyma = await cluster.get(location, Kyma)
        if kyma.module is not None and kyma.channel == ask.target.channel:
            return False
        index = kyma.module_index
        # A merge patch would replace the whole list of modules; the tests make the index safe.
        patch = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": kyma.metadata.resource_version},
            {"op": "test", "path": f"/spec/modules/{index}/name", "value": MODULE},
            {"op": "add", "path": f"/spec/modules/{index}/channel", "value": ask.target.channel},
        ]
        try:
            await cluster.patch(location, patch, Kyma, JSON_PATCH)
        except UpgradeError as error:
            raise ChangedMeanwhileError(f"The Kyma CR could not be changed: {error.message}") from error
        return True

    @activity.defn
    @translating_errors
    async def await_control_plane(self, ask: AwaitControlPlaneInput) -> AwaitControlPlaneResult:
        """Waits until every part of the check holds, several times in a row."""
        cluster = self._served.connection_for(ask.cluster)
        in_a_row = 0
        last_words, last_change = "", time.monotonic()
        trouble_since: float | None = None
        while True:
            seen = check_readiness(await read_control_plane(cluster), ask.target)
            now = time.monotonic()
            in_a_row = in_a_row + 1 if seen.done else 0
            if in_a_row >= _SETTLED_AFTER:
                return AwaitControlPlaneResult(None, _parts(seen))
            if str(seen) != last_words:
                last_words, last_change = str(seen), now
                activity.logger.info("control_plane_seen", extra={"fields": {"missing": last_words}})
            activity.heartbeat(last_words)
            trouble_since = (trouble_since or now) if seen.trouble else None
            if seen.trouble and trouble_since is not None and now - trouble_since > _PATIENCE_SECONDS:
                return AwaitControlPlaneResult(seen.trouble, _parts(seen))
            if seen.maintenance:
                # Kyma's own window may be days away: waiting for it is no lack of progress.
                last_change = now
            if now - last_change > ask.no_progress.total_seconds():
                return AwaitControlPlaneResult(f"no progress for {ask.no_progress}: {last_words}", _parts(seen))
            await asyncio.sleep(_POLL_SECONDS)


def _parts(seen: Readiness) -> tuple[str, ...]:
    return tuple(f"{'done' if part.done else 'open'}: {part.name}: {part.message}" for part in seen.parts)
