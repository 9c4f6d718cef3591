"""Maintenance windows: what a text means, and when its hours are open."""

from __future__ import annotations

import calendar
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import maintenance_windows
from mesh.k8s.owners import top_owner
from mesh.maintenance_windows import EXAMPLE, WindowInvalidError, declared_windows, parse_windows
from mesh.survey.reasons import Reason
from mesh.survey.restart_rules import windows_cause
from mesh.text import DETAIL_LIMIT
from mesh.wellknown import MAINTENANCE_WINDOW
from tests.mesh.build import few_examples, make_namespace, pod, template, workload
from tests.mesh.window_hours import DAY, MINUTE, opened, utc

# The week of Monday, 2026-08-03.


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        pytest.param("Sat-Sun 00:00-04:00", ["Sat 00:00 Sat 04:00", "Sun 00:00 Sun 04:00"], id="days-and-hours"),
        pytest.param("Sat 01:30-01:31", ["Sat 01:30 Sat 01:31"], id="one-day"),
        pytest.param("Mon,Thu 10:00-11:00", ["Mon 10:00 Mon 11:00", "Thu 10:00 Thu 11:00"], id="days-by-comma"),
        pytest.param(
            "Mon-Tue,Sat 10:00-11:00",
            ["Mon 10:00 Mon 11:00", "Tue 10:00 Tue 11:00", "Sat 10:00 Sat 11:00"],
            id="range-and-day",
        ),
        pytest.param(
            "Sat-Mon 10:00-11:00",
            ["Mon 10:00 Mon 11:00", "Sat 10:00 Sat 11:00", "Sun 10:00 Sun 11:00"],
            id="days-over-the-weeks-end",
        ),
        pytest.param("Wed-Wed 10:00-11:00", ["Wed 10:00 Wed 11:00"], id="range-of-one-day"),
        pytest.param("Fri 22:00-04:00", ["Fri 22:00 Sat 04:00"], id="over-midnight-belongs-to-its-first-day"),
        pytest.param(
            "Sun 22:00-04:00", ["Mon 00:00 Mon 04:00", "Sun 22:00 Mon 04:00"], id="over-midnight-and-the-weeks-end"
        ),
        pytest.param("Tue 20:00-24:00", ["Tue 20:00 Wed 00:00"], id="until-midnight"),
        pytest.param("Tue 20:00-00:00", ["Tue 20:00 Wed 00:00"], id="until-midnight-written-as-zero"),
        pytest.param("Tue 00:00-24:00", ["Tue 00:00 Wed 00:00"], id="whole-day"),
        pytest.param("Fri-Sat 20:00-24:00; Sun 00:00-02:00", ["Fri 20:00 Sat 00:00", "Sat 20:00 Sun 02:00"], id="meet"),
        pytest.param("Tue 10:00-12:00; Tue 11:00-13:00", ["Tue 10:00 Tue 13:00"], id="overlap"),
        pytest.param("Tue 10:00-12:00; Wed 11:00-13:00;", ["Tue 10:00 Tue 12:00", "Wed 11:00 Wed 13:00"], id="either"),
        pytest.param("Sat 00:00-04:00 Europe/Berlin", ["Fri 22:00 Sat 02:00"], id="in-berlins-summer"),
        pytest.param("Sat 00:00-04:00 Asia/Kathmandu", ["Fri 18:15 Fri 22:15"], id="quarter-of-an-hour"),
        pytest.param(
            "Tue 01:00-02:00; Wed 01:00-02:00 Europe/Berlin",
            ["Mon 23:00 Tue 00:00", "Tue 23:00 Wed 00:00"],
            id="zone-holds-for-the-whole-text",
        ),
        pytest.param(
            "Tue 01:00-02:00 Europe/Berlin; Wed 01:00-02:00 europe/berlin",
            ["Mon 23:00 Tue 00:00", "Tue 23:00 Wed 00:00"],
            id="zone-said-twice",
        ),
        pytest.param("  sAT - sun  0:00 -  4:00 ;", ["Sat 00:00 Sat 04:00", "Sun 00:00 Sun 04:00"], id="loosely"),
        pytest.param("\tMONDAY , thursday\n10:00-11:00 utc", ["Mon 10:00 Mon 11:00", "Thu 10:00 Thu 11:00"], id="long"),
        pytest.param("Mon 08:00-09:00 Etc/GMT+5", ["Mon 13:00 Mon 14:00"], id="zone-with-a-sign"),
        pytest.param("Mon 08:00-09:00 america/port-au-prince", ["Mon 12:00 Mon 13:00"], id="zone-with-hyphens"),
    ],
)
def test_text_is_parsed_into_these_hours(text: str, spans: list[str]) -> None:
    assert [" ".join(span) for span in opened(text, "2026-08-03", "2026-08-10")] == spans


