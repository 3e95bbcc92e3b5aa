"""What waits for its next step: small entries in queues, fed from the database page by page."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from runner.engine.admission import Admission
from runner.engine.gates import Gates
from runner.engine.share import Place, Share, WholeManifest
from runner.engine.switched import SwitchedOff
from runner.engine.view import RunOptions
from runner.model import Job, ModelId, Reference, State
from runner.steps import upload as upload_step
from runner.steps.bind import Bound, bind, needs_binding
from runner.steps.context import RunContext
from runner.steps.download import Settled
from runner.store import jobs, moves, needs
from runner.store.connection import Connection

LOOKAHEAD = 64  # jobs held ready ahead of their submit, or of their download


class Backlog:
    """The queues of one run. Rows are the database's numbers of jobs.

    `ready` holds (row, shape) of jobs to be submitted for the first time; `resend` rows that may have
    been accepted, whose committed bytes are to be sent again while that is allowed; `refused` rows whose
    every send was definitely not accepted, to be sent again at leisure.
    """

    def __init__(
        self, context: RunContext, admission: Admission, options: RunOptions, share: Share | None = None
    ) -> None:
        self._context = context
        self._share = share or WholeManifest(context)
        self._admission = admission
        self._options = options
        self.ready: deque[tuple[int, str]] = deque()
        self.resend: deque[int] = deque()
        self.refused: deque[int] = deque()
        self.to_download: deque[int] = deque()
        self.settled: dict[int, Settled] = {}  # the first of them, which need not be read again
        self.to_renew: deque[int] = deque()
        self.to_upload: deque[upload_step.Needed] = deque()
        self.uploads: dict[upload_step.Needed, tuple[Reference, set[int]]] = {}
        self.missing: dict[int, tuple[str, set[upload_step.Needed]]] = {}
        self.tries: Counter[Any] = Counter()
        self.fed = False
        self.switched_off = SwitchedOff(context.settings.name)
        self._freed: deque[int] = deque()  # rows that no longer wait for others, and were passed over before
        self._freed_times = 0
        self.models: dict[str, ModelId] = {}  # of each shape that was prepared
        self._cursor = (-1, -1)
        # How many jobs to hold ahead of their submit; fewer where others could send them meanwhile.
        self.ahead: Callable[[], int] = lambda: LOOKAHEAD
        self.bound: Callable[[Bound], None] = lambda found: None  # told what became of jobs that take results
        self._unclear_later = 0
        self._later: list[tuple[float, int, deque[Any], Any]] = []
        self._sequence = itertools.count()

    # --- later ---

    def after(self, delay_s: float, queue: deque[Any], item: Any) -> None:
        """Put an item into a queue after a while."""
        due = self._context.clock.mono_s() + delay_s
        heapq.heappush(self._later, (due, next(self._sequence), queue, item))

    def move_due(self, now: float) -> None:
        """Move what is due into its queue."""
        while self._later and self._later[0][0] <= now:
            _, _, queue, item = heapq.heappop(self._later)
            queue.append(item)
            self._unclear_later -= queue is self.resend

    def resend_after(self, delay_s: float, row: int) -> None:
        """Send a job that may have been accepted once more after a while."""
        self._unclear_later += 1
        self.after(delay_s, self.resend, row)

    @property
    def unclear(self) -> int:
        """Jobs that may have been accepted and are not being asked about at this moment."""
        return len(self.resend) + self._unclear_later

    @property
    def next_shape(self) -> str | None:
        """The shape of a job that would be submitted next for the first time; None where none is near."""
        if self.ready:
            return self.ready[0][1]
        return next((shape for shape, _ in self.missing.values()), None)

    @property
    def next_due(self) -> float:
        """When something becomes due; infinite when nothing waits for a time."""
        return self._later[0][0] if self._later else math.inf

    # --- new jobs ---

    @property
    def runs_low(self) -> bool:
        """Whether the next jobs of the manifest are to be brought near."""
        more = bool(self._freed) or not self.fed
        return more and self._near < (self.ahead() + 1) // 2

    @property
    def _near(self) -> int:
        """Jobs that are held ahead. Of those that are claimed, others could upload none faster that are being uploaded."""
        under_way = self._context.settings.limits.uploads if self._share.claims else 0
        return len(self.ready) + max(len(self.missing) - under_way, 0)

    async def refill(self) -> None:
        """Bring the next jobs of the manifest near, as many as are about to be needed."""
        prepared = len(self.ready) + len(self.missing)
        if not self.runs_low:
            return
        # No further ahead than will be submitted: jobs beyond --limit need no uploads.
        wanted = min(
            self.ahead() - self._near if self._share.claims else LOOKAHEAD,
            self._admission.allowance(prepared),
        )
        if wanted < 1:
            return
        page = wanted if self._share.claims else LOOKAHEAD
        # Page after page: nothing would wake the loop for the next one when none of these is asked for.
        while True:
            freed_times = self._freed_times
            chosen = await self._context.writer.write(partial(self._choose, wanted, page))
            if chosen is None:
                self.fed = self._freed_times == freed_times
                return
            await self.prepare(*await self._bound(chosen))
            wanted -= len(chosen)
            if not wanted:
                return
            page = LOOKAHEAD

    def _choose(self, wanted: int, most: int, conn: Connection) -> list[Job] | None:
        """Return as many of the next jobs as are wanted, of those that are asked for; None where no more are left."""
        off = self.switched_off.ids(conn)
        chosen = self._share.free(conn, self.switched_off.take(wanted))
        for job in self._of_freed(conn, wanted - len(chosen)):
            if job.id in off:
                self.switched_off.leave(job.row, job.id)
            else:
                chosen.append(job)
        page = self._share.page(conn, after=self._cursor, limit=most) if len(chosen) < wanted else []
        if not (page or chosen):
            return None
        for job in page:
            if len(chosen) == wanted:
                break
            self._cursor = (job.position, job.row)
            if not self._options.asks_for(job.row, job.id):
                continue
            if job.id in off:
                self.switched_off.leave(job.row, job.id)
            else:
                chosen.append(job)
        self._share.chosen(conn, [job.row for job in chosen])
        return chosen

    # --- jobs that need others ---

    async def free(self, source: int) -> None:
        """A job has its result: those that waited for nothing else are to be sent, before what comes next."""
        self.freed(
            await self._context.writer.write(lambda conn: self.whether_passed(needs.made(conn, source)))
        )

    def whether_passed(self, places: Sequence[Place]) -> list[tuple[int, bool]]:
        """Return the rows at these places, and of each whether it was passed over; inside the transaction they are from.

        Where the cursor is has to be known at that very moment: what is ahead of it comes by itself.
        """
        return [(place[1], place <= self._cursor) for place in places]

    def freed(self, rows: Sequence[tuple[int, bool]]) -> None:
        """These may be sent now, as far as is known; `whether_passed` was asked of each."""
        if not rows:
            return
        self._freed_times += 1
        self.fed = False
        self._freed.extend(row for row, passed in rows if passed)

    def _of_freed(self, conn: Connection, wanted: int) -> list[Job]:
        chosen: list[Job] = []
        while self._freed and len(chosen) < wanted:
            some = [self._freed.popleft() for _ in range(min(len(self._freed), wanted - len(chosen)))]
            found = self._share.freed(conn, some)
            chosen += [job for job in found if self._options.asks_for(job.row, job.id)]
        return chosen

    # --- jobs that others could send ---

    def surplus(self) -> list[int]:
        """Take out jobs of which too many are held ahead; return their rows, which others may have then."""
        ahead = self.ahead()
        if len(self.ready) <= 2 * ahead:  # a little more is not worth the trouble
            return []
        return [self.ready.pop()[0] for _ in range(len(self.ready) - ahead)][::-1]

    def waits_for_places(self, open_: Gates) -> bool:
        """Whether others have all the places for tasks, and nothing else is to be done here."""
        return self.ahead() < 1 and self._nothing_near(open_)

    async def _bound(self, chosen: list[Job]) -> list[Job]:
        """Return jobs with the files that they are sent with; those that cannot be sent are told of."""
        wanting = [job for job in chosen if needs_binding(job)]
        if not wanting:
            return chosen
        found = await bind(self._context, wanting)
        self.bound(found)
        by_row = {job.row: job for job in (*chosen, *found.jobs)}  # bound ones in the place of what they were
        gone = {job.row for job in wanting} - {job.row for job in found.jobs}
        return [by_row[job.row] for job in chosen if job.row not in gone]

    def look_again(self) -> None:
        """Jobs that were another's may be free now."""
        self._cursor, self.fed = (-1, -1), False

    def look_at_switches(self, conn: Connection) -> None:
        """Jobs that were left because they are switched off may be on again."""
        if self.switched_off.look(conn):
            self.fed = False

    async def prepare(self, *chosen: Job) -> None:
        """Put jobs where they wait next: for their uploads, or for their submit."""
        with_files = [job for job in chosen if job.references and not job.pinned]
        lacking: Mapping[int, list[Reference]] = {}
        if with_files:
            lacking = await self._context.writer.write(
                lambda conn: _begin_uploads(conn, self._context, with_files)
            )
        for job in chosen:
            self._prepare(job, lacking.get(job.row, []))

    def _prepare(self, job: Job, lacking: list[Reference]) -> None:
        self.models[job.shape] = job.model
        if not lacking:
            self.ready.append((job.row, job.shape))
            return
        _, wants = self.missing.setdefault(job.row, (job.shape, set()))
        for reference in lacking:
            wanted = upload_step.needed(reference, job)
            wants.add(wanted)
            if wanted in self.uploads:
                self.uploads[wanted][1].add(job.row)
            else:
                self.uploads[wanted] = (reference, {job.row})
                self.to_upload.append(wanted)

    def uploaded(self, wanted: upload_step.Needed) -> None:
        """A file is at the service: jobs that lacked nothing else are ready."""
        _, rows = self.uploads.pop(wanted)
        for row in sorted(rows):
            if row not in self.missing:
                continue
            shape, wants = self.missing[row]
            wants.discard(wanted)
            if not wants:
                del self.missing[row]
                self.ready.append((row, shape))

    def unusable(self, wanted: upload_step.Needed) -> list[int]:
        """A file can never be uploaded: return the rows of the jobs that needed it, now waiting for nothing."""
        _, rows = self.uploads.pop(wanted)
        gone = [row for row in sorted(rows) if row in self.missing]
        for row in gone:
            for other in self.missing.pop(row)[1]:
                if other in self.uploads:
                    self.uploads[other][1].discard(row)
        return gone

    def set_aside_unseen(self) -> None:
        """Take jobs off the head of the queue that would only be told to wait for a probe."""
        while self.ready and self._admission.open() and self._admission.waits_for_probe(self.ready[0][1]):
            self._admission.set_aside(*self.ready.popleft())

    def put_back(self, back: list[tuple[int, str]]) -> None:
        """Put jobs that were set aside at the head of the queue again, in their order."""
        self.ready.extendleft(reversed(back))

    # --- ends ---

    def empty(self, open_: Gates) -> bool:
        """Whether nothing waits here that this run could still begin, now or after a wait."""
        more = bool(self._freed) or not self.fed
        return self._nothing_near(open_) and not (open_.new.ever and more)

    def _nothing_near(self, open_: Gates) -> bool:
        if self._waits_for_a_time(unclear=open_.unclear.ever) or self.to_download:
            return False
        if (self.resend and open_.unclear.ever) or (self.to_renew and open_.polls.ever):
            return False
        if self.refused and open_.refused.ever:
            return False
        if not open_.new.ever:
            return True
        lacking = bool(self.to_upload or self.missing) and open_.uploads.ever
        return not (self.ready or lacking)

    def _waits_for_a_time(self, *, unclear: bool) -> bool:
        only_unclear = len(self._later) == self._unclear_later
        return bool(self._later) and (unclear or not only_unclear)


def _begin_uploads(conn: Connection, context: RunContext, chosen: list[Job]) -> dict[int, list[Reference]]:
    """Return what each row lacks at the service, and mark those that lack anything; one transaction for all."""
    found = {}
    for job in chosen:
        found[job.row] = upload_step.missing(conn, context, job)
        if found[job.row] and (now := jobs.get(conn, job.row)).state is State.PLANNED:
            moves.uploading(conn, now, context.now())
    return found
