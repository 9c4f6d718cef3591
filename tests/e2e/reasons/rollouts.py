"""Stories of restarts that do not begin or do not end: budgets, quotas, windows, rollouts that fail."""

from __future__ import annotations

from deploy.local.demo.stage import wait_for
from mesh.survey.reasons import Reason
from tests.e2e.reasons.place import BEHAVIOUR, RECOVERS, SURGE_FIRST, TAKE_FIRST, Place, Story
from tests.e2e.workloads import allow, limit, pod_uids

_WINDOW = "restarter.istio-operator.kyma-project.io/maintenance-window"
_ALWAYS = "Mon-Sun 00:00-24:00"


def _failing(place: Place) -> str:
    workload = place.make(progressDeadlineSeconds=3, strategy=SURGE_FIRST)
    place.release(**{f"{BEHAVIOUR}pod": "crash-looping"})
    place.kubectl("wait", workload, "--for=condition=Progressing=false", "--timeout=30s")
    return workload


def _budget(place: Place) -> str:
    workload = place.make(strategy=TAKE_FIRST)
    limit(place.mesh, place.namespace, {"app": place.name}, 2, minAvailable=2)
    return workload


def _allow_disruption(place: Place) -> None:
    place.patch("poddisruptionbudget/budget", {"spec": {"minAvailable": 1}})
    allowed = "--for=jsonpath={.status.disruptionsAllowed}=1"
    place.kubectl("wait", "poddisruptionbudget/budget", allowed, "--timeout=20s")


def _quota(place: Place) -> str:
    # Its controller gives up long before the quota is raised.
    workload = place.make(strategy=SURGE_FIRST, progressDeadlineSeconds=3)
    allow(place.mesh, place.namespace, "pods", 2)
    return workload


def _raise_quota(place: Place) -> None:
    place.patch("resourcequota/tight", {"spec": {"hard": {"pods": "9"}}})
    # Until its controller has updated the status, the old amount applies.
    place.kubectl("wait", "resourcequota/tight", "--for=jsonpath={.status.hard.pods}=9", "--timeout=20s")


def _window(place: Place, text: str) -> str:
    workload = place.make()
    place.kubectl("annotate", workload, f"{_WINDOW}={text}")
    return workload


def _window_unreadable(place: Place) -> str:
    return _window(place, "whenever it suits")


def _windows_disjoint(place: Place) -> str:
    place.kubectl("annotate", "namespace", place.namespace, f"{_WINDOW}=Sun 00:00-04:00")
    return _window(place, "Sat 00:00-04:00")


def _open_windows(place: Place) -> None:
    for what in (f"deployment/{place.name}", f"namespace/{place.namespace}"):
        place.kubectl("annotate", "--overwrite", what, f"{_WINDOW}={_ALWAYS}")


def _node_gone(place: Place) -> str:
    place.label_node()
    workload = place.make(pod={"nodeSelector": {place.namespace: "yes"}})
    place.label_node("-")
    return workload


def _slow_start(place: Place) -> str:
    return place.make(annotations={f"{BEHAVIOUR}start-after": "4s"}, strategy=SURGE_FIRST)


def _wait_for_first_new_pod(place: Place) -> None:
    old = pod_uids(place.mesh, place.namespace, place.name)
    fresh = lambda: bool(pod_uids(place.mesh, place.namespace, place.name) - old)  # noqa: E731
    wait_for(f"the restart of {place.name}", fresh)


def _revert_mark(place: Place) -> None:
    _wait_for_first_new_pod(place)
    place.release(**{"kubectl.kubernetes.io/restartedAt": None})


STORIES = (
    Story("failing", Reason.ROLLOUT_FAILING, _failing, "ProgressDeadlineExceeded", without=(" status ",)),
    Story("budget", Reason.DISRUPTION_BUDGET, _budget, "2 of 2 Pods are healthy, 2 wanted", _allow_disruption),
    Story("quota", Reason.QUOTA_EXCEEDED, _quota, "exceeded quota: tight", _raise_quota),
    Story("unreadable", Reason.WINDOW_INVALID, _window_unreadable, "maintenance window: whenever", _open_windows),
    Story("disjoint", Reason.WINDOW_NEVER_OPENS, _windows_disjoint, "maintenance window: Sun", _open_windows),
    Story("node-gone", Reason.ROLLOUT_TIMED_OUT, _node_gone, "node affinity/selector", Place.label_node, RECOVERS),
    Story("reverted", Reason.RESTART_REVERTED, _slow_start, "live proxies: ", in_restart=_revert_mark),
)
