"""`kyma-upgrade queue list`: the items of the remediation queue, without a worker."""

from __future__ import annotations

import gc

import click

from cli.interruption import run
from cli.options import Option, cluster_options, filter_options, output_option, settings_from, temporal_options

#: Allocations between two garbage collections; Python's default is 700.
_GC_THRESHOLD = 50_000


@click.command("list")
@filter_options
@output_option()
@cluster_options
@temporal_options
def list_(
    state: str | None, reason: str | None, namespaces: tuple[str, ...], output: str | None, **options: Option
) -> int:
    """List the open items, or those in one state."""
    # Modules and items are a million objects that live until the process ends: searching them for garbage again and
    # again takes a tenth of the time of a long list.
    gc.set_threshold(_GC_THRESHOLD)
    from cli.actions.list_items import ItemFilter, list_items

    return run(list_items(settings_from(options), ItemFilter(state, reason, namespaces), output))
