"""A report as one HTML page: no scripts, nothing loaded from elsewhere, made to be kept as an artifact and printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree.ElementTree import Element, tostring

from mesh.reporting.document import (
    Fate,
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
    key_of,
    open_items,
    outcome_words,
    skipped_items,
    standing,
    took,
    wave_words,
)
from mesh.reporting.tree import add, clean

#: More items, or members of waves, than this are folded away.
_UNFOLDED = 30
#: Nothing may run and nothing be loaded, even where this page were wrong.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #5c6670; --line: #d8dde3; --card: #f5f7f9; --page: #fff;
  --good: #1a7f37; --bad: #c62828; --wait: #9a6700; --link: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --dim: #9aa4ae; --line: #343b43; --card: #1d2228;
  --page: #14181c; --good: #4ac26b; --bad: #ff7b72; --wait: #e3b341; --link: #6cb6ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
a { color: var(--link); }
.badge { display: inline-block; border: 1px solid; border-radius: 1em; padding: .05em .7em; font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); } .wait { color: var(--wait); } .dim { color: var(--dim); }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.5rem; margin: 1.25rem 0; padding: 1rem;
  background: var(--card); border: 1px solid var(--line); border-radius: .5rem; }
.facts dt { color: var(--dim); } .facts dd { margin: 0; overflow-wrap: anywhere; }
.callout { border-left: .3rem solid var(--wait); background: var(--card); padding: .75rem 1rem; margin: 1rem 0; }
.callout.bad { border-color: var(--bad); color: inherit; }
.callout p { margin: .25rem 0; overflow-wrap: anywhere; }
details { border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; background: var(--card); }
summary { cursor: pointer; padding: .6rem 1rem; overflow-wrap: anywhere; }
summary .detail { display: block; color: var(--dim); }
.body { padding: 0 1rem .75rem; }
pre { background: var(--page); border: 1px solid var(--line); border-radius: .35rem; padding: .6rem .8rem;
  margin: .5rem 0 0; overflow-x: auto; font: 13px/1.5 ui-monospace, monospace; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; color: var(--dim); font-weight: 500; }
th, td { padding: .3rem 1rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: anywhere; }
tr:last-child td { border-bottom: 0; }
td.narrow, th.narrow { white-space: nowrap; }
@media print { details > *, pre { break-inside: avoid; } body { font-size: 12px; } }
"""

_COLOURS = {
    "done": "good",
    "done-with-items": "wait",
    "failed": "bad",
    "aborted": "bad",
    Fate.FAILED: "bad",
    Fate.LEFT: "wait",
    Fate.WAITING: "dim",
    Fate.IN_FLIGHT: "dim",
    Fate.RESTARTED: "good",
}


