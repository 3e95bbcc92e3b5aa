"""`rivya-batch state`."""

from __future__ import annotations

import os

import click

from runner.cli.output import json_option, show, show_json, without_password


@click.group("state")
def command() -> None:
    """Copy the state database: from a file to a PostgreSQL server, or back."""


@command.command("copy")
@click.option("--from", "source", metavar="FILE", callback=without_password, help="The database to copy.")
@click.option(
    "--to", "target", metavar="FILE", callback=without_password, help="An empty one, or a new file."
)
@json_option
def copy(source: str | None, target: str | None, as_json: bool) -> None:
    """Copy all that is known into an empty database, a file or postgresql://….

    Whichever of the two is not given is that of RIVYA_STATE, or state/runner.db. Use only the copy from then on: the
    other one does not learn what is paid for later.
    """
    from runner.api import state

    usual = os.environ.get("RIVYA_STATE") or None
    done = state.copy(source or usual, target or usual)
    if as_json:
        show_json(
            {
                "v": 1,
                "type": "state-copy",
                "from": str(done.source),
                "to": str(done.target),
                "rows": dict(done.rows),
            }
        )
        return
    show(f"copied {done.source}\nto     {done.target}")
    show(", ".join(f"{number:,} {table}" for table, number in done.rows.items() if number) or "it was empty")
