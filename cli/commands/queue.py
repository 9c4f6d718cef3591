"""`kyma-upgrade queue list` and `show`: the remediation items, read from what Temporal keeps of them.

No worker is needed for it. What is done with them is in `cli.commands.queue_actions`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.exit_codes import DONE
from cli.options import Option, cluster_options, output_option, settings_from, temporal_options
from cli.render.output import annotated, clipped, emit, width, wrapped
from cli.temporal.queries import ask_worker

if TYPE_CHECKING:
    from temporalio.client import Client

    from mesh.remediation.item import Item, ItemView
    from worker.settings import Settings

#: As mesh.remediation.item.ItemState, spelled out so that --help needs no import (a test compares them).
STATES = ("open", "retrying", "snoozed", "resolved", "skipped")

#: Objects made and not freed; Python's own number is 700.
_GARBAGE_AFTER = 50_000

C = TypeVar("C", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Which items; None and empty mean all. `skipped` takes those too that were skipped."""

    state: str | None = None
    reason: str | None = None
    namespaces: tuple[str, ...] = ()
    skipped: bool = False

    def takes(self, item: Item, *, running: bool) -> bool:
        """Whether one of its namespaces is among them; without a state the open ones are.

        An item whose workflow was ended from outside is not open any more.
        """
        state = str(item.state)
        if running is (state == "resolved"):
            return False
        if self.state is None and not item.is_open and not self.skipped:
            return False
        return self.state in (None, state) and self.reason in (None, str(item.finding.reason))


def filter_options(command: C) -> C:
    """Which items."""
    for option in (
        click.option("-n", "--in-namespace", "namespaces", multiple=True, metavar="NS", help="Only this namespace."),
        click.option("--reason", metavar="REASON", help="Only items with this reason, as PodPending."),
        click.option(
            "--state", type=click.Choice(STATES), help="Only items in this state; default: all that are open."
        ),
    ):
        command = option(command)
    return command


@click.group()
def queue() -> None:
    """Show and settle the remediation queue: what no machine may restart."""


@queue.command("list")
@cluster_options
@temporal_options
@filter_options
@output_option()
def list_(
    state: str | None, reason: str | None, namespaces: tuple[str, ...], output: str | None, **options: Option
) -> int:
    """List the open items, or those in one state."""
    from cli.temporal.session import run

    # Modules and items are a million objects that stay until the end: to look through them for garbage again and again
    # is a tenth of a long list's time.
    gc.set_threshold(_GARBAGE_AFTER)
    return run(_list(settings_from(options), ItemFilter(state, reason, namespaces), output))


async def _list(settings: Settings, wanted: ItemFilter, output: str | None) -> int:
    from cli.temporal.session import named_cluster, temporal

    name = named_cluster(settings.cluster)
    document = {"items": await find_items(await temporal(settings), name, wanted)}
    emit(document, output, lambda: queue_table(document, name, datetime.now(UTC)))
    return DONE


async def find_items(client: Client, cluster: str, wanted: ItemFilter) -> list[dict[str, Any]]:
    """Documents of items, the oldest first, each of its newest run; of closed ones as long as Temporal keeps them."""
    from activities.remediation.listing import item_pages, items_query

    query = items_query(cluster, running=wanted.state != "resolved", namespaces=wanted.namespaces)
    newest: dict[str, tuple[datetime, dict[str, Any] | None]] = {}
    async with aclosing(item_pages(client, query)) as pages:
        async for page in pages:
            for one in page:
                if one.id not in newest or one.started > newest[one.id][0]:
                    # What it shows is worked out here, while the next page is on its way.
                    taken = wanted.takes(one.item, running=one.running)
                    newest[one.id] = one.started, _document(one.item) if taken else None
    found = [document for _, document in newest.values() if document is not None]
    return sorted(found, key=lambda document: (document["since"], document["id"]))


def _document(item: Item) -> dict[str, Any]:
    from mesh.remediation.item import view_of

    return item_document(view_of(item))


@queue.command()
@cluster_options
@temporal_options
@click.argument("item")
@output_option()
def show(item: str, output: str | None, **options: Option) -> int:
    """Show one item: cause, next step, what was done. ITEM is its id, or NAMESPACE/KIND/NAME."""
    from cli.temporal.session import run

    return run(_show(settings_from(options), item, output))


