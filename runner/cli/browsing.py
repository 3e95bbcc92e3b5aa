"""What `run --web` and `serve` share: a port, and whether a browser opens by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import click

from runner.cli.output import complain


def page_options(function: Any) -> Any:
    """Add `--port` and `--open/--no-open`."""
    port = click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=0,
        metavar="N",
        help="Serve the page on this port (default: any that is free).",
    )
    opening = click.option(
        "--open/--no-open",
        "open_it",
        default=None,
        help="Open the page in a browser, or do not (default: on a terminal with a desktop).",
    )
    return port(opening(function))


def open_page(url: str, *, wanted: bool | None) -> None:
    """Open a page in the person's browser if that is wanted, without waiting for it.

    What starts the browser gets none of our streams: some would take over the terminal.
    """
    if wanted is None:
        wanted = sys.stdin.isatty() and sys.stderr.isatty() and _has_desktop()
    if not wanted:
        return
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    nothing = subprocess.DEVNULL
    try:
        subprocess.Popen([opener, url], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
    except OSError:
        complain("no browser could be started; open the address yourself")


def _has_desktop() -> bool:
    return sys.platform == "darwin" or bool(
        {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys() and "SSH_CONNECTION" not in os.environ
    )
