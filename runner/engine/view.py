"""What a run is asked for, and what it shows of itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from runner.errors import EXIT_PRECEDENCE, Exit
from runner.lifecycle.selection import Only, fits


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What one invocation asks for beyond its manifest."""

    limit: int | None = None
    only: Only | None = None
    ids: frozenset[str] | None = None  # submit only these
    rows: frozenset[int] | None = None  # submit only these: what a person was shown the cost of
    left_out: frozenset[int] = frozenset()  # never submit these: mistakes were found in their jobs
    canary: int | None = None
    stop_after_s: float | None = None
    stop_at_s: float | None = None  # all is to be home by then, in seconds since 1970
    patience_s: float | None = None  # None: nobody has said

    def asks_for(self, row: int, id_: str) -> bool:
        """Whether a job is one of those to be submitted."""
        if self.ids is not None and id_ not in self.ids:
            return False
        return fits(self.only, id_) and ((self.rows is None or row in self.rows) and row not in self.left_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutJob:
    """A job whose task runs at the service: how old it is, and how long one like it usually takes, if that is known."""

    job: str
    age_s: float
    usual_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run at one moment. `counts` are of the listed jobs, by state.

    `waiting_for` are the tasks that are all that is left, where these are few; the oldest first.
    """

    counts: dict[str, int]
    orphans: int
    charged: float
    reserved: float
    cap: float | None
    rate_per_s: float | None
    requests: int
    rejections: int
    polls: int
    in_flight: int
    elapsed_s: float
    eta_s: float | None
    note: str = ""
    waiting_for: tuple[OutJob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended: its exit code, why, and what happened in it."""

    code: Exit
    reasons: tuple[str, ...]
    stats: dict[str, Any]
    to_see: str = ""  # what was charged is for a person to look at: what another run does then, in words

    def and_also(self, code: Exit, why: str) -> Ended:
        """Return the same end with one more reason; the first code in precedence is that of the run."""
        first = min(self.code, code, key=EXIT_PRECEDENCE.index)
        return replace(self, code=first, reasons=(*self.reasons, why))


class Progress(Protocol):
    """Whoever shows a run to people or programs."""

    def event(self, kind: str, **data: Any) -> None:
        """Take one thing that happened."""
        ...

    def snapshot(self, view: Snapshot) -> None:
        """Take the state of the run; called about once a second."""
        ...


@dataclass(slots=True)
class Tally:
    """What this run has done so far."""

    submits: int = 0
    polls: int = 0
    questions: int = 0
    uploads: int = 0
    downloads: int = 0
    rejections: int = 0
    accepted: int = 0
    done: int = 0
    failed: int = 0
    statuses: Counter[str] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        """Requests to the API that were answered or lost."""
        return self.submits + self.polls + self.questions + self.uploads

    def as_stats(self) -> dict[str, Any]:
        """Return the numbers as the database and programs get them."""
        return {
            "submits": self.submits,
            "polls": self.polls,
            "questions": self.questions,
            "uploads": self.uploads,
            "downloads": self.downloads,
            "rejections": self.rejections,
            "accepted": self.accepted,
            "done": self.done,
            "failed": self.failed,
            "statuses": dict(self.statuses),
        }
