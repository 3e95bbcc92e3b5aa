"""One table: a line for each thing measured, as text for a terminal or as markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A number not to be passed: `("total_s", 18.0)` reads "total s <= 18"."""

    field: str
    most: float
    least: bool = False  # the number is a floor and not a ceiling

    def met(self, line: Line) -> bool | None:
        value = getattr(line, self.field)
        if value is None:
            return None
        return bool(value >= self.most if self.least else value <= self.most)

    def words(self) -> str:
        return f"{_NAMES[self.field]} {'>=' if self.least else '<='} {self.most:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One measurement. Times in seconds, memory in MB; None where a number means nothing.

    `makespan_s` is the service's view (first submit to the last end found), `total_s` that of whoever
    waits for the command.
    """

    work: str
    who: str = "rivya-batch"
    jobs: int | None = None
    done: int | None = None
    total_s: float | None = None
    makespan_s: float | None = None
    ideal_s: float | None = None
    rejected: int | None = None
    polls: float | None = None
    lag_s: float | None = None
    lag_p95_s: float | None = None
    cpu_s: float | None = None
    peak_mb: float | None = None
    value: float | None = None  # whatever `note` says it is
    note: str = ""
    targets: tuple[Target, ...] = ()

    @property
    def ratio(self) -> float | None:
        if self.makespan_s is None or not self.ideal_s:
            return None
        return self.makespan_s / self.ideal_s

    @property
    def cpu_per_1000_s(self) -> float | None:
        if self.cpu_s is None or not self.jobs:
            return None
        return 1000 * self.cpu_s / self.jobs

    @property
    def missed(self) -> list[str]:
        """Targets this line does not hold, in words."""
        return [target.words() for target in self.targets if target.met(self) is False]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _lag(line: Line) -> str:
    if line.lag_s is None:
        return ""
    return f"{line.lag_s:.1f} / {_number(line.lag_p95_s, 1)}"


def _done(line: Line) -> str:
    return "" if line.done is None else f"{line.done}/{line.jobs}"


def _verdict(line: Line) -> str:
    if not line.targets:
        return ""
    words = ", ".join(target.words() for target in line.targets)
    return f"MISSED: {', '.join(line.missed)}" if line.missed else f"ok: {words}"


_NAMES = {
    "total_s": "total", "makespan_s": "makespan", "ratio": "ratio", "rejected": "429s", "polls": "polls",
    "cpu_s": "CPU", "peak_mb": "MB", "value": "value",
}  # fmt: skip

COLUMNS: tuple[tuple[str, Callable[[Line], str]], ...] = (
    ("work", lambda line: line.work),
    ("who", lambda line: line.who),
    ("done", _done),
    ("total s", lambda line: _number(line.total_s, 1)),
    ("makespan s", lambda line: _number(line.makespan_s, 1)),
    ("ideal s", lambda line: _number(line.ideal_s, 1)),
    ("ratio", lambda line: _number(line.ratio, 2)),
    ("429s", lambda line: _number(line.rejected, 0)),
    ("polls/task", lambda line: _number(line.polls, 2)),
    ("lag s med/p95", _lag),
    ("CPU s", lambda line: _number(line.cpu_s, 2)),
    ("CPU s/1000", lambda line: _number(line.cpu_per_1000_s, 2)),
    ("peak MB", lambda line: _number(line.peak_mb, 0)),
    ("note", lambda line: line.note),
    ("target", _verdict),
)


def as_text(lines: Sequence[Line]) -> str:
    """Return the table for a terminal."""
    rows = [[name for name, _ in COLUMNS], *([show(line) for _, show in COLUMNS] for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if name in _LEFT else cell.rjust(width)
            for cell, width, (name, _) in zip(row, widths, COLUMNS, strict=True)
        ).rstrip()
        for row in rows
    )


_LEFT = {"work", "who", "note", "target"}


def as_markdown(lines: Sequence[Line]) -> str:
    """Return the table as markdown; columns that nothing fills are left out."""
    used = [(name, show) for name, show in COLUMNS if any(show(line) for line in lines)]
    rows = [
        [name for name, _ in used],
        ["---" if name in _LEFT else "---:" for name, _ in used],
        *([show(line) for _, show in used] for line in lines),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
