"""`rivya-batch sandbox`."""

from __future__ import annotations

import click


@click.command(
    "sandbox",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> int:
    """Serve the bundled imitation of the API on loopback: it costs nothing and misbehaves on request."""
    from runner.sandbox.main import main

    return main(list(arguments)) or 0
