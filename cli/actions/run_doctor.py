"""Runs every check of `doctor` and prints the results."""

from __future__ import annotations

import asyncio

from cli.cluster_name import cluster_name_from
from cli.exit_codes import DONE, FAILED
from cli.render.doctor_document import doctor_document
from cli.render.doctor_table import doctor_table
from cli.render.output import emit
from cli.temporal.session import connect_temporal
from mesh.errors import UpgradeError
from worker.compose import compose_cluster
from worker.doctor_checks import Check, check_cluster, check_temporal
from worker.settings import Settings


async def run_doctor(settings: Settings, output: str | None) -> int:
    """Checks Temporal and the cluster at the same time."""
    temporal, cluster = await asyncio.gather(_check_temporal(settings), _check_cluster(settings))
    checks = [*temporal, *cluster]
    document = doctor_document(checks)
    emit(document, output, lambda: doctor_table(document["checks"]))
    return DONE if all(check.ok for check in checks) else FAILED


async def _check_temporal(settings: Settings) -> list[Check]:
    try:
        client = await connect_temporal(settings)
    except UpgradeError as error:
        return [Check("temporal", ok=False, message=error.message, remedy=error.remedy)]
    try:
        name: str | None = cluster_name_from(settings.cluster)
    except UpgradeError:
        name = None  # the check of the cluster reports it
    return await check_temporal(client, name)


async def _check_cluster(settings: Settings) -> list[Check]:
    try:
        async with compose_cluster(settings.cluster) as served:
            return await check_cluster(served.cluster, served.ref)
    except UpgradeError as error:
        return [Check("cluster", ok=False, message=error.message, remedy=error.remedy)]
