"""The one place where a worker's parts are put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.boundary import ServedCluster
from activities.control_plane import ControlPlaneActivities
from activities.gates import GateActivities
from activities.hold import HoldActivities
from activities.remediation.activities import RemediationActivities
from activities.remediation.watch import ClusterWatchActivities
from activities.restart.activities import RestartActivities
from activities.survey.activities import SurveyActivities
from activities.survey.cache import SurveyCache
from mesh.identity import TASK_QUEUE, ClusterRef
from mesh.wellknown import HOME_NAMESPACE
from worker.cluster_connection import connect, first_uid, name_of
from worker.settings import ClusterSettings, WorkerSettings
from workflows.registry import ALL_WORKFLOWS

#: Workflows kept in memory between their tasks; of others the history is read again. Thousands of items sleep for
#: days, and need none of it.
_CACHED = 200
_HEARTBEATS = timedelta(seconds=5)


@asynccontextmanager
async def compose_cluster(settings: ClusterSettings) -> AsyncIterator[ServedCluster]:
    """The connection to the cluster, and the name and UID that bind it."""
    async with await connect(settings) as cluster:
        yield ServedCluster(cluster, ClusterRef(name_of(cluster, settings), await first_uid(cluster)))


def compose_activities(
    served: ServedCluster, client: Client, own_namespaces: tuple[str, ...] = ()
) -> Sequence[Callable[..., Any]]:
    """Every activity, built with what it depends on; `own_namespaces` are the namespaces of worker and Temporal."""
    control_plane = ControlPlaneActivities(served)
    hold = HoldActivities(served)
    gates = GateActivities(served)
    surveys = SurveyCache(served.cluster)
    survey = SurveyActivities(served, surveys, own_namespaces)
    restarts = RestartActivities(served)
    watch = ClusterWatchActivities(served, client, TASK_QUEUE, surveys)
    remediation = RemediationActivities(served, client, TASK_QUEUE, watch, surveys)
    return (
        control_plane.resolve_target,
        control_plane.apply_target,
        control_plane.await_control_plane,
        hold.renew_hold,
        hold.await_hold,
        hold.release_hold,
        gates.check_gate,
        gates.check_window,
        gates.ping_worker,
        survey.survey_cluster,
        survey.list_wave_members,
        restarts.restart_workload,
        remediation.open_items,
        remediation.open_item,
        remediation.set_pod_warnings,
        remediation.recheck_item,
        watch.watch_cluster,
    )


def namespace_of(host: str) -> tuple[str, ...]:
    """The namespace of a Service by its address inside a cluster: `temporal-frontend.temporal.svc:7233`."""
    labels = host.partition(":")[0].split(".")
    return (labels[1],) if len(labels) > 2 and labels[2] == "svc" else ()


def compose_workers(client: Client, served: ServedCluster, settings: WorkerSettings) -> tuple[Worker, Worker]:
    """Two workers in one process: workflows on the shared queue, activities on the cluster's own."""
    grace = timedelta(seconds=settings.grace)
    workflows = Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=ALL_WORKFLOWS,
        # What a sandbox for each run costs is told in docs/adr/0011. The tests have it.
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=_CACHED,
        graceful_shutdown_timeout=grace,
    )
    activities = Worker(
        client,
        task_queue=served.ref.activity_queue,
        activities=compose_activities(
            served, client, (HOME_NAMESPACE, *namespace_of(client.service_client.config.target_host))
        ),
        max_concurrent_activities=settings.concurrency,
        # A killed worker is noticed by missing heartbeats, so they must not be throttled to the default half minute.
        max_heartbeat_throttle_interval=_HEARTBEATS,
        graceful_shutdown_timeout=grace,
    )
    return workflows, activities
