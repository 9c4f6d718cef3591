"""`kyma-upgrade queue retry`, `resolve`, `skip`, `snooze`: an operator's word to one item, or to many at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from cli.commands.queue import ItemFilter, filter_options, find_items, item_identity, queue_table
from cli.exit_codes import DONE, FAILED, UNREACHABLE
from cli.options import (
    cluster_options,
    operator,
    operator_options,
    output_option,
    settings_from,
    temporal_options,
)
from cli.render.output import annotated, emit, say

if TYPE_CHECKING:
    from temporalio.client import Client

    from worker.settings import Settings
    from workflows.item_commands import ItemCommand

#: A word to so many items at the same time.
_AT_ONCE = 20
_ANSWER_WITHIN = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Items by name, or all that a filter takes; `yes` asks nobody whether these are meant."""

    items: tuple[str, ...]
    all: bool
    wanted: ItemFilter
    yes: bool


def _settling(name: str, help_text: str, *more: Callable[[Any], Any]) -> click.Command:
    """A command whose further options are fields of what the item is told."""

    @click.command(name, help=help_text)
    @cluster_options
    @temporal_options
    @click.argument("items", nargs=-1, metavar="ITEM...")
    @click.option("--all", "all_", is_flag=True, help="All that the filters take, instead of naming them.")
    @filter_options
    @click.option("--yes", is_flag=True, help="Do not ask whether the listed items are meant.")
    @operator_options
    @output_option()
    def command(
        items: tuple[str, ...],
        all_: bool,
        state: str | None,
        reason: str | None,
        namespaces: tuple[str, ...],
        yes: bool,
        who: str | None,
        because: str,
        output: str | None,
        **options: Any,  # noqa: ANN401  # click's
    ) -> int:
        from cli.temporal.session import run

        fields: dict[str, Any] = {key: options.pop(key) for key in ("force", "until", "duration") if key in options}
        word = _command(name, operator(who), because, fields)
        chosen = Chosen(items, all_, ItemFilter(state, reason, namespaces), yes)
        return run(_settle(settings_from(options), name, word, chosen, output))

    for option in more:
        option(command)
    return command


COMMANDS = (
    _settling("retry", "Restart the workload of each item now, and verify it."),
    _settling(
        "resolve",
        "Close items that are settled; refused while proxies are stale.",
        click.option("--force", is_flag=True, help="Close it though it is stale; --because says why."),
    ),
    _settling(
        "skip",
        "Close items until the end of a day; then they are open again.",
        click.option("--until", required=True, metavar="DATE", help="Last day of the skip (UTC), as 2027-01-31."),
    ),
    _settling(
        "snooze",
        "Leave items alone for a while; they count as open.",
        click.option("--for", "duration", required=True, metavar="DURATION", help="For how long, as 30m, 2h30m or 3d."),
    ),
)


def _command(name: str, who: str, because: str, fields: dict[str, Any]) -> ItemCommand:
    """What the items are told; refused here where no item could mean anything else."""
    from temporalio.exceptions import ApplicationError

    from mesh.errors import RefusedError
    from workflows.item_commands import ItemCommand, ResolveCommand, SkipCommand, SnoozeCommand, check_command

    kinds: dict[str, type[ItemCommand]] = {"resolve": ResolveCommand, "skip": SkipCommand, "snooze": SnoozeCommand}
    word = kinds.get(name, ItemCommand)(who, because, **fields)
    try:
        check_command(word, datetime.now(UTC))
    except ApplicationError as error:
        raise RefusedError(error.message, f"See kyma-upgrade queue {name} --help.") from error
    return word


async def _settle(settings: Settings, name: str, word: ItemCommand, chosen: Chosen, output: str | None) -> int:
    from activities.concurrency import gather_limited
    from cli.temporal.session import named_cluster, temporal
    from mesh.errors import RefusedError

    if bool(chosen.items) is chosen.all:
        raise RefusedError("Which items?", "Name them (see kyma-upgrade queue list), or give --all with filters.")
    cluster = named_cluster(settings.cluster)
    client = await temporal(settings)
    if chosen.all:
        identities = await _found(client, cluster, name, chosen)
    else:
        identities = [item_identity(one, lambda: cluster) for one in chosen.items]
    answers = await gather_limited(_AT_ONCE, identities, lambda one: _tell(client, one, name, word))
    document = {
        "items": [
            {"id": identity, "ok": code == DONE, "message": message}
            for identity, (code, message) in zip(identities, answers, strict=True)
        ]
    }
    emit(document, output, lambda: _table(document["items"]))
    return max((code for code, _ in answers), default=DONE)


async def _found(client: Client, cluster: str, name: str, chosen: Chosen) -> list[str]:
    """The items that the filters take, once an operator has seen and confirmed them."""
    from mesh.errors import RefusedError

    found = await find_items(client, cluster, chosen.wanted)
    if found and not chosen.yes:
        if not sys.stdin.isatty():
            raise RefusedError(f"{len(found)} items would be told to {name}, and nobody can be asked.", "Add --yes.")
        say(queue_table({"items": found}, cluster, datetime.now(UTC)))
        if not click.confirm(f"{name} these {len(found)} items?", err=True):
            raise RefusedError("Nothing was done.", "Narrow the list with --state, --reason or -n.")
    if not found:
        say(f"No items of cluster {cluster} match.")
    return [one["id"] for one in found]


async def _tell(client: Client, identity: str, name: str, word: ItemCommand) -> tuple[int, str]:
    """The exit code for this item, and its state or why it was not done."""
    from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
    from temporalio.exceptions import ApplicationError
    from temporalio.service import RPCError

    from cli.temporal.session import is_absent
    from mesh.remediation.item import ItemView
    from mesh.text import rfc3339

    try:
        view: ItemView = await client.get_workflow_handle(identity).execute_update(
            name, word, result_type=ItemView, rpc_timeout=_ANSWER_WITHIN
        )
    except WorkflowUpdateFailedError as error:
        return FAILED, error.cause.message if isinstance(error.cause, ApplicationError) else str(error.cause)
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        return UNREACHABLE, "no worker answers; start one (kyma-upgrade worker), then look whether it heard it"
    except RPCError as error:
        if is_absent(error):
            return FAILED, "there is no such open item"
        raise
    told = view.closed or (f"{view.state} until {rfc3339(view.until)}" if view.until else str(view.state))
    return DONE, told


def _table(items: Sequence[dict[str, Any]]) -> str:
    from mesh.identity import item_workload

    rows = [[str(item_workload(one["id"])), "done" if one["ok"] else "refused"] for one in items]
    return annotated(["ITEM", "RESULT"], rows, [f"    {one['message']}" for one in items])
