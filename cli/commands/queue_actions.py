"""`kyma-upgrade queue retry`, `resolve`, `skip`, `snooze`: an operator acts on one item or on many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from cli.interruption import run
from cli.options import (
    Option,
    cluster_options,
    filter_options,
    operator,
    operator_options,
    output_option,
    settings_from,
    temporal_options,
)

C = TypeVar("C", bound=Callable[..., Any])


def _item_options(command: C) -> C:
    """Adds the options that every action on items has."""
    for option in (
        temporal_options,
        cluster_options,
        output_option(),
        operator_options,
        click.option("--yes", is_flag=True, help="Do not ask for confirmation."),
        filter_options,
        click.option("--all", "all_", is_flag=True, help="Select all items that match --state, --reason and -n."),
        click.argument("items", nargs=-1, metavar="[ITEM]..."),
    ):
        command = option(command)
    return command


@click.command()
@_item_options
def retry(**options: Any) -> int:  # noqa: ANN401  # click's
    """Restart the workload of each item and verify it.

    ITEM is the id of an item, or NAMESPACE/KIND/NAME.
    """
    return _act("retry", options)


@click.command()
@click.option("--force", is_flag=True, help="Close items although their proxies are stale. Needs --because.")
@_item_options
def resolve(force: bool, **options: Any) -> int:  # noqa: ANN401  # click's
    """Close items. Refused while proxies are stale.

    ITEM is the id of an item, or NAMESPACE/KIND/NAME.
    """
    return _act("resolve", options, force=force)


@click.command()
@click.option("--until", required=True, metavar="DATE", help="Last day of the skip (UTC), e.g. 2027-01-31.")
@_item_options
def skip(until: str, **options: Any) -> int:  # noqa: ANN401  # click's
    """Close items until the end of a day; then they reopen.

    Needs --because. ITEM is the id of an item, or NAMESPACE/KIND/NAME.
    """
    return _act("skip", options, until=until)


@click.command()
@click.option("--for", "duration", required=True, metavar="DURATION", help="How long, e.g. 30m, 2h30m or 3d.")
@_item_options
def snooze(duration: str, **options: Any) -> int:  # noqa: ANN401  # click's
    """Leave items alone for a while. They still count as open.

    ITEM is the id of an item, or NAMESPACE/KIND/NAME.
    """
    return _act("snooze", options, duration=duration)


def _act(name: str, options: dict[str, Any], **fields: Any) -> int:  # noqa: ANN401  # of the command
    from cli.actions.act_on_items import Selection, act_on_items, item_command
    from cli.temporal.item_search import ItemFilter

    command = item_command(name, operator(options.pop("who")), options.pop("because"), fields)
    selection = Selection(
        items=options.pop("items"),
        all=options.pop("all_"),
        filter=ItemFilter(options.pop("state"), options.pop("reason"), options.pop("namespaces")),
        confirmed=options.pop("yes"),
    )
    output = options.pop("output")
    connection: dict[str, Option] = options
    return run(act_on_items(settings_from(connection), name, command, selection, output))
