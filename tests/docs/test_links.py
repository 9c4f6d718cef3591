"""Links between pages lead somewhere, and every page is reached from an index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.page import DOCS, ROOT, Page

PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
ADR_INDEX = DOCS / "adr" / "README.md"
#: Paths of this repository that prose names: a folder that exists, then a file or folder in it.
_PATH = re.compile(r"`((?:activities|cli|deploy|docs|mesh|tests|worker|workflows)/[\w./-]*)`")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_links_of_a_page_lead_to_a_file_and_a_heading(path: Path) -> None:
    page = Page.read(path)
    for link in page.links():
        if re.match(r"https?:", link):
            continue
        target, _, anchor = link.partition("#")
        found = (path.parent / target).resolve() if target else path

        assert found.exists(), link
        assert not anchor or anchor in Page.read(found).anchors(), link


@pytest.mark.parametrize("path", [one for one in PAGES if one.name != "CHANGELOG.md"], ids=_name)
def test_files_that_a_page_names_exist(path: Path) -> None:
    for name in _PATH.findall(Page.read(path).prose):
        assert (ROOT / name).exists(), name


def test_index_links_to_every_page() -> None:
    index = DOCS / "README.md"
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in Page.read(index).links()}

    expected = {path for path in DOCS.rglob("*.md") if path.parent.name != "adr"} - {index} | {ADR_INDEX}
    assert expected <= linked


def test_index_of_decisions_lists_every_one_under_its_own_title() -> None:
    records = sorted((DOCS / "adr").glob("[0-9]*.md"))
    listed = re.findall(r"^\| \[(\d+)\]\(([\w.-]+)\) \| (.+?) \|", ADR_INDEX.read_text(encoding="utf-8"), re.MULTILINE)

    titles = [path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").partition(". ") for path in records]
    assert listed == [(number, path.name, title) for (number, _, title), path in zip(titles, records, strict=True)]
