"""docs/reference documents what the code has: everything of it, and nothing else."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import click
import pytest
from temporalio import workflow

from activities import search_attributes
from cli import exit_codes
from cli.main import cli
from mesh import identity, wellknown
from mesh.k8s.workload_ref import WorkloadRef
from mesh.remediation.item import CLOSED_STATES, ItemState
from tests import wire_names
from tests.docs.page import REFERENCE, ROOT, Page
from worker.settings import ClusterSettings, TemporalSettings, WorkerSettings
from workflows.messages import Phase
from workflows.registry import ALL_WORKFLOWS

COMMANDS = Page.read(REFERENCE / "commands.md")
TEMPORAL = Page.read(REFERENCE / "temporal.md")
_GROUP = re.compile(r"\[(\w+)\s+options\]\(#")


def _commands() -> Iterator[tuple[str, click.Command]]:
    def below(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
        if not isinstance(command, click.Group):
            yield context.command_path, command
            return
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from below(found, click.Context(found, parent=context, info_name=name))

    return below(cli, click.Context(cli, info_name="kyma-upgrade"))


ALL_COMMANDS = dict(_commands())


def _options(command: click.Command) -> set[str]:
    return {name for one in command.params if isinstance(one, click.Option) for name in one.opts}


def _documented_options(name: str) -> set[str]:
    """The options of a command's table, and of the groups that its text or the first lines of its chapter name."""
    heading = f"`{name}`"
    section = COMMANDS.section(heading)
    chapter = COMMANDS.text.partition(f"### {heading}\n")[0].rpartition("\n## ")[2].partition("\n### ")[0]
    groups = [f"{title.capitalize()} options" for title in _GROUP.findall(chapter + section.text)]
    tables = [section, *(COMMANDS.section(title) for title in groups)]
    return {span.split()[0] for table in tables for span in table.column()}


def test_every_command_has_a_section_and_no_other_has() -> None:
    documented = {title.strip("`") for title in COMMANDS.headings if title.startswith("`")}

    assert documented == set(ALL_COMMANDS)


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_options_of_a_command_are_those_of_its_section(name: str) -> None:
    assert _documented_options(name) == _options(ALL_COMMANDS[name])


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_required_options_are_marked(name: str) -> None:
    required = {one.opts[0] for one in ALL_COMMANDS[name].params if isinstance(one, click.Option) and one.required}
    rows = COMMANDS.section(f"`{name}`").rows()

    assert {option.strip("`").split()[0] for option, meaning in rows if meaning.startswith("Required.")} == required


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_choices_of_an_option_are_named(name: str) -> None:
    section = COMMANDS.section(f"`{name}`")
    for option in ALL_COMMANDS[name].params:
        # Formats, classes, states and drivers are explained elsewhere on the page, or in the glossary.
        if isinstance(option.type, click.Choice) and option.name not in ("output", "classes", "state", "driver"):
            [row] = [row for row in section.rows() if option.opts[0] in row[0]]

            assert set(option.type.choices) <= set(re.findall(r"`([^`]+)`", row[1])), option.name


def test_global_options_are_those_of_the_command() -> None:
    table = COMMANDS.section("Global options")

    assert {span.split()[0] for span in table.column()} == {
        *_options(cli),
        *cli.context_settings["help_option_names"],
    }


def test_exit_codes_are_those_of_the_module() -> None:
    codes = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    rows = list(COMMANDS.section("Exit codes").rows())

    assert [int(row[0]) for row in rows] == sorted(codes)


