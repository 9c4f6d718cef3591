"""Options that commands share. A command passes the values of cluster and Temporal options on as settings."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

if TYPE_CHECKING:
    from worker.settings import Settings

#: A value of one of the shared options, as click passes it.
Option: TypeAlias = str | float | None

C = TypeVar("C", bound=Callable[..., Any])

#: As mesh.remediation.item.ItemState, repeated so that --help needs no import (a test compares them).
ITEM_STATES = ("open", "retrying", "snoozed", "resolved", "skipped")


def cluster_options(command: C) -> C:
    """Adds the options that select the cluster."""
    for option in (
        click.option("--kubeconfig", metavar="FILE", help="Kubeconfig file of the cluster."),
        click.option("--context", metavar="NAME", help="Context of the kubeconfig. Default: the current context."),
        click.option(
            "--cluster", metavar="NAME", help="Name of the cluster in workflow ids. Default: the name of the context."
        ),
    ):
        command = option(command)
    return command


def temporal_options(command: C) -> C:
    """Adds the options that select the Temporal server. TLS and API keys come from TEMPORAL_* and its profiles."""
    for option in (
        click.option("--ui", metavar="URL", help="Address of the Temporal UI, for links."),
        click.option("--namespace", metavar="NAME", help="Temporal namespace. Default: TEMPORAL_NAMESPACE."),
        click.option("--address", metavar="HOST:PORT", help="Temporal server. Default: TEMPORAL_ADDRESS."),
    ):
        command = option(command)
    return command


def output_option(*more: str) -> Callable[[C], C]:
    """Adds `-o` with the formats that every command has, and those that only this command has."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["json", "yaml", "table", *more]),
        help="Output format. Default: table on a terminal, else json.",
    )


def wait_options(command: C) -> C:
    """Adds the options of commands that wait: when to stop, and which exit codes count as success."""
    for option in (
        ok_option,
        click.option("--timeout", metavar="DURATION", help="Stop waiting after this time, e.g. 90s or 2h30m (exit 5)."),
    ):
        command = option(command)
    return command


def ok_option(command: C) -> C:
    """Adds `--ok`."""
    return click.option("--ok", type=int, multiple=True, metavar="N", help="Exit with 0 instead of N. Repeatable.")(
        command
    )


def operator_options(command: C) -> C:
    """Adds the options that say who acts, and why."""
    for option in (
        click.option("--who", metavar="NAME", help="Name of the operator. Default: user@host."),
        click.option("--because", metavar="TEXT", default="", help="Why you do this; kept in the history."),
    ):
        command = option(command)
    return command


def filter_options(command: C) -> C:
    """Adds the options that select items."""
    for option in (
        click.option(
            "-n",
            "--in-namespace",
            "namespaces",
            multiple=True,
            metavar="NS",
            help="Only items in this Kubernetes namespace. Repeatable.",
        ),
        click.option("--reason", metavar="REASON", help="Only items with this reason, e.g. PodPending."),
        click.option(
            "--state", type=click.Choice(ITEM_STATES), help="Only items in this state. Default: all open items."
        ),
    ):
        command = option(command)
    return command


def settings_from(options: dict[str, Option]) -> Settings:
    """Returns the settings that shared options, the environment, the profile file and the defaults give."""
    from worker.settings import load_settings  # noqa: PLC0415  # pydantic: 0.3 s that --help does not need

    return load_settings(dict(options))


def operator(who: str | None) -> str:
    """Returns the name of the operator: `who`, else user@host."""
    if who:
        return who
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # In a container, an arbitrary user id has no name.
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