def html_report(report: ReportDocument) -> str:
    """A whole document, with every member of every wave and every item."""
    page = Element("html", {"lang": "en"})
    head = add(page, "head")
    add(head, "meta", charset="utf-8")
    add(head, "meta", http_equiv="Content-Security-Policy", content=_POLICY)
    add(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    add(head, "title", headline(report))
    add(head, "style", _STYLE)
    main = add(add(page, "body"), "main")
    _header(main, report)
    _items(main, report)
    _waves(main, report["waves"])
    _decisions(main, report)
    return "<!DOCTYPE html>\n" + tostring(page, encoding="unicode", method="html") + "\n"


def _header(main: Element, report: ReportDocument) -> None:
    target = f" to {report['target']}" if report["target"] else ""
    add(main, "h1", f"Upgrade of cluster {report['cluster']}{target}")
    attention = "wait" if report["needsAttention"] else "dim"
    add(main, "span", standing(report), class_=f"badge {_COLOURS.get(report['result'] or '', attention)}")
    if report["failure"]:
        add(add(main, "div", class_="callout bad"), "p", report["failure"])
    if report["needsAttention"]:
        callout = add(main, "div", class_="callout")
        add(callout, "p", report["needsAttention"])
        add(callout, "p", report["nextStep"] or "")
    for note in report["notes"]:
        add(add(main, "div", class_="callout"), "p", note)
    told = add(main, "dl", class_="facts")
    for label, text in facts(report):
        add(told, "dt", label)
        add(told, "dd", text)
    add(told, "dt", "Workflow")
    _linked(add(told, "dd"), report["workflowId"], report["url"])


def _items(main: Element, report: ReportDocument) -> None:
    found = open_items(report)
    if found:
        add(main, "h2", f"{count_of(len(found), 'item')} for a person to settle")
    for reason, items in by_reason(found):
        add(main, "h3", f"{reason} ({len(items)})")
        for one in items:
            _item(main, one, unfolded=len(found) <= _UNFOLDED)
    skipped = skipped_items(report)
    if skipped:
        add(main, "h2", f"{count_of(len(skipped), 'item')} skipped")
        rows = ([*key_of(one), one["reason"], one["until"] or "", *deeds_of(one)[-1:]] for one in skipped)
        _table(main, ("Namespace", "Kind", "Name", "Reason", "Until", "Last done"), rows)


def _item(main: Element, one: Mapping[str, Any], *, unfolded: bool) -> None:
    box = add(main, "details")
    if unfolded:
        box.set("open", "open")
    summary = add(box, "summary")
    _linked(add(summary, "strong"), f"{one['namespace']} / {one['kind']} / {one['name']}", one.get("url"))
    until = f" until {one['until']}" if one["until"] else ""
    add(summary, "span", f" {one['state']}{until}, since {one['since']}", class_="dim")
    if one["detail"]:
        add(summary, "span", one["detail"], class_="detail")
    body = add(box, "div", class_="body")
    add(body, "div", one["nextStep"])
    if one["commands"]:
        add(body, "pre", "\n".join(one["commands"]))
    for deed in deeds_of(one):
        add(body, "div", deed, class_="dim")


def _waves(main: Element, waves: list[WaveDocument]) -> None:
    if waves:
        add(main, "h2", "Waves")
    for wave in waves:
        members = gravest_first(wave)
        box = add(main, "details")
        if any(one["outcome"] is Fate.FAILED for one in members) and len(members) <= _UNFOLDED:
            box.set("open", "open")
        summary = add(box, "summary")
        _linked(add(summary, "strong"), wave_words(wave), wave["url"])
        time = f" in {took(wave['startedAt'], wave['endedAt'])}" if wave["endedAt"] else ""
        add(summary, "span", f" {counts_words(wave['counts'])}{time}", class_="dim")
        if wave["detail"]:
            add(summary, "span", wave["detail"], class_="detail")
        body = add(box, "div", class_="body")
        table = _table(body, ("Namespace", "Kind", "Name", "Outcome", "Took", "Detail"), ())
        for one in members:
            row = add(table, "tr")
            for text in key_of(one):
                add(row, "td", text)
            add(row, "td", outcome_words(one), class_=f"narrow {_COLOURS.get(one['outcome'], '')}")
            add(row, "td", took(one["startedAt"], one["endedAt"]), class_="narrow")
            add(row, "td", one["detail"] or "")


def _decisions(main: Element, report: ReportDocument) -> None:
    if report["decisions"]:
        add(main, "h2", "Decisions")
        rows = ([one["at"] or "", decision_words(one)] for one in report["decisions"])
        _table(main, ("When", "What"), rows)


def _table(parent: Element, headers: Iterable[str], rows: Iterable[Iterable[str]]) -> Element:
    table = add(parent, "table")
    head = add(table, "tr")
    for text in headers:
        add(head, "th", text, class_="narrow")
    for cells in rows:
        row = add(table, "tr")
        for text in cells:
            add(row, "td", text)
    return table


def _linked(parent: Element, text: str, url: str | None) -> None:
    if url:
        add(parent, "a", text, href=url)
    else:
        parent.text = clean(text)
