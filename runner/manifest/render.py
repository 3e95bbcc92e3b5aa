"""Problems as text for people and as objects for programs."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from runner.model import Json, Problem, Severity

_WIDTH = 100  # columns of source that are shown
_LABEL = 60  # characters of a job's id that are shown


def problem_text(problem: Problem) -> str:
    """Return a problem as lines of plain text: place, what, hint; then the source line and a caret.

    Nothing in it is obeyed by a terminal: control characters are spelled out.
    """
    first = problem_line(problem)
    if not problem.source.strip():
        return first
    number = str(problem.place.line)
    shown, caret = _window(problem.source, problem.place.column - 1)
    return f"{first}\n  {number} | {shown}\n  {' ' * len(number)} | {' ' * caret}^"


def problem_line(problem: Problem) -> str:
    """Return a problem as one line of plain text: `file:line:column: what; hint`."""
    warning = "warning: " if problem.severity is Severity.WARNING else ""
    name = problem.job if len(problem.job) <= _LABEL else f"{problem.job[: _LABEL - 1]}…"
    job = f" [job {name}]" if name else ""
    hint = f"; {problem.hint}" if problem.hint else ""
    return visible(f"{problem.place}: {warning}{problem.what}{hint}{job}")


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Return problems as people read them: errors before warnings, each file from top to bottom."""
    found = list(problems)
    files: dict[str, int] = {}
    for problem in found:
        files.setdefault(problem.place.file, len(files))

    def order(problem: Problem) -> tuple[bool, bool, int, int, int]:
        last = problem.code == "more-problems"
        place = problem.place
        return last, problem.severity is Severity.WARNING, files[place.file], place.line, place.column

    return sorted(found, key=order)


def problems_text(problems: Iterable[Problem]) -> str:
    """Return all problems as text, in order, each with its source line."""
    return "\n".join(problem_text(problem) for problem in in_order(problems))


def problem_json(problem: Problem) -> dict[str, Json]:
    """Return a problem as an object: file, line, column, what, hint, code, path, job, severity."""
    return {
        "file": problem.place.file,
        "line": problem.place.line,
        "column": problem.place.column,
        "what": problem.what,
        "hint": problem.hint,
        "code": problem.code,
        "path": problem.path,
        "job": problem.job,
        "severity": problem.severity.value,
    }


def visible(text: str) -> str:
    """Return text in one line with everything a terminal would obey spelled out."""
    return text if text.isprintable() else "".join(_spelled(char) for char in text)


def _window(line: str, at: int) -> tuple[str, int]:
    """Return the part of a line round a position, and how many columns of a terminal come before it."""
    start = max(0, at - _WIDTH * 2 // 3) if len(line) > _WIDTH else 0
    before = "".join(_spelled(char) for char in line[start:at])
    after = "".join(_spelled(char) for char in line[at : start + _WIDTH])
    left, right = "…" if start else "", "…" if start + _WIDTH < len(line) else ""
    return f"{left}{before}{after}{right}".rstrip(), len(left) + sum(_columns(char) for char in before)


def _spelled(char: str) -> str:
    if char == "\t":
        return " "
    return char if char.isprintable() else f"\\u{ord(char):04x}"


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
