"""One survey: read the cluster, ask its injector, put it together. Used by the workflow, by restarts and by `scan`."""

from __future__ import annotations

from collections.abc import Sequence

from activities.istiod.injector import ask_injector
from activities.istiod.proxy_status import read_connected_proxies
from activities.kube.client import ClusterClient
from activities.kube.snapshot import read_snapshot
from mesh.errors import PermissionDeniedError
from mesh.istio.proxy_status import NOBODY
from mesh.survey.builder import SurveyBuilder
from mesh.survey.snapshot import NO_UPGRADE, ClusterSnapshot, UpgradeContext
from mesh.survey.survey import Survey


async def run_survey(
    cluster: ClusterClient, namespaces: Sequence[str] = (), attempt: UpgradeContext = NO_UPGRADE
) -> Survey:
    """The survey of all namespaces, or of some, to act on: PermissionDeniedError where a part could not be read."""
    survey, world = await look(cluster, namespaces, attempt)
    if world.problems:
        raise PermissionDeniedError(" ".join(world.problems), "Grant the rights, see deploy/rbac.yaml.")
    return survey


async def look(
    cluster: ClusterClient, namespaces: Sequence[str] = (), attempt: UpgradeContext = NO_UPGRADE
) -> tuple[Survey, ClusterSnapshot]:
    """The survey of what may be read, with the reading it was made from, which tells what may not."""
    world = await read_snapshot(cluster, namespaces)
    assembly = SurveyBuilder(world)
    answers = await ask_injector(cluster, world.injector, assembly.queries)
    # Most images carry a version, and then istiods need not be asked.
    connected = await read_connected_proxies(cluster) if assembly.needs_proxy_versions(answers) else NOBODY
    return assembly.survey(answers, attempt, connected), world
