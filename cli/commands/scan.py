"""`kyma-upgrade scan`: every Pod in exactly one class, without Temporal."""

from __future__ import annotations

import click

from cli.interruption import run
from cli.options import Option, cluster_options, output_option, settings_from

#: As mesh.survey.pod_class.PodClass, repeated so that --help needs no import (a test compares them).
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
#: As cli.render.scan_document.DRIFTED: differs beyond the image, in resources, revision, CNI mode or status.
DRIFTED = "drifted"


@click.command()
@click.option(
    "-n",
    "--in-namespace",
    "namespaces",
    multiple=True,
    metavar="NS",
    help="Read only this Kubernetes namespace. Repeatable.",
)
@click.option(
    "-c",
    "--class",
    "classes",
    multiple=True,
    metavar="CLASS",
    type=click.Choice((*CLASSES, DRIFTED)),
    help=f"List only workloads of this class: {', '.join(CLASSES)}, {DRIFTED}. Repeatable.",
)
@click.option("--target", metavar="VERSION", help="Also show what this Istio version would change.")
@output_option("name")
@cluster_options
def scan(
    namespaces: tuple[str, ...], classes: tuple[str, ...], target: str | None, output: str | None, **options: Option
) -> int:
    """Show the class of every workload. Changes nothing.

    Reads the cluster only, and needs no Temporal server.
    """
    from cli.actions.scan_cluster import scan_cluster

    return run(scan_cluster(settings_from(options), namespaces, classes, target, output))
