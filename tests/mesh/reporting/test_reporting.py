"""Reports: every format contains everything, and markdown fits where it is shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from mesh.reporting.document import (
    MemberStatus,
    ReportDocument,
    duration_text,
    headline,
    status_phrase,
)
from mesh.reporting.html import html_report
from mesh.reporting.junit import junit_report
from mesh.reporting.markdown import MAX_BYTES, markdown_report
from mesh.text import DETAIL_LIMIT
from tests.mesh.reporting.documents import END, FORMS, START, item, parsed, report, wave, workload

# All formats.


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"result": "done", "items": {"open": 0}}, "done, nothing left"),
        ({"items": {"open": 1}}, "done, 1 item left for an operator"),
        ({}, "done, 2 items left for an operator"),
        ({"result": "failed"}, "failed"),
        ({"result": "aborted"}, "aborted"),
        ({"result": None, "phase": "soaking"}, "soaking"),
        ({"result": None, "phase": "paused", "needsAttention": "The gate is shut."}, "waiting for an operator"),
    ],
)
def test_status_is_one_phrase(changes: dict[str, Any], expected: str) -> None:
    assert status_phrase(report(**changes)) == expected


def test_headline_without_a_target_yet() -> None:
    found = headline(report(target=None, result=None, phase="preflight"))

    assert found == "Upgrade of cluster one: preflight"


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("2026-03-01T12:00:00Z", "0s"),
        ("2026-03-01T12:00:59Z", "59s"),
        ("2026-03-01T12:02:10Z", "2m 10s"),
        ("2026-03-02T15:05:00Z", "27h 05m"),
        ("2026-03-01T11:00:00Z", "0s"),
        (None, "-"),
    ],
)
def test_duration_is_short(end: str | None, expected: str) -> None:
    assert duration_text(START, end) == expected


@pytest.mark.parametrize("form", FORMS)
def test_every_format_contains_everything(form: Callable[[ReportDocument], str]) -> None:
    text = form(report(notes=["Something is missing."]) if form is not junit_report else report())
    expected = [
        "Upgrade of cluster one to Istio 1.30.2",
        "till",
        "stock",
        "cart",
        "RolloutTimedOut",
        "0 of 2 Pods came up",
    ]
    expected += ["curl", "vision", "old", "PodPending", "0/3 nodes are available", "Fix what the cause names."]
    expected += ["kubectl -n odd describe pod/curl", "kubectl -n odd describe pod/vision", "2027-01-31"]
    expected += [f"{END} retry by ann: failed: 0 of 1 Pods came up", "skipped until 2027-01-31T00:00:00Z by bob: goes"]
    if form is not junit_report:
        expected += ["paused by ann: to look", "1h 05m", "1 restarted, 1 current", "1 item skipped", "117 current"]
        expected += ["ann@host", "1 Pod pinned, 2 Pods excluded", "Something is missing."]
        expected += ["http://ui/namespaces/default/workflows/upgrade%3Aone/run/timeline"]

    assert [one for one in expected if one not in text] == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "changes",
    [
        {"result": "failed", "failure": "The control plane is not there.", "items": {"open": None, "byReason": {}}},
        {
            "result": None,
            "endedAt": None,
            "phase": "paused",
            "needsAttention": "The control plane is not there.",
            "nextStep": "Fix the cause, then: kyma-upgrade resume",
        },
    ],
)
def test_every_format_contains_a_failure_and_what_needs_an_operator(
    form: Callable[[ReportDocument], str], changes: dict[str, Any]
) -> None:
    text = form(report(**changes, totals=None, workloads={"planned": None}))

    assert "The control plane is not there." in text
    assert ("kyma-upgrade resume" in text) is (changes["result"] is None)


@pytest.mark.parametrize("form", FORMS)
def test_every_format_reports_an_upgrade_that_has_just_started(form: Callable[[ReportDocument], str]) -> None:
    empty = report(
        target=None,
        phase="preflight",
        result=None,
        url=None,
        startedBy=None,
        endedAt=None,
        workloads={"planned": None, "left": None},
        items={"open": None, "byReason": {}},
        totals=None,
        waves=[],
        decisions=[],
        queue=[],
    )

    text = form(empty)

    assert "preflight" in text
    # Nobody has counted any yet.
    assert "Pod" not in text


# Markdown.


def test_markdown_begins_with_headline_and_summary() -> None:
    assert markdown_report(report()).splitlines()[:12] == [
        "## Upgrade of cluster one to Istio 1.30.2: done, 2 items left for an operator",
        "",
        "| | |",
        "| --- | --- |",
        "| Started | 2026-03-01T12:00:00Z by ann@host |",
        "| Ended | 2026-03-01T13:05:10Z, after 1h 05m |",
        "| Workloads | 3 planned: 1 restarted, 1 already current, 0 left; 2 open items |",
        "| Pods, last survey | 120: 117 current, 2 excluded, 1 pinned |",
        "| Not restarted | 1 Pod pinned, 2 Pods excluded, 1 item skipped |",
        "| Queue | 2 items open |",
        "| Report created | 2026-03-01T14:00:00Z |",
        "| Workflow | [upgrade:one](http://ui/namespaces/default/workflows/upgrade%3Aone/run/timeline) |",
    ]


def _crowd(workloads: int, items: int, detail: str = "x" * DETAIL_LIMIT) -> ReportDocument:
    per_wave = 200
    waves = [
        wave(*(workload(f"w{number}") for number in range(first, min(first + per_wave, workloads))), number=first)
        for first in range(0, workloads, per_wave)
    ]
    waves.append(wave(workload("broken", MemberStatus.FAILED, "RolloutTimedOut", detail), number=workloads))
    return report(waves=waves, queue=[item(f"p{number}", detail=detail) for number in range(items)])


@pytest.mark.parametrize(
    ("workloads", "items", "missing"),
    [
        (1_000, 500, None),
        (20_000, 500, "Left out: workloads that are done"),
        (1_000, 3_500, "the next steps of items"),
        (1_000, 12_000, "everything about items except their names"),
    ],
)
def test_markdown_fits_a_summary_and_says_what_is_missing(workloads: int, items: int, missing: str | None) -> None:
    text = markdown_report(_crowd(workloads, items))

    assert len(text.encode()) <= MAX_BYTES
    assert ("Left out" in text) is (missing is not None)
    assert (missing or "") in text
    # Whatever is left out, each item and each failure is named.
    assert len(set(re.findall(r"odd/Pod/p\d+\*\*", text))) == items
    assert "broken: failed: RolloutTimedOut" in text


def test_markdown_of_a_huge_queue_is_cut_at_a_line_and_says_so() -> None:
    text = markdown_report(_crowd(10, 50_000))

    assert MAX_BYTES - 300 < len(text.encode()) <= MAX_BYTES
    assert "more lines are left out. `kyma-upgrade report --format html` has everything." in text
    assert "```" not in text
    assert "<details>" not in text


def test_html_and_junit_are_complete_at_any_size() -> None:
    crowd = _crowd(5_000, 5_000)

    found = parsed(junit_report(crowd))
    page = html_report(crowd)

    assert len(found.findall("testsuite/testcase")) == 1 + 5_001 + 5_000
    assert page.count("<pre>") == 5_000
    assert page.count('class="narrow good"') == 5_000


def test_commands_with_fences_stay_in_theirs() -> None:
    text = markdown_report(report(queue=[item("curl", commands=["echo '````' ```", "true"])]))

    assert "  `````sh\n  echo '````' ```\n  true\n  `````\n" in text
