"""Entry point of `kyma-upgrade`: the table of commands, and how each run ends with an exit code and two sentences."""

from __future__ import annotations

import sys
from typing import Any

import click

from cli.exit_codes import INTERRUPTED, USAGE, Failure, failure_of
from cli.lazy_group import LazyCommand, LazyGroup
from worker.process_exit import exit_process

_COMMANDS = {
    "scan": LazyCommand("cli.commands.scan:scan", "Show the class of every workload. Changes nothing."),
    "start": LazyCommand("cli.commands.start:start", "Start the upgrade of a cluster, or attach to the running one."),
    "status": LazyCommand("cli.commands.status:status", "Show the status of the upgrade."),
    "wait": LazyCommand("cli.commands.wait:wait", "Wait until the upgrade ends or needs an operator."),
    "report": LazyCommand("cli.commands.report:report", "Write a report of the running or latest upgrade."),
    "pause": LazyCommand("cli.commands.operator_controls:pause", "Pause the upgrade: no new restarts."),
    "resume": LazyCommand(
        "cli.commands.operator_controls:resume", "Continue a paused upgrade. A step that failed is tried again."
    ),
    "approve": LazyCommand("cli.commands.operator_controls:approve", "Approve the waiting wave."),
    "limit": LazyCommand("cli.commands.operator_controls:limit", "Limit how many workloads are in flight."),
    "abort": LazyCommand("cli.commands.operator_controls:abort", "End the upgrade. Restarts in flight finish."),
    "queue": LazyCommand("cli.commands.queue:queue", "Show and handle what cannot be restarted automatically."),
    "doctor": LazyCommand("cli.commands.doctor:doctor", "Check everything that an upgrade needs."),
    "worker": LazyCommand("cli.commands.worker:worker", "Run a worker for a cluster."),
    "schema": LazyCommand("cli.commands.schema:schema", "Print JSON Schemas of files."),
}


@click.group(
    cls=LazyGroup,
    lazy_commands=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 refused, 3 done with open items, 4 waiting for an operator, 5 timed out, "
    "6 another upgrade is running, 7 Temporal or the cluster is unreachable, 130 interrupted.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="kyma-upgrade-orchestrator", prog_name="kyma-upgrade")
def cli(debug: bool) -> None:
    """Durable, verified upgrades of Istio and its sidecars in a Kyma cluster."""


def main() -> None:
    """Runs a command line and ends the process with its exit code."""
    exit_process(run_command_line(sys.argv[1:]))


def run_command_line(arguments: list[str]) -> int:
    """Runs a command line and returns its exit code. Every error becomes sentences on stderr."""
    # Accepted at any position: an operator who has just seen an error appends it to the same line.
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        result: Any = cli.main(args=arguments, prog_name="kyma-upgrade", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.UsageError as error:
        error.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the output, for example `head`, has closed it.
        return 0
    except Exception as error:  # noqa: BLE001  # the last resort: an operator gets a sentence instead of a traceback
        failure = failure_of(error)
        if debug:
            import traceback  # noqa: PLC0415  # needed only here

            traceback.print_exception(error)
        _show(failure, debug=debug)
        return failure.code
    return result if isinstance(result, int) else 0


def _show(failure: Failure, *, debug: bool) -> None:
    click.echo(f"Error: {failure.message}", err=True)
    if failure.remedy:
        click.echo(failure.remedy, err=True)
    elif failure.unexpected and not debug:
        click.echo("This error is unexpected. Run the command again with --debug to see its traceback.", err=True)
