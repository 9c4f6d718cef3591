"""Upgrades the control plane by Kyma's module management: resolves the target, sets the channel, waits."""

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
from mesh.kyma.targets import Target, reachable, resolve, target_refusal
from mesh.wellknown import KYMA_NAMESPACE

_POLL_SECONDS = 1.0
#: The check must hold this often in a row: Ready flickers, and a module's version is written before its state.
_CHECKS_IN_A_ROW = 4
#: Trouble that Kyma reports for longer than this ends the wait. Kyma's own retries end most of it earlier.
_TROUBLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ResolveTargetInput:
    """`to` is a channel, a module version or an Istio version, as the user typed it."""

    cluster: ClusterRef
    to: str


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """The target in this cluster, the Istio version that is installed, and whether it is the target's already."""

    target: Target
    installed: str | None
    already_installed: bool


@dataclass(frozen=True, slots=True)
class ApplyTargetInput:
    """The target that the control plane is upgraded to."""

    cluster: ClusterRef
    target: Target


@dataclass(frozen=True, slots=True)
class AwaitControlPlaneInput:
    """The target to wait for. The wait ends after `no_progress` without any change of the control plane."""

    cluster: ClusterRef
    target: Target
    no_progress: timedelta


@dataclass(frozen=True, slots=True)
class AwaitControlPlaneResult:
    """The parts of the check. `trouble` is why the control plane is not upgraded, None when it is."""

    trouble: str | None
    parts: tuple[str, ...]


async def resolve_target(cluster: ClusterClient, to: str) -> ResolvedTarget:
    """Resolves a target by what Kyma's module management offers in the cluster.

    Raises:
        RefusedError: the target is unknown, or Kyma would refuse it.
    """
    try:
        catalogue = await read_catalogue(cluster)
    except NotFoundError as error:
        raise RefusedError(
            "This cluster has no Kyma CR kyma-system/default, so the kyma driver cannot upgrade it.",
            "Check --context.",
        ) from error
    target = resolve(to, catalogue)
    refused = target_refusal(target, catalogue)
    if refused is not None:
        raise RefusedError(f"{target} is refused: {refused}", reachable(catalogue))
    if target.istio is None:
        raise RefusedError(
            f"The cluster does not say which Istio version module {target.module} carries.",
            f"ModuleTemplate {MODULE}-{target.module} must name its images.",
        )
    installed = catalogue.istio.installed
    status = catalogue.kyma.module_status
    already_installed = catalogue.kyma.channel == target.channel and status.version == target.module
    return ResolvedTarget(target, str(installed) if installed else None, already_installed)


class ControlPlaneActivities:
    """Activities of the driver `kyma`."""

    def __init__(self, served: ServedCluster) -> None:
        self._served = served

    @activity.defn
    @heartbeating
    async def resolve_target(self, request: ResolveTargetInput) -> ResolvedTarget:
        """Resolves what the user typed; refuses a target before anything is changed."""
        return await resolve_target(self._served.connection_for(request.cluster), request.to)

    @activity.defn
    @heartbeating
    async def apply_target(self, request: ApplyTargetInput) -> bool:
        """Sets the channel of module istio in the Kyma CR; returns False when it is set already."""
        cluster = self._served.connection_for(request.cluster)
        location = path("Kyma", KYMA_NAMESPACE, "default")
        kyma = await cluster.get(location, Kyma)
        if kyma.module is not None and kyma.channel == request.target.channel:
            return False
        index = kyma.module_index
        # A merge patch would replace the list of modules; the `test` operations make the index safe.
        patch = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": kyma.metadata.resource_version},
            {"op": "test", "path": f"/spec/modules/{index}/name", "value": MODULE},
            {"op": "add", "path": f"/spec/modules/{index}/channel", "value": request.target.channel},
        ]
        try:
            await cluster.patch(location, patch, Kyma, JSON_PATCH)
        except UpgradeError as error:
            raise ChangedMeanwhileError(f"The Kyma CR could not be changed: {error.message}") from error
        return True

    @activity.defn
    @translating_errors
    async def await_control_plane(self, request: AwaitControlPlaneInput) -> AwaitControlPlaneResult:
        """Waits until every part of the check holds several times in a row."""
        cluster = self._served.connection_for(request.cluster)
        in_a_row = 0
        last_message, last_change = "", time.monotonic()
        trouble_since: float | None = None
        while True:
            readiness = check_readiness(await read_control_plane(cluster), request.target)
            now = time.monotonic()
            in_a_row = in_a_row + 1 if readiness.done else 0
            if in_a_row >= _CHECKS_IN_A_ROW:
                return AwaitControlPlaneResult(None, _parts(readiness))
            if str(readiness) != last_message:
                last_message, last_change = str(readiness), now
                activity.logger.info("control_plane_checked", extra={"fields": {"missing": last_message}})
            activity.heartbeat(last_message)
            trouble_since = (trouble_since or now) if readiness.trouble else None
            if readiness.trouble and trouble_since is not None and now - trouble_since > _TROUBLE_SECONDS:
                return AwaitControlPlaneResult(readiness.trouble, _parts(readiness))
            if readiness.maintenance:
                # Kyma's own maintenance window may be days away: the wait for it is no lack of progress.
                last_change = now
            if now - last_change > request.no_progress.total_seconds():
                return AwaitControlPlaneResult(
                    f"no progress for {request.no_progress}: {last_message}", _parts(readiness)
                )
            await asyncio.sleep(_POLL_SECONDS)


def _parts(readiness: Readiness) -> tuple[str, ...]:
    return tuple(f"{'done' if part.done else 'open'}: {part.name}: {part.message}" for part in readiness.parts)
