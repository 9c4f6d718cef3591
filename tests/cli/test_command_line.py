"""Command lines that end before anything is connected, in process; and how a real process ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import click
import pytest

from cli.commands.queue import queue
from cli.lazy_group import LazyGroup
from cli.main import cli, run_command_line
from mesh import errors
from tests.mesh.plan.test_policy_file import BAD_POLICIES

_ALL = (
    "scan",
    "start",
    "status",
    "wait",
    "report",
    "pause",
    "resume",
    "approve",
    "limit",
    "abort",
    "queue",
    "doctor",
    "worker",
    "schema",
)
_QUEUE = ("list", "show", "retry", "resolve", "skip", "snooze")
_LATER = ("plan", "rollback")


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kubeconfig, no profile, no Temporal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KYMA_UPGRADE_KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")


@pytest.mark.parametrize(
    "command", [(), *((one,) for one in _ALL), *(("queue", one) for one in _QUEUE), ("schema", "policy")]
)
def test_help_ends_with_0(capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    assert run_command_line([*command, "--help"]) == 0
    assert "Usage: kyma-upgrade" in capsys.readouterr().out


@pytest.mark.parametrize("command", _LATER)
def test_command_of_a_later_version_is_unknown(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert run_command_line([command]) == 2
    assert f"No such command '{command}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["start"], "Missing option '--to'"),
        (["start", "--to", "fast", "--driver", "sail"], "sail driver is not available in this version"),
        (["start", "--to", "fast", "--driver", "external"], "external driver is not available in this version"),
        (["start", "--to", "fast", "--driver", "other"], "'other' is not one of"),
        (["start", "--to", "fast", "--wait", "--timeout", "soon"], "'soon' is not a duration"),
        (["start", "--to", "fast", "--policy", "/does/not/exist"], "The policy file /does/not/exist does not exist."),
        (["scan", "--class", "rusty"], "'rusty' is not one of"),
        (["scan", "--target", "latest"], "--target 'latest' is not a version"),
        (["scan"], "There is no kubeconfig"),
        (["status", "--kubeconfig", "/etc/passwd"], "/etc/passwd cannot be used: it is not a kubeconfig file"),
        (["wait", "--cluster", "one", "--timeout", "5"], "'5' is not a duration"),
        (["queue", "show"], "Missing argument 'ITEM'"),
        (["queue", "retry"], "No items are selected."),
        (["queue", "retry", "--all", "shop/Deployment/cart"], "Select items by name, or with --all, not both."),
        (["queue", "skip", "--until", "2999-12-31", "--all"], "because"),
        (["queue", "snooze", "--for", "soon", "--all"], "'soon'"),
        (["queue", "snooze", "--for", "0s", "--all"], "--for must be longer than 0s."),
        (["limit", "--in-flight", "0"], "0 is not in the range"),
        (["status", "-o", "xml"], "'xml' is not one of"),
        (["report", "--format", "pdf"], "'pdf' is not one of"),
        (["report", "--file", "/does/not/exist"], "There is no directory /does/not"),
        (["report", "--file", "."], ". is a directory"),
    ],
)
def test_bad_usage_ends_with_2_and_a_sentence(
    capsys: pytest.CaptureFixture[str], line: list[str], sentence: str
) -> None:
    assert run_command_line(line) == 2

    printed = capsys.readouterr()
    assert sentence in printed.err
    assert printed.out == ""
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(("text", "sentence"), BAD_POLICIES)
def test_invalid_policy_ends_with_2_before_any_connection(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, sentence: str
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)

    # Neither Temporal nor the cluster can be reached: that would end with 7.
    assert run_command_line(["start", "--to", "fast", "--cluster", "one", "--policy", str(file)]) == 2

    printed = capsys.readouterr()
    assert str(file) in printed.err
    assert sentence in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["wait"],
        ["report"],
        ["pause"],
        ["resume"],
        ["abort"],
        ["approve", "--wave", "2"],
        ["limit", "--in-flight", "5"],
        ["queue", "list"],
        ["queue", "show", "shop/Deployment/cart"],
        ["queue", "retry", "shop/Deployment/cart"],
        ["queue", "resolve", "--force", "--because", "it is", "shop/Deployment/cart"],
        ["queue", "skip", "--until", "2999-12-31", "--because", "it goes", "--all", "--yes"],
        ["queue", "snooze", "--for", "1h", "-n", "shop", "--all", "--yes"],
        ["start", "--to", "fast"],
    ],
)
def test_temporal_that_does_not_run_ends_with_7(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    assert run_command_line([*command, "--cluster", "one"]) == 7

    assert capsys.readouterr().err.splitlines() == [
        "Error: Temporal at 127.0.0.1:1 does not answer.",
        "Start it, or name another server with --address or TEMPORAL_ADDRESS.",
    ]


def test_debug_shows_where_an_error_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["status", "--cluster", "one", "--debug"]) == 7

    assert "Traceback" in capsys.readouterr().err


def test_unexpected_error_is_one_sentence_with_a_hint(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr("cli.commands.status.settings_from", broken)

    assert run_command_line(["status"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "Error: ZeroDivisionError: of all things.",
        "This error is unexpected. Run the command again with --debug to see its traceback.",
    ]


def test_two_sentences_of_an_error_are_two_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise errors.RefusedError("This is wrong.", "Do that.")

    monkeypatch.setattr("cli.commands.scan.settings_from", refused)

    assert run_command_line(["scan"]) == 2
    assert capsys.readouterr().err.splitlines() == ["Error: This is wrong.", "Do that."]


def test_schema_of_the_policy_names_fields_as_the_file_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["schema", "policy"]) == 0

    schema = json.loads(capsys.readouterr().out)
    assert set(schema["properties"]) == {
        *(
            "waves",
            "inFlight",
            "budget",
            "soak",
            "approve",
            "windows",
            "noProgress",
            "missing",
            "remediation",
            "remediationTimeout",
        ),
        *("remediationTimeout", "restarts", "exclude", "gates"),
    }
    assert set(schema["$defs"]["PrometheusSection"]["properties"]) == {"address", "query", "below"}
    assert schema["additionalProperties"] is False


def test_process_ends_with_the_commands_code_and_its_output() -> None:
    program = Path(sys.executable).with_name("kyma-upgrade")

    done = subprocess.run([str(program), "scan", "--target", "x"], check=False, capture_output=True, text=True)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: --target 'x' is not a version.")


def _loaded(cwd: Path, code: str, **variables: str) -> list[str]:
    """The words that a new process prints: in the process of the test everything is imported already."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | variables
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; from worker.process_exit import exit_process; exit_process(0)"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=cwd,
    )
    return done.stdout.split()


