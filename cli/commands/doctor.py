"""`kyma-upgrade doctor`: everything that must be right before an upgrade can succeed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from cli.exit_codes import DONE, FAILED
from cli.options import Option, cluster_options, output_option, settings_from, temporal_options
from cli.render.output import emit

if TYPE_CHECKING:
    from worker.doctor_checks import Check
    from worker.settings import Settings

_PERMISSION = "permission "


@click.command()
@cluster_options
@temporal_options
@output_option()
def doctor(output: str | None, **options: Option) -> int:
    """Check Temporal, the worker, the cluster, every permission, versions, injector and hold; 1 when one fails."""
    from cli.temporal.session import run

    return run(_doctor(settings_from(options), output))


async def _doctor(settings: Settings, output: str | None) -> int:
    import asyncio

    temporal, cluster = await asyncio.gather(_temporal(settings), _cluster(settings))
    checks = [*temporal, *cluster]
    document = {
        "checks": [
            {"name": one.name, "ok": one.ok, "message": one.message, "remedy": one.remedy or None} for one in checks
        ]
    }
    emit(document, output, lambda: doctor_table(checks))
    return DONE if all(one.ok for one in checks) else FAILED


async def _temporal(settings: Settings) -> list[Check]:
    from cli.temporal.session import named_cluster, temporal
    from mesh.errors import UpgradeError
    from worker.doctor_checks import Check, check_temporal

    try:
        client = await temporal(settings)
    except UpgradeError as error:
        return [Check("temporal", ok=False, message=error.message, remedy=error.remedy)]
    try:
        name: str | None = named_cluster(settings.cluster)
    except UpgradeError:
        name = None  # told by the check of the cluster
    return await check_temporal(client, name)


async def _cluster(settings: Settings) -> list[Check]:
    from mesh.errors import UpgradeError
    from worker.compose import compose_cluster
    from worker.doctor_checks import Check, check_cluster

    try:
        async with compose_cluster(settings.cluster) as served:
            return await check_cluster(served.cluster, served.ref)
    except UpgradeError as error:
        return [Check("cluster", ok=False, message=error.message, remedy=error.remedy)]


def doctor_table(checks: Sequence[Check]) -> str:
    """A line per check, its remedy below; permissions that are there are only counted."""
    lines = []
    permissions = [one for one in checks if one.name.startswith(_PERMISSION)]
    for one in checks:
        if one in permissions and one.ok:
            continue
        lines.append(f"{'ok  ' if one.ok else 'FAIL'}  {one.name}: {one.message}")
        if one.remedy:
            lines.append(f"      {one.remedy}")
    if permissions:
        there = sum(one.ok for one in permissions)
        lines.append(f"{'ok  ' if there == len(permissions) else 'FAIL'}  permissions: {there} of {len(permissions)}")
    failed = sum(not one.ok for one in checks)
    lines.append("")
    lines.append(f"{failed} of {len(checks)} checks failed." if failed else f"All {len(checks)} checks passed.")
    return "\n".join(lines)
