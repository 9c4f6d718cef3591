"""Operators' commands to a remediation item, and the refusal of those that cannot be carried out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mesh.durations import parse_duration
from mesh.remediation.item import parse_until
from mesh.text import one_line

from workflows.failures import refusal

_LONGEST_SNOOZE = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class ItemCommand:
    """An operator's command to a remediation item: who gives it, and why."""

    who: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True)
class ResolveCommand(ItemCommand):
    """Closes the item if its workload needs no restart; with `force` in any case."""

    force: bool = False


@dataclass(frozen=True, slots=True)
class SkipCommand(ItemCommand):
    """Closes the item until the end of the day `until` (UTC), or until a time with its zone."""

    until: str = ""


@dataclass(frozen=True, slots=True)
class SnoozeCommand(ItemCommand):
    """Leaves the item alone for a duration, written as in a policy: `2h30m`."""

    duration: str = ""


def check_command(command: ItemCommand, now: datetime) -> None:
    """Refuses a command that lacks a reason, a date or a duration.

    Raises:
        ApplicationError: the refusal, one or two sentences.
    """
    match command:
        case ResolveCommand(force=True, because=""):
            raise refusal('Give a reason ("because") to close the item without a check.')
        case SkipCommand(because=""):
            raise refusal('Give a reason ("because") to skip the item.')
        case SkipCommand():
            _check_until(command.until, now)
        case SnoozeCommand():
            snooze_duration(command)


def snooze_duration(command: SnoozeCommand) -> timedelta:
    """Returns how long a snooze lasts.

    Raises:
        ApplicationError: the refusal of what is no duration, or too long.
    """
    duration = parse_duration(command.duration)
    if duration == timedelta():
        raise refusal("--for must be longer than 0s.")
    if duration is None:
        raise refusal(f"{one_line(command.duration)!r} is not a duration. Write 30m, 2h30m or 3d.")
    if duration > _LONGEST_SNOOZE:
        raise refusal(f"{command.duration} is longer than a year. Skip the item until a date instead.")
    return duration


def _check_until(text: str, now: datetime) -> None:
    until = parse_until(text)
    if until is None:
        raise refusal(f"{one_line(text)!r} is not a date. Write 2027-01-31, or a time with its zone.")
    if until <= now:
        raise refusal(f"{one_line(text)} is in the past. Give a later date.")
