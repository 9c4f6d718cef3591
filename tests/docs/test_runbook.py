"""docs/operators.md quotes sentences that the product really says."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from mesh.survey.reasons import Reason
from tests.docs.page import DOCS, ROOT, Page
from workflows.messages import Phase

PAGE = Page.read(DOCS / "operators.md")
#: What stands in quotation marks, without the parts that differ from case to case.
QUOTED = [text for text in re.findall(r'"([^"`\n]+)"', PAGE.prose) if text.strip("… ")]
FRAGMENTS = sorted({part.strip(" ,") for text in QUOTED for part in text.split("…") if part.strip(" ,")})


@cache
def _sentences() -> str:
    """Every literal text of the product, one a line."""
    paths = [path for package in ("mesh", "activities", "workflows", "cli") for path in (ROOT / package).rglob("*.py")]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    constants = [one for tree in trees for one in ast.walk(tree) if isinstance(one, ast.Constant)]
    return "\n".join(one.value for one in constants if isinstance(one.value, str)).lower()


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_quoted_sentence_is_one_of_the_product(fragment: str) -> None:
    assert fragment.lower() in _sentences()


def test_reasons_of_headings_exist() -> None:
    named = {name for title in PAGE.headings if title.startswith("Item `") for name in re.findall(r"`(\w+)`", title)}

    assert named <= set(Reason)


def test_waiting_phases_have_a_heading() -> None:
    waiting = {phase for phase in Phase if phase.startswith("waiting-")}

    assert {title.partition("`")[2].rstrip("`") for title in PAGE.headings if title.startswith("Phase `")} == waiting
