"""Examples of docs/reference/json.md have exactly the fields that the code prints."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.reporting.document import ReportDocument
from tests import json_documents
from tests.docs.page import REFERENCE, Page
from tests.json_documents import fields, typed_fields

PAGE = Page.read(REFERENCE / "json.md")


def _example(title: str, number: int = 0) -> Any:  # noqa: ANN401  # any JSON
    return PAGE.section(title).examples()[number]


def test_scan_prints_the_fields_of_the_example() -> None:
    assert fields(_example("`scan`")) == fields(json_documents.scan())


def test_scan_prints_every_class_in_its_totals() -> None:
    assert set(_example("`scan`")["totals"]["classes"]) < set(json_documents.scan()["totals"]["classes"])


def test_status_prints_the_fields_of_the_example() -> None:
    assert fields(_example("`status`")) == fields(json_documents.status())


def test_queue_list_prints_the_fields_of_the_example() -> None:
    assert fields(_example("`queue list`")) == {"items": [fields(json_documents.item())]}


@pytest.mark.parametrize(
    ("title", "number", "command"),
    [
        ("`start`", 0, "start"),
        ("`start`", 1, "start --dry-run"),
        ("`queue retry`, `resolve`, `skip`, `snooze`", 0, "queue retry"),
        ("`doctor`", 0, "doctor"),
    ],
)
def test_command_prints_the_fields_of_its_example(title: str, number: int, command: str) -> None:
    assert fields(_example(title, number)) == fields(json_documents.documents()[command])


def test_every_document_of_the_recorded_names_has_a_section() -> None:
    sections = " ".join(title for title in PAGE.headings if title.startswith("`"))

    assert all(command.split(" --")[0].split()[-1] in sections for command in json_documents.json_keys())


#: Parts of a report that other documents are: the status, and items.
_BORROWED = ("workloads", "wave", "items", "queue")


def test_report_has_the_fields_of_the_example() -> None:
    example, printed = fields(_example("`report --format json`")), typed_fields(ReportDocument)
    status = fields(_example("`status`"))

    assert {key: example[key] for key in example if key not in _BORROWED} == {
        key: printed[key] for key in printed if key not in _BORROWED
    }
    assert set(example) == set(printed)
    assert (example["workloads"], example["items"]) == (status["workloads"], status["items"])


def test_report_has_every_field_of_a_status() -> None:
    assert set(_example("`status`")) < set(_example("`report --format json`"))


@pytest.mark.parametrize("title", [title for title in PAGE.headings if title.startswith("`")])
def test_fields_that_are_explained_are_in_an_example(title: str) -> None:
    section = PAGE.section(title)
    names = {key for example in section.examples() for key in _names(example)} | {"failure"}

    for path in section.column():
        if section.text.index("| field |") < section.text.index(path):
            assert set(path.replace("[]", "").split(".")) <= names, path


def _names(document: Any) -> set[str]:  # noqa: ANN401  # any JSON
    if isinstance(document, dict):
        return set(document) | {name for value in document.values() for name in _names(value)}
    return {name for one in document for name in _names(one)} if isinstance(document, list) else set()
