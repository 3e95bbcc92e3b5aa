"""`rivya-batch hold`."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.orders import of_a_run, tell


@click.command("hold")
@of_a_run
def command(manifest: Path, sandbox: bool, as_json: bool, state: str | None) -> None:
    """Submit no new jobs in the run of MANIFEST; what is under way goes on, and `go` continues."""
    from runner.model import Order, OrderKind

    done = "held: no new jobs are submitted until `rivya-batch go`"
    tell(manifest, [Order(kind=OrderKind.HOLD)], done, sandbox=sandbox, as_json=as_json, state=state)
