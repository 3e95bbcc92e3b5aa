"""`rivya-batch schema`."""

from __future__ import annotations

import click

from runner.cli.output import show_json


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of manifests, for editors and CI: with the models that are known in this workspace."""
    from runner.api.manifests.contracts import contracts_for
    from runner.host.workspace import find_workspace
    from runner.manifest.json_schema import schema_of_manifests

    workspace = find_workspace(None, state=None, sandbox=False)
    show_json(schema_of_manifests(contracts_for(workspace, sandbox=False)), indent=2)
