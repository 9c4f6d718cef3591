"""Composes a worker: the one place where activities and workers get what they depend on."""

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
from worker.cluster_connection import connect_cluster, first_uid, name_of
from worker.settings import ClusterSettings, WorkerSettings
from workflows.registry import ALL_WORKFLOWS

#: Workflows kept in memory between their tasks; other workflows are replayed. Thousands of items sleep for days and
#: must not fill the memory.
_MAX_CACHED_WORKFLOWS = 200
_HEARTBEAT_INTERVAL = timedelta(seconds=5)


@asynccontextmanager
async def compose_cluster(settings: ClusterSettings) -> AsyncIterator[ServedCluster]:
    """Connects to the cluster; yields the client with the name and UID that identify the cluster."""
    async with await connect_cluster(settings) as cluster:
        yield ServedCluster(cluster, ClusterRef(name_of(cluster, settings), await first_uid(cluster)))


def compose_activities(
    served: ServedCluster, client: Client, own_namespaces: tuple[str, ...] = ()
) -> Sequence[Callable[..., Any]]:
    """Returns every activity; `own_namespaces` are the Kubernetes namespaces of the worker and of Temporal."""
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
    """Returns the Kubernetes namespace in a Service's address (`frontend.temporal.svc:7233`); nothing for others."""
    labels = host.partition(":")[0].split(".")
    return (labels[1],) if len(labels) > 2 and labels[2] == "svc" else ()


def compose_workers(client: Client, served: ServedCluster, settings: WorkerSettings) -> tuple[Worker, Worker]:
    """Returns two workers: for workflows on the shared task queue, for activities on the cluster's own."""
    grace = timedelta(seconds=settings.grace)
    workflows = Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=ALL_WORKFLOWS,
        # docs/adr/0011 says what a sandbox for each run costs. Tests run with the sandbox.
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=_MAX_CACHED_WORKFLOWS,
        graceful_shutdown_timeout=grace,
    )
    activities = Worker(
        client,
        task_queue=served.ref.activity_queue,
        activities=compose_activities(
            served, client, (HOME_NAMESPACE, *namespace_of(client.service_client.config.target_host))
        ),
        max_concurrent_activities=settings.concurrency,
        # Missing heartbeats reveal a killed worker, so they must not be throttled to the default of 30 seconds.
        max_heartbeat_throttle_interval=_HEARTBEAT_INTERVAL,
        graceful_shutdown_timeout=grace,
    )
    return workflows, activities
