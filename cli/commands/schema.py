"""`kyma-upgrade schema`: what files may contain, as JSON Schema."""

from __future__ import annotations

import json

import click

from cli.exit_codes import DONE


@click.group()
def schema() -> None:
    """Print JSON Schemas of files.

    For editors that complete and check these files, and for pipelines.
    """


@schema.command()
def policy() -> int:
    """Print the JSON Schema of the policy file."""
    from mesh.plan.policy_file import PolicyFile

    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **PolicyFile.model_json_schema(by_alias=True),
    }
    click.echo(json.dumps(document, indent=2))
    return DONE
