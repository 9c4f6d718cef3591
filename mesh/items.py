"""Remediation items: what was seen, and what the queue shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mesh.advice import advise
from mesh.causes import FOUND_BY_TRYING, Reason
from mesh.cluster import item_id, item_key
from mesh.sighting import Sighting
from mesh.survey import Action, Attempt, Record

#: Names of Pods that an item carries; the count is always whole.
PODS_SHOWN = 20
#: Names of Pods keep at least this much of their owner's, however long it is.
_KEPT_IN_NAMES = 40


class ItemState(StrEnum):
    """`open`, `retrying` and `snoozed` count as open."""

    OPEN = "open"
    RETRYING = "retrying"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class ItemView:
    """An item as the queue shows it."""

    id: str
    cluster: str
    namespace: str
    kind: str
    name: str
    reason: str
    detail: str | None
    state: ItemState
    since: datetime
    pods: tuple[str, ...]
    next_step: str
    commands: tuple[str, ...]
    attempts: int = 0
    until: datetime | None = None


def sighting_of(record: Record) -> Sighting | None:
    """The sighting of a workload that needs a person, None for all others."""
    if record.action is not Action.REMEDIATE or record.reason is None:
        return None
    return sighting_for(record, record.reason, record.detail)


def wanted(record: Record, attempt: Attempt) -> Sighting | None:
    """What a person must settle of a workload at the end of an upgrade, None where there is nothing.

    After a failed restart that is also one whose Pods have the expected proxy by now and are not all Ready.
    """
    seen = sighting_of(record)
    if seen is None and attempt.has_failed(record.key) and not settled(record, Reason.ROLLOUT_TIMED_OUT):
        return sighting_for(record, Reason.ROLLOUT_TIMED_OUT, record.detail)
    return seen


def settled(record: Record, reason: Reason) -> bool:
    """Nothing of it needs a restart; after a restart that failed its Pods must also be Ready again."""
    return record.action is Action.NONE and not (reason in FOUND_BY_TRYING and record.unready)


def sighting_for(record: Record, reason: Reason, detail: str | None) -> Sighting:
    """The sighting of a workload for this reason."""
    return Sighting(*record.key, reason, detail, record.pod_names[:PODS_SHOWN], len(record.pod_names))


def view_of(cluster: str, seen: Sighting, state: ItemState, since: datetime) -> ItemView:
    """What the queue shows of a sighting."""
    advice = advise(seen.reason, seen.namespace, seen.kind, seen.name, seen.pods)
    return ItemView(
        id=item_id(cluster, *seen.key),
        cluster=cluster,
        namespace=seen.namespace,
        kind=seen.kind,
        name=seen.name,
        reason=seen.reason,
        detail=seen.detail,
        state=state,
        since=since,
        pods=seen.pods,
        next_step=advice.next_step,
        commands=advice.commands,
    )


class ItemIndex:
    """Open items by what their Pods are called: what a change touches is found without looking at each of them."""

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self.ids = frozenset(ids)
        self._begun: dict[tuple[str, str], list[str]] = defaultdict(list)
        for identity in self.ids:
            namespace, _, name = item_key(identity)
            self._begun[namespace, name[:_KEPT_IN_NAMES]].append(identity)

    def touched(self, namespace: str, name: str) -> list[str]:
        """The items that a change of this object may be about: a Pod's name begins with its top owner's."""
        lengths = range(1, min(len(name), _KEPT_IN_NAMES) + 1)
        return [one for length in lengths for one in self._begun.get((namespace, name[:length]), ())]
