"""Remediation items: what was seen, what was done, and what the queue shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum

from mesh.identity import item_id, item_workload
from mesh.remediation.advice import advise, only_a_restart
from mesh.survey.finding import Finding
from mesh.survey.reasons import FOUND_BY_TRYING, Reason

#: Names of Pods keep at least this much of their owner's, however long it is.
_KEPT_IN_NAMES = 40
#: Deeds that an item remembers, and those of them that Temporal's list carries along.
HISTORY_KEPT = 20
_HISTORY_LISTED = 3


class ItemState(StrEnum):
    """`open`, `retrying` and `snoozed` count as open."""

    OPEN = "open"
    RETRYING = "retrying"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"
    SKIPPED = "skipped"


#: A restart was tried, and what it found does not show in a survey.
_TRIED = FOUND_BY_TRYING | {Reason.IMAGE_REWRITTEN}
#: Nobody is asked for anything: for good, or until a date.
CLOSED_STATES = frozenset({ItemState.RESOLVED, ItemState.SKIPPED})


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at a workload with an item: what is to be settled, or why nothing is.

    Neither: its cause is gone, and only a restart is missing, which its maintenance window allows from `opens_at` on.
    `warned` tells that its Pods carry the warning already.
    """

    at: datetime
    seen: Finding | None = None
    closed: str | None = None
    warned: bool = False
    opens_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """What somebody, or the item itself, did: `result` is what came of it."""

    at: datetime
    what: str
    who: str
    because: str
    result: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """All that an item knows: its memo in Temporal's list, and what goes on to its next run.

    `since` is when it was opened, `looked_at` the time of the newest look. `until` ends a snooze or a skip.
    `restartable`: its cause is gone, and only a restart is missing. `closed` tells why it is settled; `forced` that an
    operator closed it as it is.
    """

    cluster: str
    seen: Finding
    since: datetime
    looked_at: datetime
    state: ItemState = ItemState.OPEN
    until: datetime | None = None
    attempts: int = 0
    restartable: bool = False
    closed: str | None = None
    forced: bool = False
    history: tuple[HistoryEntry, ...] = ()

    @property
    def id(self) -> str:
        """Its workflow id."""
        return item_id(self.cluster, self.seen.ref)

    @property
    def is_open(self) -> bool:
        """Whether somebody is still to settle it."""
        return self.state not in CLOSED_STATES

    def looked(self, look: Observation) -> Item:
        """After a look; an older one than the newest changes nothing."""
        if look.at < self.looked_at:
            return self
        return replace(
            self,
            seen=look.seen or self.seen,
            looked_at=look.at,
            restartable=look.seen is None and look.closed is None and self.seen.reason not in _TRIED,
            closed=look.closed,
        )

    def knows(self, look: Observation) -> bool:
        """Whether a look tells nothing new.

        Other evidence of the same cause is nothing new: it holds counts, which move all the time.
        """
        looked = self.looked(look)
        seen = replace(looked.seen, evidence=self.seen.evidence)
        return replace(looked, looked_at=self.looked_at, seen=seen) == self

    def did(self, deed: HistoryEntry) -> Item:
        """With one more deed, of which the newest are kept."""
        return replace(self, history=(*self.history, deed)[-HISTORY_KEPT:])

    def listed(self) -> Item:
        """As Temporal's list carries it along."""
        return replace(self, history=self.history[-_HISTORY_LISTED:])


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
    pod_count: int = 0
    closed: str | None = None
    history: tuple[HistoryEntry, ...] = ()
    evidence: tuple[str, ...] = ()
    closes: str = ""


def warning_text(seen: Finding) -> str:
    """The cause in brief, as the Pods carry it."""
    return f"{seen.reason}: {seen.detail or 'see the remediation queue'}"


def end_of(text: str) -> datetime | None:
    """When `2027-01-31` is over in UTC, or the moment that an RFC 3339 time names; None for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if len(text) == len("2027-01-31"):
        return datetime.combine(moment.date() + timedelta(days=1), time(), UTC)
    return moment.astimezone(UTC) if moment.tzinfo else None


def view_of(item: Item) -> ItemView:
    """What the queue shows of an item."""
    seen = item.seen
    advice, evidence = advise(seen), seen.evidence
    if item.restartable:
        advice, evidence = only_a_restart(seen, item.cluster), ()
    return ItemView(
        id=item.id,
        cluster=item.cluster,
        namespace=seen.namespace,
        kind=seen.kind,
        name=seen.name,
        reason=seen.reason,
        detail=seen.detail,
        state=item.state,
        since=item.since,
        pods=seen.pods,
        next_step=advice.next_step,
        commands=advice.commands,
        attempts=item.attempts,
        until=item.until,
        pod_count=seen.pod_count,
        closed=item.closed,
        history=item.history,
        evidence=evidence,
        closes=advice.closes,
    )


class ItemIndex:
    """Open items by what their Pods are called: what a change touches is found without looking at each of them."""

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._begun: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._of_namespace: dict[str, list[str]] = defaultdict(list)
        for identity in ids:
            workload = item_workload(identity)
            self._begun[workload.namespace, workload.name[:_KEPT_IN_NAMES]].append(identity)
            self._of_namespace[workload.namespace].append(identity)

    def touched(self, namespace: str, name: str) -> list[str]:
        """The items that a change of this object may be about: a Pod's name begins with its top owner's."""
        lengths = range(1, min(len(name), _KEPT_IN_NAMES) + 1)
        return [one for length in lengths for one in self._begun.get((namespace, name[:length]), ())]

    def within(self, namespace: str) -> list[str]:
        """The items of a namespace."""
        return self._of_namespace.get(namespace, [])
