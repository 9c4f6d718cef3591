"""When maintenance windows open and close, as tests write it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mesh.maintenance_windows import parse_windows

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def opened(text: str, first: str, last: str) -> list[tuple[str, str]]:
    """Every opening that begins in `[first, last)`, as UTC's day and time it opens and closes."""
    found = parse_windows(text)
    at, end, spans = utc(first), utc(last), []
    while (begin := found.next_open(at)) is not None and begin < end:
        close = found.closes(begin)
        assert close is not None
        spans.append((f"{begin:%a %H:%M}", f"{close:%a %H:%M}"))
        at = close
    return spans
