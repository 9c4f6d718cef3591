"""Sends an operator's command to remediation items, and prints what each of them answers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.concurrency import gather_limited
from cli.cluster_name import cluster_name_from
from cli.exit_codes import DONE, FAILED, UNREACHABLE, USAGE
from cli.render.item_document import result_document
from cli.render.item_table import queue_table, result_table
from cli.render.output import emit, say
from cli.temporal.item_search import ItemFilter, find_items, item_identity
from cli.temporal.session import connect_temporal, is_absent
from mesh.errors import RefusedError
from mesh.remediation.item import ItemState, ItemView
from mesh.reporting.document import counted_noun
from mesh.text import rfc3339
from worker.settings import Settings
from workflows.item_commands import ItemCommand, ResolveCommand, SkipCommand, SnoozeCommand, check_command

#: Items that receive the command at the same time.
_CONCURRENCY = 20
_ANSWER_WITHIN = timedelta(seconds=20)
_COMMANDS: dict[str, type[ItemCommand]] = {"resolve": ResolveCommand, "skip": SkipCommand, "snooze": SnoozeCommand}


@dataclass(frozen=True, slots=True)
class Selection:
    """Items by name, or all that match the filter; `confirmed` skips the question whether these are meant."""

    items: tuple[str, ...]
    all: bool
    filter: ItemFilter
    confirmed: bool


def item_command(name: str, who: str, because: str, fields: dict[str, Any]) -> ItemCommand:
    """Returns the command that the items receive.

    Raises:
        RefusedError: every item would refuse it, for example for lack of a reason.
    """
    command = _COMMANDS.get(name, ItemCommand)(who, because, **fields)
    try:
        check_command(command, datetime.now(UTC))
    except ApplicationError as error:
        raise RefusedError(error.message, f"See kyma-upgrade queue {name} --help.") from error
    return command


async def act_on_items(
    settings: Settings, name: str, command: ItemCommand, selection: Selection, output: str | None
) -> int:
    """Sends the command to each selected item; returns the highest exit code of them.

    Raises:
        RefusedError: no items were named, or there is no terminal to ask for a confirmation.
    """
    if bool(selection.items) is selection.all:
        raise RefusedError(
            "Select items by name, or with --all, not both." if selection.all else "No items are selected.",
            "Name items (see kyma-upgrade queue list), or give --all and filters.",
        )
    cluster = cluster_name_from(settings.cluster)
    client = await connect_temporal(settings)
    if selection.all:
        identities = await _confirmed_items(client, cluster, name, selection)
        if identities is None:
            return USAGE
    else:
        identities = [item_identity(item, lambda: cluster) for item in selection.items]
    answers = await gather_limited(_CONCURRENCY, identities, lambda identity: _send(client, identity, name, command))
    results = [
        result_document(identity, message, ok=code == DONE)
        for identity, (code, _, message) in zip(identities, answers, strict=True)
    ]
    labels = [label for _, label, _ in answers]
    emit({"items": results}, output, lambda: result_table(results, labels))
    return max((code for code, _, _ in answers), default=DONE)


async def _confirmed_items(client: Client, cluster: str, name: str, selection: Selection) -> list[str] | None:
    """Returns the items that match the filter, after an operator has seen them; None if the operator says no."""
    items = await find_items(client, cluster, selection.filter)
    number = counted_noun(len(items), "item")
    if items and not selection.confirmed:
        if not sys.stdin.isatty():
            raise RefusedError(f"queue {name} asks for confirmation, and stdin is not a terminal.", "Add --yes.")
        say(queue_table({"items": items}, cluster, datetime.now(UTC)))
        if not click.confirm(f"{name.capitalize()} {number}?", err=True):
            say("Nothing was changed. Narrow the selection with --state, --reason or -n.")
            return None
    if not items:
        say(f"No matching items in cluster {cluster}.")
    return [item["id"] for item in items]


async def _send(client: Client, identity: str, name: str, command: ItemCommand) -> tuple[int, str, str]:
    """Returns the exit code for this item, the result for the table, and its new state or why it refused."""
    try:
        view: ItemView = await client.get_workflow_handle(identity).execute_update(
            name, command, result_type=ItemView, rpc_timeout=_ANSWER_WITHIN
        )
    except WorkflowUpdateFailedError as error:
        return FAILED, "refused", error.cause.message if isinstance(error.cause, ApplicationError) else str(error.cause)
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        message = "No worker answers. The item may handle the command once one runs. Start one: kyma-upgrade worker"
        return UNREACHABLE, "unknown", message
    except RPCError as error:
        if is_absent(error):
            return FAILED, "refused", "There is no open item with this name. List the items: kyma-upgrade queue list"
        raise
    # A retry has only started when the item answers.
    label = "started" if view.state is ItemState.RETRYING else "done"
    state = f"{view.state} until {rfc3339(view.until)}" if view.until else str(view.state)
    return DONE, label, view.closed or state
