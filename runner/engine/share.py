"""What one engine works on: all of a manifest, or, where others work at it as well, the jobs that it has claimed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from runner.model import NEVER_SENT, Job, State
from runner.steps.context import RunContext
from runner.steps.submit import take_back, take_back_of
from runner.store import jobs, needs, shares
from runner.store.connection import Connection

Asked = Callable[[int, str], bool]
Place = tuple[int, int]


class Share(Protocol):
    """What an engine works on. What takes a connection is done inside a transaction."""

    @property
    def claims(self) -> bool:
        """Whether jobs are claimed: a page never shows one that is near already."""

    def take_up(self, conn: Connection) -> list[Job]:
        """Return what earlier work has left under way, to go on with."""

    def page(self, conn: Connection, *, after: Place, limit: int) -> list[Job]:
        """Return the next jobs of which nothing was sent, in the manifest's order, after `(position, row)`."""

    def free(self, conn: Connection, rows: Collection[int]) -> list[Job]:
        """Return those of these rows of which nothing was sent, and that are nobody else's."""

    def freed(self, conn: Connection, rows: Sequence[int]) -> list[Job]:
        """Return those of these rows, which were passed over before, that may be sent now."""

    def chosen(self, conn: Connection, rows: Collection[int]) -> None:
        """These of a page are about to be sent."""

    def take_back(self, conn: Connection) -> None:
        """Put back what was left with every send definitely refused."""

    def of_others(self, conn: Connection) -> Collection[int]:
        """Return the rows that are another's to finish."""

    def rest(self) -> None:
        """All that keeps the engine is what others have under way."""

    def may_end(self, idle: bool) -> bool:
        """Whether the engine may end, which is idle or not."""


class WholeManifest:
    """All of a manifest: nobody else works at it."""

    claims = False

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def take_up(self, conn: Connection) -> list[Job]:
        self.take_back(conn)
        return jobs.in_states(
            conn, self._context.settings.name, (State.SUBMITTING, State.WAITING, State.DOWNLOADING)
        )

    def page(self, conn: Connection, *, after: Place, limit: int) -> list[Job]:
        return jobs.page_to_send(conn, self._context.settings.name, after=after, limit=limit)

    def free(self, conn: Connection, rows: Collection[int]) -> list[Job]:
        found = [jobs.get(conn, row) for row in rows]
        return [job for job in found if job.listed and job.state in NEVER_SENT]

    def freed(self, conn: Connection, rows: Sequence[int]) -> list[Job]:
        return self.free(conn, rows)

    def chosen(self, conn: Connection, rows: Collection[int]) -> None:
        pass

    def take_back(self, conn: Connection) -> None:
        take_back(conn, self._context)

    def of_others(self, conn: Connection) -> Collection[int]:
        return ()

    def rest(self) -> None:
        pass

    def may_end(self, idle: bool) -> bool:
        return idle


class ClaimedJobs:
    """The jobs of a manifest that this worker has claimed, or taken over from one that works no more.

    `mates_busy` says whether others of the same manifest have something under way, as far as is known.
    """

    claims = True

    def __init__(self, context: RunContext, worker: int) -> None:
        self._context = context
        self._worker = worker
        self.idle = self._rests = False
        self.mates_busy = False

    @property
    def _name(self) -> str:
        return self._context.settings.name

    def take_up(self, conn: Connection) -> list[Job]:
        found = shares.free_under_way(conn, self._name)
        back = set(take_back_of(conn, self._context, found))  # free for all
        taken = [job for job in found if job.row not in back]
        shares.claim(conn, self._worker, [job.row for job in taken])
        return taken

    def page(self, conn: Connection, *, after: Place, limit: int) -> list[Job]:
        return shares.free_to_send(conn, self._name, after=after, limit=limit)

    def free(self, conn: Connection, rows: Collection[int]) -> list[Job]:
        found = [jobs.get(conn, row) for row in rows]
        others = shares.held_by_others(conn, self._worker) if rows else frozenset[int]()
        return [job for job in found if job.listed and job.state in NEVER_SENT and job.row not in others]

    def freed(self, conn: Connection, rows: Sequence[int]) -> list[Job]:
        return shares.still_free(conn, rows)

    def give_back(self, conn: Connection, rows: Sequence[int]) -> None:
        """Leave jobs that were claimed and not sent to others, who are told."""
        shares.release(conn, rows)
        self._context.event(conn, shares.GIVEN_BACK, rows=[*rows])

    def news(self, conn: Connection, *, after: int) -> list[Place]:
        """Return the jobs that others have set free after an event: by what they have made, or by giving them back."""
        told = {"after": after, "run": self._context.run}
        return [
            *needs.made_by_others(conn, self._name, **told),
            *shares.given_back(conn, self._name, **told),
        ]

    def chosen(self, conn: Connection, rows: Collection[int]) -> None:
        shares.claim(conn, self._worker, rows)

    def take_back(self, conn: Connection) -> None:
        open_jobs = jobs.in_states(conn, self._name, (State.SUBMITTING,))
        mine = shares.held(conn, self._worker, [job.row for job in open_jobs])
        shares.release(conn, take_back_of(conn, self._context, [job for job in open_jobs if job.row in mine]))

    def of_others(self, conn: Connection) -> Collection[int]:
        return shares.of_others(conn, self._worker, self._name)

    def rest(self) -> None:
        self._rests = True

    def may_end(self, idle: bool) -> bool:
        self.idle, self._rests = idle or self._rests, False
        return idle and not self.mates_busy
