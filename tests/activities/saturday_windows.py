"""Maintenance windows around the moment of the tests: tests.mesh.build.NOW is a Saturday, at noon."""

from __future__ import annotations

from datetime import UTC, datetime

UNTIL_TWO = "Sat 10:00-14:00"
UNTIL_ONE = "Sat 00:00-13:00"
FROM_THREE = "Sat 15:00-16:00"
SUNDAYS = "Sun 00:00-04:00"
ALWAYS = "00:00-24:00"


def at(hour: int, day: int = 5) -> datetime:
    return datetime(2026, 9, day, hour, tzinfo=UTC)
