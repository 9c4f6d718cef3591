"""Reports: every format contains everything, and no text of a cluster becomes markup."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from html.parser import HTMLParser
from typing import Any, cast
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.reporting.document import (
    DecisionDocument,
    MemberStatus,
    ReportDocument,
    WaveDocument,
    WorkloadDocument,
    count_by_status,
    duration_text,
    headline,
    status_phrase,
)
from mesh.reporting.html import html_report
from mesh.reporting.junit import junit_report
from mesh.reporting.markdown import MAX_BYTES, markdown_report
from mesh.text import DETAIL_LIMIT
from tests.mesh.build import few_examples

START, END = "2026-03-01T12:00:00Z", "2026-03-01T13:05:10Z"
FORMS: list[Callable[[ReportDocument], str]] = [markdown_report, html_report, junit_report]


def workload(
    name: str, outcome: MemberStatus = MemberStatus.RESTARTED, reason: str | None = None, detail: str | None = None
) -> WorkloadDocument:
    began = None if outcome in (MemberStatus.LEFT, MemberStatus.WAITING) else START
    ended = (
        None if outcome in (MemberStatus.LEFT, MemberStatus.WAITING, MemberStatus.IN_FLIGHT) else "2026-03-01T12:00:42Z"
    )
    return WorkloadDocument(
        namespace="shop",
        kind="Deployment",
        name=name,
        outcome=outcome,
        reason=reason,
        detail=detail,
        startedAt=began,
        endedAt=ended,
    )


def wave(*workloads: WorkloadDocument, number: int = 0, **changes: Any) -> WaveDocument:  # noqa: ANN401
    document = WaveDocument(
        number=number,
        name="canary",
        workflowId=f"upgrade:one:wave-{number:03}",
        runId="run",
        url=None,
        state="done",
        detail=None,
        startedAt=START,
        endedAt=END,
        counts=count_by_status(workloads),
        complete=True,
        workloads=list(workloads),
    )
    return cast("WaveDocument", {**document, **changes})


def item(name: str, **changes: Any) -> Mapping[str, Any]:  # noqa: ANN401
    return {
        "id": f"remediation:one:odd:Pod:{name}",
        "cluster": "one",
        "namespace": "odd",
        "kind": "Pod",
        "name": name,
        "reason": "PodPending",
        "detail": "0/3 nodes are available",
        "state": "open",
        "since": START,
        "pods": [name],
        "nextStep": "Fix what the cause names.",
        "commands": [f"kubectl -n odd describe pod/{name}"],
        "attempts": 0,
        "until": None,
        "history": [],
        "url": None,
        **changes,
    }


def history_entry(what: str, who: str, result: str, because: str | None = None) -> dict[str, Any]:
    return {"at": END, "what": what, "who": who, "because": because, "result": result}


def report(**changes: Any) -> ReportDocument:  # noqa: ANN401
    document = ReportDocument(
        takenAt="2026-03-01T14:00:00Z",
        cluster="one",
        workflowId="upgrade:one",
        runId="run",
        url="http://ui/namespaces/default/workflows/upgrade%3Aone/run/timeline",
        target="Istio 1.30.2",
        phase="done",
        result="done-with-items",
        failure=None,
        needsAttention=None,
        nextStep=None,
        live=False,
        startedBy="ann@host",
        startedAt=START,
        endedAt=END,
        workloads={"planned": 3, "restarted": 1, "current": 1, "remediation": 2, "left": 0},
        wave=None,
        items={"open": 2, "byReason": {"PodPending": 2}},
        totals={"pods": 120, "classes": {"current": 117, "pinned": 1, "excluded": 2}},
        waves=[
            wave(workload("till"), workload("stock", MemberStatus.CURRENT)),
            wave(
                workload("cart", MemberStatus.FAILED, "RolloutTimedOut", "0 of 2 Pods came up"),
                number=1,
                name="to 100%",
            ),
        ],
        decisions=[DecisionDocument(at=START, what="paused", who="ann", because="to look")],
        queue=[
            item("curl"),
            item("vision", history=[history_entry("retry", "ann", "failed: 0 of 1 Pods came up")]),
            item(
                "old",
                state="skipped",
                until="2027-01-31T00:00:00Z",
                history=[history_entry("skip", "bob", "skipped", "goes"), history_entry("observed", "ann", "gone")],
            ),
        ],
        notes=[],
    )
    return cast("ReportDocument", {**document, **changes})


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314  # our own


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


# JUnit.


def test_junit_has_a_suite_for_the_upgrade_for_the_queue_and_for_each_wave() -> None:
    found = parsed(junit_report(report()))
    suites = [
        (one.get("name"), one.get("tests"), one.get("failures"), one.get("skipped")) for one in found.iter("testsuite")
    ]

    assert suites == [
        ("Upgrade", "1", "0", "0"),
        ("Remediation queue", "3", "2", "1"),
        ("Wave 2, to 100%", "1", "1", "0"),
        ("Wave 1, canary", "2", "0", "0"),
    ]
    assert [found.get(one) for one in ("tests", "failures", "errors")] == ["7", "3", "0"]
    assert found.findall("testsuite")[2].get("timestamp") == "2026-03-01T12:00:00"
    assert found.get("time") == "3910.000"


@pytest.mark.parametrize(
    ("outcome", "tag"),
    [
        (MemberStatus.RESTARTED, None),
        (MemberStatus.CURRENT, None),
        (MemberStatus.GONE, None),
        (MemberStatus.FAILED, "failure"),
        (MemberStatus.LEFT, "skipped"),
        (MemberStatus.IN_FLIGHT, "skipped"),
        (MemberStatus.WAITING, "skipped"),
    ],
)
def test_junit_case_of_each_outcome(outcome: MemberStatus, tag: str | None) -> None:
    one = workload("cart", outcome, "RolloutTimedOut" if outcome is MemberStatus.FAILED else None, "why")
    [case] = parsed(junit_report(report(waves=[wave(one)]))).findall("testsuite[3]/testcase")

    assert (case.get("classname"), case.get("name")) == ("shop", "Deployment/cart")
    assert case.get("time") == ("42.000" if one["endedAt"] else "0.000")
    assert [child.tag for child in case] == ([tag] if tag else [])
    if outcome is MemberStatus.FAILED:
        assert (case[0].get("type"), case[0].get("message")) == ("RolloutTimedOut", "why")
        assert case[0].text == "RolloutTimedOut: why"
    elif tag:
        # One of them is what Jenkins shows, the other what GitLab does.
        assert case[0].get("message") == case[0].text == f"{outcome}: why"


@pytest.mark.parametrize("state", ["open", "retrying", "snoozed"])
def test_junit_case_of_an_open_item_has_the_next_step(state: str) -> None:
    found = parsed(junit_report(report(queue=[item("curl", state=state)])))
    [failure] = found.findall("testsuite[@name='Remediation queue']/testcase/failure")

    assert (failure.get("type"), failure.get("message")) == ("PodPending", "0/3 nodes are available")
    assert failure.text == (
        "PodPending: 0/3 nodes are available\n\nFix what the cause names.\n\nkubectl -n odd describe pod/curl"
    )


@pytest.mark.parametrize(
    ("changes", "tag", "kind"),
    [
        ({}, None, None),
        ({"result": "failed", "failure": "No."}, "failure", "failed"),
        ({"result": "aborted"}, "failure", "aborted"),
        ({"result": None}, "skipped", None),
        ({"result": None, "needsAttention": "The gate is shut."}, "failure", "WaitsForOperator"),
    ],
)
def test_junit_of_an_unfinished_upgrade_is_not_green(
    changes: dict[str, Any], tag: str | None, kind: str | None
) -> None:
    [case] = parsed(junit_report(report(**changes, waves=[], queue=[]))).findall("testsuite[1]/testcase")

    assert [child.tag for child in case] == ([tag] if tag else [])
    assert [child.get("type") for child in case] == ([kind] if tag else [])


# Any text of a cluster or an operator.

#: All of Unicode, and often what has a meaning in one of the formats or in none.
ANY = st.text() | st.text(alphabet="<>&\"'`|*_[]()#\\/:;\x00\x08\x0b\x1b\x7f\x85\ufffe\uffff\u2028\u202e\ud7ff é\n\r\t")


@st.composite
def reports(draw: st.DrawFn) -> ReportDocument:
    def any_item(state: str) -> Mapping[str, Any]:
        names = {key: draw(ANY) for key in ("namespace", "kind", "name", "reason", "detail", "nextStep")}
        history = [history_entry(*(draw(ANY) for _ in range(4)))] if draw(st.booleans()) else []
        return {**item("x"), **names, "state": state, "commands": draw(st.lists(ANY, max_size=2)), "history": history}

    def any_workload(outcome: MemberStatus) -> WorkloadDocument:
        names = {key: draw(ANY) for key in ("namespace", "kind", "name", "reason", "detail")}
        return cast("WorkloadDocument", {**workload("x", outcome), **names})

    statuses = st.lists(st.sampled_from(MemberStatus), max_size=4)
    waves = [
        wave(*map(any_workload, draw(statuses)), name=draw(ANY), detail=draw(ANY))
        for _ in range(draw(st.integers(0, 2)))
    ]
    states = draw(st.lists(st.sampled_from(["open", "snoozed", "skipped"]), max_size=3))
    decision = DecisionDocument(at=None, what=draw(ANY), who=draw(ANY), because=draw(ANY))
    changes = {key: draw(ANY) for key in ("target", "failure", "needsAttention", "nextStep", "startedBy", "phase")}
    result = draw(st.sampled_from([None, "done", "failed"]))
    return report(
        **changes,
        waves=waves,
        queue=[any_item(state) for state in states],
        decisions=[decision],
        notes=[draw(ANY)],
        result=result,
    )


@few_examples
@given(reports())
def test_junit_of_any_texts_is_well_formed_and_complete(document: ReportDocument) -> None:
    found = parsed(junit_report(document))

    members = [one for each in document["waves"] for one in each["workloads"]]
    cases = found.findall("testsuite/testcase")
    assert len(cases) == 1 + len(members) + len(document["queue"])
    failed = sum(1 for one in members if one["outcome"] is MemberStatus.FAILED)
    still_open = sum(1 for one in document["queue"] if one["state"] != "skipped")
    assert len(found.findall("testsuite[@name]/testcase/failure")) - failed - still_open in (0, 1)


@few_examples
@given(reports())
def test_html_of_any_texts_has_only_its_own_markup(document: ReportDocument) -> None:
    page = html_report(document)
    parser = _Tags()
    parser.feed(page)
    parser.close()

    assert parser.tags <= _OURS
    assert {name for name, _ in parser.attributes} <= _OUR_ATTRIBUTES
    assert all(value in _LINKS for name, value in parser.attributes if name == "href")
    items = [one for one in document["queue"] if one["state"] != "skipped"]
    members = [one for each in document["waves"] for one in each["workloads"]]
    assert parser.count["pre"] == sum(1 for one in items if one["commands"])
    assert parser.count["details"] == len(items) + len(document["waves"])
    skipped = [one for one in document["queue"] if one["state"] == "skipped"]
    headers = len(document["waves"]) + bool(skipped) + bool(document["decisions"])
    assert parser.count["tr"] == len(members) + len(skipped) + len(document["decisions"]) + headers
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202e]", page)


@few_examples
@given(reports())
def test_markdown_of_any_texts_has_only_its_own_markup(document: ReportDocument) -> None:
    lines = markdown_report(document).splitlines()
    outside = list(_outside_of_fences(lines))

    for line in outside:
        rest = re.sub(r"\\[\\`*_{}\[\]<>#|!~]", "", line)
        for ours in (*_LINKS, "<details><summary>", "</summary>", "</details>"):
            rest = rest.replace(ours, "")
        assert "<" not in rest
        assert "`" not in rest
        assert rest.count("[") == rest.count("]") <= 1
        assert "|" not in rest or line.startswith("| ")
    assert sum(1 for line in outside if line.startswith("<details>")) == sum(
        1 for each in document["waves"] if any(one["outcome"].settled for one in each["workloads"])
    )


def _outside_of_fences(lines: Iterable[str]) -> Iterable[str]:
    fence: str | None = None
    for line in lines:
        opening = re.fullmatch(r"  (`{3,})sh", line)
        if fence is None and opening:
            fence = f"  {opening[1]}"
        elif fence is not None:
            fence = None if line == fence else fence
        else:
            yield line
    assert fence is None


_LINKS = {"http://ui/namespaces/default/workflows/upgrade%3Aone/run/timeline"}
_OURS = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "div", "p", "dl", "dt", "dd", "a"}
_OURS |= {"details", "summary", "strong", "span", "pre", "table", "tr", "th", "td"}
_OUR_ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "href", "open"}


class _Tags(HTMLParser):
    """Collects the tags that a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.count: dict[str, int] = dict.fromkeys(_OURS, 0)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)
