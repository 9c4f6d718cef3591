"""`kyma-upgrade scan`: every Pod in exactly one class, without Temporal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from cli.exit_codes import DONE
from cli.options import Option, cluster_options, output_option, settings_from
from cli.render.output import emit, fitted, say

if TYPE_CHECKING:
    from activities.kube.client import ClusterClient
    from activities.kube.istiods import Istiod
    from worker.settings import Settings

#: As mesh.survey.pod_class.PodClass, spelled out so that --help needs no import (a test compares them).
CLASSES = (
    "terminating",
    "finished",
    "ambient",
    "gateway",
    "uninjected",
    "missing",
    "orphaned",
    "pinned",
    "current",
    "unknown",
    "stale",
    "excluded",
)
#: As cli.render.documents.DRIFTED: differs beyond the image, in resources, revision, CNI mode or status.
DRIFTED = "drifted"

#: Characters of a digest that tell it from others, as container engines show it: `sha256:` and twelve digits.
_DIGEST = 19

#: kubectl's own short names.
_SHORT = {
    "Deployment": "deploy",
    "StatefulSet": "sts",
    "DaemonSet": "ds",
    "ReplicaSet": "rs",
    "ReplicationController": "rc",
    "CronJob": "cj",
    "Job": "job",
    "Pod": "pod",
}


@click.command()
@cluster_options
@click.option("-n", "--in-namespace", "namespaces", multiple=True, metavar="NS", help="Read only this namespace.")
@click.option(
    "-c", "--class", "classes", multiple=True, type=click.Choice((*CLASSES, DRIFTED)), help="List only this class."
)
@click.option("--target", metavar="VERSION", help="Also tell what this Istio version would change.")
@output_option("name")
def scan(
    namespaces: tuple[str, ...], classes: tuple[str, ...], target: str | None, output: str | None, **options: Option
) -> int:
    """Read the cluster and tell the class of every workload's proxies. Changes nothing, needs no Temporal."""
    from cli.temporal.session import run

    return run(_scan(settings_from(options), namespaces, classes, target, output))


async def _scan(
    settings: Settings, namespaces: Sequence[str], classes: tuple[str, ...], target: str | None, output: str | None
) -> int:
    from activities.survey.run import run_partial_survey
    from cli.render.documents import ScanFilter, control_plane_document, scan_document
    from mesh.istio.versions import required_version
    from worker.cluster_connection import compose_view

    version = required_version(target, "--target") if target else None
    async with compose_view(settings.cluster) as (cluster, cluster_name):
        survey, world = await run_partial_survey(cluster, namespaces)
        istiods, problem = await _istiods(cluster)
    problems = [*world.problems, *survey.notes, *([problem] if problem else [])]
    for told in problems:
        say(told)
    for name in namespaces:
        if name not in world.namespaces and not world.problems:
            say(f"There is no namespace {name}.")
    plane = control_plane_document(istiods, world.injector)
    document = scan_document(cluster_name, survey, plane, version, ScanFilter(classes))
    document["problems"] = problems
    if output == "name":
        for one in document["workloads"]:
            click.echo(f"{one['kind']}/{one['namespace']}/{one['name']}")
    else:
        emit(document, output, lambda: scan_table(document))
    return DONE


async def _istiods(cluster: ClusterClient) -> tuple[list[Istiod], str | None]:
    """The control planes, and the sentence why none is shown."""
    from activities.kube.istiods import read_istiods
    from mesh.errors import PermissionDeniedError

    try:
        found = await read_istiods(cluster)
    except PermissionDeniedError as error:
        return [], f"The control plane cannot be read: {error.message}"
    return found, None if found else "There is no istiod in istio-system."


def scan_table(document: Mapping[str, Any]) -> str:
    """The document for people: control plane, totals, and a line per workload with versions instead of images."""
    totals = document["totals"]
    classes = ", ".join(f"{count} {name}" for name, count in totals["classes"].items() if count)
    lines = [f"Cluster {document['cluster']} at {document['takenAt']}"]
    for plane in document["controlPlane"]:
        tags = f" (tags {', '.join(plane['tags'])})" if plane["tags"] else ""
        ready = "ready" if plane["ready"] else "NOT ready"
        lines.append(f"Control plane {plane['revision']}{tags}: Istio {plane['version']}, {ready}")
    lines.append(f"{totals['pods']} Pods of {totals['workloads']} workloads: {classes or 'none'}")
    changes = document.get("targetChanges")
    if changes:
        lines.append(
            f"Istio {document['target']} would change {changes['pods']} Pods of {changes['workloads']} workloads"
        )
    rows = []
    for one in document["workloads"]:
        moves = proxy_text(one["proxies"], one["expectedProxy"])
        then = one["reason"] or (one["action"] if one["action"] != "none" else "")
        if not then and one["drift"]:
            then = f"differs in {', '.join(one['drift'])}"
        name = f"{one['namespace']}/{_SHORT.get(one['kind'], one['kind'])}/{one['name']}"
        rows.append([one["class"], one["pods"], moves, f"{name}: {then}" if then else name])
    # The names come last: they are the longest, and a line of 80 columns holds nearly all of them whole.
    table = fitted(["CLASS", "PODS", "PROXY", "WORKLOAD"], rows) if rows else "No workloads."
    return "\n".join([*lines, "", table])


def proxy_text(images: Iterable[str], expected: str | None) -> str:
    """`1.29.3 > 1.30.2`: what runs and what ought to. Versions, or whole tags where versions tell no difference."""
    from mesh.istio.images import parse_image
    from mesh.survey.pod_class import version_text

    def words(image: str, *, whole: bool) -> str:
        parsed = parse_image(image)
        tag = parsed.tag or parsed.digest[:_DIGEST] or "?"
        return tag if whole else version_text(image) or tag

    live = set(images)
    if expected is None or live == {expected}:
        return ",".join(sorted({words(one, whole=False) for one in live})) or "-"
    whole = {words(one, whole=False) for one in live} == {words(expected, whole=False)}
    before = ",".join(sorted({words(one, whole=whole) for one in live})) or "none"
    return f"{before} > {words(expected, whole=whole)}"
