"""Durations as people write them: `90s`, `15m`, `1h30m`, `2d`."""

from __future__ import annotations

import re
from datetime import timedelta

_PART = re.compile(r"(\d+)([smhd])")
_WHOLE = re.compile(r"(\d+[smhd])+")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> timedelta | None:
    """Returns the duration that the text names; None for anything else, and for more than a timedelta can hold."""
    if not _WHOLE.fullmatch(text):
        return None
    try:
        return timedelta(seconds=sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text)))
    except (OverflowError, ValueError):
        # ValueError: Python reads no number of more than 4,300 digits.
        return None
