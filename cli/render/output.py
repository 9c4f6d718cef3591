"""What goes where: documents to stdout, everything else to stderr."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

_GAP = 2
_LEAST = 8
_ENDLESS = 10_000


def emit(document: Mapping[str, Any], output: str | None, table: Callable[[], str]) -> None:
    """Prints a document in the format asked for; without one a table on a terminal and JSON elsewhere."""
    chosen = output or ("table" if sys.stdout.isatty() else "json")
    if chosen == "json":
        import msgspec

        # In a tenth of the time of Python's own, which counts for thousands of workloads or items.
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
    elif chosen == "yaml":
        import yaml

        click.echo(yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True), nl=False)
    else:
        click.echo(table())


def say(text: str) -> None:
    """A message for people, on stderr."""
    click.echo(text, err=True)


def width() -> int:
    """Columns to fill: those of the terminal. What reads a pipe or a file wants whole names, as from kubectl."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else _ENDLESS


def fitted(headers: Sequence[str], rows: Sequence[Sequence[object]], columns: int | None = None) -> str:
    """A plain table no wider than the terminal: the widest columns are cut, in the middle of their texts."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(headers), *texts]) for i in range(len(headers))]
    room = (columns or width()) - _GAP * (len(headers) - 1)
    while sum(widths) > room and max(widths) > _LEAST:
        widths[widths.index(max(widths))] -= 1
    return "\n".join(
        (" " * _GAP).join(shortened(cell, widths[i]).ljust(widths[i]) for i, cell in enumerate(row)).rstrip()
        for row in [headers, *texts]
    )


def annotated(headers: Sequence[str], rows: Sequence[Sequence[object]], notes: Sequence[str | None]) -> str:
    """`fitted`, with a line of its own below each row that has something to add."""
    head, *lines = fitted(headers, rows).splitlines()
    below = (one for pair in zip(lines, notes, strict=True) for one in pair if one is not None)
    return "\n".join([head, *below])


def wrapped(text: str, first: str = "", columns: int | None = None) -> str:
    """Prose in lines no wider than the terminal, broken between words only, the later ones as far in as `first` is."""
    return textwrap.fill(
        text,
        columns or width(),
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters; begin and end of a name tell more than its middle."""
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[: limit - 1 - head]}…{text[len(text) - head :]}" if limit > 1 else text[:limit]


def clipped(text: str, limit: int) -> str:
    """At most `limit` characters of a sentence, from its begin."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
