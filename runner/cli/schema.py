"""`rivya-batch schema`."""

from __future__ import annotations

import click

from runner.cli.output import show_json


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of manifests: for editors and CI."""
    from runner.schemas import read_schema

    show_json(read_schema("manifest.schema.json"), indent=2)
