"""Tasks that a run waits for no longer: they keep it from nothing, and are asked for again now and then."""

from __future__ import annotations

from runner.model import Job

FIRST_S, SELDOM_S = 60.0, 600.0


class Aside:
    """Accepted jobs whose trouble has outlasted this run's patience, or whose deadline is over.

    No clock of its own: the engine says what time it is.
    """

    def __init__(self) -> None:
        self._jobs: dict[int, Job] = {}
        self._again_at: dict[int, float] = {}
        self._waits_s: dict[int, float] = {}

    def __contains__(self, row: int) -> bool:
        return row in self._jobs

    def put(self, job: Job, now: float) -> None:
        """Wait for this job no longer."""
        self._jobs[job.row] = job
        wait_s = self._waits_s.get(job.row, FIRST_S)
        self._waits_s[job.row] = min(2.0 * wait_s, SELDOM_S)
        self._again_at[job.row] = now + wait_s

    def due(self, now: float) -> list[Job]:
        """Return those to be asked for once more: another task has ended well, so theirs may have."""
        rows = [row for row, at in self._again_at.items() if at <= now]
        for row in rows:
            del self._again_at[row]
        return [self._jobs[row] for row in rows]

    def take(self, row: int) -> None:
        """Its task was heard of after all."""
        self._jobs.pop(row, None)
        self._again_at.pop(row, None)

    @property
    def troubled(self) -> int:
        """How many of them the manifest lists, are not overdue, and do not come home all the same."""
        return sum(job.listed and not job.overdue for job in self._jobs.values())