def test_scan_imports_nothing_of_temporal(tmp_path: Path) -> None:
    """It takes as long to import as everything else together."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(_NO_CLUSTER)
    code = "import sys; from cli.main import run_command_line as run; print(run(['scan']), 'temporalio' in sys.modules)"

    assert _loaded(tmp_path, code, KYMA_UPGRADE_KUBECONFIG=str(kubeconfig)) == ["7", "False"]


def test_queue_list_imports_neither_workflows_nor_the_kubernetes_client(tmp_path: Path) -> None:
    code = (
        "import sys; from cli.main import run_command_line as run; print(run(['queue', 'list', '--cluster', 'one'])); "
    )
    code += "print(*({'workflows', 'kubernetes', 'yaml'} & set(sys.modules)))"

    assert _loaded(tmp_path, code) == ["7"]


@pytest.mark.parametrize("arguments", [[], ["start"], ["queue"], ["queue", "list"]], ids=" ".join)
def test_help_imports_no_library_but_click(tmp_path: Path, arguments: list[str]) -> None:
    code = f"import sys; from cli.main import run_command_line; run_command_line({[*arguments, '--help']!r}); "
    code += "print('loaded:', *({'temporalio', 'pydantic', 'msgspec', 'activities'} & set(sys.modules)))"

    assert _loaded(tmp_path, code)[-1] == "loaded:"


@pytest.mark.parametrize("group", [cli, queue], ids=["kyma-upgrade", "queue"])
def test_help_of_a_group_shows_the_first_line_of_each_commands_help(group: click.Group) -> None:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)

        assert command is not None
        assert command.name == name
        assert (command.help or "").splitlines()[0] == cast("LazyGroup", group).lazy_commands[name].help


_NO_CLUSTER = """
apiVersion: v1
kind: Config
current-context: gone
clusters: [{name: gone, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: gone, user: {token: none}}]
contexts: [{name: gone, context: {cluster: gone, user: gone}}]
"""
