"""`kyma-upgrade report`: everything about an upgrade in one document, for people and for pipelines."""

from __future__ import annotations

from pathlib import Path

import click

from cli.exit_codes import accepted
from cli.interruption import run
from cli.options import Option, cluster_options, ok_option, settings_from, temporal_options

#: As cli.actions.write_report.FORMATS, repeated so that --help needs no import (a test compares them).
FORMATS = ("md", "html", "json", "junit")


@click.command()
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="md", show_default=True, help="Format of the report."
)
@click.option("--file", metavar="FILE", help="Write the report to this file instead of stdout.")
@ok_option
@cluster_options
@temporal_options
def report(form: str, file: str | None, ok: tuple[int, ...], **options: Option) -> int:
    """Write a report of the running or latest upgrade.

    Contains waves, workloads, decisions and the remediation queue. Ends with the exit codes of `wait`; 5 while the
    upgrade runs.
    """
    from cli.actions.write_report import write_report

    return accepted(run(write_report(settings_from(options), form, Path(file) if file else None)), ok)
