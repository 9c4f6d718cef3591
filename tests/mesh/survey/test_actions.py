"""Actions and reasons of workloads, one case each."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mesh.istio.expected_proxy import ExpectedProxy
from mesh.istio.injector_config import injector_config
from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.objects import (
    Condition,
    ConfigMap,
    Container,
    ContainerState,
    DisruptionBudget,
    Metadata,
    PauseCondition,
    Pod,
    PodSpec,
    PodTemplate,
    Strategy,
    Workload,
    WorkloadReference,
)
from mesh.k8s.workload_ref import WorkloadRef
from mesh.survey.actions import Action
from mesh.survey.pod_class import PodClass
from mesh.survey.pod_rules import most_severe, pod_cause
from mesh.survey.reasons import Reason
from mesh.survey.snapshot import NO_UPGRADE, UpgradeContext, fingerprint
from mesh.survey.survey import SurveyedWorkload
from mesh.wellknown import MAINTENANCE_WINDOW
from tests.mesh.build import (
    NEW,
    NOW,
    OLD,
    budget,
    config_map,
    custom_owner,
    injector,
    make_namespace,
    pod,
    strategy,
    surveyed,
    waiting,
    webhooks,
    workload,
)

OFF = {"istio-injection": "disabled"}
LATE = Condition(type="Progressing", status="False", reason="ProgressDeadlineExceeded", message="too slow")
UNSCHEDULED = Condition(type="PodScheduled", status="False", reason="Unschedulable", message="0/3 nodes are available")
KILLED = ContainerState(exit_code=137, reason="OOMKilled")
PAUSE = PauseCondition(reason="CanaryPauseStep")
SURGING = strategy(unavailable=0, surge=1)
TAKING = strategy(unavailable=1, surge=0)


def verdict(found: SurveyedWorkload) -> tuple[Action, Reason | None]:
    return found.action, found.reason


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        ("Deployment", "rollout-restart"),
        ("StatefulSet", "rollout-restart"),
        ("DaemonSet", "rollout-restart"),
        ("ReplicaSet", "evict"),
        ("ReplicationController", "evict"),
        ("Rollout.argoproj.io", "restart-at"),
    ],
)
def test_stale_workload_is_restarted_in_the_way_of_its_kind(kind: str, action: str) -> None:
    cart = workload(kind)

    assert verdict(surveyed(cart, pod(owner=cart))) == (action, None)


@pytest.mark.parametrize(
    ("owner", "reason", "detail"),
    [
        pytest.param(None, "StandalonePod", None, id="standalone-pod"),
        pytest.param(workload("Job"), "JobPod", None, id="job"),
        pytest.param(workload("CronJob"), "JobPod", None, id="cron-job"),
        pytest.param(custom_owner(), "UnsupportedOwner", "owner is a CloneSet.apps.kruise.io", id="custom-kind"),
        pytest.param(custom_owner("Node", "v1", "n1"), "UnsupportedOwner", "owner is a Node", id="mirror-pod"),
        pytest.param(workload(paused=True), "RolloutPaused", "its rollout is paused", id="paused"),
        pytest.param(
            workload("StatefulSet", strategy=strategy("OnDelete")),
            "UpdateStrategyOnDelete",
            None,
            id="stateful-set-on-delete",
        ),
        pytest.param(
            workload("DaemonSet", strategy=strategy("OnDelete")),
            "UpdateStrategyOnDelete",
            None,
            id="daemon-set-on-delete",
        ),
        pytest.param(
            workload("StatefulSet", strategy=strategy(partition=2)),
            "PartitionedRollout",
            "partition is 2",
            id="partition",
        ),
    ],
)
def test_stale_workload_of_an_owner_that_cannot_be_restarted_is_reported(
    owner: Workload, reason: str, detail: str | None
) -> None:
    things = [owner] if isinstance(owner, Workload) else []
    found = surveyed(*things, pod(owner=owner))

    assert (found.action, found.reason, found.detail) == (Action.REMEDIATE, reason, detail)


@pytest.mark.parametrize(
    ("owner", "reason", "detail"),
    [
        pytest.param(
            workload(ARGO_ROLLOUT, status={"pause_conditions": (PAUSE,), "phase": "Paused", "message": PAUSE.reason}),
            "RolloutPaused",
            "CanaryPauseStep",
            id="paused-at-a-step",
        ),
        pytest.param(
            workload(ARGO_ROLLOUT, paused=True, status={"phase": "Paused", "message": "manually paused"}),
            "RolloutPaused",
            "manually paused",
            id="paused-by-hand",
        ),
        pytest.param(
            workload(ARGO_ROLLOUT, mark=NOW + timedelta(days=3)),
            "RolloutPaused",
            "its restart is scheduled for 2026-09-08T12:00Z",
            id="somebody-scheduled-its-restart",
        ),
        pytest.param(
            workload(ARGO_ROLLOUT, status={"phase": "Degraded", "message": "RolloutAborted: update to revision 2"}),
            "RolloutFailing",
            "RolloutAborted: update to revision 2",
            id="aborted",
        ),
        pytest.param(
            workload(ARGO_ROLLOUT, lender=WorkloadReference(kind="PodTemplate", name="cart")),
            "UnsupportedOwner",
            "its Pod template belongs to PodTemplate cart, which is not read",
            id="template-is-not-read",
        ),
    ],
)
def test_argo_rollout_that_no_restart_reaches_is_reported(owner: Workload, reason: str, detail: str) -> None:
    below = workload("ReplicaSet", "cart-9f1", owner=owner)
    found = surveyed(owner, below, pod(owner=below))

    assert (found.action, found.reason, found.detail) == (Action.REMEDIATE, reason, detail)


def test_argo_rollout_is_restarted_only_with_every_pod_ready() -> None:
    cart = workload(ARGO_ROLLOUT)
    below = workload("ReplicaSet", "cart-9f1", owner=cart)
    found = surveyed(cart, below, pod("a", owner=below), pod("b", owner=below, ready="False"))

    assert (found.action, found.reason) == (Action.REMEDIATE, Reason.NOT_READY)


def test_restart_time_within_the_difference_of_clocks_is_no_schedule() -> None:
    cart = workload(ARGO_ROLLOUT, mark=NOW + timedelta(seconds=30))

    assert surveyed(cart, pod(owner=cart)).action is Action.RESTART_AT


def test_argo_rollout_that_is_gone_is_reported() -> None:
    found = surveyed(pod(owner=workload(ARGO_ROLLOUT)))

    assert found.detail == "Rollout.argoproj.io cart does not exist any more"


def test_partition_of_zero_is_none() -> None:
    db = workload("StatefulSet", strategy=strategy(partition=0))

    assert surveyed(db, pod(owner=db)).action is Action.ROLLOUT_RESTART


def test_owner_that_is_gone_is_reported() -> None:
    found = surveyed(pod(owner=workload("ReplicaSet", "cart-7d4")))

    assert (found.reason, found.detail) == (Reason.UNSUPPORTED_OWNER, "ReplicaSet cart-7d4 does not exist any more")


@pytest.mark.parametrize(
    ("one", "state"),
    [
        pytest.param(pod(phase="Pending", ready="False"), "Pending", id="pending"),
        pytest.param(pod(phase="Failed", ready="False"), "Failed", id="failed"),
        pytest.param(pod(phase="Unknown"), "Unknown", id="unknown"),
        pytest.param(pod(ready="Unknown"), "Unknown", id="ready-unknown"),
    ],
)
def test_reason_of_the_owner_tells_the_state_of_its_pods_too(one: Pod, state: str) -> None:
    found = surveyed(one)

    assert found.reason is Reason.STANDALONE_POD
    assert state in (found.detail or "")


@pytest.mark.parametrize(
    ("one", "reason", "detail"),
    [
        pytest.param(
            pod(phase="Pending", ready=None, conditions=(UNSCHEDULED,)),
            "PodPending",
            "Pod cart-1 Pending: 0/3 nodes are available",
            id="unschedulable",
        ),
        pytest.param(
            pod(phase="Pending", ready=None, statuses=(waiting("ImagePullBackOff", "no such image"),)),
            "PodPending",
            "Pod cart-1 Pending: container app: ImagePullBackOff no such image",
            id="image-missing",
        ),
        pytest.param(
            pod(phase="Pending", ready=None, statuses=(waiting("PodInitializing"),)),
            "PodPending",
            "Pod cart-1 Pending: its containers have not started",
            id="initialises",
        ),
        pytest.param(
            pod(ready="False", statuses=(waiting("CrashLoopBackOff", ended=KILLED),)),
            "CrashLooping",
            "Pod cart-1 container app: CrashLoopBackOff after 7 restarts, last exit code 137 OOMKilled",
            id="crash-loops",
        ),
        pytest.param(
            pod(phase="Failed", ready="False", said=("Evicted", "the node was low on memory")),
            "PodFailed",
            "Pod cart-1 Failed: the node was low on memory",
            id="failed",
        ),
        pytest.param(
            pod(phase="Unknown", said=("", "")),
            "PodUnknown",
            "Pod cart-1 Unknown: its node does not report",
            id="unknown",
        ),
        pytest.param(
            pod(ready=None, conditions=(Condition(type="Ready", status="Unknown", message="kubelet stopped"),)),
            "PodUnknown",
            "Pod cart-1 Unknown: kubelet stopped",
            id="ready-unknown",
        ),
        pytest.param(
            pod(ready="False", said=("NodeLost", "")), "PodUnknown", "Pod cart-1 Unknown: NodeLost", id="node-lost"
        ),
        pytest.param(
            pod(ready=None, conditions=(Condition(type="Ready", status="False", message="probe fails"),)),
            "NotReady",
            "Pod cart-1 not Ready: probe fails",
            id="not-ready",
        ),
        pytest.param(pod(ready=None), "NotReady", "Pod cart-1 not Ready: it has not been Ready yet", id="no-condition"),
    ],
)
def test_stale_workload_with_no_pod_ready_is_reported_with_the_clusters_message(
    one: Pod, reason: str, detail: str
) -> None:
    cart = workload(ready=0)
    mine = pod(
        owner=cart,
        phase=one.status.phase,
        ready=None,
        said=(one.status.reason, one.status.message),
        conditions=one.status.conditions or (),
        statuses=one.status.container_statuses or (),
    )
    found = surveyed(cart, mine)

    assert (found.action, found.reason, found.detail) == (Action.REMEDIATE, reason, detail)


def test_most_severe_cause_is_reported() -> None:
    pods = [pod(ready="False"), pod(phase="Pending"), pod(phase="Unknown"), pod()]
    found = most_severe(pods, NOW)

    assert found is not None
    assert found[1].reason is Reason.POD_UNKNOWN
    assert most_severe([pod()], NOW) is None


@pytest.mark.parametrize(
    ("since", "reason"),
    [(timedelta(minutes=6), Reason.STUCK_TERMINATING), (timedelta(minutes=4), None)],
    ids=["stuck", "goes"],
)
def test_terminating_pod_is_a_cause_only_once_it_is_stuck(since: timedelta, reason: Reason | None) -> None:
    found = pod_cause(pod(deleted=since, ready="False"), NOW)

    assert (found.reason if found else None) is reason


def test_stuck_pod_is_reported_when_nothing_else_is_ready() -> None:
    db = workload("StatefulSet", "db", ready=0)
    stuck = pod("db-0", owner=db, deleted=timedelta(hours=1))

    assert surveyed(db, stuck, pod("db-1", owner=db, phase="Pending", ready="False")).reason is Reason.STUCK_TERMINATING


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
    left_over = pod("b", owner=cart, phase="Failed", ready="False", said=("Evicted", ""))

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
    assert reason is None or "cart-budget wants" in (found.detail or "")


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


def test_reason_of_the_owner_comes_before_a_rewritten_image() -> None:
    cart = workload(paused=True)

    assert surveyed(cart, pod(owner=cart, age=AFTER), context=MARKED).reason is Reason.ROLLOUT_PAUSED


def test_rollout_that_is_under_way_has_not_shown_what_a_restart_brings() -> None:
    cart = workload(status={"updated_replicas": 1})

    assert surveyed(cart, pod(owner=cart, age=AFTER), context=MARKED).action is Action.ROLLOUT_RESTART


def test_pod_on_its_way_out_shows_nothing_of_a_restart() -> None:
    cart = workload()
    leaving = pod("a", owner=cart, age=AFTER, deleted=timedelta(minutes=1))
    found = surveyed(cart, leaving, pod("b", owner=cart, age=BEFORE), context=MARKED)

    assert found.action is Action.ROLLOUT_RESTART


CANARY = config_map(values='{"global": {"hub": "hub", "tag": "1.31.0"}}', revision="canary")
UPGRADED = config_map(values='{"global": {"hub": "hub", "tag": "1.30.2"}}')
BLANK = config_map()


@pytest.mark.parametrize(
    ("rev", "of_namespace", "proxy", "configs", "detail"),
    [
        pytest.param(None, None, OLD, (UPGRADED,), "Istio 1.29.3, its revision has 1.30.2", id="older"),
        pytest.param(None, None, "hub/proxyv2:1.31.0", (UPGRADED,), "has 1.30.2", id="newer"),
        pytest.param(None, None, NEW, (UPGRADED,), None, id="as-its-revision"),
        pytest.param(None, None, "other/proxyv2:1.30.2-distroless", (UPGRADED,), None, id="of-that-version"),
        pytest.param("canary", None, NEW, (UPGRADED, CANARY), "has 1.31.0", id="its-own-revision"),
        pytest.param(None, "canary", NEW, (UPGRADED, CANARY), "has 1.31.0", id="its-namespace's-revision"),
        pytest.param("stable", None, NEW, (UPGRADED, CANARY), "has 1.31.0", id="by-a-tag"),
        pytest.param("gone", None, OLD, (UPGRADED,), None, id="no-such-revision"),
        pytest.param(None, None, OLD, (BLANK,), None, id="revision-does-not-tell"),
        pytest.param(None, None, "hub/proxyv2:latest", (UPGRADED,), None, id="no-version"),
    ],
)
def test_gateway_that_its_owner_did_not_roll_is_reported_to_an_upgrade_and_not_to_a_scan(
    rev: str | None, of_namespace: str | None, proxy: str, configs: tuple[ConfigMap, ...], detail: str | None
) -> None:
    by = injector(
        webhooks(), webhooks("stable", revision="canary"), configs=tuple(injector_config(one) for one in configs)
    )
    edge = _gateway({} if rev is None else {"istio.io/rev": rev})
    here = make_namespace(labels={} if of_namespace is None else {"istio.io/rev": of_namespace})
    one = pod("edge-1", owner=edge, proxy=proxy, injected=False)
    gateway = surveyed(edge, one, here, by=by, context=MARKED)

    assert verdict(gateway) == ((Action.REMEDIATE, Reason.GATEWAY_NOT_UPGRADED) if detail else (Action.NONE, None))
    assert (detail or "") in (gateway.detail or "")
    assert gateway.pod_class is PodClass.GATEWAY
    assert verdict(surveyed(edge, one, here, by=by)) == (Action.NONE, None)


def test_excluded_gateway_is_no_item() -> None:
    edge, off = _gateway({}), {"restarter.istio-operator.kyma-project.io/exclude": "true"}
    one = pod("edge-1", owner=edge, injected=False)
    by_policy = UpgradeContext(mark=NOW, exclude_namespaces=("shop",))

    assert surveyed(edge, one, context=MARKED).action is Action.REMEDIATE
    assert surveyed(edge, one, make_namespace(annotations=off), context=MARKED).action is Action.NONE
    assert surveyed(edge, one, context=by_policy).action is Action.NONE


def _gateway(labels: dict[str, str]) -> Workload:
    made_from = PodTemplate(
        metadata=Metadata(labels={"sidecar.istio.io/inject": "false"} | labels),
        spec=PodSpec(containers=(Container(name="istio-proxy", image=NEW),)),
    )
    return workload(name="edge", made_from=made_from)


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


MADE_BEFORE, MADE_SINCE = timedelta(hours=2), timedelta(minutes=30)
BEGAN = UpgradeContext(began=NOW - timedelta(hours=1))


@pytest.mark.parametrize(
    ("ages", "context", "action", "reason"),
    [
        pytest.param((MADE_BEFORE,), NO_UPGRADE, "remediate", "SidecarMissing", id="scan"),
        pytest.param((MADE_BEFORE,), BEGAN, "remediate", "SidecarMissing", id="made-before-the-upgrade"),
        pytest.param((MADE_SINCE,), BEGAN, "rollout-restart", None, id="made-during-it"),
        pytest.param((MADE_SINCE, MADE_BEFORE), BEGAN, "remediate", "SidecarMissing", id="some-made-before"),
        pytest.param(
            (MADE_BEFORE,), UpgradeContext(restart_missing=True), "rollout-restart", None, id="policy-says-so"
        ),
    ],
)
def test_missing_sidecar_is_restarted_only_after_this_upgrade_or_by_policy(
    ages: tuple[timedelta, ...], context: UpgradeContext, action: str, reason: str | None
) -> None:
    cart = workload()
    pods = [pod(f"p{number}", owner=cart, proxy=None, age=age) for number, age in enumerate(ages)]

    assert verdict(surveyed(cart, *pods, context=context)) == (action, reason)


def test_missing_sidecar_of_a_standalone_pod_is_reported_as_standalone() -> None:
    assert surveyed(pod(proxy=None)).reason is Reason.STANDALONE_POD


def test_finished_runs_of_a_cron_job_are_no_trouble_of_the_one_that_runs() -> None:
    job = workload("Job")
    found = surveyed(
        job, pod("ran", owner=job, proxy=None, phase="Succeeded", ready="False"), pod("runs", owner=job, proxy=None)
    )

    assert (found.pod_class, found.reason, found.detail) == (
        PodClass.MISSING,
        Reason.JOB_POD,
        "created without a sidecar, would get one now",
    )


def test_sidecar_that_would_be_lost_is_left_alone() -> None:
    cart = workload()
    found = surveyed(cart, pod(owner=cart), make_namespace(labels=OFF))

    assert verdict(found) == (Action.REMEDIATE, Reason.WOULD_LOSE_SIDECAR)
    assert found.detail == "would get no sidecar: no injection webhook selects it"


def test_missing_answer_is_reported_with_its_reason() -> None:
    cart = workload()
    found = surveyed(cart, pod(owner=cart), expected=ExpectedProxy(None, None, "the injector refused: bad\nconfig"))

    assert verdict(found) == (Action.REMEDIATE, Reason.UNKNOWN_PROXY)
    assert (found.detail or "").endswith("the injector refused: bad config")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param(OFF, None, id="orphaned"),
        pytest.param(None, ExpectedProxy(None, None, "no answer"), id="unknown"),
    ],
)
def test_reason_of_the_owner_comes_before_that_of_injection(
    labels: dict[str, str] | None, expected: ExpectedProxy | None
) -> None:
    found = surveyed(pod(), make_namespace(labels=labels), expected=expected)

    assert verdict(found) == (Action.REMEDIATE, Reason.STANDALONE_POD)
    assert "would get no sidecar" in (found.detail or "") or "no answer" in (found.detail or "")


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(pod(proxy="hub/proxyv2:1.30.2"), id="current"),
        pytest.param(pod(proxy=None, namespace="kube-system"), id="uninjected"),
        pytest.param(pod(injected=False), id="gateway"),
        pytest.param(pod(deleted=timedelta(hours=1)), id="terminating"),
        pytest.param(pod(phase="Succeeded"), id="finished"),
        pytest.param(pod(annotations={"restarter.istio-operator.kyma-project.io/exclude": "true"}), id="excluded"),
    ],
)
def test_all_other_classes_need_no_action(one: Pod) -> None:
    assert verdict(surveyed(one)) == (Action.NONE, None)
