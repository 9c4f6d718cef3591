"""Search attributes, by which operators filter workflows. The worker registers and checks this list at its start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

if TYPE_CHECKING:
    from mesh.remediation.item import Item

CLUSTER = SearchAttributeKey.for_keyword("KymaCluster")
PHASE = SearchAttributeKey.for_keyword("KymaPhase")
TARGET = SearchAttributeKey.for_keyword("KymaTarget")
NAMESPACE = SearchAttributeKey.for_keyword("KymaNamespace")
WORKLOAD = SearchAttributeKey.for_keyword("KymaWorkload")
REASON = SearchAttributeKey.for_keyword("KymaReason")
ITEM_STATE = SearchAttributeKey.for_keyword("KymaItemState")
NEEDS_ATTENTION = SearchAttributeKey.for_bool("KymaNeedsAttention")
STALE_LEFT = SearchAttributeKey.for_int("KymaStaleLeft")

ALL: tuple[SearchAttributeKey[Any], ...] = (
    CLUSTER,
    PHASE,
    TARGET,
    NAMESPACE,
    WORKLOAD,
    REASON,
    ITEM_STATE,
    NEEDS_ATTENTION,
    STALE_LEFT,
)


def item_search_attributes(item: Item) -> TypedSearchAttributes:
    """Returns the attributes by which an item is found."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(CLUSTER, item.cluster),
            SearchAttributePair(NAMESPACE, item.finding.namespace),
            SearchAttributePair(WORKLOAD, f"{item.finding.kind}/{item.finding.name}"),
            SearchAttributePair(REASON, str(item.finding.reason)),
            SearchAttributePair(ITEM_STATE, str(item.state)),
        ]
    )
