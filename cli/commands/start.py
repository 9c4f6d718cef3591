"""`kyma-upgrade start`: starts the upgrade of a cluster, or attaches to the one that runs with the same target."""

from __future__ import annotations

from typing import Literal

import click

from cli.exit_codes import accepted
from cli.interruption import run
from cli.options import Option, cluster_options, operator, output_option, settings_from, temporal_options, wait_options
from mesh.errors import RefusedError

_DRIVERS = ("kyma", "sail", "external")


@click.command()
@click.option("--to", required=True, metavar="TARGET", help="Channel, module version, Istio version, or 'current'.")
@click.option(
    "--driver",
    type=click.Choice(_DRIVERS),
    default="kyma",
    show_default=True,
    help="What manages Istio in the cluster. Only kyma is available in this version.",
)
@click.option("--policy", "policy_file", metavar="FILE", help="Policy: waves, pace, windows, limits (schema policy).")
@click.option("--restarts", type=click.Choice(["ours", "module"]), help="Who restarts. Default: as in the policy.")
@click.option("--wait", "wait_", is_flag=True, help="Wait until the upgrade ends or needs an operator.")
@click.option("--wait-to-end", is_flag=True, help="Keep waiting while the upgrade needs an operator.")
@wait_options
@click.option(
    "--idempotency-key", "key", metavar="KEY", help="Start once per key: the same key attaches, even after its end."
)
@click.option("--who", metavar="NAME", help="Who starts the upgrade. Default: user@host.")
@click.option("--dry-run", is_flag=True, help="Show what the upgrade would do. Changes nothing.")
@output_option()
@cluster_options
@temporal_options
def start(
    to: str,
    driver: str,
    policy_file: str | None,
    restarts: Literal["ours", "module"] | None,
    wait_: bool,
    wait_to_end: bool,
    timeout: str | None,
    key: str | None,
    who: str | None,
    dry_run: bool,
    ok: tuple[int, ...],
    output: str | None,
    **options: Option,
) -> int:
    """Start the upgrade of a cluster, or attach to the running one.

    Attaches only to an upgrade with the same target. Without --wait, returns as soon as the upgrade has started.
    """
    from cli.actions.start_upgrade import Start, StartRequest
    from cli.temporal.follow_upgrade import WaitOptions

    if driver != "kyma":
        raise RefusedError(f"The {driver} driver is not available in this version.", "Use --driver kyma.")
    settings = settings_from(options)
    request = StartRequest(to, operator(who), policy_file, restarts, key, dry_run)
    waits = WaitOptions.of(timeout, through_pauses=wait_to_end) if wait_ or wait_to_end else None
    action = Start(settings, request, waits, output)
    return accepted(run(action.run(), action.interrupted), ok)
