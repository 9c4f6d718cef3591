"""A report as GitHub-flavoured markdown, for the summary of a pipeline's step.

A summary holds 1 MiB, and GitHub shows nothing of a larger one. When a report is too large, the least important parts
are left out first, and the report says what is missing and which format has everything.
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
    counted_noun,
    counts_text,
    decision_text,
    display_name,
    duration_text,
    headline,
    history_lines,
    most_severe_first,
    open_items,
    outcome_text,
    skip_text,
    skipped_items,
    summary_rows,
    wave_title,
)
from mesh.text import markdown

#: GitHub accepts 1 MiB for all summaries of one step; the rest is for what other commands of the step write.
MAX_BYTES = 1_000_000
#: Longest text in characters: the sentence of a failure.
_LONGEST_TEXT = 4_000
_COMPLETE = "`kyma-upgrade report --format html` has everything."


@dataclass(frozen=True, slots=True)
class _Level:
    """How much the report holds; `without` names in a phrase what it leaves out."""

    without: str = ""
    done: bool = True
    steps: bool = True
    details: bool = True


_LEVELS = (
    _Level(),
    _Level("workloads that are done", done=False),
    _Level("workloads that are done, and the next steps of items (`kyma-upgrade queue show ITEM`)", False, False),
    _Level("workloads that are done, and everything about items except their names", False, False, False),
)


def markdown_report(report: ReportDocument, limit: int = MAX_BYTES) -> str:
    """Returns the report in at most `limit` bytes of UTF-8; complete if it fits."""
    lines: list[str] = []
    for level in _LEVELS:
        lines = list(_lines(report, level))
        text = "\n".join(lines) + "\n"
        if len(text.encode()) <= limit:
            return text
    return _cut(lines, limit)


def _cut(lines: list[str], limit: int) -> str:
    """Returns the lines that fit. In the last level no element spans several lines, so any line may be the last."""
    note = "\n> {} more lines are left out. " + _COMPLETE + "\n"
    left = limit - len(note.encode()) - len(str(len(lines)))
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
        yield f"> The report is too large for one summary. Left out: {level.without}. {_COMPLETE}"
        yield ""
    for note in report["notes"]:
        yield f"> {_safe(note)}"
        yield ""
    if report["failure"]:
        yield f"> **The upgrade failed:** {_safe(report['failure'])}"
        yield ""
    if report["needsAttention"]:
        yield f"> **The upgrade waits for an operator:** {_safe(report['needsAttention'])}"
        yield ""
        yield f"> {_safe(report['nextStep'] or '')}"
        yield ""
    yield "| | |"
    yield "| --- | --- |"
    for label, text in summary_rows(report):
        yield f"| {label} | {_safe(text)} |"
    yield f"| Workflow | {_linked(report['workflowId'], report['url'])} |"
    yield ""
    yield from _items(report, level)
    yield from _waves(report["waves"], level)
    if report["decisions"]:
        yield "### Decisions"
        yield ""
        for decision in report["decisions"]:
            yield f"- {decision['at'] or ''} {_safe(decision_text(decision))}"
        yield ""


def _items(report: ReportDocument, level: _Level) -> Iterable[str]:
    unresolved = open_items(report)
    if unresolved:
        yield f"### {counted_noun(len(unresolved), 'open item')}"
        yield ""
    for reason, items in by_reason(unresolved):
        yield f"**{len(items)} {_safe(reason)}**"
        yield ""
        for item in items:
            yield from _item(item, level)
        if not level.steps:
            yield ""
    skipped = skipped_items(report)
    if skipped:
        yield f"### {counted_noun(len(skipped), 'skipped item')}"
        yield ""
        for item in skipped:
            yield f"- {_safe(display_name(item))}: {_safe(item['reason'])}, {_safe(skip_text(item))}"
        yield ""


def _item(item: Mapping[str, Any], level: _Level) -> Iterable[str]:
    until = f" until {item['until']}" if item["until"] else ""
    state = "" if item["state"] == "open" else f" ({item['state']}{until})"
    detail = f": {_safe(item['detail'])}" if level.details and item["detail"] else ""
    yield f"- **{_safe(display_name(item))}**{state}{detail}"
    if not level.steps:
        return
    yield ""
    yield f"  {_safe(item['nextStep'])}"
    yield ""
    if item["commands"]:
        yield from _fenced(item["commands"], "  ")
        yield ""
    for line in history_lines(item):
        yield f"  - {_safe(line)}"
    if item["history"]:
        yield ""


def _fenced(commands: Iterable[str], indent: str) -> Iterable[str]:
    """Yields the commands unescaped, to be copied: the fence is longer than any run of backticks in them."""
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
        time = f" in {duration_text(wave['startedAt'], wave['endedAt'])}" if wave["endedAt"] else ""
        yield f"**{_linked(wave_title(wave), wave['url'])}**{detail}: {_safe(counts_text(wave['counts']))}{time}"
        yield ""
        members = most_severe_first(wave)
        unsettled = [member for member in members if not member["outcome"].settled]
        for member in unsettled:
            detail = f" {_safe(member['detail'])}" if member["detail"] else ""
            yield f"- {_safe(display_name(member))}: {_safe(outcome_text(member))}{detail}"
        if unsettled:
            yield ""
        done = [member for member in members if member["outcome"].settled]
        if not done or not level.done:
            continue
        yield f"<details><summary>{counted_noun(len(done), 'workload')} done</summary>"
        yield ""
        yield "| Workload | Outcome | Took |"
        yield "| --- | --- | --- |"
        for member in done:
            detail = f", {_safe(member['detail'])}" if member["detail"] else ""
            time = duration_text(member["startedAt"], member["endedAt"])
            yield f"| {_safe(display_name(member))} | {member['outcome']}{detail} | {time} |"
        yield ""
        yield "</details>"
        yield ""


def _linked(text: str, url: str | None) -> str:
    return f"[{_safe(text)}]({url})" if url else _safe(text)


def _safe(text: str) -> str:
    return markdown(text, _LONGEST_TEXT)
