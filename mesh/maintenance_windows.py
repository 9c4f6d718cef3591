"""Maintenance windows: the hours in which workloads may be restarted.

One text, for example `Sat-Sun 00:00-04:00 Europe/Berlin`; blanks and case do not matter:

    text   = window { ";" window } [ zone ]     open when one of its windows is
    window = [ days ] time "-" time             without days: every day
    days   = day [ "-" day ] { "," ... }        Sat, Saturday, Sat-Sun, Mon-Wed,Fri; Fri-Mon goes over the week's end
    time   = 00:00 to 23:59                     an end also 24:00; the end is not in the window
    zone   = a name of the IANA database        one for the whole text; UTC without it

A range over midnight belongs to the day on which it begins: `Fri 22:00-04:00` ends on Saturday.

Daylight saving: an instant is in a window if and only if the wall clock of the zone then shows a time in it. Where a
night skips 02:00 to 03:00, `02:00-03:00` does not open and `01:00-04:00` lasts two hours; where a night has that hour
twice, `02:00-03:00` lasts two hours, and `02:15-02:45` opens twice.

The annotation is that of Kyma's ADR 0018 (kyma-project/istio, docs/contributor/adr/0018-restarter-component.md), which
knows one window in UTC, of a day, a range or a list of days, and leaves the rest open.

The rules of time zones come from the locked package tzdata, never from the machine: every worker then agrees, and a
workflow that is replayed decides as it did.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

from mesh.k8s.objects import Namespace
from mesh.k8s.owners import Owner
from mesh.text import one_line
from mesh.wellknown import MAINTENANCE_WINDOW

EXAMPLE = "Sat-Sun 00:00-04:00 Europe/Berlin"

#: Most characters of a window; a longer text is refused without parsing it.
_TEXT_LIMIT = 1000
_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAYS = {form: number for number, name in enumerate(_NAMES) for form in (name, name[:3])}
_TIMES = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])-(?:([01]?[0-9]|2[0-3]):([0-5][0-9])|24:00)")

# A week is an integer with one bit per minute from Monday 00:00, so that all minutes are joined or searched at once.
_MINUTE = timedelta(minutes=1)
_DAY = 24 * 60
_WEEK = 7 * _DAY
_ALWAYS = (1 << _WEEK) - 1
_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)

#: No zone changes its offset twice within so many minutes (Gaza will within seven days), so no change is missed.
_STEADY = 6 * _DAY
#: From this year on every zone follows a yearly rule, so that a year's changes depend on its kind alone: the weekday
#: on which it begins, and whether it is a leap year. Any 40 years have all 14 kinds.
_REGULAR_FROM = 2088
_ALL_KINDS = 40

_DATA = resources.files("tzdata")
_Offsets = tuple[int, ...]


class WindowInvalidError(ValueError):
    """A text is not a maintenance window. The message is a sentence without a full stop, with a valid example."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Maintenance windows that must all be open; without any it is always open. Times are aware, results in UTC.

    `weeks` has one entry per time zone: its name, and the minutes of its local week.
    """

    weeks: tuple[tuple[str, int], ...] = ()

    def is_open(self, at: datetime) -> bool:
        """Whether all windows are open at this time."""
        minute = _minute(at)
        under = zip(self.weeks, self._offsets(minute), strict=True)
        return all(week >> (minute + offset) % _WEEK & 1 for (_, week), offset in under)

    def next_open(self, at: datetime) -> datetime | None:
        """Returns the first time from `at` on at which all windows are open, which may be `at`; None if never again."""
        if not all(week for _, week in self.weeks):
            return None
        return self._first(at, self._open_under)

    def closes(self, at: datetime) -> datetime | None:
        """Returns the first time from `at` on at which a window is closed, which may be `at`; None if never."""
        if all(week == _ALWAYS for _, week in self.weeks):
            return None
        return self._first(at, lambda offsets: _ALWAYS ^ self._open_under(offsets))

    def _first(self, at: datetime, week_under: Callable[[_Offsets], int]) -> datetime | None:
        """Returns the first time in the week of its offsets; the search ends after every kind of year."""
        minute = _minute(at)
        end = _minute(datetime(max(at.year, _REGULAR_FROM) + _ALL_KINDS + 1, 1, 1, tzinfo=UTC))
        offsets = self._offsets(minute)
        week = week_under(offsets)
        while minute < end:
            opens = _ahead(week, minute)
            until = minute + _STEADY if opens is None else min(opens, minute + _STEADY)
            if self._offsets(until) != offsets:
                minute = self._changes(minute, until, offsets)
                offsets = self._offsets(minute)
                week = week_under(offsets)
            elif until == opens:
                return max(at.astimezone(UTC), _MONDAY + opens * _MINUTE)
            else:
                minute = until
        return None

    def _changes(self, minute: int, until: int, offsets: _Offsets) -> int:
        """Returns the first minute up to `until` with other offsets: within that time, a changed zone stays changed."""
        later = range(minute + 1, until)
        return minute + 1 + bisect_left(later, True, key=lambda one: self._offsets(one) != offsets)

    def _offsets(self, minute: int) -> _Offsets:
        """Returns how far each zone is ahead of UTC, in minutes."""
        at = _MONDAY + minute * _MINUTE
        return tuple((at.astimezone(_zone(name)).utcoffset() or timedelta()) // _MINUTE for name, _ in self.weeks)

    def _open_under(self, offsets: _Offsets) -> int:
        """Returns the minutes of the week in UTC in which all windows are open while these offsets hold."""
        open_ = _ALWAYS
        for (_, week), offset in zip(self.weeks, offsets, strict=True):
            open_ &= _later(week, -offset)
        return open_


def parse_windows(*texts: str) -> Windows:
    """Parses windows that must all be open.

    Raises:
        WindowInvalidError: one of the texts is not a window.
    """
    weeks: dict[str, int] = {}
    for text in texts:
        zone, week = _parse(text)
        weeks[zone] = weeks.get(zone, _ALWAYS) & week
    return Windows(tuple(sorted(weeks.items())))


def declared_windows(owner: Owner, namespace: Namespace | None) -> tuple[str, ...]:
    """Returns the annotations as written: the namespace's, then the workload's, or its template's if it has none."""
    own = owner.workload.metadata.annotation(MAINTENANCE_WINDOW) if owner.workload is not None else None
    texts = (
        namespace.metadata.annotation(MAINTENANCE_WINDOW) if namespace is not None else None,
        owner.template.metadata.annotation(MAINTENANCE_WINDOW) if own is None else own,
    )
    return tuple(text for text in texts if text is not None)


