"""Surveys the cluster and prints the class of every workload."""

from __future__ import annotations

from collections.abc import Sequence

import click

from activities.kube.client import ClusterClient
from activities.kube.istiods import Istiod, read_istiods
from activities.survey.run import run_partial_survey
from cli.exit_codes import DONE
from cli.render.output import emit, say
from cli.render.scan_document import ScanFilter, control_plane_document, scan_document
from cli.render.scan_table import scan_table
from mesh.errors import PermissionDeniedError
from mesh.istio.versions import required_version
from worker.cluster_connection import compose_reader
from worker.settings import Settings


async def scan_cluster(
    settings: Settings, namespaces: Sequence[str], classes: tuple[str, ...], target: str | None, output: str | None
) -> int:
    """Prints the survey; what could not be read is said on stderr and is in `problems` of the document."""
    version = required_version(target, "--target") if target else None
    async with compose_reader(settings.cluster) as (cluster, cluster_name):
        survey, snapshot = await run_partial_survey(cluster, namespaces)
        istiods, problem = await _istiods(cluster)
    problems = [*snapshot.problems, *survey.notes, *([problem] if problem else [])]
    for sentence in problems:
        say(sentence)
    for name in namespaces:
        if name not in snapshot.namespaces and not snapshot.problems:
            say(f"There is no namespace {name}.")
    control_plane = control_plane_document(istiods, snapshot.injector)
    document = scan_document(cluster_name, survey, control_plane, version, ScanFilter(classes))
    document["problems"] = problems
    if output == "name":
        for workload in document["workloads"]:
            click.echo(f"{workload['kind']}/{workload['namespace']}/{workload['name']}")
    else:
        emit(document, output, lambda: scan_table(document))
    return DONE


async def _istiods(cluster: ClusterClient) -> tuple[list[Istiod], str | None]:
    """Returns the control planes, and a sentence if there are none to show."""
    try:
        istiods = await read_istiods(cluster)
    except PermissionDeniedError as error:
        return [], f"The control plane cannot be read: {error.message}"
    return istiods, None if istiods else "There is no istiod in istio-system."
