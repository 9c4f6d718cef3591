"""One survey: read the cluster, ask its injector, put it together. Used by the workflow, by restarts and by `scan`."""

from __future__ import annotations

from collections.abc import Sequence

from activities.connected import connected_versions
from activities.injector import ask_all
from activities.kube.client import Cluster
from activities.kube.world import read_world
from mesh.connected import NOBODY
from mesh.errors import PermissionDeniedError
from mesh.survey import Assembly, Survey
from mesh.world import NO_ATTEMPT, Attempt, World


async def take_survey(cluster: Cluster, namespaces: Sequence[str] = (), attempt: Attempt = NO_ATTEMPT) -> Survey:
    """The survey of all namespaces, or of some, to act on: PermissionDeniedError where a part could not be read."""
    survey, world = await look(cluster, namespaces, attempt)
    if world.problems:
        raise PermissionDeniedError(" ".join(world.problems), "Grant the rights, see deploy/rbac.yaml.")
    return survey


async def look(cluster: Cluster, namespaces: Sequence[str] = (), attempt: Attempt = NO_ATTEMPT) -> tuple[Survey, World]:
    """The survey of what may be read, with the reading it was made from, which tells what may not."""
    world = await read_world(cluster, namespaces)
    assembly = Assembly(world)
    answers = await ask_all(cluster, world.injector, assembly.questions)
    # Most images carry a version, and then istiods need not be asked.
    connected = await connected_versions(cluster) if assembly.nameless(answers) else NOBODY
    return assembly.survey(answers, attempt, connected), world
