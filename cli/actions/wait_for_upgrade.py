"""Waits for the cluster's upgrade and prints how it ended, or why it needs an operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.render.output import emit, say
from cli.render.status_table import status_table
from cli.temporal.follow_upgrade import WaitOptions, follow
from cli.temporal.session import connect_temporal
from mesh.reporting.document import counted_noun
from worker.settings import Settings

__all__ = ["WaitOptions", "attach_again", "print_outcome", "wait_for_upgrade"]


async def wait_for_upgrade(settings: Settings, cluster: str, output: str | None, options: WaitOptions) -> int:
    """Waits, prints the last status, and returns the exit code."""
    client = await connect_temporal(settings)
    upgrade, code = await follow(client, cluster, options)
    print_outcome(upgrade.document, output)
    return code


def attach_again(cluster: str) -> str:
    """Returns the message of an interrupted wait."""
    return f"Interrupted; the upgrade goes on. Attach again: kyma-upgrade wait --cluster {cluster}"


def print_outcome(document: Mapping[str, Any], output: str | None) -> None:
    """Prints the last status on stdout, and the next step on stderr."""
    emit(document, output, lambda: status_table(document))
    if document.get("failure"):
        say(f"Error: {document['failure']}")
    if document["needsAttention"]:
        say(f"The upgrade waits for an operator: {document['needsAttention']}")
        say(document["nextStep"] or "")
    elif document["items"]["open"]:
        items = counted_noun(document["items"]["open"], "item")
        say(f"{items} open. List them: kyma-upgrade queue list --cluster {document['cluster']}")
