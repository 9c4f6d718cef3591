"""A report as JUnit XML, for the test pages of GitLab and Jenkins.

One suite for the upgrade itself, one for the queue, one per wave. The format has no standard; this is what both read:
https://docs.gitlab.com/ci/testing/unit_test_reports/ (shows what an element contains, and no `message`) and the schema
junit-10.xsd of Jenkins' xunit plugin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element, indent, tostring

from mesh.reporting.document import (
    Fate,
    ReportDocument,
    WaveDocument,
    WorkloadDocument,
    deeds_of,
    headline,
    seconds_of,
    standing,
)
from mesh.reporting.tree import add, clean

_QUEUE = "Remediation queue"


def junit_report(report: ReportDocument) -> str:
    """A whole document, with every member of every wave and every item."""
    root = Element("testsuites", {"name": clean(headline(report))})
    # GitLab takes the first of several cases with the same names: what a person must settle, then what was last done.
    suites = [_upgrade(root, report), _queue(root, report)]
    suites += [_wave(root, wave) for wave in reversed(report["waves"])]
    for one in suites:
        _count(one)
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(one.get(name, "0")) for one in suites)))
    root.set("time", _time(seconds_of(report["startedAt"], report["endedAt"])))
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _upgrade(root: Element, report: ReportDocument) -> Element:
    suite = _suite(root, "Upgrade", report["startedAt"], report["endedAt"])
    case = _case(suite, report["cluster"], "upgrade", seconds_of(report["startedAt"], report["endedAt"]))
    if report["needsAttention"]:
        told = report["needsAttention"]
        add(case, "failure", report["nextStep"] or told, type="WaitsForOperator", message=told)
    elif report["result"] is None:
        _skipped(case, f"still under way: {report['phase']}")
    elif not report["result"].startswith("done"):
        told = report["failure"] or standing(report)
        add(case, "failure", told, type=report["result"], message=told)
    return suite


def _wave(root: Element, wave: WaveDocument) -> Element:
    suite = _suite(root, f"Wave {wave['number'] + 1}, {wave['name']}", wave["startedAt"], wave["endedAt"])
    for one in wave["workloads"]:
        _workload(suite, one)
    return suite


def _workload(suite: Element, one: WorkloadDocument) -> None:
    case = _case(suite, one["namespace"], _name(one), seconds_of(one["startedAt"], one["endedAt"]))
    outcome, told = one["outcome"], one["detail"]
    if outcome is Fate.FAILED:
        reason = one["reason"] or "RestartFailed"
        add(case, "failure", f"{reason}: {told}" if told else reason, type=reason, message=told or reason)
    elif not outcome.settled:
        _skipped(case, f"{outcome}: {told}" if told else str(outcome))


def _queue(root: Element, report: ReportDocument) -> Element:
    suite = _suite(root, _QUEUE, report["takenAt"], None)
    for one in report["queue"]:
        case = _case(suite, one["namespace"], _name(one), 0.0)
        told = one["detail"] or "see the next step"
        if one["state"] == "skipped":
            told = [f"{one['reason']}: skipped until {one['until'] or 'further notice'}", *deeds_of(one)[-1:]]
            _skipped(case, "; ".join(told))
        else:
            steps = [f"{one['reason']}: {told}", "", one["nextStep"], "", *one["commands"]]
            steps += ["", *deeds_of(one)] if one["history"] else []
            add(case, "failure", "\n".join(steps), type=one["reason"], message=told)
    return suite


def _suite(root: Element, name: str, start: str | None, end: str | None) -> Element:
    suite = add(root, "testsuite", name=name, time=_time(seconds_of(start, end)))
    if start is not None:
        # The schema wants no time zone: it is UTC.
        suite.set("timestamp", start.removesuffix("Z"))
    return suite


def _case(suite: Element, namespace: str, name: str, seconds: float) -> Element:
    return add(suite, "testcase", classname=namespace, name=name, time=_time(seconds))


def _skipped(case: Element, told: str) -> None:
    add(case, "skipped", told, message=told)


def _count(suite: Element) -> None:
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(suite.findall("*/failure"))))
    suite.set("skipped", str(len(suite.findall("*/skipped"))))
    suite.set("errors", "0")


def _name(one: Mapping[str, Any] | WorkloadDocument) -> str:
    return f"{one['kind']}/{one['name']}"


def _time(seconds: float) -> str:
    return f"{seconds:.3f}"
