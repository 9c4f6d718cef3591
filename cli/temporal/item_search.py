"""Remediation items as Temporal lists them: read without a worker."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from temporalio.client import Client

from activities.remediation.listing import item_pages, items_query
from cli.render.item_document import item_document
from mesh.errors import RefusedError
from mesh.identity import item_id
from mesh.k8s.workload_ref import WorkloadRef
from mesh.remediation.item import Item, view_of


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Selects items; None and an empty tuple match all. `skipped` adds the skipped items to the open ones."""

    state: str | None = None
    reason: str | None = None
    namespaces: tuple[str, ...] = ()
    skipped: bool = False

    def matches(self, item: Item, *, running: bool) -> bool:
        """Whether the item is selected; without a state, open items are. Temporal filters by namespace itself.

        An item whose workflow was ended in Temporal is not open any more.
        """
        state = str(item.state)
        if running is (state == "resolved"):
            return False
        if self.state is None and not item.is_open and not self.skipped:
            return False
        return self.state in (None, state) and self.reason in (None, str(item.finding.reason))


async def find_items(client: Client, cluster: str, selection: ItemFilter) -> list[dict[str, Any]]:
    """Returns the documents of the selected items, the oldest first.

    Of an item with several runs, the newest run counts. Closed items are listed as long as Temporal keeps them.
    """
    query = items_query(cluster, running=selection.state != "resolved", namespaces=selection.namespaces)
    newest: dict[str, tuple[datetime, dict[str, Any] | None]] = {}
    async with aclosing(item_pages(client, query)) as pages:
        async for page in pages:
            for listed in page:
                if listed.id not in newest or listed.started > newest[listed.id][0]:
                    # The document is made here, while the client fetches the next page.
                    selected = selection.matches(listed.item, running=listed.running)
                    newest[listed.id] = listed.started, item_document(view_of(listed.item)) if selected else None
    documents = [document for _, document in newest.values() if document is not None]
    return sorted(documents, key=lambda document: (document["since"], document["id"]))


def item_identity(text: str, cluster: Callable[[], str]) -> str:
    """Returns an item's workflow id, given the id itself or NAMESPACE/KIND/NAME.

    Raises:
        RefusedError: the text is neither.
    """
    if ":" in text:
        return text
    parts = text.split("/")
    if len(parts) != 3 or not all(parts):
        raise RefusedError(
            f"{text!r} is not the name of an item.",
            "Give its id, or NAMESPACE/KIND/NAME as in kyma-upgrade queue list.",
        )
    return item_id(cluster(), WorkloadRef(*parts))
