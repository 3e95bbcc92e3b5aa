"""Which jobs of a manifest have mistakes: what a run can do without when it is told to."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from runner.lifecycle.selection import Only, fits

NAMED = 5  # ids that are told


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """The jobs with mistakes.

    `nameless` counts what hides which jobs it is about: unreadable rows, items of `jobs:` with mistakes of their
    own, jobs without a usable id. `stops` is set where a mistake is about the manifest as a whole, so that no
    job of it can be trusted.
    """

    ids: Collection[str] = ()
    nameless: int = 0
    stops: bool = False

    def __bool__(self) -> bool:
        return bool(self.ids) or self.nameless > 0 or self.stops

    def like(self, only: Only) -> bool:
        """Return whether a job with mistakes is, or may be, one of these."""
        return self.nameless > 0 or self.stops or any(fits(only, job) for job in self.ids)

    def words(self) -> str:
        """Return how many are left out, and which: `3 jobs (a, b, c)`."""
        parts = []
        if self.ids:
            some = ", ".join(list(self.ids)[:NAMED]) + (", …" if len(self.ids) > NAMED else "")
            parts.append(f"{_counted(len(self.ids), 'job')} ({some})")
        if self.nameless:
            parts.append(f"{_counted(self.nameless, 'row or item')} that cannot be read as jobs")
        return " and ".join(parts)


def _counted(number: int, name: str) -> str:
    if number == 1:
        return f"1 {name}"
    return f"{number:,} {'rows or items' if name == 'row or item' else name + 's'}"