def test_window_without_days_is_open_every_day() -> None:
    assert opened("22:00-04:00", "2026-08-03", "2026-08-10") == opened("Mon-Sun 22:00-4:00", "2026-08-03", "2026-08-10")
    assert len(opened("22:00-04:00", "2026-08-03T12:00", "2026-08-10T12:00")) == 7


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        pytest.param("", "it is empty", id="nothing"),
        pytest.param(" ; ", "it is empty", id="nothing-but-separators"),
        pytest.param("always", '"always" has no time', id="a-word"),
        pytest.param("Sat-Sun", '"Sat-Sun" has no time', id="days-alone"),
        pytest.param("Sat 00:00-04:00; Sun", '"Sun" has no time', id="one-of-two"),
        pytest.param("Sta 00:00-04:00", '"Sta" is not a day of the week', id="misspelt-day"),
        pytest.param("Sat-Snu 00:00-04:00", '"Snu" is not a day of the week', id="misspelt-end"),
        pytest.param("Fri-Sun-Mon 00:00-04:00", '"Sun-Mon" is not a day of the week', id="range-of-three"),
        pytest.param("Sat,,Sun 00:00-04:00", '"" is not a day of the week', id="two-commas"),
        pytest.param("Sat Sun 00:00-04:00", '"Sat Sun" is not a day of the week', id="days-by-a-blank"),
        pytest.param("Sat 25:00-04:00", '"25:00-04:00" is not a range of times', id="hour-25"),
        pytest.param("Sat 24:00-04:00", '"24:00-04:00" is not a range of times', id="begins-at-24"),
        pytest.param("Sat 00:00-24:30", '"00:00-24:30" is not a range of times', id="after-24"),
        pytest.param("Sat 00:60-04:00", '"00:60-04:00" is not a range of times', id="minute-60"),
        pytest.param("Sat 00:00:00-04:00:00", '"00:00:00-04:00:00" is not a range of times', id="seconds"),
        pytest.param("Sat 00:00", '"00:00" is not a range of times', id="one-time"),
        pytest.param("Sat 0-4", '"0-4" is not a range of times', id="hours-alone"),
        pytest.param("Sat \u0660\u0660:00-04:00", "is not a range of times", id="digits-of-another-script"),
        pytest.param("Sat 04:00-04:00", "ends when it starts", id="no-length"),
        pytest.param("Sat 00:00-04:00 CEST", '"CEST" is not a time zone', id="abbreviation"),
        pytest.param("Sat 00:00-04:00 +02:00", '"+02:00" is not a time zone', id="offset"),
        pytest.param("Sat 00:00-04:00 ../../etc/passwd", "is not a time zone", id="a-file"),
        pytest.param("00:00-04:00 Sat", '"Sat" is not a time zone', id="days-last"),
        pytest.param("Sat 00:00-04:00,12:00-13:00", "is not a range of times", id="two-ranges"),
        pytest.param("Sat 00:00-04:00 Sun 00:00-04:00", '"Sun 00:00-04:00" is not a time zone', id="no-separator"),
        pytest.param("Sat 00:00-04:00 UTC; Sun 00:00-04:00", "time zone comes last", id="zone-not-last"),
        pytest.param("Sat 00:00-04:00 Asia/Tokyo; Sun 00:00-04:00 UTC", "time zone comes last", id="two-time-zones"),
        pytest.param("Sat 00:00-04:00;" * 100, "longer than 1000 characters", id="endless"),
    ],
)
def test_invalid_window_is_refused_with_a_valid_example(text: str, wrong: str) -> None:
    with pytest.raises(WindowInvalidError) as error:
        parse_windows("Sat 00:00-04:00", text)

    assert wrong in str(error.value)
    assert f'"{EXAMPLE}"' in str(error.value)


@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z ,;-]{0,20}[0-9: -]{5,15}[A-Za-z /]{0,20}", fullmatch=True))
def test_whatever_is_written_is_a_window_or_a_sentence_that_can_be_shown(text: str) -> None:
    cause = windows_cause((text,), utc("2026-08-03"))

    if cause is not None:
        reason, detail = cause.reason, cause.detail
        assert reason is Reason.WINDOW_INVALID
        assert len(detail or "") <= DETAIL_LIMIT
        assert not any(unicodedata.category(letter) == "Cc" for letter in detail or "")
        assert (detail or "").endswith(f'a valid one is "{EXAMPLE}"')


def test_example_is_right() -> None:
    assert parse_windows(EXAMPLE).next_open(utc("2026-08-03")) == utc("2026-08-07T22:00")