def test_exit_codes_carry_the_names_of_their_constants() -> None:
    names = {value: name for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    alias = {exit_codes.USAGE: "refused"}
    for code, name, *_ in COMMANDS.section("Exit codes").rows():
        assert name == alias.get(int(code), names[int(code)].lower().replace("_", " "))


def test_settings_are_those_of_the_process() -> None:
    fields = [*ClusterSettings.model_fields, *TemporalSettings.model_fields, *WorkerSettings.model_fields]

    assert COMMANDS.section("Settings").column() == [f"KYMA_UPGRADE_{name.upper()}" for name in fields]


def test_task_queues_are_those_that_workers_poll() -> None:
    assert TEMPORAL.section("Task queues").column() == [
        identity.TASK_QUEUE,
        identity.ClusterRef("<cluster>", "").activity_queue,
    ]


def _definition(cls: type) -> Any:  # noqa: ANN401  # the SDK's own definition of a workflow
    return workflow._Definition.must_from_class(cls)


def test_workflow_types_are_those_of_the_registry() -> None:
    assert TEMPORAL.section("Workflows").column() == [_definition(one).name for one in ALL_WORKFLOWS]


def test_workflow_ids_are_those_of_the_code() -> None:
    wave = identity.wave_id("<cluster>", 0)
    assert wave.endswith("000")
    assert TEMPORAL.section("Workflows").column(1) == [
        identity.upgrade_id("<cluster>"),
        wave.replace("000", "<nnn>"),
        identity.item_id("<cluster>", WorkloadRef("<namespace>", "<kind>", "<name>")),
        identity.watch_id("<cluster>"),
    ]


def test_search_attributes_and_their_types_are_those_that_workers_register() -> None:
    table = TEMPORAL.section("Search attributes")
    documented = {row[0].strip("`"): row[1] for row in table.rows()}

    assert documented == {
        key.name: key.indexed_value_type.name.title().replace("_", "") for key in search_attributes.ALL
    }


def test_fields_of_memos_are_those_that_workflows_have() -> None:
    assert sorted(TEMPORAL.section("Memo").column(0)) == wire_names.collect()["memo"]


def test_phases_are_those_of_an_upgrade() -> None:
    assert TEMPORAL.section("Phases").column() == [str(phase) for phase in Phase]


def test_item_states_are_those_of_an_item() -> None:
    rows = [(row[0].strip("`"), row[1] == "yes") for row in TEMPORAL.section("Item states").rows()]

    assert rows == [(str(state), state not in CLOSED_STATES) for state in ItemState]


def _handlers(kind: str) -> set[tuple[str, str]]:
    return {
        (definition.name, name)
        for definition in map(_definition, ALL_WORKFLOWS)
        for name in getattr(definition, kind)
        if name is not None
    }


def _documented_handlers(title: str) -> set[tuple[str, str]]:
    return {(row[0].strip("`"), row[1].strip("`")) for row in TEMPORAL.section(title).rows()}


def test_updates_are_those_of_the_workflows() -> None:
    assert _documented_handlers("Updates") == _handlers("updates")


def test_queries_are_those_of_the_workflows() -> None:
    assert _documented_handlers("Queries") == _handlers("queries")


def test_signals_for_operators_are_those_that_are_updates_too_and_a_recheck() -> None:
    updates = _handlers("signals") & _handlers("updates")

    assert _documented_handlers("Signals") == updates | {("RemediationItem", "recheck")} <= _handlers("signals")


@pytest.mark.parametrize("row", list(TEMPORAL.section("Updates").rows()), ids=lambda row: row[1].strip("`"))
def test_input_of_an_update_has_the_fields_that_its_handler_takes(row: list[str]) -> None:
    kind, name, example, _ = row
    [definition] = [one for one in map(_definition, ALL_WORKFLOWS) if one.name == kind.strip("`")]
    handler = definition.updates[name.strip("`")].fn
    [taken] = [hint for key, hint in get_type_hints(handler).items() if key != "return"]
    fields: Mapping[str, Any] = json.loads(example.strip("`"))

    assert set(fields) <= set(get_type_hints(taken))
    # What `start` sends beside its target is no operator's business.
    assert name == "`attach`" or set(fields) == set(get_type_hints(taken))


CLUSTER = Page.read(REFERENCE / "cluster.md")


def _names() -> set[str]:
    """Every name of mesh.wellknown, where one is a group each of its members."""
    values = [value for name, value in vars(wellknown).items() if name.isupper()]
    return {name for value in values for name in ([value] if isinstance(value, str) else value)}


def test_every_well_known_name_is_on_the_page_of_the_cluster() -> None:
    spans = set(re.findall(r"`([^`]+)`", CLUSTER.prose))
    # Objects are documented with their namespace: `kyma-upgrade/hold`.
    spans |= {span.rpartition("/")[2] for span in spans}

    assert _names() <= spans


@pytest.mark.parametrize("title", ["Annotations and labels that it writes", "Annotations and labels that it reads"])
def test_annotations_and_labels_of_the_page_are_well_known(title: str) -> None:
    assert set(CLUSTER.section(title).column()) <= _names()


def test_field_manager_is_that_of_the_code() -> None:
    assert f"The field manager of every write is `{wellknown.FIELD_MANAGER}`." in CLUSTER.text


def test_events_are_those_that_activities_write() -> None:
    written = {text for path in (ROOT / "activities").rglob("*.py") for text in _event_reasons(path)}

    assert set(CLUSTER.section("Events").column()) == written


def _event_reasons(path: Path) -> set[str]:
    """The literal values of the argument `reason` in calls: only Events have them, everything else has a Reason."""
    calls = [one for one in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(one, ast.Call)]
    values = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "reason"]
    constants = [one for value in values for one in ast.walk(value) if isinstance(one, ast.Constant)]
    return {one.value for one in constants if isinstance(one.value, str)}
