"""Entry of `kyma-upgrade`: the commands, and how every run ends with one exit code and at most two sentences.

Nothing heavy is imported before a command runs: `--help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from cli.commands import queue_actions
from cli.commands.doctor import doctor
from cli.commands.operator_controls import abort, approve, limit, pause, resume
from cli.commands.queue import queue
from cli.commands.report import report
from cli.commands.scan import scan
from cli.commands.schema import schema
from cli.commands.start import start
from cli.commands.status import status, wait
from cli.commands.worker import worker
from cli.exit_codes import INTERRUPTED, USAGE, Failure, failure_of
from worker.process import leave

_COMMANDS = (
    scan,
    start,
    status,
    wait,
    report,
    pause,
    resume,
    approve,
    limit,
    abort,
    queue,
    doctor,
    worker,
    schema,
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 refused, 3 done with open items, 4 waits for an operator, 5 timed out, "
    "6 another upgrade runs, 7 Temporal or cluster not reachable, 130 interrupted.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="kyma-upgrade-orchestrator", prog_name="kyma-upgrade")
def cli(debug: bool) -> None:
    """Durable, verified upgrades of Istio and its sidecars in a Kyma cluster."""


for _command in _COMMANDS:
    cli.add_command(_command)
for _command in queue_actions.COMMANDS:
    queue.add_command(_command)


def main() -> None:
    """Runs a command line and ends the process with its exit code."""
    leave(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs a command line; the exit code. Every error becomes sentences on stderr."""
    # Accepted anywhere: whoever adds it has just seen an error and repeats the line.
    debug = "--debug" in arguments
    arguments = [one for one in arguments if one != "--debug"]
    try:
        answer: Any = cli.main(args=arguments, prog_name="kyma-upgrade", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.UsageError as error:
        error.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        return 0
    except Exception as error:  # noqa: BLE001  the last net: a person gets a sentence, not a traceback
        failure = failure_of(error)
        if debug:
            import traceback

            traceback.print_exception(error)
        _tell(failure, debug=debug)
        return failure.code
    return answer if isinstance(answer, int) else 0


def _tell(failure: Failure, *, debug: bool) -> None:
    click.echo(f"Error: {failure.message}", err=True)
    if failure.remedy:
        click.echo(failure.remedy, err=True)
    elif failure.unexpected and not debug:
        click.echo("This is not expected: run it again with --debug to see where it comes from.", err=True)
