"""The documents that commands print with `-o json`: an example of each, made by the code, and its field names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_type_hints, is_typeddict

from cli.render.doctor_document import doctor_document
from cli.render.item_document import item_document, result_document
from cli.render.scan_document import scan_document
from cli.render.start_document import dry_run_document, start_document
from cli.render.status_document import status_document
from mesh.history import HistoryEntry
from mesh.istio.expected_proxy import ExpectedProxy
from mesh.istio.versions import Version
from mesh.kyma.targets import Target
from mesh.remediation.item import Item, view_of
from mesh.reporting.document import ReportDocument
from mesh.survey.actions import Action
from mesh.survey.finding import Finding
from mesh.survey.pod_class import PodClass
from mesh.survey.reasons import Reason
from mesh.survey.survey import Survey, SurveyedWorkload
from worker.doctor_checks import Check
from workflows.messages import ItemCounts, Phase, Progress, WaveProgress, WorkloadCounts

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: Objects whose keys are data (images, classes, reasons, outcomes), not fields.
MAPS = {"proxies", "byReason", "classes", "counts"}


def fields(document: Any, name: str = "") -> Any:  # noqa: ANN401  # any JSON
    """Returns the names of a document's fields, nested as they are. Of a list, the first entry counts."""
    if isinstance(document, dict):
        return "map" if name in MAPS else {key: fields(value, key) for key, value in document.items()}
    if isinstance(document, list):
        return [fields(entry, name) for entry in document[:1] if isinstance(entry, dict)]
    return None


def typed_fields(kind: Any, name: str = "") -> Any:  # noqa: ANN401  # a type
    """Returns the names of the fields of a TypedDict, in the form of `fields`."""
    if name in MAPS:
        return "map"
    if is_typeddict(kind):
        return {key: typed_fields(hint, key) for key, hint in get_type_hints(kind).items()}
    if getattr(kind, "__origin__", None) is list:
        return [typed_fields(kind.__args__[0], name)] if is_typeddict(kind.__args__[0]) else []
    return next((typed_fields(arg, name) for arg in getattr(kind, "__args__", ()) if is_typeddict(arg)), None)


def documents() -> dict[str, Any]:
    """Returns an example of each document, by its command."""
    target = Target("fast", "1.30.0", "1.30.2")
    return {
        "scan": scan(),
        "start": start_document("one", "upgrade:one", "run", None),
        "start --dry-run": dry_run_document("one", target, "would be upgraded", [3], running=False),
        "status": status(),
        "queue list": {"items": [item()]},
        "queue retry": {"items": [result_document("remediation:one:shop:Deployment:cart", "retrying", ok=True)]},
        "doctor": doctor_document([Check("temporal", ok=True, message="answers")]),
    }


def json_keys() -> dict[str, Any]:
    """Returns the field names of each document, by its command."""
    return {
        **{command: fields(document) for command, document in documents().items()},
        "report": typed_fields(ReportDocument),
    }


def scan() -> dict[str, Any]:
    """Returns a scan with a target and one workload."""
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
    plane = {"revision": "", "tags": [], "version": "", "ready": True, "proxyImage": ""}
    survey = Survey(NOW, "17", 1, {PodClass.STALE: 1}, (cart,))
    return scan_document("one", survey, [plane], Version(1, 30, 2)) | {"problems": []}


def status() -> dict[str, Any]:
    """Returns the status of an upgrade in its first wave."""
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
    return status_document(progress, "upgrade:one", "run") | {"live": True}


def item() -> dict[str, Any]:
    """Returns an item with one entry in its history."""
    finding = Finding("shop", "Deployment", "cart", Reason.POD_PENDING, "no node fits", ("cart-1",), 1, ("evidence",))
    return item_document(view_of(Item("one", finding, NOW, NOW, history=(HistoryEntry(NOW, "retry", "ada", "", ""),))))
