"""Prints the status of the cluster's upgrade."""

from __future__ import annotations

from cli.cluster_name import cluster_name_from
from cli.exit_codes import DONE, FAILED
from cli.render.output import emit, say
from cli.render.status_table import status_table
from cli.temporal.links import workflow_link
from cli.temporal.session import connect_temporal
from cli.temporal.upgrade_status import find_upgrade
from worker.settings import Settings


async def show_status(settings: Settings, output: str | None) -> int:
    """Prints the running upgrade, or the latest one."""
    name = cluster_name_from(settings.cluster)
    client = await connect_temporal(settings)
    upgrade = await find_upgrade(client, name)
    if upgrade is None:
        say(f"There is no upgrade of cluster {name} in Temporal namespace {client.namespace}.")
        say("Start one: kyma-upgrade start --to …, or check --cluster.")
        return FAILED
    document = upgrade.document
    link = workflow_link(settings.temporal.ui, client.namespace, document["workflowId"], document["runId"])
    emit(document, output, lambda: status_table(document, link))
    return DONE
