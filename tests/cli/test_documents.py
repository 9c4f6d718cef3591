"""JSON documents have the fields of docs/reference/json.md."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.kube.istiods import Istiod
from cli.render.item_document import item_document, result_document
from cli.render.item_table import item_text, result_table
from cli.render.scan_document import ScanFilter, control_plane_document, scan_document
from cli.render.scan_table import proxy_text, scan_table
from cli.render.status_document import status_document
from cli.render.status_table import status_line, status_table
from mesh.history import HistoryEntry
from mesh.identity import item_id
from mesh.istio.drift import Drift
from mesh.istio.expected_proxy import ExpectedProxy
from mesh.istio.injection import Injector, injection_webhooks
from mesh.istio.injector_config import InjectorConfig
from mesh.istio.versions import Version
from mesh.k8s.objects import Container, Metadata, PodSpec, PodTemplate, Workload, WorkloadSpec
from mesh.k8s.workload_ref import WorkloadRef
from mesh.remediation.advice import advise
from mesh.remediation.item import Item, ItemState, view_of
from mesh.survey.actions import Action
from mesh.survey.finding import Finding
from mesh.survey.pod_class import PodClass
from mesh.survey.reasons import Reason
from mesh.survey.survey import Survey, SurveyedWorkload
from tests.mesh.build import webhooks
from workflows.messages import ItemCounts, Phase, Progress, WaveProgress, WorkloadCounts

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD, NEW = "hub/proxyv2:1.29.3", "hub/proxyv2:1.30.2"
_PLANE: dict[str, Any] = {
    "revision": "default",
    "tags": ["default"],
    "version": "1.30.2",
    "ready": True,
    "proxyImage": NEW,
}


def _record(
    name: str, pod_class: PodClass, proxies: dict[str, int], expected: str | None, action: Action
) -> SurveyedWorkload:
    return SurveyedWorkload(
        namespace="shop",
        kind="Deployment",
        name=name,
        uid=name,
        owner=None,
        pod_class=pod_class,
        pods=sum(proxies.values()),
        stale_pods=sum(count for image, count in proxies.items() if image != expected),
        expected=ExpectedProxy(expected, "injector" if expected else None),
        proxies=proxies,
        action=action,
        reason=None,
        detail=None,
        pod_names=(f"{name}-1",),
    )


@pytest.fixture
def survey() -> Survey:
    records = (
        _record("cart", PodClass.STALE, {OLD: 3}, NEW, Action.ROLLOUT_RESTART),
        _record("pay", PodClass.CURRENT, {NEW: 2}, NEW, Action.NONE),
    )
    return Survey(NOW, "17", 5, {PodClass.STALE: 3, PodClass.CURRENT: 2}, records)


def test_scan_has_the_documented_fields(survey: Survey) -> None:
    document = scan_document("one", survey, [_PLANE])

    assert document == {
        "cluster": "one",
        "target": "1.30.2",
        "takenAt": "2026-03-01T12:00:00Z",
        "controlPlane": [_PLANE],
        "resourceVersion": "17",
        "totals": {
            "pods": 5,
            "workloads": 2,
            "classes": {str(one): {"stale": 3, "current": 2}.get(str(one), 0) for one in PodClass},
        },
        "workloads": [
            {
                "namespace": "shop",
                "kind": "Deployment",
                "name": "cart",
                "owner": None,
                "class": "stale",
                "pods": 3,
                "stalePods": 3,
                "expectedProxy": NEW,
                "expectedFrom": "injector",
                "proxies": {OLD: 3},
                "action": "rollout-restart",
                "reason": None,
                "detail": None,
                "drift": [],
            },
            {
                "namespace": "shop",
                "kind": "Deployment",
                "name": "pay",
                "owner": None,
                "class": "current",
                "pods": 2,
                "stalePods": 0,
                "expectedProxy": NEW,
                "expectedFrom": "injector",
                "proxies": {NEW: 2},
                "action": "none",
                "reason": None,
                "detail": None,
                "drift": [],
            },
        ],
    }


def test_classes_without_pods_are_counted_as_0(survey: Survey) -> None:
    classes = scan_document("one", survey, [_PLANE])["totals"]["classes"]

    assert set(classes) == set(map(str, PodClass))
    assert sum(classes.values()) == 5


def test_class_filter_changes_the_list_and_not_the_totals(survey: Survey) -> None:
    document = scan_document("one", survey, [_PLANE], selection=ScanFilter(("stale",)))

    assert [one["name"] for one in document["workloads"]] == ["cart"]
    assert document["totals"]["pods"] == 5


def test_target_adds_its_changes_and_keeps_the_classes(survey: Survey) -> None:
    document = scan_document("one", survey, [_PLANE], Version(1, 31, 0))

    assert document["target"] == "1.31.0"
    assert document["targetChanges"] == {"workloads": 2, "pods": 5}
    assert [one["targetChangesPods"] for one in document["workloads"]] == [3, 2]
    assert [one["class"] for one in document["workloads"]] == ["stale", "current"]


def test_scan_table_fits_80_columns_and_shows_versions(survey: Survey) -> None:
    text = scan_table(scan_document("one", survey, [_PLANE]))

    assert max(len(line) for line in text.splitlines()) <= 80
    assert "1.29.3 > 1.30.2" in text
    assert "hub/" not in text


@pytest.mark.parametrize(
    ("images", "expected", "text"),
    [
        ([], None, "-"),
        ([NEW], NEW, "1.30.2"),
        ([OLD, NEW], NEW, "1.29.3,1.30.2 > 1.30.2"),
        ([], NEW, "none > 1.30.2"),
        ([OLD], None, "1.29.3"),
        (["hub/proxyv2:1.29.3-distroless"], OLD, "1.29.3-distroless > 1.29.3"),
        (["hub/proxyv2:latest"], NEW, "latest > 1.30.2"),
        (["hub/proxyv2"], NEW, "? > 1.30.2"),
        ([OLD], f"hub/proxyv2@sha256:{'b' * 64}", "1.29.3 > sha256:bbbbbbbbbbbb"),
        (
            [f"hub/proxyv2@sha256:{'a' * 64}"],
            f"hub/proxyv2@sha256:{'b' * 64}",
            "sha256:aaaaaaaaaaaa > sha256:bbbbbbbbbbbb",
        ),
    ],
)
def test_proxy_column_shows_the_running_and_the_expected_proxy(
    images: list[str], expected: str | None, text: str
) -> None:
    assert proxy_text(images, expected) == text


def test_control_plane_shows_revision_tags_version_and_image() -> None:
    template = PodTemplate(spec=PodSpec(containers=(Container(name="discovery", image="hub/pilot:1.30.2"),)))
    istiod = Workload(kind="Deployment", metadata=Metadata(name="istiod"), spec=WorkloadSpec(template=template))
    hooks = [webhooks("stable", revision="default"), webhooks("default", revision="default"), webhooks()]
    hooks.append(webhooks("next", revision="canary"))
    injector = Injector(injection_webhooks(hooks), {"default": InjectorConfig("default", image=NEW)})

    found = control_plane_document([Istiod("default", istiod, "hub/pilot:1.30.2")], injector)

    assert [(one["revision"], one["tags"], one["version"], one["proxyImage"]) for one in found] == [
        ("default", ["default", "stable"], "1.30.2", NEW)
    ]


def _progress(**changes: Any) -> Progress:  # noqa: ANN401  # fields of Progress
    fields: dict[str, Any] = {
        "cluster": "one",
        "target": "Istio 1.30.2",
        "phase": Phase.RESTARTING,
        "needs_attention": None,
        "next_step": None,
        "started_at": NOW,
        "ended_at": None,
        "result": None,
        "workloads": WorkloadCounts(planned=5, restarted=2, current=1, remediation=1, left=1),
        "wave": WaveProgress(1, 3, "to 30%"),
        "items": ItemCounts(1, {"PodPending": 1}),
    }
    return Progress(**(fields | changes))


def test_status_has_the_documented_fields() -> None:
    assert status_document(_progress(), "upgrade:one", "run") == {
        "cluster": "one",
        "workflowId": "upgrade:one",
        "runId": "run",
        "target": "Istio 1.30.2",
        "phase": "restarting",
        "needsAttention": None,
        "nextStep": None,
        "startedAt": "2026-03-01T12:00:00Z",
        "endedAt": None,
        "result": None,
        "workloads": {"planned": 5, "restarted": 2, "current": 1, "remediation": 1, "left": 1},
        "wave": {"number": 1, "of": 3, "name": "to 30%"},
        "items": {"open": 1, "byReason": {"PodPending": 1}},
    }


def test_status_table_shows_what_needs_an_operator_and_the_next_step() -> None:
    waiting = _progress(phase=Phase.PAUSED, needs_attention="The gate is shut.", next_step="kyma-upgrade resume")

    text = status_table(status_document(waiting, "upgrade:one", "run"), "http://ui/x")

    assert "The gate is shut." in text
    assert "kyma-upgrade resume" in text
    assert "http://ui/x" in text


def test_workloads_are_not_counted_before_the_first_survey() -> None:
    early = _progress(phase=Phase.PREFLIGHT, workloads=WorkloadCounts())
    later = _progress(phase=Phase.DONE, workloads=WorkloadCounts())

    assert "not counted yet" in status_table(status_document(early, "upgrade:one", "run"))
    assert "0 planned: 0 restarted, 0 already current" in status_table(status_document(later, "upgrade:one", "run"))


def test_line_of_a_status_counts_in_the_singular() -> None:
    progress = _progress(phase=Phase.RESTARTING, workloads=WorkloadCounts(planned=1, restarted=1))
    document = status_document(progress, "upgrade:one", "run") | {"live": True}

    line = status_line(document)

    assert line.startswith(f"{document['target']}: restarting, ")
    assert "1 of 1 workload done" in line


def test_text_of_an_item_shows_evidence_until_it_is_closed() -> None:
    finding = Finding("shop", "Deployment", "cart", Reason.POD_PENDING, "no node fits", ("cart-1",), 1)
    item = Item("one", replace(finding, evidence=("scheduler: no node fits", "Pod cart-1")), NOW, NOW)
    view = view_of(item)
    lines = item_text(item_document(view)).splitlines()
    evidence = lines.index("Evidence:")

    assert lines[evidence + 1 : evidence + 3] == ["  scheduler: no node fits", "  Pod cart-1"]
    assert lines[-1] == view.closes
    assert "Evidence" not in item_text(item_document(view_of(replace(item, finding=finding))))
    closed = item_text(item_document(view_of(replace(item, closed="gone"))))
    assert "Evidence" not in closed
    assert view.closes not in closed


def test_text_of_an_item_fits_the_terminal_except_for_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    why = "0/3 nodes are available: 3 node(s) did not match the affinity or the selector of the Pod"
    finding = Finding("shop", "Deployment", "cart", Reason.POD_PENDING, why, ("cart-1",), 1, evidence=(why, why))
    document = item_document(
        view_of(Item("one", finding, NOW, NOW, history=(HistoryEntry(NOW, "retry", "me", why, why),)))
    )
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    lines = item_text(document).splitlines()

    wide = {line.strip() for line in lines if len(line) > 60}
    assert wide <= set(document["commands"])
    assert why in " ".join(line.strip() for line in lines)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "open since 2026-"),
        ({"state": ItemState.SNOOZED, "until": NOW + timedelta(hours=1)}, "; opened 2026-"),
        ({"state": ItemState.RESOLVED, "closed": "its Pods run the expected proxy"}, "resolved; opened 2026-"),
    ],
    ids=["open", "until-then", "resolved"],
)
def test_state_of_an_item_says_what_its_time_means(changes: dict[str, Any], text: str) -> None:
    finding = Finding("shop", "Deployment", "cart", Reason.POD_PENDING, "no node fits", ("cart-1",), 1)

    assert text in item_text(item_document(view_of(replace(Item("one", finding, NOW, NOW), **changes)))).splitlines()[1]


@pytest.mark.parametrize(("attempts", "text"), [(0, "0 restarts"), (1, "1 restart "), (2, "2 restarts")])
def test_history_counts_restarts_with_the_right_plural(attempts: int, text: str) -> None:
    finding = Finding("shop", "Deployment", "cart", Reason.POD_PENDING, "no node fits", ("cart-1",), 1)
    item = Item("one", finding, NOW, NOW, history=(HistoryEntry(NOW, "retry", "me", "", "began"),), attempts=attempts)

    assert text in item_text(item_document(view_of(item)))


def test_item_has_the_documented_fields() -> None:
    finding = Finding("shop", "Deployment", "cart", Reason.POD_PENDING, "no node fits", ("cart-1",), 1)
    finding = replace(finding, evidence=("scheduler: no node fits",))
    advice = advise(finding)

    assert item_document(
        view_of(Item("one", finding, NOW, NOW, history=(HistoryEntry(NOW, "retry", "me", "", "refused: no"),)))
    ) == {
        "id": "remediation:one:shop:Deployment:cart",
        "cluster": "one",
        "namespace": "shop",
        "kind": "Deployment",
        "name": "cart",
        "reason": "PodPending",
        "detail": "no node fits",
        "state": "open",
        "since": "2026-03-01T12:00:00Z",
        "pods": ["cart-1"],
        "nextStep": advice.next_step,
        "commands": list(advice.commands),
        "evidence": ["scheduler: no node fits"],
        "closesWhen": advice.closes,
        "podCount": 1,
        "attempts": 0,
        "until": None,
        "closed": None,
        "history": [
            {"at": "2026-03-01T12:00:00Z", "what": "retry", "who": "me", "because": None, "result": "refused: no"}
        ],
    }


def test_class_drifted_lists_workloads_of_any_class(survey: Survey) -> None:
    cart, pay = survey.workloads
    drifted = replace(survey, workloads=(cart, replace(pay, drift={Drift.CNI: "has istio-init"})))

    listed = scan_document("one", drifted, [_PLANE], selection=ScanFilter(("drifted",)))["workloads"]

    assert [(one["name"], one["drift"]) for one in listed] == [("pay", ["cni"])]


def test_results_of_an_action_name_each_item_and_nothing_is_printed_without_items() -> None:
    results = [result_document(item_id("one", WorkloadRef("shop", "Deployment", "cart")), "retrying", ok=True)]

    assert result_table(results, ["started"]).splitlines()[1].split() == ["shop/Deployment/cart", "started"]
    assert result_table([], []) == ""
