"""A Markdown page of docs/, as the tests read it: sections, tables, code spans, JSON examples and links."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"

_HEADING = re.compile(r"^(#{1,6}) (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CELL = re.compile(r"(?<!\\)\|")


class Page:
    """One page, or one section of it with its subsections."""

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def read(cls, path: Path) -> Page:
        """Reads a file."""
        return cls(path.read_text(encoding="utf-8"))

    @property
    def prose(self) -> str:
        """The text without code blocks."""
        return _FENCE.sub("", self.text)

    @property
    def headings(self) -> list[str]:
        """The headings, without their `#`."""
        return [title for _, title in _HEADING.findall(self.prose)]

    def section(self, title: str) -> Page:
        """The section with this heading, up to the next heading of the same or a higher level."""
        heading = re.search(rf"^(#+) {re.escape(title)}$", self.text, re.MULTILINE)
        assert heading, f"there is no section {title!r}"
        rest = self.text[heading.end() :]
        end = re.search(rf"^#{{1,{len(heading[1])}}} ", rest, re.MULTILINE)
        return Page(rest[: end.start()] if end else rest)

    def rows(self) -> Iterator[list[str]]:
        """The cells of every table row, without the header rows."""
        lines = self.prose.splitlines()
        for number, line in enumerate(lines):
            if not line.startswith("|") or set(line) <= set("|-: "):
                continue
            if number + 1 < len(lines) and lines[number + 1].startswith("|") and set(lines[number + 1]) <= set("|-: "):
                continue
            yield [cell.strip() for cell in _CELL.split(line)[1:-1]]

    def column(self, number: int = 0) -> list[str]:
        """The code spans of one column of every table; cells may have several."""
        return [span for row in self.rows() for span in _SPAN.findall(row[number])]

    def examples(self) -> list[Any]:
        """The JSON examples."""
        return [json.loads(body) for language, body in _FENCE.findall(self.text) if language == "json"]

    def blocks(self, language: str) -> list[str]:
        """The code blocks of a language."""
        return [body for found, body in _FENCE.findall(self.text) if found == language]

    def links(self) -> list[str]:
        """The targets of links and images."""
        return _LINK.findall(self.prose)

    def anchors(self) -> set[str]:
        """The anchors that GitHub gives to the headings."""
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in self.headings}
