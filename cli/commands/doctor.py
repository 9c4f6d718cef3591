"""`kyma-upgrade doctor`: everything that must be right before an upgrade can succeed."""

from __future__ import annotations

import click

from cli.interruption import run
from cli.options import Option, cluster_options, output_option, settings_from, temporal_options


@click.command()
@output_option()
@cluster_options
@temporal_options
def doctor(output: str | None, **options: Option) -> int:
    """Check everything that an upgrade needs.

    Checks Temporal, the worker, the cluster, each permission, versions, the sidecar injector and the hold. Exits with 1
    when a check fails.
    """
    from cli.actions.run_doctor import run_doctor

    return run(run_doctor(settings_from(options), output))
