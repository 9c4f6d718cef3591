"""One survey: read the cluster, ask its injector, put it together. Used by the workflow, by restarts and by `scan`."""

from __future__ import annotations

from collections.abc import Sequence

from activities.injector import ask_all
from activities.kube.client import Cluster
from activities.kube.reading import read_world
from mesh.survey import NO_ATTEMPT, Attempt, Survey, World, assemble, questions


async def take_survey(
    cluster: Cluster, namespaces: Sequence[str] = (), attempt: Attempt = NO_ATTEMPT
) -> tuple[Survey, World]:
    """The survey of all namespaces, or of some, with the reading it was made from."""
    world = await read_world(cluster, namespaces)
    answers = await ask_all(cluster, world.injector, questions(world))
    return assemble(world, answers, attempt), world