def never_together(texts: Sequence[str]) -> str:
    """Returns the sentence, without a full stop, about windows that are never open together."""
    return f"{' and '.join(_quoted(text, 60) for text in texts)} are never open together"


@lru_cache(maxsize=1024)
def _parse(text: str) -> tuple[str, int]:
    """Returns time zone and week of a text."""
    if len(text) > _TEXT_LIMIT:
        raise _invalid(text, f"it is longer than {_TEXT_LIMIT} characters")
    parts = [part.split() for part in re.sub(r"\s*([-,;])\s*", r"\1", text).split(";") if part.strip()]
    if not parts:
        raise _invalid(text, "it is empty")
    week = 0
    zones = []
    for words in parts:
        number = next((number for number, word in enumerate(words) if word[0].isdigit()), None)
        if number is None:
            raise _invalid(text, f"{_quoted(' '.join(words))} has no time")
        start, length = _times(text, words[number])
        for day in _days(text, " ".join(words[:number])):
            week |= _later((1 << length) - 1, day * _DAY + start)
        zones.append(_zone_name(text, " ".join(words[number + 1 :])))
    if len({*zones} - {None}) > 1 or (zones[-1] is None and any(zones)):
        raise _invalid(text, "the time zone comes last, once for all windows")
    return zones[-1] or "UTC", week


def _times(text: str, word: str) -> tuple[int, int]:
    """Returns start and length in minutes."""
    match = _TIMES.fullmatch(word)
    if match is None:
        raise _invalid(text, f"{_quoted(word)} is not a range of times")
    start = int(match[1]) * 60 + int(match[2])
    end = int(match[3]) * 60 + int(match[4]) if match[3] else _DAY
    if start == end:
        raise _invalid(text, f"{_quoted(word)} ends when it starts; a whole day is 00:00-24:00")
    return start, end - start if start < end else end - start + _DAY


def _days(text: str, word: str) -> set[int]:
    days: set[int] = set()
    for piece in word.split(",") if word else ["mon-sun"]:
        first, *rest = (_day(text, name) for name in piece.split("-", 1))
        last = rest[0] if rest else first
        days |= {(first + more) % 7 for more in range((last - first) % 7 + 1)}
    return days


def _day(text: str, word: str) -> int:
    number = _DAYS.get(word.casefold())
    if number is None:
        raise _invalid(text, f"{_quoted(word)} is not a day of the week")
    return number


def _zone_name(text: str, word: str) -> str | None:
    if not word:
        return None
    name = _zone_names().get(word.casefold())
    if name is None:
        raise _invalid(text, f"{_quoted(word)} is not a time zone of the IANA database")
    return name


def _invalid(text: str, wrong: str) -> WindowInvalidError:
    return WindowInvalidError(f'{_quoted(text)} is not a maintenance window: {wrong}; a valid one is "{EXAMPLE}"')


def _quoted(text: str, limit: int = 25) -> str:
    return f'"{one_line(text, limit)}"'


def _minute(at: datetime) -> int:
    """Returns the minutes since a Monday. Offsets are whole minutes, so no window opens or closes within one."""
    return (at - _MONDAY) // _MINUTE


def _later(week: int, minutes: int) -> int:
    """Returns the week rotated by so many minutes."""
    by = minutes % _WEEK
    return (week << by | week >> (_WEEK - by)) & _ALWAYS


def _ahead(week: int, minute: int) -> int | None:
    """Returns the first minute from this one on that is in the week; None when the week is empty."""
    ahead = _later(week, -minute)
    return minute + (ahead & -ahead).bit_length() - 1 if ahead else None


@cache
def _zone_names() -> dict[str, str]:
    """Returns all time zones by their case-folded names. Only these are opened, so that a text cannot name a file."""
    return {name.casefold(): name for name in (_DATA / "zones").read_text("utf-8").split()}


@cache
def _zone(name: str) -> ZoneInfo:
    with _DATA.joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)
