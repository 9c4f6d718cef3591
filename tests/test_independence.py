"""The product knows nothing of its stage: neither the demo's names nor the local mesh's means."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import yaml

_ROOT = Path(__file__).parents[1]
_PRODUCT = ("mesh", "workflows", "activities", "worker", "cli")
#: Real names that the product may well know: Kyma's and Istio's namespaces, an API group, a style of tables.
_REAL = {"kyma-system", "istio-system", "batch", "plain"}


def _sources() -> list[Path]:
    return [file for package in _PRODUCT for file in sorted((_ROOT / package).rglob("*.py"))]


@cache
def _names_on_stage() -> frozenset[str]:
    names = set()
    for file in sorted((_ROOT / "deploy/local/demo/shop").glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            metadata = document["metadata"]
            names |= {metadata["name"], metadata.get("namespace", "")}
    return frozenset(names - _REAL - {""})


@pytest.mark.parametrize("file", _sources(), ids=lambda file: str(file.relative_to(_ROOT)))
def test_source_names_nothing_of_the_demo(file: Path) -> None:
    # In quotes: many of the shop's names are ordinary words of prose and code.
    quoted = set(re.findall(r"""["']([a-z0-9-]+)["']""", file.read_text()))

    assert quoted & _names_on_stage() == set()


@pytest.mark.parametrize("file", _sources(), ids=lambda file: str(file.relative_to(_ROOT)))
def test_source_knows_no_means_of_the_local_mesh(file: Path) -> None:
    text = file.read_text()

    assert [word for word in ("local-mesh", "kwok", "deploy.local", "127.64.") if word in text] == []
