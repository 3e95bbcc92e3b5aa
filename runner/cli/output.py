"""Small things every command prints with."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from runner.words import harmless, harmless_lines, json_text

if TYPE_CHECKING:
    from rich.console import Console

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs on stdout.")
state_option = click.option(
    "--state",
    metavar="FILE",
    envvar="RIVYA_STATE",
    callback=lambda context, option, value: without_password(context, option, value),
    help="Use this state database, a file or postgresql://… (default: state/runner.db).",
)
skip_invalid_option = click.option(
    "--skip-invalid", is_flag=True, help="Leave out jobs with mistakes; take the others (exit 3)."
)
only_option = click.option("--only", metavar="GLOB", help="Only jobs whose id matches.")
submit_only_option = click.option("--only", metavar="GLOB", help="Submit only jobs whose id matches.")
verbose_option = click.option("-v", "--verbose", count=True, help="Show more details.")


def named_state(state: str | None, *, sandbox: bool, ctx: click.Context | None = None) -> str | None:
    """Return the database that is meant. The one of the environment is for real runs only."""
    typed = (ctx or click.get_current_context()).get_parameter_source("state") is ParameterSource.COMMANDLINE
    return state if typed or not sandbox else None


def without_password(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Refuse a password where everybody on this machine can read it."""
    typed = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
    if value and typed and "://" in value:
        from runner.host.workspace import refuse_password

        refuse_password(value)
    return value


def hold_streams(*, for_programs: bool) -> None:
    """Make the standard streams fit to be used, whatever we were started with.

    A closed one is opened on nothing: the next file opened, a database say, must not get its number.
    Programs read UTF-8; what an old terminal's alphabet cannot hold is spelled out for people.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
            if for_programs and stream is sys.stdout:
                reconfigure(encoding="utf-8")


def show(text: str) -> None:
    """Write lines for people to stdout."""
    print(harmless_lines(text), flush=True)


def show_coloured(text: str, colour: str) -> None:
    """Write lines for people to stdout, in a colour (`32`) where a terminal shows it."""
    if colour and colourful(sys.stdout):
        print(f"\x1b[{colour}m{harmless_lines(text)}\x1b[0m", flush=True)
    else:
        show(text)


def show_json(document: Any, **options: Any) -> None:
    """Write a document for programs to stdout."""
    print(json_text(document, **options), flush=True)


def complain(text: str) -> None:
    """Write lines of talk to stderr; nobody listening is no error."""
    with suppress(OSError, ValueError):
        print(harmless_lines(text), file=sys.stderr, flush=True)


def complain_in_colours(lines: Sequence[Sequence[tuple[str, str]]]) -> None:
    """Write lines of pieces to stderr, each piece with its colour (`1;31`, or none), where a terminal shows it."""
    coloured = colourful(sys.stderr)
    for line in lines:
        pieces = ((colour, harmless_lines(text)) for colour, text in line)
        text = "".join(
            f"\x1b[{colour}m{piece}\x1b[0m" if coloured and colour else piece for colour, piece in pieces
        )
        with suppress(OSError, ValueError):
            print(text, file=sys.stderr, flush=True)


def ring(title: str) -> None:
    """Ring the bell of the terminal and set its title; nothing without one."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with suppress(OSError, ValueError):
            print(f"\x1b]2;{harmless(title, limit=80)}\x07\a", end="", file=sys.stderr, flush=True)


def colourful(stream: object) -> bool:
    """Say whether a stream is a terminal that may be coloured. FORCE_COLOR makes no terminal of a pipe."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty()) and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text of others as it is."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    coloured = colourful(stream)
    is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    width = None if is_terminal else int(os.environ.get("COLUMNS") or 100)
    return Console(
        file=stream,
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=False,
        no_color=not coloured,
        force_terminal=is_terminal,
        width=width,
    )
