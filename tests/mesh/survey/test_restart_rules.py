"""Rules about restarts, one case each."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mesh.k8s.objects import (
    Condition,
    DisruptionBudget,
    Strategy,
    Workload,
)
from mesh.k8s.workload_ref import WorkloadRef
from mesh.survey.actions import Action
from mesh.survey.reasons import Reason
from mesh.survey.snapshot import NO_UPGRADE, UpgradeContext, fingerprint
from mesh.wellknown import MAINTENANCE_WINDOW
from tests.mesh.build import (
    NEW,
    NOW,
    OLD,
    budget,
    make_namespace,
    pod,
    strategy,
    surveyed,
    verdict,
    workload,
)

LATE = Condition(type="Progressing", status="False", reason="ProgressDeadlineExceeded", message="too slow")

SURGING = strategy(unavailable=0, surge=1)

TAKING = strategy(unavailable=1, surge=0)


@pytest.mark.parametrize(
    ("how", "kind", "action", "reason"),
    [
        pytest.param(None, "Deployment", "rollout-restart", None, id="rolling"),
        pytest.param(strategy("RollingUpdate", 1, 0), "Deployment", "rollout-restart", None, id="rolling-by-one"),
        pytest.param(None, "StatefulSet", "rollout-restart", None, id="stateful-set"),
        pytest.param(strategy("Recreate"), "Deployment", "remediate", "NotReady", id="recreate"),
    ],
)
def test_one_pod_not_ready_stops_only_what_takes_the_healthy_ones(
    how: Strategy | None, kind: str, action: str, reason: str | None
) -> None:
    cart = workload(kind, ready=1, strategy=how)

    assert verdict(surveyed(cart, pod("a", owner=cart), pod("b", owner=cart, ready="False"))) == (action, reason)


def test_recreate_with_all_pods_ready_is_restarted_despite_an_evicted_pod() -> None:
    cart = workload(replicas=1, strategy=strategy("Recreate"))
    left_over = pod("b", owner=cart, phase="Failed", ready="False", status_text=("Evicted", ""))

    assert surveyed(cart, pod("a", owner=cart), left_over).action is Action.ROLLOUT_RESTART


def test_rollout_that_failed_before_is_reported_though_old_pods_are_ready() -> None:
    cart = workload(status={"updated_replicas": 1, "conditions": (LATE,)})

    found = surveyed(cart, pod("a", owner=cart), pod("b", owner=cart, ready="False"))

    assert (found.reason, found.detail) == (Reason.ROLLOUT_FAILING, "too slow")


def test_rollout_that_exceeded_its_quota_is_reported_as_such() -> None:
    message = 'pods "cart-1" is forbidden: exceeded quota: tight, requested: pods=1, used: pods=2, limited: pods=2'
    refused = Condition(type="ReplicaFailure", status="True", reason="FailedCreate", message=message)
    cart = workload(status={"updated_replicas": 0, "conditions": (LATE, refused)})

    found = surveyed(cart, pod("a", owner=cart), pod("b", owner=cart))

    assert (found.reason, found.detail) == (Reason.QUOTA_EXCEEDED, message)


@pytest.mark.parametrize(
    ("cart", "limit", "reason"),
    [
        pytest.param(workload(strategy=TAKING), budget(2, 2), "DisruptionBudget", id="taking-below-budget"),
        pytest.param(workload(strategy=SURGING), budget(2, 2), None, id="surging-takes-none"),
        pytest.param(workload(strategy=TAKING), budget(1, 2), None, id="budget-allows-one"),
        pytest.param(workload(), budget(2, 2), None, id="default-surges-with-two"),
        pytest.param(
            workload(strategy=strategy("Recreate")), budget(1, 2), "DisruptionBudget", id="recreate-takes-all"
        ),
        pytest.param(workload("StatefulSet"), budget(2, 2), "DisruptionBudget", id="stateful-set-takes-one"),
        pytest.param(workload("DaemonSet"), budget(2, 2), "DisruptionBudget", id="daemon-set-takes-one"),
        pytest.param(workload("ReplicaSet"), budget(2, 2), "DisruptionBudget", id="eviction-takes-one"),
        pytest.param(workload(strategy=TAKING), budget(2, 2, selects={"app": "other"}), None, id="of-other-pods"),
        pytest.param(workload(strategy=TAKING), budget(2, 2, namespace="bank"), None, id="of-another-namespace"),
        pytest.param(workload(strategy=TAKING), budget(0, 0), None, id="not-yet-counted"),
        pytest.param(workload(strategy=strategy(unavailable=5, surge=0)), budget(0, 2), None, id="takes-all-and-may"),
    ],
)
def test_budget_stops_what_would_fall_below_it_for_good(
    cart: Workload, limit: DisruptionBudget, reason: str | None
) -> None:
    found = surveyed(cart, pod("a", owner=cart), pod("b", owner=cart), limit)

    assert found.reason == reason
    assert reason is None or "cart-budget requires" in (found.detail or "")


@pytest.mark.parametrize(
    ("mark", "settled", "reason"),
    [
        pytest.param(NOW, True, "ImageRewritten", id="our-mark"),
        pytest.param(NOW + timedelta(hours=1), True, "ImageRewritten", id="a-later-mark"),
        pytest.param(NOW - timedelta(hours=1), True, None, id="an-earlier-mark"),
        pytest.param(None, True, None, id="no-mark"),
        pytest.param(NOW, False, None, id="still-rolling"),
    ],
)
def test_image_that_is_wrong_after_our_restart_was_rewritten(mark: None, settled: bool, reason: str | None) -> None:
    cart = workload(mark=mark, status={} if settled else {"updated_replicas": 1})

    assert surveyed(cart, pod(owner=cart), context=UpgradeContext(mark=NOW)).reason == reason


AFTER, BEFORE = timedelta(minutes=30), timedelta(hours=2)

MARKED = UpgradeContext(mark=NOW - timedelta(hours=1))


@pytest.mark.parametrize(
    ("pods", "context", "action", "reason"),
    [
        pytest.param([(OLD, AFTER)], MARKED, "remediate", "ImageRewritten", id="newest-is-stale"),
        pytest.param([(OLD, AFTER), (OLD, BEFORE)], MARKED, "remediate", "ImageRewritten", id="others-are-older"),
        pytest.param([(OLD, timedelta(hours=1))], MARKED, "remediate", "ImageRewritten", id="made-with-the-mark"),
        pytest.param([(OLD, BEFORE)], MARKED, "rollout-restart", None, id="made-before-the-mark"),
        pytest.param([(OLD, AFTER), (NEW, timedelta())], MARKED, "rollout-restart", None, id="newest-is-current"),
        pytest.param([(OLD, AFTER), (NEW, AFTER)], MARKED, "rollout-restart", None, id="one-as-new-is-current"),
        pytest.param([(OLD, AFTER)], NO_UPGRADE, "rollout-restart", None, id="scan"),
        pytest.param([(OLD, AFTER)], UpgradeContext(began=MARKED.mark), "rollout-restart", None, id="no-mark-yet"),
    ],
)
def test_pod_made_since_the_mark_and_still_stale_shows_that_a_restart_is_futile(
    pods: list[tuple[str, timedelta]], context: UpgradeContext, action: str, reason: str | None
) -> None:
    cart = workload()
    made = [pod(f"p{number}", owner=cart, proxy=proxy, age=age) for number, (proxy, age) in enumerate(pods)]
    found = surveyed(cart, *made, context=context)

    assert verdict(found) == (action, reason)
    assert reason is None or found.detail == f"Pod p0 was created during this upgrade and runs {OLD}"


def test_rollout_that_is_under_way_has_not_shown_what_a_restart_brings() -> None:
    cart = workload(status={"updated_replicas": 1})

    assert surveyed(cart, pod(owner=cart, age=AFTER), context=MARKED).action is Action.ROLLOUT_RESTART


def test_pod_on_its_way_out_shows_nothing_of_a_restart() -> None:
    cart = workload()
    leaving = pod("a", owner=cart, age=AFTER, deleted=timedelta(minutes=1))
    found = surveyed(cart, leaving, pod("b", owner=cart, age=BEFORE), context=MARKED)

    assert found.action is Action.ROLLOUT_RESTART


def test_scan_ignores_the_mark_of_a_restart() -> None:
    cart = workload(mark=NOW)

    assert surveyed(cart, pod(owner=cart), context=NO_UPGRADE).action is Action.ROLLOUT_RESTART


def test_restart_that_failed_in_this_upgrade_is_not_tried_again() -> None:
    cart = workload()
    failed = frozenset({fingerprint(WorkloadRef("shop", "Deployment", "cart"))})
    found = surveyed(cart, pod(owner=cart), context=UpgradeContext(failed=failed))

    assert verdict(found) == (Action.REMEDIATE, Reason.ROLLOUT_TIMED_OUT)


@pytest.mark.parametrize("other", [workload("StatefulSet").ref, workload(namespace="mart").ref])
def test_failed_restart_of_another_workload_is_ignored(other: WorkloadRef) -> None:
    cart = workload()
    found = surveyed(cart, pod(owner=cart), context=UpgradeContext(failed=frozenset({fingerprint(other)})))

    assert verdict(found) == (Action.ROLLOUT_RESTART, None)


NIGHT = "22:00-04:00"


@pytest.mark.parametrize(
    ("namespace", "own", "policy", "reason", "detail"),
    [
        pytest.param(None, None, (), None, None, id="none"),
        pytest.param(NIGHT, "Sat 20:00-24:00", (NIGHT,), None, None, id="shut-now-and-open-together-later"),
        pytest.param(None, "Sta 00:00-04:00", (), "WindowInvalid", '"Sta" is not a day of the week', id="invalid"),
        pytest.param("at night", None, (), "WindowInvalid", '"at night" has no time', id="invalid-of-namespace"),
        pytest.param("", None, (), "WindowInvalid", "it is empty", id="empty"),
        pytest.param("x", "Sat 20:00-24:00", ("Sun 09:00-10:00",), "WindowInvalid", '"x" has no time', id="both"),
        pytest.param(
            "Sat 00:00-04:00",
            "Sun 00:00-04:00",
            (),
            "WindowNeverOpens",
            '"Sat 00:00-04:00" and "Sun 00:00-04:00" are never open together',
            id="never-with-its-namespace",
        ),
        pytest.param(
            None,
            "Sun 00:00-04:00",
            (NIGHT, "Mon 00:00-04:00"),
            "WindowNeverOpens",
            '"22:00-04:00" and "Mon 00:00-04:00" and "Sun 00:00-04:00" are never open together',
            id="never-with-the-policy",
        ),
    ],
)
def test_windows_that_never_open_are_reported(
    namespace: str | None, own: str | None, policy: tuple[str, ...], reason: str | None, detail: str | None
) -> None:
    cart = workload(annotations=_window(own))
    found = surveyed(
        cart, pod(owner=cart), make_namespace(annotations=_window(namespace)), context=UpgradeContext(windows=policy)
    )

    assert found.windows == tuple(text for text in (namespace, own) if text is not None)
    assert verdict(found) == (Action.REMEDIATE if reason else Action.ROLLOUT_RESTART, reason)
    assert (detail or "") in (found.detail or "")


def _window(text: str | None) -> dict[str, str]:
    return {} if text is None else {MAINTENANCE_WINDOW: text}


def test_window_is_the_last_of_the_reasons_that_a_scan_finds() -> None:
    wrong = _window("at night")
    alone = surveyed(pod(annotations=wrong))
    cart = workload(strategy=TAKING, annotations=wrong)
    budgeted = surveyed(cart, pod("a", owner=cart), pod("b", owner=cart), budget(2, 2))

    assert (alone.reason, alone.windows) == (Reason.STANDALONE_POD, ("at night",))
    assert (budgeted.reason, budgeted.windows) == (Reason.DISRUPTION_BUDGET, ("at night",))
    assert list(Reason).index(Reason.DISRUPTION_BUDGET) < list(Reason).index(Reason.WINDOW_INVALID)
    assert list(Reason).index(Reason.WINDOW_NEVER_OPENS) < list(Reason).index(Reason.ROLLOUT_TIMED_OUT)


def test_window_of_what_needs_no_restart_is_no_trouble() -> None:
    cart = workload(annotations=_window("at night"))
    found = surveyed(cart, pod(owner=cart, proxy="hub/proxyv2:1.30.2"))

    assert (found.action, found.windows) == (Action.NONE, ("at night",))
