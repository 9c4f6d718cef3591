"""Examples of docs/reference/json.md have exactly the fields that the code prints."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_type_hints, is_typeddict

import pytest

from cli.render.item_document import item_document
from cli.render.scan_document import scan_document
from cli.render.status_document import status_document
from mesh.history import HistoryEntry
from mesh.istio.expected_proxy import ExpectedProxy
from mesh.istio.versions import Version
from mesh.remediation.item import Item, view_of
from mesh.reporting.document import ReportDocument
from mesh.survey.actions import Action
from mesh.survey.finding import Finding
from mesh.survey.pod_class import PodClass
from mesh.survey.reasons import Reason
from mesh.survey.survey import Survey, SurveyedWorkload
from tests.docs.page import REFERENCE, Page
from workflows.messages import ItemCounts, Phase, Progress, WaveProgress, WorkloadCounts

PAGE = Page.read(REFERENCE / "json.md")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: Objects whose keys are data (images, classes, reasons, outcomes), not fields.
MAPS = {"proxies", "byReason", "classes", "counts"}


def _fields(document: Any, name: str = "") -> Any:  # noqa: ANN401  # any JSON
    """The names of a document's fields, nested as they are. Of a list its first entry counts."""
    if isinstance(document, dict):
        return "map" if name in MAPS else {key: _fields(value, key) for key, value in document.items()}
    if isinstance(document, list):
        return [_fields(one, name) for one in document[:1] if isinstance(one, dict)]
    return None


def _example(title: str, number: int = 0) -> Any:  # noqa: ANN401  # any JSON
    return PAGE.section(title).examples()[number]


def _survey() -> Survey:
    cart = SurveyedWorkload(
        namespace="shop",
        kind="Deployment",
        name="cart",
        uid="uid",
        owner=None,
        pod_class=PodClass.STALE,
        pods=1,
        stale_pods=1,
        expected=ExpectedProxy("hub/proxyv2:1.30.2", "injector"),
        proxies={"hub/proxyv2:1.29.3": 1},
        action=Action.ROLLOUT_RESTART,
        reason=None,
        detail=None,
        pod_names=("cart-1",),
    )
    return Survey(NOW, "17", 1, {PodClass.STALE: 1}, (cart,))


def test_scan_prints_the_fields_of_the_example() -> None:
    plane = {"revision": "", "tags": [], "version": "", "ready": True, "proxyImage": ""}
    printed = scan_document("one", _survey(), [plane], Version(1, 30, 2)) | {"problems": []}

    assert _fields(_example("`scan`")) == _fields(printed)


def test_scan_prints_every_class_in_its_totals() -> None:
    printed = scan_document("one", _survey(), [])["totals"]["classes"]

    assert set(_example("`scan`")["totals"]["classes"]) < set(printed)


def test_status_prints_the_fields_of_the_example() -> None:
    progress = Progress(
        cluster="one",
        target=None,
        phase=Phase.RESTARTING,
        needs_attention=None,
        next_step=None,
        started_at=NOW,
        ended_at=None,
        result=None,
        workloads=WorkloadCounts(),
        wave=WaveProgress(0, 1, "canary"),
        items=ItemCounts(),
    )
    printed = status_document(progress, "upgrade:one", "run") | {"live": True}

    assert _fields(_example("`status`")) == _fields(printed)


def _printed_item() -> dict[str, Any]:
    cause = Finding("shop", "Deployment", "cart", Reason.POD_PENDING, "no node fits", ("cart-1",), 1, ("evidence",))
    return item_document(view_of(Item("one", cause, NOW, NOW, history=(HistoryEntry(NOW, "retry", "ada", "", ""),))))


def test_queue_list_prints_the_fields_of_the_example() -> None:
    assert _fields(_example("`queue list`")) == {"items": [_fields(_printed_item())]}


def _typed(kind: Any, name: str = "") -> Any:  # noqa: ANN401  # a type
    """The fields of a TypedDict, as `_fields` tells them of a document."""
    if name in MAPS:
        return "map"
    if is_typeddict(kind):
        return {key: _typed(hint, key) for key, hint in get_type_hints(kind).items()}
    if getattr(kind, "__origin__", None) is list:
        return [_typed(kind.__args__[0], name)] if is_typeddict(kind.__args__[0]) else []
    return next((_typed(one, name) for one in getattr(kind, "__args__", ()) if is_typeddict(one)), None)


#: Parts of a report that other documents are: the status, and items.
_BORROWED = ("workloads", "wave", "items", "queue")


def test_report_has_the_fields_of_the_example() -> None:
    example, printed = _fields(_example("`report --format json`")), _typed(ReportDocument)
    status = _fields(_example("`status`"))

    assert {key: example[key] for key in example if key not in _BORROWED} == {
        key: printed[key] for key in printed if key not in _BORROWED
    }
    assert set(example) == set(printed)
    assert (example["workloads"], example["items"]) == (status["workloads"], status["items"])


def test_report_has_every_field_of_a_status() -> None:
    assert set(_example("`status`")) < set(_example("`report --format json`"))


@pytest.mark.parametrize("title", [title for title in PAGE.headings if title.startswith("`")])
def test_fields_that_are_explained_are_in_an_example(title: str) -> None:
    section = PAGE.section(title)
    names = {key for example in section.examples() for key in _names(example)} | {"failure"}

    for path in section.column():
        if section.text.index("| field |") < section.text.index(path):
            assert set(path.replace("[]", "").split(".")) <= names, path


def _names(document: Any) -> set[str]:  # noqa: ANN401  # any JSON
    if isinstance(document, dict):
        return set(document) | {name for value in document.values() for name in _names(value)}
    return {name for one in document for name in _names(one)} if isinstance(document, list) else set()
