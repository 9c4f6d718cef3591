"""`kyma-upgrade queue show`: everything about one item of the remediation queue."""

from __future__ import annotations

import click

from cli.interruption import run
from cli.options import Option, cluster_options, output_option, settings_from, temporal_options


@click.command()
@click.argument("item")
@output_option()
@cluster_options
@temporal_options
def show(item: str, output: str | None, **options: Option) -> int:
    """Show one item: cause, next step and history.

    ITEM is the id of an item, or NAMESPACE/KIND/NAME.
    """
    from cli.actions.show_item import show_item

    return run(show_item(settings_from(options), item, output))
