"""`kyma-upgrade wait`: attaches to the cluster's upgrade."""

from __future__ import annotations

import click

from cli.exit_codes import accepted
from cli.interruption import run
from cli.options import Option, cluster_options, output_option, settings_from, temporal_options, wait_options


@click.command()
@click.option(
    "--to-end",
    "--wait-to-end",
    "to_end",
    is_flag=True,
    help="Keep waiting while the upgrade needs an operator.",
)
@wait_options
@output_option()
@cluster_options
@temporal_options
def wait(to_end: bool, timeout: str | None, ok: tuple[int, ...], output: str | None, **options: Option) -> int:
    """Wait until the upgrade ends or needs an operator.

    Ends with the exit codes of `start --wait`.
    """
    from cli.actions.wait_for_upgrade import WaitOptions, attach_again, wait_for_upgrade
    from cli.cluster_name import cluster_name_from

    settings = settings_from(options)
    cluster = cluster_name_from(settings.cluster)
    wait_for = WaitOptions.of(timeout, through_pauses=to_end)
    return accepted(run(wait_for_upgrade(settings, cluster, output, wait_for), lambda: attach_again(cluster)), ok)
