"""The process of a worker: runs until a signal ends it."""

from __future__ import annotations

import asyncio
import logging
import signal

from temporalio.worker import Worker

from mesh.identity import TASK_QUEUE
from worker.compose import compose_cluster, compose_workers
from worker.search_attribute_registration import ensure_search_attributes
from worker.settings import Settings
from worker.structured_logging import configure_logging
from worker.temporal_connection import connect_client, logging_runtime

_log = logging.getLogger(__name__)


async def run_worker(settings: Settings) -> None:
    """Serves one cluster until SIGTERM or SIGINT.

    Raises:
        UpgradeError: Temporal or the cluster cannot be used.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    configure_logging(settings.worker)
    client = await connect_client(settings.temporal, logging_runtime())
    async with compose_cluster(settings.cluster) as served:
        await ensure_search_attributes(client)
        workers = compose_workers(client, served, settings.worker)
        fields = {
            "cluster": served.ref.name,
            "uid": served.ref.uid,
            "temporal": client.service_client.config.target_host,
            "temporal_namespace": client.namespace,
            "task_queues": [TASK_QUEUE, served.ref.activity_queue],
        }
        _log.info("worker_started", extra={"fields": fields})
        await _serve(workers, stop)
    _log.info("worker_stopped")


async def _serve(workers: tuple[Worker, ...], stop: asyncio.Event) -> None:
    """Runs all workers until `stop` is set. A worker that ends by itself ends the others, and its error is raised."""
    running = [asyncio.create_task(worker.run()) for worker in workers]
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([*running, waiting], return_when=asyncio.FIRST_COMPLETED)
        _log.info("worker_stopping")
        await asyncio.gather(*(worker.shutdown() for worker in workers))
        await asyncio.gather(*running)
    finally:
        for task in (*running, waiting):
            task.cancel()
