"""`kyma-upgrade pause`, `resume`, `approve`, `limit`, `abort`: an operator's word to the running upgrade."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from cli.exit_codes import DONE
from cli.options import (
    Option,
    cluster_options,
    operator,
    operator_options,
    output_option,
    settings_from,
    temporal_options,
)
from cli.render.output import emit, say

if TYPE_CHECKING:
    from worker.settings import Settings

_ANSWER_WITHIN = timedelta(seconds=20)


def _controls(name: str, help_text: str) -> click.Command:
    @click.command(name, help=help_text)
    @cluster_options
    @temporal_options
    @operator_options
    @output_option()
    def command(who: str | None, because: str, output: str | None, **options: Option) -> int:
        from cli.temporal.session import run
        from workflows.messages import OperatorInput

        return run(_steer(settings_from(options), name, OperatorInput(operator(who), because), output))

    return command


pause = _controls("pause", "Start nothing new until resumed; what is in flight finishes.")
resume = _controls("resume", "Go on where it stands: the step that failed is tried again.")
abort = _controls("abort", "End the upgrade: what is in flight finishes, restarts and items stay.")


@click.command()
@cluster_options
@temporal_options
@operator_options
@output_option()
@click.option("--wave", type=int, metavar="N", help="One that does not wait yet, by the number in its workflow id.")
def approve(wave: int | None, who: str | None, because: str, output: str | None, **options: Option) -> int:
    """Let the wave begin that waits for approval."""
    from cli.temporal.session import run
    from workflows.messages import ApproveInput

    return run(_steer(settings_from(options), "approve", ApproveInput(wave, operator(who), because), output))


@click.command()
@cluster_options
@temporal_options
@operator_options
@output_option()
@click.option("--in-flight", type=click.IntRange(1, 200), required=True, metavar="N", help="Workloads, from 1 to 200.")
def limit(in_flight: int, who: str | None, because: str, output: str | None, **options: Option) -> int:
    """Change how many workloads of the cluster may be rolling at once."""
    from cli.temporal.session import run
    from workflows.messages import LimitInput

    return run(_steer(settings_from(options), "limit", LimitInput(in_flight, operator(who), because), output))


async def _steer(settings: Settings, name: str, word: object, output: str | None) -> int:
    from temporalio.client import WorkflowUpdateRPCTimeoutOrCancelledError
    from temporalio.service import RPCError

    from cli.commands.status import status_table
    from cli.render.documents import status_document
    from cli.temporal.session import is_absent, named_cluster, temporal
    from mesh.errors import RefusedError, UnreachableError
    from mesh.identity import upgrade_id
    from workflows.messages import Progress

    cluster = named_cluster(settings.cluster)
    client = await temporal(settings)
    handle = client.get_workflow_handle(upgrade_id(cluster))
    try:
        progress: Progress = await handle.execute_update(name, word, result_type=Progress, rpc_timeout=_ANSWER_WITHIN)
        run_id = (await handle.describe()).run_id
    except WorkflowUpdateRPCTimeoutOrCancelledError as error:
        raise UnreachableError(
            "No worker answers, so it is not known whether the upgrade heard it.",
            f"Start a worker (kyma-upgrade worker), then look: kyma-upgrade status --cluster {cluster}",
        ) from error
    except RPCError as error:
        if is_absent(error):
            raise RefusedError(
                f"No upgrade of cluster {cluster} is running.", "See kyma-upgrade status, and check --cluster."
            ) from error
        raise
    document = status_document(progress, handle.id, run_id)
    say(f"{name}: done for cluster {cluster}.")
    emit(document, output, lambda: status_table(document))
    return DONE
