"""Text from a cluster, made safe to show."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.text import DETAIL_LIMIT, iso_duration, markdown, one_line, rfc3339
from tests.mesh.build import few_examples

ANY = st.text() | st.text(alphabet="ab \n\t\x00\x1b\u2028\u202e\u2066\u200b<|`", max_size=400)


@few_examples
@given(ANY, st.integers(1, 400))
def test_one_line_is_within_the_limit(text: str, limit: int) -> None:
    found = one_line(text, limit)

    assert len(found) <= limit
    assert len(found.splitlines()) <= 1
    assert not any(unicodedata.category(letter) == "Cc" for letter in found)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("two\nlines\r\n and\ttabs ", "two lines and tabs"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("turned\u202earound \u2066isolated\u2069", "turned around isolated"),
        ("in\ufeffvisible\u2060 words", "in visible words"),
        ("", ""),
    ],
)
def test_one_line_removes_control_characters(text: str, line: str) -> None:
    assert one_line(text) == line


def test_one_line_ends_with_an_ellipsis_where_it_was_cut() -> None:
    found = one_line("x" * 500)

    assert (len(found), found[-1]) == (DETAIL_LIMIT, "…")


@few_examples
@given(ANY, st.integers(1, 400))
def test_markdown_is_one_line_and_shows_the_same_text(text: str, limit: int) -> None:
    found = markdown(text, limit)

    assert re.sub(r"\\(?=[\\`*_{}\[\]<>#|!~])(.)", r"\1", found) == one_line(text, limit)
    assert not re.search(r"(?<!\\)(\\\\)*[`*_\[\]<>|]", found)


def test_markdown_makes_no_links_tables_or_html() -> None:
    assert markdown("[a](b) | <img>") == r"\[a\](b) \| \<img\>"


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "PT0M"),
        (timedelta(seconds=1), "PT1M"),
        (timedelta(seconds=60), "PT1M"),
        (timedelta(seconds=60, milliseconds=1), "PT2M"),
        (timedelta(minutes=40), "PT40M"),
        (timedelta(minutes=100), "PT1H40M"),
        (timedelta(hours=2), "PT2H"),
        (timedelta(days=2), "PT48H"),
    ],
)
def test_duration_is_rounded_up_to_the_minute(duration: timedelta, text: str) -> None:
    assert iso_duration(duration) == text


@few_examples
@given(st.timedeltas(timedelta(0), timedelta(days=1000)))
def test_any_duration_is_never_understated(duration: timedelta) -> None:
    found = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?", iso_duration(duration))

    assert found
    assert duration <= timedelta(hours=int(found[1] or 0), minutes=int(found[2] or 0)) < duration + timedelta(minutes=1)


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=2))], ids=["utc", "elsewhere"])
def test_time_is_printed_in_utc(zone: timezone) -> None:
    moment = datetime(2026, 9, 5, 12, 0, 59, 999999, tzinfo=UTC).astimezone(zone)

    assert rfc3339(moment) == "2026-09-05T12:00:59Z"
