"""A report as GitHub-flavoured markdown, for the summary of a pipeline's step.

Such a place takes 1 MiB and shows nothing of what is larger, so the text is at most that: when an upgrade is too large
for all of it, the least important goes first, and the report says what is missing and which format has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mesh.reporting.document import (
    ReportDocument,
    WaveDocument,
    by_reason,
    count_of,
    counts_words,
    decision_words,
    deeds_of,
    facts,
    gravest_first,
    headline,
    open_items,
    outcome_words,
    skipped_items,
    took,
    wave_words,
    words_of,
)
from mesh.text import markdown

#: GitHub takes 1 MiB for all summaries that one step writes; a little is left for what others write there.
MOST_BYTES = 1_000_000
#: The longest text of a report is a failure's sentence.
_LONG = 4_000
_WHOLE = "`kyma-upgrade report --format html` has everything."


@dataclass(frozen=True, slots=True)
class _Level:
    """How much is told; `without` is what is not, in words."""

    without: str = ""
    done: bool = True
    steps: bool = True
    details: bool = True


_LEVELS = (
    _Level(),
    _Level("workloads that are done", done=False),
    _Level("workloads that are done, and what to do about items (`kyma-upgrade queue show ITEM`)", False, False),
    _Level("workloads that are done, and everything of items but their names", False, False, False),
)


def markdown_report(report: ReportDocument, most: int = MOST_BYTES) -> str:
    """At most `most` bytes of UTF-8; whole if that fits."""
    lines: list[str] = []
    for level in _LEVELS:
        lines = list(_lines(report, level))
        text = "\n".join(lines) + "\n"
        if len(text.encode()) <= most:
            return text
    return _cut(lines, most)


def _cut(lines: list[str], most: int) -> str:
    """The lines that fit: those of the last level stand for themselves, each closes what it opens."""
    note = "\n> {} lines are left out here as well. " + _WHOLE + "\n"
    left = most - len(note.encode()) - len(str(len(lines)))
    kept = 0
    for line in lines:
        left -= len(line.encode()) + 1
        if left < 0:
            break
        kept += 1
    return "\n".join(lines[:kept]) + "\n" + note.format(len(lines) - kept)


def _lines(report: ReportDocument, level: _Level) -> Iterable[str]:
    yield f"## {_safe(headline(report))}"
    yield ""
    if level.without:
        yield f"> This does not fit in one summary. Left out: {level.without}. {_WHOLE}"
        yield ""
    for note in report["notes"]:
        yield f"> {_safe(note)}"
        yield ""
    if report["failure"]:
        yield f"> **It failed:** {_safe(report['failure'])}"
        yield ""
    if report["needsAttention"]:
        yield f"> **It waits for an operator:** {_safe(report['needsAttention'])}"
        yield ""
        yield f"> {_safe(report['nextStep'] or '')}"
        yield ""
    yield "| | |"
    yield "| --- | --- |"
    for label, text in facts(report):
        yield f"| {label} | {_safe(text)} |"
    yield f"| Workflow | {_linked(report['workflowId'], report['url'])} |"
    yield ""
    yield from _items(report, level)
    yield from _waves(report["waves"], level)
    if report["decisions"]:
        yield "### Decisions"
        yield ""
        for one in report["decisions"]:
            yield f"- {one['at'] or ''} {_safe(decision_words(one))}"
        yield ""


def _items(report: ReportDocument, level: _Level) -> Iterable[str]:
    found = open_items(report)
    if found:
        yield f"### {count_of(len(found), 'item')} for a person to settle"
        yield ""
    for reason, items in by_reason(found):
        yield f"**{len(items)} {_safe(reason)}**"
        yield ""
        for one in items:
            yield from _item(one, level)
        if not level.steps:
            yield ""
    skipped = skipped_items(report)
    if skipped:
        yield f"### {count_of(len(skipped), 'item')} skipped"
        yield ""
        for one in skipped:
            until = f" until {one['until']}" if one["until"] else ""
            last = f"; {_safe(deeds_of(one)[-1])}" if one["history"] else ""
            yield f"- {_safe(words_of(one))}: {_safe(one['reason'])}{until}{last}"
        yield ""


def _item(one: Mapping[str, Any], level: _Level) -> Iterable[str]:
    state = "" if one["state"] == "open" else f" ({one['state']}{' until ' + one['until'] if one['until'] else ''})"
    detail = f": {_safe(one['detail'])}" if level.details and one["detail"] else ""
    yield f"- **{_safe(words_of(one))}**{state}{detail}"
    if not level.steps:
        return
    yield ""
    yield f"  {_safe(one['nextStep'])}"
    yield ""
    if one["commands"]:
        yield from _fenced(one["commands"], "  ")
        yield ""
    for deed in deeds_of(one):
        yield f"  - {_safe(deed)}"
    if one["history"]:
        yield ""


def _fenced(commands: Iterable[str], indent: str) -> Iterable[str]:
    """To be pasted as they are, so nothing is escaped: the fence is longer than any that they hold."""
    lines = [line for command in commands for line in command.splitlines()]
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{indent}{fence}sh"
    for line in lines:
        yield f"{indent}{line}"
    yield f"{indent}{fence}"


def _waves(waves: Iterable[WaveDocument], level: _Level) -> Iterable[str]:
    for number, wave in enumerate(waves):
        if not number:
            yield "### Waves"
            yield ""
        detail = f" ({_safe(wave['detail'])})" if wave["detail"] else ""
        time = f" in {took(wave['startedAt'], wave['endedAt'])}" if wave["endedAt"] else ""
        yield f"**{_linked(wave_words(wave), wave['url'])}**{detail}: {_safe(counts_words(wave['counts']))}{time}"
        yield ""
        members = gravest_first(wave)
        unsettled = [one for one in members if not one["outcome"].settled]
        for one in unsettled:
            told = f" {_safe(one['detail'])}" if one["detail"] else ""
            yield f"- {_safe(words_of(one))}: {_safe(outcome_words(one))}{told}"
        if unsettled:
            yield ""
        done = [one for one in members if one["outcome"].settled]
        if not done or not level.done:
            continue
        yield f"<details><summary>{count_of(len(done), 'workload')} done</summary>"
        yield ""
        yield "| Workload | Outcome | Took |"
        yield "| --- | --- | --- |"
        for one in done:
            told = f", {_safe(one['detail'])}" if one["detail"] else ""
            time = took(one["startedAt"], one["endedAt"])
            yield f"| {_safe(words_of(one))} | {one['outcome']}{told} | {time} |"
        yield ""
        yield "</details>"
        yield ""


def _linked(text: str, url: str | None) -> str:
    return f"[{_safe(text)}]({url})" if url else _safe(text)


def _safe(text: str) -> str:
    return markdown(text, _LONG)
