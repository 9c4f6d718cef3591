"""Reports as JUnit XML."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.reporting.document import (
    MemberStatus,
)
from mesh.reporting.junit import junit_report
from tests.mesh.reporting.documents import item, parsed, report, wave, workload


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