# Instants.


def test_end_is_not_in_the_window_and_the_begin_is() -> None:
    found = parse_windows("Sat 00:00-04:00")

    assert not found.is_open(utc("2026-08-07T23:59:59.999999"))
    assert found.is_open(utc("2026-08-08"))
    assert found.is_open(utc("2026-08-08T03:59:59.999999"))
    assert not found.is_open(utc("2026-08-08T04:00"))


def test_open_window_opens_now_and_a_shut_one_has_closed_now() -> None:
    found = parse_windows("Sat 00:00-04:00")
    inside, outside = utc("2026-08-08T01:00:00.5"), utc("2026-08-08T05:00:00.5")

    assert (found.next_open(inside), found.closes(inside)) == (inside, utc("2026-08-08T04:00"))
    assert (found.next_open(outside), found.closes(outside)) == (utc("2026-08-15"), outside)


# Several at once.


def test_all_of_several_must_be_open() -> None:
    found = parse_windows("Sat-Sun 00:00-04:00 Europe/Berlin", "Sat 18:00-21:00 America/New_York", "23:30-01:30")

    begin = found.next_open(utc("2026-11-24"))
    assert begin == utc("2026-11-28T23:30")
    assert found.closes(begin) == utc("2026-11-29T01:30")
    assert not found.is_open(utc("2026-11-28T23:29"))


def test_none_at_all_is_always_open() -> None:
    found = parse_windows()

    assert found.is_open(utc("2026-08-08"))
    assert found.next_open(utc("2026-08-08")) == utc("2026-08-08")
    assert found.closes(utc("2026-08-08")) is None


@pytest.mark.parametrize("text", ["00:00-24:00", "Mon-Sun 00:00-24:00 Europe/Berlin", "00:00-12:00; 12:00-24:00"])
def test_every_hour_never_closes(text: str) -> None:
    found = parse_windows(text)

    assert found.next_open(utc("2026-08-08T03:04:05")) == utc("2026-08-08T03:04:05")
    assert found.closes(utc("2026-08-08")) is None


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(("Sat 00:00-04:00", "Sun 00:00-04:00"), id="other-days"),
        pytest.param(("Sat 00:00-04:00", "Sat 04:00-08:00"), id="meet-and-do-not-overlap"),
        pytest.param(("Sat 22:00-04:00", "Sat 00:00-04:00"), id="night-after-and-night-before"),
        pytest.param(("Sat 00:00-04:00 Europe/Berlin", "Sat 05:00-08:00 Europe/Paris"), id="zones-that-change-alike"),
        pytest.param(("Sat 00:00-01:00 Asia/Kathmandu", "Sat 00:00-05:00"), id="zones-that-never-change"),
        pytest.param(("Mon 10:00-11:00 Europe/Berlin", "Mon 13:00-14:00 Africa/Cairo"), id="no-offset-ever-fits"),
        pytest.param(("Sun 00:00-09:00", "00:00-12:00", "Mon 00:00-09:00 Europe/London"), id="three"),
    ],
)
def test_windows_that_never_open_together_never_open(texts: tuple[str, ...]) -> None:
    found = parse_windows(*texts)
    at = utc("2026-08-08T02:00")

    assert all(parse_windows(text).next_open(at) is not None for text in texts)
    assert found.next_open(at) is None
    assert not found.is_open(at)
    assert found.closes(at) == at


# Against a scan of minutes.


@dataclass(frozen=True)
class Written:
    """A window as it is meant, and how it may be written."""

    days: frozenset[int]
    start: int
    end: int

    def holds(self, day: int, minute: int) -> bool:
        today, yesterday = day in self.days, (day - 1) % 7 in self.days
        if self.start < self.end:
            return today and self.start <= minute < self.end
        return (today and minute >= self.start) or (yesterday and minute < self.end)

    def __str__(self) -> str:
        days = ",".join(calendar.day_abbr[day] for day in sorted(self.days))
        times = "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in (self.start, self.end))
        return f"{days if len(self.days) < 7 else ''} {times}"


ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC", "Africa/Cairo"]

#: Times at which a clock of these zones changes, both ways, and the ends of a February and a year.
NIGHTS = [
    utc(text)
    for text in (
        *("2026-03-08T07:00", "2026-11-01T06:00", "2026-03-29T01:00", "2026-10-25T01:00", "2026-04-04T15:00"),
        *("2026-10-03T15:30", "2026-04-23T22:00", "2026-10-29T21:00", "2028-02-29T00:00", "2026-12-31T23:00"),
    )
]

WRITTEN = st.builds(
    Written,
    days=st.frozensets(st.integers(0, 6), min_size=1),
    start=st.integers(0, 1439),
    end=st.integers(1, 1440),
).filter(lambda one: one.start != one.end)

