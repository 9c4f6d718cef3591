"""`kyma-upgrade queue`: the remediation queue."""

from __future__ import annotations

import click

from cli.lazy_group import LazyCommand, LazyGroup

_COMMANDS = {
    "list": LazyCommand("cli.commands.queue_list:list_", "List the open items, or those in one state."),
    "show": LazyCommand("cli.commands.queue_show:show", "Show one item: cause, next step and history."),
    "retry": LazyCommand("cli.commands.queue_actions:retry", "Restart the workload of each item and verify it."),
    "resolve": LazyCommand("cli.commands.queue_actions:resolve", "Close items. Refused while proxies are stale."),
    "skip": LazyCommand("cli.commands.queue_actions:skip", "Close items until the end of a day; then they reopen."),
    "snooze": LazyCommand(
        "cli.commands.queue_actions:snooze", "Leave items alone for a while. They still count as open."
    ),
}


@click.group(cls=LazyGroup, lazy_commands=_COMMANDS)
def queue() -> None:
    """Show and handle what cannot be restarted automatically."""
