"""Names that leave the process are those of `tests/wire_names.json`: histories, callers and clusters keep them."""

from __future__ import annotations

import json

import pytest

from tests import wire_names

RECORDED: wire_names.Names = json.loads(wire_names.FILE.read_text(encoding="utf-8"))
_WHAT_TO_DO = (
    "A name on the wire has changed. Running upgrades, scripts and clusters know the old one. If the change is meant: "
    "run `.venv/bin/python -m tests.wire_names`, record the histories again (`.venv/bin/python -m "
    "tests.workflows.record`), and add a line to CHANGELOG.md."
)


@pytest.fixture(scope="module")
def names() -> wire_names.Names:
    """The names of the code."""
    return wire_names.collect()


@pytest.mark.parametrize("kind", sorted(RECORDED))
def test_names_are_the_recorded_ones(names: wire_names.Names, kind: str) -> None:
    assert names[kind] == RECORDED[kind], _WHAT_TO_DO


def test_every_kind_is_recorded(names: wire_names.Names) -> None:
    assert set(names) == set(RECORDED), _WHAT_TO_DO


def test_payload_fields_are_snake_case(names: wire_names.Names) -> None:
    fields = [field for shape in names["types"].values() if isinstance(shape, dict) for field in shape]

    assert fields
    assert [field for field in fields if field != field.lower()] == []
