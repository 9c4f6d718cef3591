"""Tables and texts that fit the terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

_GAP = 2
_NARROWEST = 8
_UNLIMITED = 10_000


def width() -> int:
    """Returns the columns of the terminal. Output to a pipe or a file is not cut, like kubectl's."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else _UNLIMITED


def fitted(headers: Sequence[str], rows: Sequence[Sequence[object]], columns: int | None = None) -> str:
    """Returns a plain table no wider than the terminal: the widest columns are cut, in the middle of their texts."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(headers), *texts]) for i in range(len(headers))]
    room = (columns or width()) - _GAP * (len(headers) - 1)
    while sum(widths) > room and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return "\n".join(
        (" " * _GAP).join(shortened(cell, widths[i]).ljust(widths[i]) for i, cell in enumerate(row)).rstrip()
        for row in [headers, *texts]
    )


def annotated(headers: Sequence[str], rows: Sequence[Sequence[object]], notes: Sequence[str | None]) -> str:
    """Returns a fitted table with a note on its own line below each row that has one."""
    head, *lines = fitted(headers, rows).splitlines()
    below = (line for pair in zip(lines, notes, strict=True) for line in pair if line is not None)
    return "\n".join([head, *below])


def wrapped(text: str, first: str = "", columns: int | None = None) -> str:
    """Returns prose wrapped between words to the width of the terminal, indented by the length of `first`."""
    return textwrap.fill(
        text,
        columns or width(),
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )


def shortened(text: str, limit: int) -> str:
    """Returns at most `limit` characters of a name, cut in its middle: begin and end identify it better."""
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[: limit - 1 - head]}…{text[len(text) - head :]}" if limit > 1 else text[:limit]


def clipped(text: str, limit: int) -> str:
    """Returns at most `limit` characters of a sentence, cut at its end."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
