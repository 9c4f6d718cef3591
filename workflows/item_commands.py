"""What operators say to a remediation item, and which of it cannot be meant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mesh.durations import parse_duration
from mesh.remediation.item import parse_until
from mesh.text import one_line

from workflows.failures import refused

_LONGEST_SNOOZE = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class ItemCommand:
    """An operator's word to a remediation item."""

    who: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True)
class ResolveCommand(ItemCommand):
    """`force` closes it though its proxies are stale."""

    force: bool = False


@dataclass(frozen=True, slots=True)
class SkipCommand(ItemCommand):
    """`until` is the last day of the skip (UTC), or a time with its zone."""

    until: str = ""


@dataclass(frozen=True, slots=True)
class SnoozeCommand(ItemCommand):
    """`duration` as in a policy: `2h30m`."""

    duration: str = ""


def check_command(word: ItemCommand, now: datetime) -> None:
    """Refuses with a sentence what lacks a reason, a date or a duration."""
    if isinstance(word, ResolveCommand):
        if word.force and not word.because:
            raise refused("To close it though it is stale, say why: because.")
    elif isinstance(word, SkipCommand):
        if not word.because:
            raise refused("To skip it, say why: because.")
        until = parse_until(word.until)
        if until is None:
            raise refused(f"{one_line(word.until)!r} is no date: write it as 2027-01-31, or as a time with its zone.")
        if until <= now:
            raise refused(f"{one_line(word.until)} is over: give a day that is still to come.")
    elif isinstance(word, SnoozeCommand):
        duration_of(word)


def duration_of(word: SnoozeCommand) -> timedelta:
    """How long a snooze lasts; refused where that cannot be meant."""
    duration = parse_duration(word.duration)
    if not duration:
        raise refused(f"{one_line(word.duration)!r} is no duration: write it as 30m, 2h30m or 3d.")
    if duration > _LONGEST_SNOOZE:
        raise refused(f"{word.duration} is longer than a year: skip it until a date instead.")
    return duration
