"""`kyma-upgrade status`: the upgrade of the cluster at this moment."""

from __future__ import annotations

import click

from cli.interruption import run
from cli.options import Option, cluster_options, output_option, settings_from, temporal_options


@click.command()
@output_option()
@cluster_options
@temporal_options
def status(output: str | None, **options: Option) -> int:
    """Show the status of the upgrade.

    Shows the running upgrade of the cluster, else the latest one. Exits with 1 when there is none.
    """
    from cli.actions.show_status import show_status

    return run(show_status(settings_from(options), output))
