"""Prints the remediation items that a filter selects."""

from __future__ import annotations

from datetime import UTC, datetime

from cli.cluster_name import cluster_name_from
from cli.exit_codes import DONE
from cli.render.item_table import queue_table
from cli.render.output import emit
from cli.temporal.item_search import ItemFilter, find_items
from cli.temporal.session import connect_temporal
from worker.settings import Settings

__all__ = ["ItemFilter", "list_items"]


async def list_items(settings: Settings, selection: ItemFilter, output: str | None) -> int:
    """Prints the items, the oldest first."""
    name = cluster_name_from(settings.cluster)
    document = {"items": await find_items(await connect_temporal(settings), name, selection)}
    emit(document, output, lambda: queue_table(document, name, datetime.now(UTC)))
    return DONE
