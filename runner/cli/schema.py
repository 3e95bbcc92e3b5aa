"""`rivya-batch schema`."""

from __future__ import annotations

import json

import click


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of manifests: for editors and CI."""
    from runner.schemas import read_schema

    print(json.dumps(read_schema("manifest.schema.json"), ensure_ascii=False, indent=2))
