"""Writes the report of the cluster's upgrade to stdout or to a file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from cli.cluster_name import cluster_name_from
from cli.render.output import say
from cli.temporal.session import connect_temporal
from cli.temporal.upgrade_report import read_report
from cli.temporal.upgrade_status import find_upgrade, no_upgrade
from mesh.errors import RefusedError
from mesh.reporting.document import ReportDocument
from mesh.reporting.html import html_report
from mesh.reporting.junit import junit_report
from mesh.reporting.markdown import markdown_report
from worker.settings import Settings


def _json_report(report: ReportDocument) -> str:
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


FORMATS = {"md": markdown_report, "html": html_report, "json": _json_report, "junit": junit_report}


async def write_report(settings: Settings, form: str, file: Path | None) -> int:
    """Writes the report and returns the exit code of the upgrade.

    Raises:
        RefusedError: there is no upgrade, or the file cannot be written.
    """
    if file is not None:
        _check(file)
    cluster = cluster_name_from(settings.cluster)
    client = await connect_temporal(settings)
    upgrade = await find_upgrade(client, cluster)
    if upgrade is None:
        raise no_upgrade(cluster)
    text = FORMATS[form](await read_report(client, upgrade, settings.temporal.ui))
    if file is None:
        click.echo(text, nl=False)
    else:
        _write(file, text)
        say(f"Wrote {file}.")
    return upgrade.code


def _check(file: Path) -> None:
    """Refuses a file that cannot be written, before anything is read."""
    if file.is_dir():
        raise RefusedError(f"{file} is a directory.", "Give --file the name of a file.")
    if not file.parent.is_dir():
        raise RefusedError(f"There is no directory {file.parent}.", "Create it, or check --file.")


def _write(file: Path, text: str) -> None:
    """Writes the whole file or nothing: a temporary file beside it replaces it."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        if file.exists() and not file.is_file():
            # /dev/stdout and the like cannot be replaced.
            file.write_text(text, encoding="utf-8")
            return
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise RefusedError(f"{file} cannot be written: {error.strerror}.", "Check --file.") from error
