"""Remediation items: what was found at a workload, what was done about it, and what the queue shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum

from mesh.history import HistoryEntry, with_newest
from mesh.identity import item_id, item_workload
from mesh.remediation.advice import advise, advise_restart
from mesh.survey.finding import Finding
from mesh.survey.reasons import FOUND_BY_TRYING, Reason

#: The name of a Pod begins with at least this many characters of its owner's name, however long that is.
_KEPT_IN_NAMES = 40
#: History entries that Temporal's list carries along, the newest ones.
_HISTORY_LISTED = 3


class ItemState(StrEnum):
    """States of an item; `open`, `retrying` and `snoozed` count as open."""

    OPEN = "open"
    RETRYING = "retrying"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"
    SKIPPED = "skipped"


#: Reasons that only a restart reveals: a later survey without a finding does not disprove them.
_NOT_SEEN_BY_SURVEYS = FOUND_BY_TRYING | {Reason.IMAGE_REWRITTEN}
#: States in which no operator needs to act: for good, or until a date.
CLOSED_STATES = frozenset({ItemState.RESOLVED, ItemState.SKIPPED})


@dataclass(frozen=True, slots=True)
class Observation:
    """The state of an item's workload at one time: what must be settled, or why nothing must.

    Without `finding` and `closed` the cause is gone and only a restart is missing, which the maintenance window of
    the workload allows from `opens_at` on. With `warned` its Pods carry the warning already.
    """

    at: datetime
    finding: Finding | None = None
    closed: str | None = None
    warned: bool = False
    opens_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """The whole state of an item: its memo in Temporal's list, and the input of its next run.

    `since` is when it was opened, `observed_at` the time of the newest observation. `until` ends a snooze or a skip.
    With `restartable` the cause is gone and only a restart is missing. `closed` tells why the item is settled,
    `forced` that an operator closed it without that.
    """

    cluster: str
    finding: Finding
    since: datetime
    observed_at: datetime
    state: ItemState = ItemState.OPEN
    until: datetime | None = None
    attempts: int = 0
    restartable: bool = False
    closed: str | None = None
    forced: bool = False
    history: tuple[HistoryEntry, ...] = ()

    @property
    def id(self) -> str:
        """The workflow id of the item."""
        return item_id(self.cluster, self.finding.ref)

    @property
    def is_open(self) -> bool:
        """Whether an operator must still settle the item."""
        return self.state not in CLOSED_STATES

    def observed(self, observation: Observation) -> Item:
        """Returns the item after an observation; one older than the newest changes nothing."""
        if observation.at < self.observed_at:
            return self
        cause_is_gone = observation.finding is None and observation.closed is None
        return replace(
            self,
            finding=observation.finding or self.finding,
            observed_at=observation.at,
            restartable=cause_is_gone and self.finding.reason not in _NOT_SEEN_BY_SURVEYS,
            closed=observation.closed,
        )

    def knows(self, observation: Observation) -> bool:
        """Whether an observation tells nothing new.

        Other evidence of the same cause is nothing new: it holds counts, which change all the time.
        """
        after = self.observed(observation)
        finding = replace(after.finding, evidence=self.finding.evidence)
        return replace(after, observed_at=self.observed_at, finding=finding) == self

    def with_entry(self, entry: HistoryEntry) -> Item:
        """Returns the item with one more history entry."""
        return replace(self, history=with_newest(self.history, entry))

    def for_list(self) -> Item:
        """Returns the item as Temporal's list carries it along: with the newest of its history only."""
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


def warning_text(finding: Finding) -> str:
    """Returns the warning that the Pods of an open item carry."""
    return f"{finding.reason}: {finding.detail or 'see the remediation queue'}"


def parse_until(text: str) -> datetime | None:
    """Returns the end (UTC) of a day as `2027-01-31`, or the moment of an RFC 3339 time; None for anything else."""
    try:
        moment = datetime.fromisoformat(text)
        if len(text) == len("2027-01-31"):
            return datetime.combine(moment.date() + timedelta(days=1), time(), UTC)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        # OverflowError: the last day of the calendar has no next one.
        return None


def view_of(item: Item) -> ItemView:
    """Returns the item as the queue shows it."""
    finding = item.finding
    advice, evidence = advise(finding), finding.evidence
    if item.restartable:
        advice, evidence = advise_restart(finding, item.cluster), ()
    return ItemView(
        id=item.id,
        cluster=item.cluster,
        namespace=finding.namespace,
        kind=finding.kind,
        name=finding.name,
        reason=finding.reason,
        detail=finding.detail,
        state=item.state,
        since=item.since,
        pods=finding.pods,
        next_step=advice.next_step,
        commands=advice.commands,
        attempts=item.attempts,
        until=item.until,
        pod_count=finding.pod_count,
        closed=item.closed,
        history=item.history,
        evidence=evidence,
        closes=advice.closes,
    )


class ItemIndex:
    """Finds the open items that a change of an object may concern, without a walk over all items."""

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._by_name_start: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._by_namespace: dict[str, list[str]] = defaultdict(list)
        for identity in ids:
            workload = item_workload(identity)
            self._by_name_start[workload.namespace, workload.name[:_KEPT_IN_NAMES]].append(identity)
            self._by_namespace[workload.namespace].append(identity)

    def touched(self, namespace: str, name: str) -> list[str]:
        """Returns the items that a change of this object may concern: a Pod's name begins with its top owner's."""
        lengths = range(1, min(len(name), _KEPT_IN_NAMES) + 1)
        return [item for length in lengths for item in self._by_name_start.get((namespace, name[:length]), ())]

    def within(self, namespace: str) -> list[str]:
        """Returns the items of a namespace."""
        return self._by_namespace.get(namespace, [])
