"""`kyma-upgrade pause`, `resume`, `approve`, `limit`, `abort`: an operator controls the running upgrade."""

from __future__ import annotations

from typing import Any

import click

from cli.interruption import run
from cli.options import (
    Option,
    cluster_options,
    operator,
    operator_options,
    output_option,
    settings_from,
    temporal_options,
)


def _control(name: str, help_text: str) -> click.Command:
    @click.command(name, help=help_text)
    @operator_options
    @output_option()
    @cluster_options
    @temporal_options
    def command(who: str | None, because: str, output: str | None, **options: Option) -> int:
        return _send(name, who, because, output, options)

    return command


pause = _control("pause", "Pause the upgrade: no new restarts.\n\nRestarts in flight finish.")
resume = _control("resume", "Continue a paused upgrade. A step that failed is tried again.")
abort = _control("abort", "End the upgrade. Restarts in flight finish.\n\nRestarted workloads and items stay.")


@click.command()
@click.option("--wave", type=int, metavar="N", help="Approve this wave in advance, by the number in its workflow id.")
@operator_options
@output_option()
@cluster_options
@temporal_options
def approve(wave: int | None, who: str | None, because: str, output: str | None, **options: Option) -> int:
    """Approve the waiting wave."""
    return _send("approve", who, because, output, options, wave=wave)


@click.command()
@click.option(
    "--in-flight", type=click.IntRange(1, 200), required=True, metavar="N", help="At most N workloads, 1 to 200."
)
@operator_options
@output_option()
@cluster_options
@temporal_options
def limit(in_flight: int, who: str | None, because: str, output: str | None, **options: Option) -> int:
    """Limit how many workloads are in flight."""
    return _send("limit", who, because, output, options, in_flight=in_flight)


def _send(
    name: str,
    who: str | None,
    because: str,
    output: str | None,
    options: dict[str, Option],
    **fields: Any,  # noqa: ANN401  # of the update
) -> int:
    from cli.actions.control_upgrade import control_upgrade

    return run(control_upgrade(settings_from(options), name, operator(who), because, output, **fields))
