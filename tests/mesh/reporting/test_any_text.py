"""Reports of any text of a cluster or an operator: no text becomes markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from mesh.reporting.document import (
    DecisionDocument,
    MemberStatus,
    ReportDocument,
    WorkloadDocument,
)
from mesh.reporting.html import html_report
from mesh.reporting.junit import junit_report
from mesh.reporting.markdown import markdown_report
from tests.mesh.build import few_examples
from tests.mesh.reporting.documents import history_entry, item, parsed, report, wave, workload

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
