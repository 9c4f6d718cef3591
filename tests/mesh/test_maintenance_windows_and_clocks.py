"""Maintenance windows where clocks change, and the search over years."""

from __future__ import annotations

import calendar
import struct
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pytest

from mesh import maintenance_windows
from mesh.maintenance_windows import parse_windows
from tests.mesh.window_hours import HOUR, MINUTE, opened, utc


def test_instant_may_be_given_in_any_time_zone_and_is_returned_in_utc() -> None:
    found = parse_windows("Sat 00:00-04:00")
    at = datetime(2026, 8, 8, 9, 30, tzinfo=zoneinfo.ZoneInfo("Asia/Tokyo"))

    assert found.is_open(at)
    assert found.next_open(at) == at
    assert (found.next_open(at) or at).tzinfo is UTC


def test_time_without_a_zone_is_no_instant() -> None:
    with pytest.raises(TypeError, match="offset-naive"):
        parse_windows("Sat 00:00-04:00").is_open(datetime(2026, 8, 8))  # noqa: DTZ001  what it is about


# The nights in which clocks change. Berlin: 2026-03-29 at 01:00 UTC, 2026-10-25 at 01:00 UTC.


def test_window_over_the_night_where_berlin_skips_two_to_three_is_an_hour_shorter() -> None:
    assert opened("Sun 01:00-04:00 Europe/Berlin", "2026-03-28", "2026-03-30") == [("Sun 00:00", "Sun 02:00")]


def test_window_within_the_hour_that_berlin_skips_opens_a_week_later() -> None:
    found = parse_windows("Sun 02:00-03:00 Europe/Berlin")

    assert found.next_open(utc("2026-03-28")) == utc("2026-04-05T00:00")


def test_window_that_begins_in_the_hour_that_berlin_skips_opens_at_three() -> None:
    assert opened("Sun 02:30-03:30 Europe/Berlin", "2026-03-28", "2026-03-30") == [("Sun 01:00", "Sun 01:30")]


def test_window_that_ends_in_the_hour_that_berlin_skips_closes_at_two() -> None:
    assert opened("Sun 01:30-02:30 Europe/Berlin", "2026-03-28", "2026-03-30") == [("Sun 00:30", "Sun 01:00")]


def test_window_over_the_night_where_berlin_has_two_to_three_twice_is_an_hour_longer() -> None:
    assert opened("Sun 01:00-04:00 Europe/Berlin", "2026-10-24", "2026-10-26") == [("Sat 23:00", "Sun 03:00")]


def test_window_of_the_hour_that_berlin_has_twice_is_open_for_both() -> None:
    assert opened("Sun 02:00-03:00 Europe/Berlin", "2026-10-24", "2026-10-26") == [("Sun 00:00", "Sun 02:00")]


def test_window_within_the_hour_that_berlin_has_twice_opens_twice() -> None:
    spans = opened("Sun 02:15-02:45 Europe/Berlin", "2026-10-24", "2026-10-26")

    assert spans == [("Sun 00:15", "Sun 00:45"), ("Sun 01:15", "Sun 01:45")]


def test_window_that_ends_in_the_hour_that_berlin_has_twice_opens_again_for_it() -> None:
    spans = opened("Sun 01:00-02:30 Europe/Berlin", "2026-10-24", "2026-10-26")

    assert spans == [("Sat 23:00", "Sun 00:30"), ("Sun 01:00", "Sun 01:30")]


def test_window_over_midnight_into_the_night_where_new_york_skips_two_to_three() -> None:
    spans = opened("Sat 22:00-04:00 America/New_York", "2026-03-07", "2026-03-09")

    assert spans == [("Sun 03:00", "Sun 08:00")]


def test_window_over_midnight_into_the_night_where_new_york_has_one_to_two_twice() -> None:
    spans = opened("Sat 22:00-04:00 America/New_York", "2026-10-31", "2026-11-02")

    assert spans == [("Sun 02:00", "Sun 09:00")]


def test_window_over_the_night_where_lord_howe_skips_half_an_hour() -> None:
    spans = opened("Sun 02:00-03:00 Australia/Lord_Howe", "2026-10-03", "2026-10-05")

    assert spans == [("Sat 15:30", "Sat 16:00")]


def test_window_over_the_night_where_lord_howe_has_half_an_hour_twice() -> None:
    spans = opened("Sun 01:30-02:00 Australia/Lord_Howe", "2026-04-04", "2026-04-06")

    assert spans == [("Sat 14:30", "Sat 15:30")]


def test_rules_of_time_zones_are_not_those_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "Europe").mkdir()
    tokyo = resources.files("tzdata").joinpath("zoneinfo", "Asia", "Tokyo").read_bytes()
    (tmp_path / "Europe" / "Berlin").write_bytes(tokyo)
    maintenance_windows._zone.cache_clear()
    zoneinfo.reset_tzpath([str(tmp_path)])
    try:
        assert zoneinfo.ZoneInfo.no_cache("Europe/Berlin").utcoffset(utc("2026-08-08")) == 9 * HOUR
        assert parse_windows("Sat 02:00-03:00 Europe/Berlin").is_open(utc("2026-08-08"))
    finally:
        zoneinfo.reset_tzpath()


