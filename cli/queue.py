"""`kyma-upgrade queue`: the remediation items, read from what Temporal keeps of them; no worker is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from cli.failures import DONE
from cli.options import Option, cluster_options, output_option, settings_from, temporal_options
from cli.output import clipped, emit, fitted, width

if TYPE_CHECKING:
    from temporalio.client import Client, WorkflowExecution

    from mesh.items import ItemView
    from worker.settings import Settings

#: As mesh.items.ItemState, spelled out so that --help needs no import (a test compares them).
STATES = ("open", "retrying", "snoozed", "resolved", "skipped")
_CLOSED = ("resolved", "skipped")
#: Each item brings a memo of up to 8 kB, and an answer of Temporal has at most 4 MB.
_PAGE = 200


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Which items; None and empty mean all."""

    state: str | None = None
    reason: str | None = None
    namespaces: tuple[str, ...] = ()

    def takes(self, item: ItemView, *, running: bool) -> bool:
        """Without a state the open ones count. An item whose workflow was ended from outside is not open any more."""
        state = str(item.state)
        if running is (state in _CLOSED):
            return False
        if self.state is None and state in _CLOSED:
            return False
        return (
            self.state in (None, state)
            and self.reason in (None, item.reason)
            and (not self.namespaces or item.namespace in self.namespaces)
        )


@click.group()
def queue() -> None:
    """Show the remediation queue: what a person must settle."""


@queue.command("list")
@cluster_options
@temporal_options
@click.option("--state", type=click.Choice(STATES), help="Only items in this state; default: all that are open.")
@click.option("--reason", metavar="REASON", help="Only items with this reason, as PodPending.")
@click.option("-n", "--in-namespace", "namespaces", multiple=True, metavar="NS", help="Only this namespace.")
@output_option()
def list_(
    state: str | None, reason: str | None, namespaces: tuple[str, ...], output: str | None, **options: Option
) -> int:
    """List the open items, or those in one state."""
    from cli.session import run

    return run(_list(settings_from(options), ItemFilter(state, reason, namespaces), output))


async def _list(settings: Settings, wanted: ItemFilter, output: str | None) -> int:
    from cli.documents import item_document
    from cli.session import named_cluster, temporal

    name = named_cluster(settings.cluster)
    found = await find_items(await temporal(settings), name, wanted)
    document = {"items": [item_document(one) for one in found]}
    emit(document, output, lambda: queue_table(document, name, datetime.now(UTC)))
    return DONE


async def find_items(client: Client, cluster: str, wanted: ItemFilter) -> list[ItemView]:
    """The newest run of each item, oldest item first."""
    from mesh.cluster import items_prefix

    newest: dict[str, tuple[WorkflowExecution, ItemView]] = {}
    query = f'WorkflowId STARTS_WITH "{items_prefix(cluster)}"'
    async for one in client.list_workflows(query, page_size=_PAGE):
        view = await _view(one)
        before = newest.get(one.id)
        if view is not None and (before is None or one.start_time > before[0].start_time):
            newest[one.id] = (one, view)
    items = [view for one, view in newest.values() if wanted.takes(view, running=_running(one))]
    return sorted(items, key=lambda item: (item.since, item.id))


async def _view(one: WorkflowExecution) -> ItemView | None:
    from mesh.items import ItemView

    view: ItemView | None = await one.memo_value("item", None, type_hint=ItemView)
    return view


def _running(one: WorkflowExecution) -> bool:
    return one.status is not None and one.status.name == "RUNNING"


@queue.command()
@cluster_options
@temporal_options
@click.argument("item")
@output_option()
def show(item: str, output: str | None, **options: Option) -> int:
    """Show one item: cause, next step, commands. ITEM is its id, or NAMESPACE/KIND/NAME."""
    from cli.session import run

    return run(_show(settings_from(options), item, output))


async def _show(settings: Settings, text: str, output: str | None) -> int:
    from temporalio.service import RPCError

    from cli.documents import item_document
    from cli.session import is_absent, named_cluster, temporal
    from cli.upgrade import deep_link
    from mesh.errors import RefusedError

    client = await temporal(settings)
    identity = _item_id(text, lambda: named_cluster(settings.cluster))
    try:
        found = await client.get_workflow_handle(identity).describe()
    except RPCError as error:
        if not is_absent(error):
            raise
        found = None
    view = await _view(found) if found is not None else None
    if found is None or view is None:
        raise RefusedError(f"There is no item {identity}.", "See kyma-upgrade queue list.")
    link = deep_link(settings.temporal.ui, client.namespace, found.id, found.run_id)
    document = item_document(view)
    emit(document, output, lambda: item_text(document, link))
    return DONE


def _item_id(text: str, cluster: Callable[[], str]) -> str:
    from mesh.cluster import item_id
    from mesh.errors import RefusedError

    if ":" in text:
        return text
    parts = text.split("/")
    if len(parts) != 3 or not all(parts):
        raise RefusedError(f"{text!r} names no item.", "Give its id, or NAMESPACE/KIND/NAME as in queue list.")
    return item_id(cluster(), *parts)


def queue_table(document: Mapping[str, Any], cluster: str, now: datetime) -> str:
    """Two lines per item: which, why, since when; and the cause. `queue show` tells the rest."""
    items = document["items"]
    if not items:
        return f"No items of cluster {cluster}."
    rows = [[short_id(one), one["reason"], one["state"], _age(one["since"], now)] for one in items]
    head, *lines = fitted(["ITEM", "REASON", "STATE", "AGE"], rows).splitlines()
    told = [head]
    for line, one in zip(lines, items, strict=True):
        told.append(line)
        if one["detail"]:
            told.append(clipped(f"    {one['detail']}", width()))
    return "\n".join([*told, "", f"{len(items)} items of cluster {cluster}. More: kyma-upgrade queue show ITEM"])


def short_id(item: Mapping[str, Any]) -> str:
    """NAMESPACE/KIND/NAME: what `queue show` takes as well."""
    return f"{item['namespace']}/{item['kind']}/{item['name']}"


def _age(since: str, now: datetime) -> str:
    seconds = int((now - datetime.fromisoformat(since)).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"


def item_text(item: Mapping[str, Any], link: str | None = None) -> str:
    """One item for people."""
    rows = [
        ("Item", item["id"]),
        ("State", f"{item['state']} since {item['since']}"),
        ("Reason", item["reason"]),
        ("Detail", item["detail"] or "-"),
        ("Pods", ", ".join(item["pods"]) or "-"),
    ]
    if link:
        rows.append(("UI", link))
    lines = [f"{label + ':':<8}{value}" for label, value in rows]
    return "\n".join([*lines, "", item["nextStep"], "", *(f"  {command}" for command in item["commands"])])
