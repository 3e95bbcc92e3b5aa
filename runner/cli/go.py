"""`rivya-batch go`."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.orders import of_a_run, tell


@click.command("go")
@of_a_run
def command(manifest: Path, sandbox: bool, as_json: bool, state: str | None) -> None:
    """Continue with new jobs in the run of MANIFEST."""
    from runner.model import Order, OrderKind

    done = "goes on"
    tell(manifest, [Order(kind=OrderKind.GO)], done, sandbox=sandbox, as_json=as_json, state=state)
