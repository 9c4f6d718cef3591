"""`kyma-upgrade worker`: runs a worker for one cluster."""

from __future__ import annotations

import click

from cli.options import Option, cluster_options, settings_from, temporal_options


@click.command()
@cluster_options
@temporal_options
@click.option("--concurrency", type=int, metavar="N", help="Activities at once; default 300.")
@click.option("--grace", type=float, metavar="SECONDS", help="Time for activities to end after SIGTERM; default 10.")
@click.option("--log-format", type=click.Choice(["auto", "json", "text"]), help="Default: auto.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Default: info.")
def worker(**options: Option) -> int:
    """Run a worker: workflows for everybody, activities for this cluster."""
    import asyncio

    from worker.main import run_worker

    asyncio.run(run_worker(settings_from(options)))
    return 0
