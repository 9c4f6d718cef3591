"""A report as JUnit XML, for the test pages of GitLab and Jenkins.

There is one suite for the upgrade itself, one for the queue, and one per wave. The format has no standard; these
elements are what both read: https://docs.gitlab.com/ci/testing/unit_test_reports/ (shows the text of an element, not
its `message`) and the schema junit-10.xsd of Jenkins' xunit plugin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from mesh.reporting.characters import printable
from mesh.reporting.document import (
    MemberStatus,
    ReportDocument,
    WaveDocument,
    WorkloadDocument,
    headline,
    history_lines,
    seconds_between,
    skip_text,
    status_phrase,
)

_QUEUE = "Remediation queue"


def junit_report(report: ReportDocument) -> str:
    """Returns the whole document, with every member of every wave and every item."""
    root = Element("testsuites", {"name": printable(headline(report))})
    # GitLab shows the first of several cases with the same name: open items come first, then the latest wave.
    suites = [_upgrade(root, report), _queue(root, report)]
    suites += [_wave(root, wave) for wave in reversed(report["waves"])]
    for suite in suites:
        _set_counts(suite)
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in suites)))
    root.set("time", _time(seconds_between(report["startedAt"], report["endedAt"])))
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _upgrade(root: Element, report: ReportDocument) -> Element:
    suite = _suite(root, "Upgrade", report["startedAt"], report["endedAt"])
    case = _case(suite, report["cluster"], "upgrade", seconds_between(report["startedAt"], report["endedAt"]))
    if report["needsAttention"]:
        attention = report["needsAttention"]
        _add(case, "failure", report["nextStep"] or attention, type="WaitsForOperator", message=attention)
    elif report["result"] is None:
        _skipped(case, f"still running: {report['phase']}")
    elif not report["result"].startswith("done"):
        message = report["failure"] or status_phrase(report)
        _add(case, "failure", message, type=report["result"], message=message)
    return suite


def _wave(root: Element, wave: WaveDocument) -> Element:
    suite = _suite(root, f"Wave {wave['number'] + 1}, {wave['name']}", wave["startedAt"], wave["endedAt"])
    for member in wave["workloads"]:
        _member(suite, member)
    return suite


def _member(suite: Element, member: WorkloadDocument) -> None:
    case = _case(suite, member["namespace"], _name(member), seconds_between(member["startedAt"], member["endedAt"]))
    outcome, detail = member["outcome"], member["detail"]
    if outcome is MemberStatus.FAILED:
        reason = member["reason"] or "RestartFailed"
        _add(case, "failure", f"{reason}: {detail}" if detail else reason, type=reason, message=detail or reason)
    elif not outcome.settled:
        _skipped(case, f"{outcome}: {detail}" if detail else str(outcome))


def _queue(root: Element, report: ReportDocument) -> Element:
    suite = _suite(root, _QUEUE, report["takenAt"], None)
    for item in report["queue"]:
        case = _case(suite, item["namespace"], _name(item), 0.0)
        if item["state"] == "skipped":
            _skipped(case, f"{item['reason']}: {skip_text(item)}")
        else:
            detail = item["detail"] or "see the next step"
            lines = [f"{item['reason']}: {detail}", "", item["nextStep"], "", *item["commands"]]
            lines += ["", *history_lines(item)] if item["history"] else []
            _add(case, "failure", "\n".join(lines), type=item["reason"], message=detail)
    return suite


def _suite(root: Element, name: str, start: str | None, end: str | None) -> Element:
    suite = _add(root, "testsuite", name=name, time=_time(seconds_between(start, end)))
    if start is not None:
        # The schema allows no time zone: the time is in UTC.
        suite.set("timestamp", start.removesuffix("Z"))
    return suite


def _case(suite: Element, namespace: str, name: str, seconds: float) -> Element:
    return _add(suite, "testcase", classname=namespace, name=name, time=_time(seconds))


def _skipped(case: Element, message: str) -> None:
    # Jenkins shows the attribute, GitLab the text.
    _add(case, "skipped", message, message=message)


def _set_counts(suite: Element) -> None:
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(suite.findall("*/failure"))))
    suite.set("skipped", str(len(suite.findall("*/skipped"))))
    suite.set("errors", "0")


def _add(parent: Element, tag: str, text: str | None = None, **attributes: str) -> Element:
    child = SubElement(parent, tag, {name: printable(value) for name, value in attributes.items()})
    if text is not None:
        child.text = printable(text)
    return child


def _name(entry: Mapping[str, Any] | WorkloadDocument) -> str:
    return f"{entry['kind']}/{entry['name']}"


def _time(seconds: float) -> str:
    return f"{seconds:.3f}"
