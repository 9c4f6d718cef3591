"""`kyma-upgrade report`: everything of an upgrade in one document, for people and for pipelines."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.commands.status import forgiven
from cli.options import Option, cluster_options, settings_from, temporal_options
from cli.render.output import say

if TYPE_CHECKING:
    from temporalio.client import Client

    from cli.temporal.upgrade_history import BegunWave
    from cli.temporal.upgrade_status import Upgrade
    from mesh.reporting.document import ReportDocument, WaveDocument
    from worker.settings import Settings

#: Spelled out so that --help needs no import.
FORMATS = ("md", "html", "json", "junit")
#: Histories of waves that are read at once: each is up to a megabyte.
_WAVES_AT_ONCE = 8
#: Temporal's lists are a moment late: an upgrade that has only just ended has items that they do not show yet.
_JUST_NOW = timedelta(seconds=30)
_LOOKS = 6
_LOOK_AGAIN_SECONDS = 0.5


@click.command()
@cluster_options
@temporal_options
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="md", show_default=True, help="What the report is for."
)
@click.option("--file", metavar="FILE", help="Write it there, whole or not at all; default: stdout.")
@click.option("--ok", type=int, multiple=True, metavar="N", help="Make this exit code 0; repeatable.")
def report(form: str, file: str | None, ok: tuple[int, ...], **options: Option) -> int:
    """Report the cluster's upgrade, running or the last one: waves, workloads, decisions, the queue.

    Ends with the exit codes of `wait`, as the upgrade stands: 5 while it runs.
    """
    from cli.temporal.session import run

    return forgiven(run(_report(settings_from(options), form, Path(file) if file else None)), ok)


async def _report(settings: Settings, form: str, file: Path | None) -> int:
    from cli.temporal.session import named_cluster, temporal
    from cli.temporal.upgrade_status import find_upgrade
    from mesh.errors import RefusedError

    if file is not None:
        _check(file)
    cluster = named_cluster(settings.cluster)
    client = await temporal(settings)
    found = await find_upgrade(client, cluster)
    if found is None:
        raise RefusedError(
            f"There is no upgrade of cluster {cluster}.", "Start one: kyma-upgrade start --to …, or check --cluster."
        )
    text = _text(await read_report(client, found, settings.temporal.ui), form)
    if file is None:
        click.echo(text, nl=False)
    else:
        _write(file, text)
        say(f"Wrote {file}.")
    return found.code


async def read_report(client: Client, found: Upgrade, ui: str | None) -> ReportDocument:
    """The whole document. Histories are read a few at a time, and only what they come to is kept."""
    from activities.concurrency import gather_limited
    from cli.temporal.upgrade_history import read_upgrade
    from cli.temporal.upgrade_status import deep_link
    from cli.temporal.wave_history import read_wave
    from mesh.text import rfc3339

    status = found.document
    story = await read_upgrade(client, status["cluster"], status["runId"])

    async def wave_of(wave: BegunWave) -> WaveDocument:
        return await read_wave(client, wave, deep_link(ui, client.namespace, wave.workflow_id, wave.run_id))

    waves = await gather_limited(_WAVES_AT_ONCE, story.waves, wave_of)
    queue = await _queue(client, status)
    survey = story.survey
    return {
        "takenAt": rfc3339(datetime.now(UTC)),
        "cluster": status["cluster"],
        "workflowId": status["workflowId"],
        "runId": status["runId"],
        "url": deep_link(ui, client.namespace, status["workflowId"], status["runId"]),
        "target": status["target"],
        "phase": status["phase"],
        "result": status["result"],
        "failure": status.get("failure"),
        "needsAttention": status["needsAttention"],
        "nextStep": status["nextStep"],
        "live": status["live"],
        "startedBy": story.started_by,
        "startedAt": status["startedAt"],
        "endedAt": status["endedAt"],
        "workloads": status["workloads"],
        "wave": status["wave"],
        "items": status["items"],
        "totals": {"pods": survey.pods, "classes": survey.classes} if survey else None,
        "waves": sorted(waves, key=lambda one: one["number"]),
        "decisions": story.decisions,
        "queue": [{**one, "url": deep_link(ui, client.namespace, one["id"])} for one in queue],
        "notes": story.notes,
    }


async def _queue(client: Client, status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every item that is open or skipped."""
    from cli.commands.queue import ItemFilter, find_items

    looks = _LOOKS if _ended_just_now(status) else 0
    while True:
        found = await find_items(client, status["cluster"], ItemFilter(skipped=True))
        status_phrase = [one for one in found if one["state"] != "skipped"]
        if len(status_phrase) >= (status["items"]["open"] or 0) or not looks:
            return [*status_phrase, *(one for one in found if one["state"] == "skipped")]
        looks -= 1
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)


def _ended_just_now(status: Mapping[str, Any]) -> bool:
    ended = status["endedAt"]
    return ended is not None and datetime.now(UTC) - datetime.fromisoformat(ended) < _JUST_NOW


def _text(report: ReportDocument, form: str) -> str:
    from mesh.reporting.html import html_report
    from mesh.reporting.junit import junit_report
    from mesh.reporting.markdown import markdown_report

    forms = {"md": markdown_report, "html": html_report, "json": _json, "junit": junit_report}
    return forms[form](report)


def _json(report: ReportDocument) -> str:
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


def _check(file: Path) -> None:
    """What can be refused before anything is read."""
    from mesh.errors import RefusedError

    if file.is_dir():
        raise RefusedError(f"{file} is a directory.", "Give --file the name of a file.")
    if not file.parent.is_dir():
        raise RefusedError(f"There is no directory {file.parent}.", "Make it first, or check --file.")


def _write(file: Path, text: str) -> None:
    """Whole or not at all: beside it first, then in its place."""
    from mesh.errors import RefusedError

    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        if file.exists() and not file.is_file():
            # /dev/stdout and the like have no place to take.
            file.write_text(text, encoding="utf-8")
            return
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(file)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise RefusedError(f"{file} cannot be written: {error.strerror}.", "Check --file.") from error
