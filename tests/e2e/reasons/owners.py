"""Stories of workloads that cannot be restarted because of their owner or their update strategy."""

from __future__ import annotations

from typing import Any

from deploy.local.kubectl import apply, read
from mesh.survey.reasons import Reason
from tests.e2e.reasons.place import BEHAVIOUR, CURRENT, FINISHED, GONE, Place, Story
from tests.e2e.workloads import APP, make_pod

_ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}


def _standalone(place: Place) -> str:
    # As long as names can be.
    place.name = f"{place.name}-{'n' * (252 - len(place.name))}"
    make_pod(place.mesh, place.namespace, place.name)
    return f"Pod/{place.name}"


def _job_spec() -> dict[str, Any]:
    annotations = {f"{BEHAVIOUR}pod": "running"}
    spec = {"restartPolicy": "Never", "containers": [APP]}
    return {"template": {"metadata": {"annotations": annotations}, "spec": spec}}


def _job(place: Place) -> str:
    metadata = {"name": place.name, "namespace": place.namespace}
    apply(place.mesh, {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": _job_spec()})
    place.wait_until_running()
    return f"Job/{place.name}"


def _cron_job(place: Place) -> str:
    metadata = {"name": place.name, "namespace": place.namespace}
    # Its own time does not come.
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": _job_spec()}}
    apply(place.mesh, {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec})
    place.kubectl("create", "job", f"--from=cronjob/{place.name}", f"{place.name}-run")
    place.wait_until_running()
    return f"CronJob/{place.name}"


def _job_ends(place: Place) -> None:
    place.kubectl("annotate", "pods", "--all", f"{BEHAVIOUR}pod-")


def _foreign_owner(place: Place) -> str:
    metadata = {"name": place.name, "namespace": place.namespace}
    apply(place.mesh, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    uid = read(place.mesh, "configmap", place.name, "-n", place.namespace)["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": place.name, "uid": uid, "controller": True}
    make_pod(place.mesh, place.namespace, place.name, ownerReferences=[owner])
    return f"ConfigMap/{place.name}"


def delete_pods(place: Place) -> None:
    place.kubectl("delete", "pods", "--all")


def _paused(place: Place) -> str:
    workload = place.make()
    place.kubectl("rollout", "pause", workload)
    return workload


def _partitioned(place: Place) -> str:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    return place.make("StatefulSet", updateStrategy=strategy)


STORIES = (
    # Between its deletion and its return a workload has no Pods, and that closes the item as well.
    Story("standalone", Reason.STANDALONE_POD, _standalone, "has no controller", closed=(GONE, CURRENT)),
    Story("job", Reason.JOB_POD, _job, "1 Pod active", without=(" wait ",), closed=(GONE, CURRENT)),
    Story("job-ends", Reason.JOB_POD, _job, "1 Pod active", _job_ends, (".yaml",), (FINISHED,)),
    Story("cron-job", Reason.JOB_POD, _cron_job, "1 Pod active", without=(" wait ",), closed=(GONE, CURRENT)),
    Story(
        "foreign-owner",
        Reason.UNSUPPORTED_OWNER,
        _foreign_owner,
        "is controlled by ConfigMap",
        delete_pods,
        (),
        (GONE,),
    ),
    Story("paused", Reason.ROLLOUT_PAUSED, _paused, "DeploymentPaused"),
    Story("on-delete", Reason.ON_DELETE, lambda place: place.make("StatefulSet", **_ON_DELETE), "OnDelete"),
    Story("on-delete-daemons", Reason.ON_DELETE, lambda place: place.make("DaemonSet", **_ON_DELETE), "OnDelete"),
    Story("partitioned", Reason.PARTITIONED, _partitioned, "partition 1"),
)
