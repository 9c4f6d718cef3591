"""The history of an upgrade or of a remediation item: who did what, when, why, and with which result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

#: Entries that an upgrade or an item keeps, the newest ones.
HISTORY_KEPT = 20


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One action of an operator, or of the workflow itself. Texts are single lines of at most 200 characters."""

    at: datetime
    what: str
    who: str
    because: str
    result: str = ""


def with_newest(history: tuple[HistoryEntry, ...], entry: HistoryEntry) -> tuple[HistoryEntry, ...]:
    """Returns the history with one more entry, shortened to the newest `HISTORY_KEPT`."""
    return (*history, entry)[-HISTORY_KEPT:]
