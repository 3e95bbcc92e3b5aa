"""Printing errors and problems: for people on stderr, for programs as objects on stdout."""

from __future__ import annotations

import shutil
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from runner.api.manifests.opened import InvalidManifest
from runner.cli.output import complain, complain_in_colours, show_json
from runner.cli.typed import Advice
from runner.errors import RunnerError
from runner.host.environment import known_key
from runner.manifest import in_order, picture, problem_json, problem_line
from runner.model import Problem
from runner.service.hiding import hider_of
from runner.words import harmless_lines


def show_error(error: RunnerError, *, as_json: bool, advice: Advice) -> None:
    """Print an error we raised on purpose, with what to do about it.

    Args:
        error: What went wrong.
        as_json: Print an object for programs too.
        advice: Completes the commands that it names.
    """
    message, hint = (scrubbed(advice.typed(text)) for text in (error.message, error.hint))
    problems = in_order(error.problems) if isinstance(error, InvalidManifest) else []
    if as_json:
        document: dict[str, Any] = {
            "v": 1,
            "type": "error",
            "exit_code": int(error.exit_code),
            "message": message,
            "hint": hint,
        }
        if isinstance(error, InvalidManifest):
            document["problems"] = [problem_json(problem) for problem in problems]
            document["problems_in_all"] = error.errors + error.warnings
        show_json(document)
    if problems:
        show_problems(problems)
    complain(f"error: {harmless_lines(message)}")
    if hint:
        complain(f"hint: {harmless_lines(hint)}")


def show_problems(problems: Sequence[Problem]) -> None:
    """Print problems: a line each for programs and logs, a picture each on a terminal."""
    if not sys.stderr.isatty():
        for problem in in_order(problems):
            complain(problem_line(problem))
        return
    fold = min(max(shutil.get_terminal_size().columns, 40), _WIDEST)
    for problem in in_order(problems):
        complain_in_colours(
            [
                [(_COLOURS.get(style, ""), text) for style, text in line]
                for line in picture(problem, width=fold - _MARGIN, fold=fold)
            ]
        )
        complain("")


# What stands beside the source line: its number and a bar.
_MARGIN = 10
_WIDEST = 140
_COLOURS = {"error": "1;31", "warning": "1;33", "what": "1", "frame": "1;34", "hint": "1;36"}


def show_fault(error: BaseException) -> None:
    """Print a bug of ours: what a report of it needs, and nothing secret."""
    text = "".join(traceback.format_exception(error))
    complain(scrubbed(text))
    complain(
        "this is a bug in rivya-batch. Nothing is lost: run again to continue; please report the lines above."
    )


def scrubbed(text: str) -> str:
    """Return text without the API key in it, should it ever have got there."""
    return hider_of(known_key()).text(text)
