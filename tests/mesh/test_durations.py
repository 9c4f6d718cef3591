"""Durations: what is one, and what is none."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mesh.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("1h30m", timedelta(minutes=90)),
        ("2d", timedelta(days=2)),
        ("0s", timedelta(0)),
        ("soon", None),
        ("5", None),
        ("999999999999d", None),
        (f"{'9' * 5000}s", None),
    ],
)
def test_duration_is_parsed_and_anything_else_is_none(text: str, duration: timedelta | None) -> None:
    assert parse_duration(text) == duration
