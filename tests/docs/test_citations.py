"""Modules, files and decisions that docstrings and comments cite exist."""

from __future__ import annotations

import importlib
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.page import DOCS, ROOT

PACKAGES = ("mesh", "activities", "workflows", "worker", "cli", "deploy", "tests")
_NAMES = "|".join(PACKAGES)
_MODULE = re.compile(rf"(?<![\w./-])(?:{_NAMES})(?:\.\w+)+")
_FILE = re.compile(rf"(?<![\w./-])(?:{_NAMES}|docs)/[\w./-]*\w")
_DECISION = re.compile(r"docs/adr/(\d+)")
#: Other repositories' files, cited with the name of the repository before them.
_ELSEWHERE = re.compile(r"(?:[\w-]+/[\w-]+(?: \w+)?[ ,:]|k8s\.io/\S*|KI |KLM )[^\n]*$", re.MULTILINE)


def _texts(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and '"""' in token.string[:5]):
                yield token.string


SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
CITATIONS = {path: "\n".join(_texts(path)) for path in SOURCES}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _resolves(name: str) -> bool:
    """Whether it is a module, or a name in one."""
    parts = name.split(".")
    if parts[-1] in ("py", "toml", "json", "yaml", "md"):
        return True
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        if place.is_dir() or place.with_suffix(".py").is_file():
            found: object = importlib.import_module(".".join(parts[:length])) if length < len(parts) else None
            return length == len(parts) or all(hasattr(found, part) for part in parts[length : length + 1])
    return False


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if _MODULE.search(CITATIONS[path]) and "deploy" not in path.parts], ids=_name
)
def test_modules_that_a_file_cites_exist(path: Path) -> None:
    """Without `deploy`, where `mesh` is a variable."""
    wrong = [name for name in _MODULE.findall(CITATIONS[path]) if not _resolves(name)]

    assert wrong == []


@pytest.mark.parametrize("path", [path for path in SOURCES if _FILE.search(CITATIONS[path])], ids=_name)
def test_files_that_a_file_cites_exist(path: Path) -> None:
    text = _ELSEWHERE.sub("", CITATIONS[path])
    wrong = [
        name
        for name in _FILE.findall(text)
        if not (ROOT / name).exists() and not list(ROOT.glob(f"{name}*")) and not re.search(r"NAME|\.\.\.", name)
    ]

    assert wrong == []


def test_decisions_that_code_cites_exist() -> None:
    numbers = {int(path.name[:4]) for path in (DOCS / "adr").glob("0*.md")}
    cited = {int(number) for text in CITATIONS.values() for number in _DECISION.findall(text)}

    assert cited <= numbers