Texts = list[tuple[list[Written], str]]

TEXTS: st.SearchStrategy[Texts] = st.lists(
    st.tuples(st.lists(WRITTEN, min_size=1, max_size=3), st.sampled_from(ZONES)), min_size=1, max_size=3
)

BEFORE, AFTER, SCANNED = 4 * DAY, 2 * DAY, 7 * DAY

APART = st.timedeltas(-BEFORE, AFTER)


@cache
def clock(zone: str, night: datetime) -> list[tuple[int, int]]:
    """What the zone's clock shows in every minute around a night: the day of the week and the minute of the day."""
    rules, minutes = maintenance_windows._zone(zone), (BEFORE + AFTER + SCANNED) // MINUTE
    shown = [(night - BEFORE + number * MINUTE).astimezone(rules) for number in range(minutes)]
    return [(one.weekday(), one.hour * 60 + one.minute) for one in shown]


def scan(texts: Texts, night: datetime, apart: timedelta) -> list[bool]:
    """Whether all are open, in each of the minutes from `night + apart` on."""
    first = (BEFORE + apart) // MINUTE
    minutes = slice(first, first + SCANNED // MINUTE)
    each = [
        [any(one.holds(*shown) for one in either) for shown in clock(zone, night)[minutes]] for either, zone in texts
    ]
    return [all(together) for together in zip(*each, strict=True)]


def written(texts: Texts) -> maintenance_windows.Windows:
    return parse_windows(*(f"{'; '.join(map(str, either))} {zone}" for either, zone in texts))


@few_examples
@given(TEXTS, st.sampled_from(NIGHTS), APART)
def test_opening_and_closing_are_those_of_a_scan_of_minutes(texts: Texts, night: datetime, apart: timedelta) -> None:
    found, at = written(texts), night + apart
    begin = night - BEFORE + (BEFORE + apart) // MINUTE * MINUTE
    seen = scan(texts, night, apart)

    for answer, wanted in ((found.next_open(at), True), (found.closes(at), False)):
        if wanted in seen:
            assert answer == max(at, begin + seen.index(wanted) * MINUTE)
        else:
            assert answer is None or answer >= begin + SCANNED
    for number in range(0, len(seen), 7):
        assert found.is_open(max(at, begin + number * MINUTE)) is seen[number]


@few_examples
@given(TEXTS, st.sampled_from(NIGHTS), APART)
def test_opening_that_is_far_away_is_open_and_the_minute_before_is_not(
    texts: Texts, night: datetime, apart: timedelta
) -> None:
    found, at = written(texts), night + apart
    opens = found.next_open(at)

    if opens is not None and opens > at:
        assert found.is_open(opens)
        assert not found.is_open(opens - timedelta(microseconds=1))
        assert found.next_open(max(at, opens - MINUTE)) == opens


# Where they are declared.

NIGHT, WEEKEND, OTHER = "22:00-04:00", "Sat-Sun 00:00-24:00", "Mon 00:00-04:00"


def declared(namespace: str | None, own: str | None, made_from: str | None) -> tuple[str, ...]:
    def marks(text: str | None) -> dict[str, str]:
        return {} if text is None else {MAINTENANCE_WINDOW: text}

    cart = workload(annotations=marks(own), made_from=template({"app": "cart"}, marks(made_from)))
    owner = top_owner(pod(owner=cart), {cart.metadata.uid: cart})
    return declared_windows(owner, make_namespace(annotations=marks(namespace)))


@pytest.mark.parametrize(
    ("namespace", "own", "made_from", "texts"),
    [
        pytest.param(None, None, None, (), id="nowhere"),
        pytest.param(NIGHT, None, None, (NIGHT,), id="namespace"),
        pytest.param(None, WEEKEND, None, (WEEKEND,), id="workload"),
        pytest.param(NIGHT, WEEKEND, None, (NIGHT, WEEKEND), id="both"),
        pytest.param(None, None, OTHER, (OTHER,), id="template"),
        pytest.param(None, WEEKEND, OTHER, (WEEKEND,), id="workload-before-its-template"),
        pytest.param("", None, None, ("",), id="empty-is-not-absent"),
    ],
)
def test_windows_are_read_from_namespace_then_workload(
    namespace: str | None, own: str | None, made_from: str | None, texts: tuple[str, ...]
) -> None:
    assert declared(namespace, own, made_from) == texts


def test_window_of_a_standalone_pod_is_its_own() -> None:
    alone = top_owner(pod(annotations={MAINTENANCE_WINDOW: NIGHT}), {})

    assert declared_windows(alone, None) == (NIGHT,)
