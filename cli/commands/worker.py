"""`kyma-upgrade worker`: runs a worker for one cluster."""

from __future__ import annotations

import asyncio

import click

from cli.exit_codes import DONE
from cli.options import Option, cluster_options, settings_from, temporal_options


@click.command()
@click.option("--concurrency", type=int, metavar="N", help="Activities that run at once. Default: 300.")
@click.option("--grace", type=float, metavar="SECONDS", help="Time for activities to end after SIGTERM. Default: 10.")
@click.option(
    "--log-format",
    type=click.Choice(["auto", "json", "text"]),
    help="Log format. Default: text on a terminal, else json.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Lowest level that is logged. Default: info.",
)
@cluster_options
@temporal_options
def worker(**options: Option) -> int:
    """Run a worker for a cluster.

    Runs workflows of any cluster, and activities in this cluster. Stops on SIGTERM or SIGINT.
    """
    from worker.main import run_worker

    asyncio.run(run_worker(settings_from(options)))
    return DONE
