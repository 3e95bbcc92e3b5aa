"""Collects what is wrong with a manifest, each finding once, with the line it is about."""

from __future__ import annotations

from runner.manifest.yaml_tree import At
from runner.model import Place, Problem, Severity

Snapshot = tuple[list[Problem], dict[Severity, int], set[tuple[Place, str, str]], dict[str, int]]

SHOWN = 200  # errors, and as many warnings; of the rest, the first of each kind are shown
FIRST = 3  # of a kind


class SourceText:
    """A text that problems point into."""

    def __init__(self, file: str, text: str = "") -> None:
        self.file = file
        self._text = text
        self._lines: list[str] | None = None

    def line(self, number: int) -> str:
        """Return a line of the text, counted from 1; empty where there is none."""
        if self._lines is None:
            from runner.manifest.yaml_text import lines_of

            self._lines = lines_of(self._text)  # only a manifest with problems pays for this
        return self._lines[number - 1] if 0 < number <= len(self._lines) else ""


class Spot:
    """Where something was written: a source, a line and a column, and the path inside the document.

    Not a dataclass: one is made for every row, and an initialiser of four assignments is quicker
    than a frozen one.
    """

    __slots__ = ("at", "path", "source", "text")

    def __init__(self, source: SourceText, at: At, path: str = "", text: str | None = None) -> None:
        self.source = source
        self.at = at
        self.path = path
        self.text = text  # the line itself, where the source does not keep it

    @property
    def place(self) -> Place:
        """The place, as the nouns know it."""
        return Place(file=self.source.file, line=self.at[0], column=self.at[1])

    @property
    def line(self) -> str:
        """The line of text this is in."""
        return self.source.line(self.at[0]) if self.text is None else self.text

    def inside(self, at: At, key: str | int) -> Spot:
        """Return the spot of an entry of what is here."""
        step = f"[{key}]" if isinstance(key, int) else f".{key}" if self.path else key
        return Spot(self.source, at, self.path + step)


class Findings:
    """The problems of one manifest. Said twice, a problem counts once.

    Errors and warnings are capped apart, so that no number of warnings hides an error; nor does any number of one
    kind hide another kind.
    """

    def __init__(self) -> None:
        self._shown: list[Problem] = []
        self._counts = {Severity.ERROR: 0, Severity.WARNING: 0}
        self._seen: set[tuple[Place, str, str]] = set()
        self._kinds: dict[str, int] = {}  # by code: how many are shown
        self.reported = 0  # errors, also those said before: what a reader compares before and after

    @property
    def errors(self) -> int:
        """How many errors there are, shown or not."""
        return self._counts[Severity.ERROR]

    @property
    def warnings(self) -> int:
        """How many warnings there are, shown or not."""
        return self._counts[Severity.WARNING]

    @property
    def hidden(self) -> int:
        """How many problems are counted but not shown."""
        return sum(self._counts.values()) - len(self._shown)

    def problems(self) -> list[Problem]:
        """Return the problems in the order found; a last one says how many more there are."""
        if not self.hidden:
            return list(self._shown)
        first = self._shown[0].place
        what = f"{self.hidden:,} more problems not shown"
        severity = Severity.ERROR if self.errors > SHOWN else Severity.WARNING
        place = Place(file=first.file, line=first.line, column=first.column)
        more = Problem(
            place=place,
            what=what,
            code="more-problems",
            hint="fix these, then check again",
            severity=severity,
        )
        return [*self._shown, more]

    def snapshot(self) -> Snapshot:
        """Return what has been found so far, to come back to."""
        return list(self._shown), dict(self._counts), set(self._seen), dict(self._kinds)

    def restore(self, snapshot: Snapshot) -> None:
        """Forget what was found since a snapshot: it is about to be found again."""
        shown, counts, seen, kinds = snapshot
        self._shown, self._counts, self._seen, self._kinds = list(shown), dict(counts), set(seen), dict(kinds)

    def add(self, problem: Problem) -> None:
        """Take a problem."""
        self.reported += problem.severity is Severity.ERROR
        key = (problem.place, problem.code, problem.what)
        if key in self._seen:
            return
        self._counts[problem.severity] += 1
        if self._counts[problem.severity] <= SHOWN or self._kinds.get(problem.code, 0) < FIRST:
            self._kinds[problem.code] = self._kinds.get(problem.code, 0) + 1
            self._seen.add(key)
            self._shown.append(problem)

    def error(self, spot: Spot, what: str, code: str, hint: str = "", *, job: str = "") -> None:
        """Take an error at this spot."""
        self.report(spot, what, code, hint, job=job, severity=Severity.ERROR)

    def warn(self, spot: Spot, what: str, code: str, hint: str = "", *, job: str = "") -> None:
        """Take a warning at this spot."""
        self.report(spot, what, code, hint, job=job, severity=Severity.WARNING)

    def report(self, spot: Spot, what: str, code: str, hint: str, *, job: str, severity: Severity) -> None:
        """Take a finding of this severity."""
        if (
            self._counts[severity] >= SHOWN
            and self._kinds.get(code, 0) >= FIRST
            and (spot.place, code, what) not in self._seen
        ):
            self._counts[severity] += 1  # nobody would see the line
            self.reported += severity is Severity.ERROR
            return
        problem = Problem(
            place=spot.place,
            what=what,
            code=code,
            hint=hint,
            path=spot.path,
            job=job,
            source=spot.line,
            severity=severity,
        )
        self.add(problem)
