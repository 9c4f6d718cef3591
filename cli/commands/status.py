"""`kyma-upgrade status` and `wait`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from cli.exit_codes import DONE, FAILED
from cli.options import Option, cluster_options, output_option, settings_from, temporal_options
from cli.render.output import emit, say

if TYPE_CHECKING:
    from cli.temporal.follow_upgrade import WaitOptions
    from worker.settings import Settings

_ROWS = (
    ("Target", "target"),
    ("Phase", "phase"),
    ("Result", "result"),
    ("Failure", "failure"),
    ("Started", "startedAt"),
    ("Ended", "endedAt"),
)


@click.command()
@cluster_options
@temporal_options
@output_option()
def status(output: str | None, **options: Option) -> int:
    """Show where the cluster's upgrade stands; exits 1 when there is none."""
    from cli.temporal.session import run

    return run(_status(settings_from(options), output))


async def _status(settings: Settings, output: str | None) -> int:
    from cli.temporal.session import named_cluster, temporal
    from cli.temporal.upgrade_status import deep_link, find_upgrade

    name = named_cluster(settings.cluster)
    client = await temporal(settings)
    found = await find_upgrade(client, name)
    if found is None:
        say(f"There is no upgrade of cluster {name} in Temporal namespace {client.namespace}.")
        return FAILED
    document = found.document
    link = deep_link(settings.temporal.ui, client.namespace, document["workflowId"], document["runId"])
    emit(document, output, lambda: status_table(document, link))
    return DONE


@click.command()
@cluster_options
@temporal_options
@click.option("--to-end", "--wait-to-end", "to_end", is_flag=True, help="Go on waiting while an operator is needed.")
@click.option("--timeout", metavar="DURATION", help="Give up waiting after this time, as 90s or 2h30m (exit code 5).")
@click.option("--ok", type=int, multiple=True, metavar="N", help="Make this exit code 0; repeatable.")
@output_option()
def wait(to_end: bool, timeout: str | None, ok: tuple[int, ...], output: str | None, **options: Option) -> int:
    """Wait for the cluster's upgrade, with the exit codes of `start --wait`."""
    from cli.temporal.follow_upgrade import WaitOptions
    from cli.temporal.session import named_cluster, run

    settings = settings_from(options)
    name = named_cluster(settings.cluster)
    code = run(_wait(settings, name, output, WaitOptions(seconds(timeout), to_end)), lambda: attach_again(name))
    return forgiven(code, ok)


async def _wait(settings: Settings, name: str, output: str | None, patience: WaitOptions) -> int:
    from cli.temporal.follow_upgrade import follow
    from cli.temporal.session import temporal

    client = await temporal(settings)
    found, code = await follow(client, name, patience)
    tell_end(found.document, output)
    return code


def seconds(duration: str | None) -> float | None:
    """`90s` or `2h30m` in seconds."""
    from mesh.durations import parse_duration
    from mesh.errors import RefusedError

    if duration is None:
        return None
    parsed = parse_duration(duration)
    if parsed is None:
        raise RefusedError(f"{duration!r} is no duration.", "Write it as 90s, 15m or 2h30m.")
    return parsed.total_seconds()


def forgiven(code: int, ok: tuple[int, ...]) -> int:
    """The exit code after `--ok`."""
    return DONE if code in ok else code


def attach_again(cluster: str) -> str:
    """What an interrupted wait says."""
    return f"Interrupted; the upgrade goes on. Attach again: kyma-upgrade wait --cluster {cluster}"


def tell_end(document: Mapping[str, Any], output: str | None) -> None:
    """The last look, as `status` prints it; what to do next on stderr."""
    emit(document, output, lambda: status_table(document))
    if document.get("failure"):
        say(f"Error: {document['failure']}")
    if document["needsAttention"]:
        say(f"It waits for an operator: {document['needsAttention']}")
        say(document["nextStep"] or "")
    elif document["items"]["open"]:
        say(f"{document['items']['open']} items are open: kyma-upgrade queue list --cluster {document['cluster']}")


def status_table(document: Mapping[str, Any], link: str | None = None) -> str:
    """The document for people."""
    rows = [("Cluster", document["cluster"]), ("Workflow", document["workflowId"])]
    rows += [(label, document[key]) for label, key in _ROWS if document.get(key)]
    wave, counts, items = document["wave"], document["workloads"], document["items"]
    if wave and document["result"] is None:
        rows.append(("Wave", f"{wave['number'] + 1} of {wave['of']}: {wave['name']}"))
    known = [f"{value} {name}" for name, value in counts.items() if value is not None]
    rows.append(("Workloads", ", ".join(known) or "not known: no worker answers"))
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(items["byReason"].items()))
    if items["open"]:
        rows.append(("Items open", f"{items['open']}: {reasons}" if reasons else items["open"]))
    if document["needsAttention"]:
        rows.append(("Operator", document["needsAttention"]))
    if document["nextStep"]:
        rows.append(("Next step", document["nextStep"]))
    if link:
        rows.append(("UI", link))
    return "\n".join(f"{label + ':':<12}{value}" for label, value in rows)
