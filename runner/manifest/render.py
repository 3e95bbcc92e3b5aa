"""Problems as text for people and as objects for programs."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable
from typing import Literal, TypeAlias

from runner.model import Json, Problem, Severity

_WIDTH = 100  # columns of source that are shown
_LABEL = 60  # characters of a job's id that are shown
# What a caret underlines: a text in quotes, a placeholder, or what stands between blanks and brackets.
_MARKED = re.compile(r""""(?:[^"\\]|\\.)*"|'[^']*'|\$\{[^}]*\}|[^\s,:\]}{\["']+""")

Style: TypeAlias = Literal["", "error", "warning", "what", "frame", "hint"]
Line: TypeAlias = list[tuple[Style, str]]


def picture(problem: Problem, *, width: int = _WIDTH, fold: int | None = None) -> list[Line]:
    """Return a problem as lines of pieces: what, place, the source line with a caret below it, hint.

    Nothing in it is obeyed by a terminal: control characters are spelled out.

    Args:
        problem: What is to be shown.
        width: Columns of source that are shown.
        fold: Columns after which what is said is continued on a line of its own, between words; None: nowhere.
    """
    severity: Style = "warning" if problem.severity is Severity.WARNING else "error"
    number = str(problem.place.line)
    margin = " " * len(number)
    job = f" (job {_label(problem.job)})" if problem.job and not _names_its_job(problem) else ""
    lines: list[Line] = [
        *_said([(severity, f"{severity}: ")], "what", visible(problem.what), fold),
        [("frame", f"{margin}--> "), ("", visible(f"{problem.place}{job}"))],
    ]
    if problem.source.strip():
        shown, caret, marked = _window(problem.source, problem.place.column - 1, width)
        lines += [
            [("frame", f"{margin} |")],
            [("frame", f"{number} | "), ("", shown)],
            [("frame", f"{margin} | "), ("", " " * caret), (severity, "^" * marked)],
        ]
    if problem.hint:
        lines += _said([("frame", f"{margin} = "), ("hint", "hint: ")], "", visible(problem.hint), fold)
    return lines


def _said(before: Line, style: Style, text: str, fold: int | None) -> list[Line]:
    """Return a text behind its mark, its other lines below the first word."""
    indent = sum(len(piece) for _, piece in before)
    if fold is None or indent + len(text) <= fold:
        return [[*before, (style, text)]]
    parts = textwrap.wrap(text, max(fold - indent, 20), break_long_words=False, break_on_hyphens=False)
    return [[*before, (style, parts[0])], *([("", " " * indent), (style, part)] for part in parts[1:])]


def problem_text(problem: Problem) -> str:
    """Return the picture of a problem as plain text."""
    return "\n".join("".join(text for _, text in line) for line in picture(problem))


def _names_its_job(problem: Problem) -> bool:
    """Return whether what is said ends with the job already."""
    return problem.what.endswith((f"job {problem.job}", f'job "{problem.job}"'))


def problem_line(problem: Problem) -> str:
    """Return a problem as one line of plain text: `file:line:column: what; hint`."""
    warning = "warning: " if problem.severity is Severity.WARNING else ""
    job = f" [job {_label(problem.job)}]" if problem.job and not _names_its_job(problem) else ""
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
    return "\n\n".join(problem_text(problem) for problem in in_order(problems))


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


def _label(job: str) -> str:
    return job if len(job) <= _LABEL else f"{job[: _LABEL - 1]}…"


def _window(line: str, at: int, width: int) -> tuple[str, int, int]:
    """Return the part of a line round a position, how many columns come before it, and how many are marked."""
    start = max(0, at - width * 2 // 3) if len(line) > width else 0
    end = start + width
    found = _MARKED.match(line, at)
    marked_to = min(found.end() if found else at + 1, end)
    before, marked, after = (
        "".join(map(_spelled, part)) for part in (line[start:at], line[at:marked_to], line[marked_to:end])
    )
    left, right = "…" if start else "", "…" if end < len(line) else ""
    shown = f"{left}{before}{marked}{after}{right}".rstrip()
    return shown, len(left) + sum(map(_columns, before)), max(sum(map(_columns, marked)), 1)


def _spelled(char: str) -> str:
    if char == "\t":
        return " "
    return char if char.isprintable() else f"\\u{ord(char):04x}"


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
