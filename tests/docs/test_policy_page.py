"""docs/policy.md shows every field of the policy file, in a file that is valid."""

from __future__ import annotations

from typing import Any

import yaml

from mesh.plan.policy_file import PolicyFile, parse_policy_file
from tests.docs.page import DOCS, Page

PAGE = Page.read(DOCS / "policy.md")
EXAMPLE = PAGE.blocks("yaml")[0]


def _fields(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The fields of a JSON Schema, nested as in a file."""
    for option in (schema, *schema.get("anyOf", ())):
        if "$ref" in option:
            return _fields(definitions[option["$ref"].rpartition("/")[2]], definitions)
    return {name: _fields(part, definitions) for name, part in schema.get("properties", {}).items()}


def _names(document: Any) -> dict[str, Any]:  # noqa: ANN401  # any YAML
    return {key: _names(value) for key, value in document.items()} if isinstance(document, dict) else {}


def test_example_is_a_valid_policy() -> None:
    assert parse_policy_file(EXAMPLE, "docs/policy.md").gates.prometheus


def test_example_has_every_field() -> None:
    schema = PolicyFile.model_json_schema(by_alias=True)

    assert _names(yaml.safe_load(EXAMPLE)) == _fields(schema, schema["$defs"])
