"""Pages and the person's browser: the options about it, whether one opens by itself, and how it is started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from runner.cli.output import complain

if TYPE_CHECKING:
    from rich.text import Text

    from runner.api.serve import LivePage

T = TypeVar("T")

OPENERS = (("xdg-open",), ("gio", "open"), ("wslview",))
# These print the escape codes of a link as garbage, or are no terminal.
LINKLESS_TERMINALS = ("dumb", "linux", "unknown", "vt")


def page_options(function: Callable[..., T]) -> Callable[..., T]:
    """Add `--port` and `--open/--no-open`."""
    port = click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=0,
        metavar="N",
        help="Serve the page on this port (default: any free one).",
    )
    opening = click.option(
        "--open/--no-open",
        "open_it",
        default=None,
        help="Open the page in a browser or not (default: a live page opens on a terminal with a desktop; "
        "the report at the end of a run only with --open).",
    )
    return port(opening(function))


def open_live(page: LivePage, *, wanted: bool | None) -> None:
    """Open a live page, by an address that may be read on the command line of what starts the browser."""
    if not (somebody_looks() if wanted is None else wanted):
        return
    try:
        redirect_file = page.redirect_file
    except OSError as exc:
        complain(f"cannot write the file that opens the page ({exc.strerror}); open the address yourself")
        return
    open_url(redirect_file)


def open_url(url: str) -> bool:
    """Start the person's browser without waiting for it; False, and a line, when there is none to start.

    What starts the browser gets none of our streams: some would take over the terminal.
    """
    openers = (("open",),) if sys.platform == "darwin" else OPENERS
    opener = next((words for words in openers if shutil.which(words[0])), None)
    nothing = subprocess.DEVNULL
    try:
        if opener is not None:
            subprocess.Popen(
                [*opener, url], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
            )
            return True
    except OSError:
        pass
    complain("cannot start a browser; open the address yourself")
    return False


def somebody_looks() -> bool:
    """Say whether a page that opens by itself has somebody before it: a terminal on a desktop, no CI, no SSH."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()) or os.environ.get("CI") or _is_elsewhere():
        return False
    return sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def linked(text: str, path: Path) -> Text:
    """Return a text that is a link to a file where the terminal makes links of such."""
    from rich.text import Text

    name = os.environ.get("TERM", "")
    plain = not sys.stdout.isatty() or _is_elsewhere() or name.startswith(LINKLESS_TERMINALS) or not name
    return Text(text, style="" if plain else f"link {path.absolute().as_uri()}")


def _is_elsewhere() -> bool:
    """Whether the person sits before another machine."""
    return bool(os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY"))
