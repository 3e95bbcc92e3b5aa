"""`rivya-batch stop`."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.orders import of_a_run, tell


@click.command("stop")
@of_a_run
def command(manifest: Path, sandbox: bool, as_json: bool, state: str | None) -> None:
    """Stop the run of MANIFEST as Ctrl-C does: open requests finish, jobs go on at the service, and `run` collects them."""
    from runner.model import Order, OrderKind

    done = "stops: open requests finish"
    tell(manifest, [Order(kind=OrderKind.STOP)], done, sandbox=sandbox, as_json=as_json, state=state)
