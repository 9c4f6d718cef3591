"""Writes output: documents to stdout, messages to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import click
import msgspec


def emit(document: Mapping[str, Any], output: str | None, table: Callable[[], str]) -> None:
    """Prints a document in the requested format; by default a table on a terminal, and JSON elsewhere."""
    chosen = output or ("table" if sys.stdout.isatty() else "json")
    if chosen == "json":
        # Takes a tenth of the time of the standard library, which counts for thousands of workloads or items.
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
    elif chosen == "yaml":
        import yaml  # noqa: PLC0415  # 0.05 s that only this format needs

        click.echo(yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True), nl=False)
    elif text := table():
        click.echo(text)


def say(text: str) -> None:
    """Prints a message for people on stderr."""
    click.echo(text, err=True)
