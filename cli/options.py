"""Options that commands share. A command takes them as keyword arguments and turns them into settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

if TYPE_CHECKING:
    from worker.settings import Settings

#: What click hands over for one of the shared options.
Option: TypeAlias = str | float | None

C = TypeVar("C", bound=Callable[..., Any])


def cluster_options(command: C) -> C:
    """Which cluster."""
    for option in (
        click.option("--kubeconfig", metavar="FILE", help="Credentials of the cluster."),
        click.option("--context", metavar="NAME", help="Context of the kubeconfig; default: its current one."),
        click.option("--cluster", metavar="NAME", help="Name of the cluster in workflow ids; default: the context's."),
    ):
        command = option(command)
    return command


def temporal_options(command: C) -> C:
    """Which Temporal. TLS and keys come from TEMPORAL_* and its profiles only."""
    for option in (
        click.option("--ui", metavar="URL", help="Address of the Temporal UI, for links."),
        click.option("--namespace", metavar="NAME", help="Temporal namespace."),
        click.option("--address", metavar="HOST:PORT", help="Temporal's address; default: TEMPORAL_ADDRESS."),
    ):
        command = option(command)
    return command


def output_option(*more: str) -> Callable[[C], C]:
    """`-o`, with the formats that every command has and those of this one."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["json", "yaml", "table", *more]),
        help="Format of what goes to stdout; default: table on a terminal, json elsewhere.",
    )


def operator_options(command: C) -> C:
    """Who steers, and why."""
    for option in (
        click.option("--who", metavar="NAME", help="Who does this; default: user@host."),
        click.option("--because", metavar="TEXT", default="", help="Why; kept with the upgrade."),
    ):
        command = option(command)
    return command


def settings_from(options: dict[str, Option]) -> Settings:
    """Returns the settings that a command's shared options, the environment, the profile file and the defaults give."""
    from worker.settings import load_settings

    return load_settings(dict(options))


def operator(who: str | None) -> str:
    """Who steers: as told, else user@host."""
    import getpass
    import socket

    if who:
        return who
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container's arbitrary user id has no name.
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
