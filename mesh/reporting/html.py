"""A report as one HTML page: no scripts, nothing loaded from elsewhere, made to be kept as an artifact and printed.

`report.html.j2` is the page, `report.css` its style. Jinja escapes every value, so that nothing from a cluster becomes
markup.
"""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mesh.reporting.characters import printable
from mesh.reporting.document import (
    MemberStatus,
    ReportDocument,
    WorkloadDocument,
    by_reason,
    counted_noun,
    counts_text,
    decision_text,
    duration_text,
    history_lines,
    most_severe_first,
    open_items,
    outcome_text,
    skip_text,
    skipped_items,
    status_phrase,
    summary_rows,
    title,
    wave_title,
)

#: More items, or members of waves, than this are folded away.
_UNFOLDED = 30
#: Allows no script and no request, also where the template has an error.
_CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

#: CSS classes of results and of members.
_COLOURS = {
    "done": "good",
    "done-with-items": "wait",
    "failed": "bad",
    "aborted": "bad",
    MemberStatus.FAILED: "bad",
    MemberStatus.LEFT: "wait",
    MemberStatus.WAITING: "dim",
    MemberStatus.IN_FLIGHT: "dim",
    MemberStatus.RESTARTED: "good",
}


def html_report(report: ReportDocument) -> str:
    """Returns the whole page, with every member of every wave and every item."""
    return _environment().get_template("report.html.j2").render(report=report) + "\n"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mesh.reporting", ""),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals.update(
        content_security_policy=_CONTENT_SECURITY_POLICY,
        unfolded=_UNFOLDED,
        shows_failures=_shows_failures,
        badge_colour=_badge_colour,
        colour=lambda outcome: _COLOURS.get(outcome, ""),
        by_reason=by_reason,
        open_items=open_items,
        skip_text=skip_text,
        skipped_items=skipped_items,
        most_severe_first=most_severe_first,
        summary_rows=summary_rows,
        history_lines=history_lines,
        title=title,
        status_phrase=status_phrase,
        wave_title=wave_title,
        decision_text=decision_text,
        outcome_text=outcome_text,
        counts_text=counts_text,
        counted_noun=counted_noun,
        duration_text=duration_text,
    )
    return environment


def _finalize(value: object) -> object:
    """Removes what an HTML document must not contain; markup of the template's own macros stays as it is."""
    return value if isinstance(value, Markup) else printable(str(value))


def _shows_failures(members: list[WorkloadDocument]) -> bool:
    """Whether a wave is unfolded: a member failed, and there are few enough to read."""
    return len(members) <= _UNFOLDED and any(member["outcome"] is MemberStatus.FAILED for member in members)


def _badge_colour(report: ReportDocument) -> str:
    return _COLOURS.get(report["result"] or "", "wait" if report["needsAttention"] else "dim")