def test_windows_that_meet_only_in_winter_are_waited_for_through_the_summer() -> None:
    found = parse_windows("Wed 01:00-02:00 Europe/Berlin", "Wed 00:15-00:45")

    assert found.next_open(utc("2026-03-31")) == utc("2026-10-28T00:15")


def test_windows_of_berlin_and_new_york_meet_only_in_the_weeks_between_their_changes() -> None:
    found = parse_windows("Mon 12:00-13:00 Europe/Berlin", "Mon 07:00-08:00 America/New_York")

    begin = found.next_open(utc("2026-04-01"))
    assert begin == utc("2026-10-26T11:00")
    assert found.next_open(utc("2026-10-27")) == utc("2027-03-15T11:00")


def test_windows_of_berlin_and_cairo_meet_only_in_years_when_october_ends_between_thursday_and_saturday() -> None:
    # Egypt leaves summer time after the last Thursday of October, Germany on its last Sunday. Only where the latter
    # comes first is Cairo two hours ahead of Berlin: in 2026, and then not before 2030.
    found = parse_windows("Mon 10:00-11:00 Europe/Berlin", "Mon 12:00-13:00 Africa/Cairo")

    assert found.next_open(utc("2026-08-08")) == utc("2026-10-26T09:00")
    assert found.next_open(utc("2026-10-27")) == utc("2030-10-28T09:00")


# What the search for an opening rests on: facts about the data of time zones that are locked.


@dataclass(frozen=True)
class Rules:
    """Of one zone: when its offset changes, as listed until some year; and the yearly rule that holds after that."""

    listed: tuple[datetime, ...]
    yearly: str

    @property
    def regular_from(self) -> int:
        """The first year that only the yearly rule says anything about."""
        return self.listed[-1].year + 1 if self.listed else 1


def every_zone() -> dict[str, Rules]:
    data = resources.files("tzdata")
    names = (data / "zones").read_text("utf-8").split()
    return {name: read(data.joinpath("zoneinfo", *name.split("/")).read_bytes()) for name in names}


def read(file: bytes) -> Rules:
    """RFC 9636: a header and block for old readers, then the same with 64 bits, then the yearly rule."""
    head = struct.Struct(">20x6l")
    utc_local, standard_wall, leaps, times, types, letters = head.unpack_from(file)
    at = head.size + times * 5 + types * 6 + letters + leaps * 8 + standard_wall + utc_local
    utc_local, standard_wall, leaps, times, types, letters = head.unpack_from(file, at)
    at += head.size
    listed = struct.unpack_from(f">{times}q", file, at)
    at += times * 9 + types * 6 + letters + leaps * 12 + standard_wall + utc_local
    since = [EPOCH + timedelta(seconds=one) for one in listed if one > 0]
    return Rules(tuple(since), file[at:].decode().strip())


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

THIS_YEAR = 2026


def changes(zone: str, first: int, last: int) -> Iterator[datetime]:
    """When the offset changes in these years, to six hours: two changes in less than that would be overlooked."""
    rules, at = maintenance_windows._zone(zone), datetime(first, 1, 1, tzinfo=UTC)
    before = at.astimezone(rules).utcoffset()
    while at.year <= last:
        at += 6 * HOUR
        after = at.astimezone(rules).utcoffset()
        if after != before:
            yield at
        before = after


def test_every_zone_follows_a_yearly_rule_when_the_search_counts_on_it() -> None:
    late = {name: rules.regular_from for name, rules in every_zone().items()}

    assert max(late.values()) <= maintenance_windows._REGULAR_FROM
    assert max(late.values()) > THIS_YEAR, "Gaza and Hebron list their Ramadans"


def test_no_zone_changes_its_offset_twice_within_a_step_of_the_search() -> None:
    step = maintenance_windows._STEADY * MINUTE
    by_rules = {rules: name for name, rules in every_zone().items()}
    looked_at = set()
    for rules, name in by_rules.items():
        listed = [one for one in rules.listed if one.year >= THIS_YEAR]
        assert all(later - one > step for one, later in pairwise(listed)), name
        # The yearly rule by itself, and where it takes over.
        if ("," in rules.yearly and rules.yearly not in looked_at) or listed:
            looked_at.add(rules.yearly)
            begin = max(THIS_YEAR, rules.regular_from - 1)
            assert all(later - one > step + 6 * HOUR for one, later in pairwise(changes(name, begin, begin + 3))), name
    assert len(looked_at) > 20


def test_offsets_are_whole_minutes() -> None:
    for name, rules in every_zone().items():
        for at in (*(one for one in rules.listed if one.year >= THIS_YEAR), utc("2088-01-01"), utc("2088-07-01")):
            assert at.timestamp() % 60 == 0, name
            assert (at.astimezone(maintenance_windows._zone(name)).utcoffset() or timedelta()) % MINUTE == timedelta(
                0
            ), name


def test_every_kind_of_year_comes_within_the_horizon_whenever_the_search_begins() -> None:
    kinds = {year: (date(year, 1, 1).weekday(), calendar.isleap(year)) for year in range(2000, 2500)}

    assert all(
        len({kinds[year] for year in range(first, first + maintenance_windows._ALL_KINDS)}) == 14
        for first in range(2000, 2400)
    )
