"""When an upgrade of the control plane is done: only when every part says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from mesh.kyma.readiness import check_readiness
from mesh.kyma.resources import IstioResource
from mesh.kyma.targets import Target
from tests.mesh.kyma.kyma_cluster import AFTER, STARTED, TAG, TARGET, control_plane, done, istio, kyma, manager, named


def test_upgrade_is_finished_when_every_part_is() -> None:
    found = check_readiness(AFTER, TARGET)

    assert (found.done, found.trouble, found.maintenance, str(found)) == (True, None, False, "done")


def test_upgrade_before_the_channel_changed_is_not() -> None:
    assert not check_readiness(replace(AFTER, kyma=kyma(), manager=manager("x:1.27.4"), istio=istio()), TARGET).done


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        pytest.param({"kyma": kyma("fast")}, "Kyma CR", id="version-before"),
        pytest.param({"kyma": done(template=named("istio-1.27.4"))}, "Kyma CR", id="version-ahead-of-its-template"),
        pytest.param({"kyma": done(state="Processing")}, "Kyma CR", id="module-in-progress"),
        pytest.param({"kyma": done(maintenance=True)}, "Kyma CR", id="waits-for-kymas-window"),
        pytest.param({"kyma": done(message="waiting for the next window")}, "Kyma CR", id="module-says-something"),
        pytest.param({"kyma": done(template=None)}, "Kyma CR", id="template-not-tracked"),
        pytest.param({"manager": None}, "module manager", id="manager-not-there"),
        pytest.param({"manager": manager("m:1.27.4")}, "module manager", id="manager-of-the-version-before"),
        pytest.param({"manager": manager(observedGeneration=1)}, "module manager", id="manager-not-yet-seen"),
        pytest.param({"manager": manager(updatedReplicas=0)}, "module manager", id="manager-not-rolled"),
        pytest.param({"manager": manager(availableReplicas=0)}, "module manager", id="manager-not-available"),
        pytest.param({"istio": istio()}, "Istio CR", id="istio-tag-before"),
        pytest.param({"istio": istio(None)}, "Istio CR", id="istio-tag-not-there"),
        pytest.param({"istio": istio(TAG, "Processing")}, "Istio CR", id="reconciles"),
        pytest.param({"istio": istio(TAG, "Ready", ("Unknown", "ReconcileUnknown"))}, "Istio CR", id="ready-flickers"),
        pytest.param({"istio": istio(TAG, since=STARTED - timedelta(hours=1))}, "Istio CR", id="of-the-old-manager"),
        pytest.param({"istio_workloads": ()}, "istio-system", id="no-istiod"),
        pytest.param({"istio_workloads": control_plane("1.29.3")}, "istio-system", id="ingress-of-the-version-before"),
        pytest.param({"istio_workloads": control_plane(updatedReplicas=0)}, "istio-system", id="ingress-not-rolled"),
    ],
)
def test_no_single_part_is_believed(changes: dict[str, Any], part: str) -> None:
    found = check_readiness(replace(AFTER, **changes), TARGET)

    assert [one.name for one in found.parts if not one.done] == [part]
    assert str(found).startswith(f"{part}: ")


MANUAL, ENVOY_FILTER = "ProxySidecarManualRestartRequired", "IngressTargetingUserResourceFound"


@pytest.mark.parametrize(
    ("seen", "settled"),
    [
        pytest.param(istio(TAG, "Warning", ("False", "ReconcileFailed"), MANUAL), True, id="pods-left-over"),
        pytest.param(istio(TAG, "Warning", ("False", "ReconcileFailed"), ENVOY_FILTER), True, id="customers-filter"),
        pytest.param(istio(TAG, "Warning", ("False", "ReconcileFailed")), False, id="no-harmless-reason"),
        pytest.param(istio(TAG, "Warning", ("False", "IstioVersionUpdateNotAllowed"), MANUAL), False, id="refused"),
        pytest.param(istio(TAG, "Warning", ("False", "OlderCRExists"), MANUAL), False, id="not-the-oldest"),
        pytest.param(
            istio(TAG, "Warning", ("False", "ReconcileFailed"), MANUAL, since=STARTED - timedelta(1)),
            False,
            id="of-the-old-manager",
        ),
        pytest.param(istio(TAG, "Error", ("False", "ReconcileFailed"), MANUAL), False, id="error"),
    ],
)
def test_warning_is_settled_only_by_harmless_reasons(seen: IstioResource, settled: bool) -> None:
    assert check_readiness(replace(AFTER, istio=seen), TARGET).done is settled


def test_resource_is_evaluated_without_manager_pods_too() -> None:
    assert check_readiness(replace(AFTER, manager_pods=()), TARGET).done


def test_target_whose_istio_is_unknown_is_evaluated_by_the_rest() -> None:
    assert check_readiness(AFTER, Target("fast", "1.30.0", None)).done


def test_version_of_the_manager_is_its_label_where_its_image_has_a_digest() -> None:
    digest = manager("m@sha256:abc")
    labels = msgspec.structs.replace(digest.metadata, labels={"app.kubernetes.io/version": "1.30.0"})

    assert check_readiness(replace(AFTER, manager=msgspec.structs.replace(digest, metadata=labels)), TARGET).done


@pytest.mark.parametrize(
    ("changes", "trouble"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"kyma": done(state="Error")}, None, id="state-without-words"),
        pytest.param(
            {"kyma": done(state="Warning", message="module template update not allowed")},
            "module istio is in state Warning: module template update not allowed",
            id="module-refuses",
        ),
        pytest.param(
            {"istio": istio(state="Warning", ready=("False", "IstioVersionUpdateNotAllowed"), description="too far")},
            "too far",
            id="istio-refuses",
        ),
        pytest.param(
            {"istio": istio(state="Error", description="it\nfailed")},
            "the Istio CR is in state Error: it failed",
            id="istio-fails",
        ),
        pytest.param({"kyma": done(message="waiting for next maintenance window")}, None, id="waiting-is-no-trouble"),
    ],
)
def test_trouble_is_what_kyma_says(changes: dict[str, Any], trouble: str | None) -> None:
    assert check_readiness(replace(AFTER, **changes), TARGET).trouble == trouble


def test_maintenance_is_reported() -> None:
    assert check_readiness(replace(AFTER, kyma=done(maintenance=True)), TARGET).maintenance
