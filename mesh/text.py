"""Texts from a cluster made safe to show, and times and durations as texts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

#: Longest `detail` in characters. Source: docs/reference/json.md.
DETAIL_LIMIT = 200

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]+")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|!~])")


def one_line(text: str, limit: int = DETAIL_LIMIT) -> str:
    """Returns one line of at most `limit` characters, without control characters, with an ellipsis where it was cut."""
    line = " ".join(_CONTROL.sub(" ", text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def markdown(text: str, limit: int = DETAIL_LIMIT) -> str:
    """Returns `one_line`, escaped so that a text cannot become a link, a table or HTML in the Temporal UI."""
    return _MARKDOWN.sub(r"\\\1", one_line(text, limit))


def rfc3339(moment: datetime) -> str:
    """Returns a time in the form of Kubernetes' timestamps: UTC, whole seconds, `Z`."""
    return (moment.astimezone(UTC) if moment.tzinfo else moment).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: str | None) -> datetime | None:
    """Returns the time that the text names; None for anything else, and for a time without a zone."""
    try:
        parsed = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return parsed if parsed.tzinfo else None


def iso_duration(duration: timedelta) -> str:
    """Returns an ISO 8601 duration in hours and minutes, rounded up to the minute: `PT1H40M`."""
    minutes = -(-duration // timedelta(minutes=1))
    hours, rest = divmod(minutes, 60)
    return "PT" + (f"{hours}H" if hours else "") + (f"{rest}M" if rest or not hours else "")
