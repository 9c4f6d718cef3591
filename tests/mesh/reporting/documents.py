"""Documents of reports, as small as a test needs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast
from xml.etree import ElementTree as ET

from mesh.reporting.document import (
    DecisionDocument,
    MemberStatus,
    ReportDocument,
    WaveDocument,
    WorkloadDocument,
    count_by_status,
)
from mesh.reporting.html import html_report
from mesh.reporting.junit import junit_report
from mesh.reporting.markdown import markdown_report

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