async def _show(settings: Settings, text: str, output: str | None) -> int:
    from temporalio.service import RPCError

    from activities.remediation.listing import item_from_memo
    from cli.temporal.session import is_absent, named_cluster, temporal
    from cli.temporal.upgrade_status import deep_link
    from mesh.errors import RefusedError
    from mesh.remediation.item import ItemView, view_of

    client = await temporal(settings)
    identity = item_identity(text, lambda: named_cluster(settings.cluster))
    handle = client.get_workflow_handle(identity)
    try:
        found = await handle.describe()
    except RPCError as error:
        if not is_absent(error):
            raise
        found = None
    item = await item_from_memo(found) if found is not None else None
    if found is None or item is None:
        raise RefusedError(f"There is no item {identity}.", "See kyma-upgrade queue list.")
    link = deep_link(settings.temporal.ui, client.namespace, found.id, found.run_id)
    # A worker knows everything that was done, Temporal's list the newest of it.
    document = item_document(await ask_worker(handle, "item", ItemView) or view_of(item))
    emit(document, output, lambda: item_text(document, link))
    return DONE


def item_identity(text: str, cluster: Callable[[], str]) -> str:
    """An item's workflow id: as it is, or made of NAMESPACE/KIND/NAME."""
    from mesh.errors import RefusedError
    from mesh.identity import item_id
    from mesh.k8s.workload_ref import WorkloadRef

    if ":" in text:
        return text
    parts = text.split("/")
    if len(parts) != 3 or not all(parts):
        raise RefusedError(f"{text!r} names no item.", "Give its id, or NAMESPACE/KIND/NAME as in queue list.")
    return item_id(cluster(), WorkloadRef(*parts))


def item_document(item: ItemView) -> dict[str, Any]:
    """One entry of `queue list -o json`."""
    from mesh.text import rfc3339

    return {
        "id": item.id,
        "cluster": item.cluster,
        "namespace": item.namespace,
        "kind": item.kind,
        "name": item.name,
        "reason": item.reason,
        "detail": item.detail,
        "state": str(item.state),
        "since": rfc3339(item.since),
        "pods": list(item.pods),
        "podCount": item.pod_count,
        "nextStep": item.next_step,
        "commands": list(item.commands),
        "evidence": list(item.evidence),
        "closesWhen": item.closes,
        "attempts": item.attempts,
        "until": rfc3339(item.until) if item.until else None,
        "closed": item.closed,
        "history": [
            {
                "at": rfc3339(one.at),
                "what": one.what,
                "who": one.who,
                "because": one.because or None,
                "result": one.result,
            }
            for one in item.history
        ],
    }


def queue_table(document: Mapping[str, Any], cluster: str, now: datetime) -> str:
    """Two lines per item: which, why, since when; and the cause. `queue show` tells the rest."""
    from mesh.reporting.document import display_name

    items = document["items"]
    if not items:
        return f"No items of cluster {cluster}."
    rows = [[display_name(one), one["reason"], one["state"], _age(one["since"], now)] for one in items]
    notes = [clipped(f"    {one['detail']}", width()) if one["detail"] else None for one in items]
    table = annotated(["ITEM", "REASON", "STATE", "AGE"], rows, notes)
    return f"{table}\n\n{len(items)} items of cluster {cluster}. More: kyma-upgrade queue show ITEM"


def _age(since: str, now: datetime) -> str:
    seconds = int((now - datetime.fromisoformat(since)).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"


def item_text(item: Mapping[str, Any], link: str | None = None) -> str:
    """One item for people."""
    from mesh.reporting.document import history_lines

    state = f"{item['state']} since {item['since']}"
    if item["closed"] or item["until"]:
        until = f" until {item['until']}" if item["until"] else ""
        state = f"{item['state']}{until}, first seen {item['since']}"
    shown = ", ".join(item["pods"]) or "-"
    if item["podCount"] > len(item["pods"]):
        shown += f" and {item['podCount'] - len(item['pods'])} more"
    rows = [("Item", item["id"]), ("State", state), ("Reason", item["reason"]), ("Detail", item["detail"] or "-")]
    rows += [("Pods", shown)]
    if item["closed"]:
        rows.append(("Closed", item["closed"]))
    if link:
        rows.append(("UI", link))
    lines = [wrapped(value, f"{label + ':':<8}") for label, value in rows]
    if not item["closed"]:
        if item["evidence"]:
            lines += ["", "Evidence:", *(wrapped(line, "  ") for line in item["evidence"])]
        lines += ["", wrapped(item["nextStep"]), "", *(f"  {command}" for command in item["commands"])]
        lines += ["", wrapped(item["closesWhen"])]
    if item["history"]:
        tried = item["attempts"]
        lines += ["", f"What was done ({tried} restart{'' if tried == 1 else 's'} tried):"]
        lines += [wrapped(one, "  ") for one in history_lines(item)]
    return "\n".join(lines)
