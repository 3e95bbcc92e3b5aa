"""One worker among others: once a beat it says that it lives, sees who does not, and takes over what those have left."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio

from runner.engine.backlog import LOOKAHEAD
from runner.engine.health import Breaker
from runner.engine.run_state import RunState
from runner.engine.share import ClaimedJobs
from runner.errors import Exit, RunnerError
from runner.lifecycle.rules import Failure
from runner.model import Job, State
from runner.service.protocol import FailureClass
from runner.store import begun_jobs, events, ledger, needs, workers
from runner.store.begun_jobs import Begun
from runner.store.connection import Connection
from runner.store.lease import Lease
from runner.store.workers import Worker

BEAT_S = 1.0
BEGIN_EVERY_S = 0.2  # between two looks whether the others have made room
AHEAD_S = 1.0  # jobs are claimed that can be sent within this time
SOON_FREE = 8  # of so many tasks one may end at any moment
PRECISE_S = 0.25  # a beat that took longer tells the server's time too roughly


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What one beat has seen."""

    began_s: float
    server_s: float
    others: Sequence[Worker]  # at work for the account
    left: Sequence[Job]  # jobs under way that others have left, ours now
    gone: bool  # somebody works no more: what it had claimed is free
    failing: str | None  # why nobody should submit any more
    surprises: Sequence[ledger.Surprise]
    last_event: int
    freed: Sequence[tuple[int, bool]]  # jobs that others have set free; whether we had passed them over
    begun: Begun | None  # by all of the manifest together, where that is counted


class Together:
    """Keeps one worker in step with the others of its account, and of its manifest.

    Args:
        run_state: The run.
        share: What it works on.
        lease: Its right to send.
        take_up: Goes on with jobs under way.
    """

    def __init__(
        self,
        run_state: RunState,
        share: ClaimedJobs,
        lease: Lease,
        take_up: Callable[[Sequence[Job]], None],
    ) -> None:
        self._run_state = run_state
        self._share = share
        self._lease = lease
        self._take_up = take_up
        self._mates: frozenset[int] = frozenset()
        self._first_event: int | None = None
        self._last_event: int | None = None  # as far as the last beat has looked
        self._part = math.inf  # of the tasks that the manifest may have at once
        self._room_there = False  # others may begin a task at once
        self._begun = False  # before, the engine asks for all that is left anyway

    async def begin(self) -> None:
        """Wait until all others of the account know of us: until then all places for tasks are theirs."""
        told = False
        while not self._run_state.reasons.halted:
            seen = await self._beat()
            waiting = [each for each in seen.others if each.sharers <= len(seen.others)]
            if not waiting:
                break
            if not told:
                told = True
                number = len(seen.others)
                self._run_state.progress.event(
                    "notice",
                    message=f"sharing the account with {number} other run{'s' if number > 1 else ''}",
                )
            await anyio.sleep(BEGIN_EVERY_S)
        self._run_state.backlog.ahead = self._ahead
        self._begun = True

    async def keep(self) -> None:
        """Beat until cancelled, or until nothing can be written any more."""
        while True:
            await anyio.sleep(BEAT_S)
            try:
                seen = await self._beat()
            except RunnerError as exc:
                self._run_state.stop_for(exc)
                return
            self._follow(seen)

    async def _beat(self) -> _Seen:
        lease, share = self._lease, self._share
        context = self._run_state.context
        backlog, surplus = self._run_state.backlog, self._surplus()
        in_flight = self._run_state.scheduler.in_flight + backlog.unclear  # those may be tasks as well

        def beat(conn: Connection) -> _Seen:
            began_s = lease.clock.steady_s()
            others = [
                each
                for each in workers.at_work(conn, account=context.account.name)
                if each.id != lease.worker
            ]
            away = {*workers.stalled(conn, stall_s=lease.stall_s)} - {lease.worker} if others else set()
            away.update(lease.file.without_connection([each.id for each in others]) if others else ())
            if away:
                workers.fence(conn, away)
            others = [each for each in others if each.id not in away]
            mates = frozenset(each.id for each in others if each.manifest == context.settings.name)
            gone = bool(away) or not self._mates <= mates
            left = share.take_up(conn) if self._begun and (gone or share.idle) else []
            # Busy from the moment on at which it has work: no other may end before it is known what comes of that. And
            # the tasks that it takes over have their places: no other may have these.
            server_s = workers.beat(
                conn,
                lease.worker,
                sharers=1 + len(others),
                in_flight=in_flight + sum(job.state is not State.DOWNLOADING for job in left),
                busy=bool(left) or not share.idle,
            )
            if gone and self._run_state.chained:
                needs.count(conn, context.settings.name)  # who was shut out may not have come to it
            failing = self._failing(conn) if mates else None
            last_event = events.last(conn)
            seen_to = last_event if self._last_event is None else self._last_event
            news = share.news(conn, after=seen_to) if last_event > seen_to else ()
            if surplus:
                share.give_back(conn, surplus)
            return _Seen(
                began_s=began_s,
                server_s=server_s,
                others=others,
                left=left,
                gone=gone,
                last_event=last_event,
                freed=backlog.whether_passed(news),
                failing=failing,
                surprises=ledger.surprises(conn, context.settings.name) if mates else (),
                begun=begun_jobs.stand(conn, context.quota) if context.quota is not None else None,
            )

        seen = await context.writer.write(beat)
        now_s = lease.clock.steady_s()
        lease.renewed(seen.began_s)
        self._last_event = seen.last_event
        backlog.freed([*seen.freed, *((row, True) for row in surplus)])
        if now_s - seen.began_s <= PRECISE_S:
            lease.clock.told(seen.server_s, asked_s=seen.began_s, answered_s=now_s)
        self._divide(seen.others)
        if seen.begun is not None:
            self._count(seen.begun)
        return seen

    def _surplus(self) -> list[int]:
        """Take jobs that we cannot send soon out of those that we have claimed, where others may be able to."""
        return self._run_state.backlog.surplus() if self._begun and self._mates else []

    def _ahead(self) -> int:
        """Return how many jobs to claim ahead of their submit: what can be sent soon, and the rest is for whoever can.

        None where others have all the places for tasks, or have some free while we have not.
        """
        scheduler = self._run_state.scheduler
        places = min(self._part, scheduler.tasks.given, scheduler.tasks.size)
        if places < 1:
            return 0
        free = places - scheduler.in_flight - self._run_state.backlog.unclear
        if free < 1 and self._room_there:
            return 0
        by_rate = AHEAD_S * scheduler.limits.rate_per_s / self._lease.sharers
        return max(math.ceil(min(LOOKAHEAD, by_rate, max(free, places / SOON_FREE))), 1)

    def _count(self, begun: Begun) -> None:
        """Go on with the rest once the canaries of all are done; submit no more where one of them never will be."""
        run_state = self._run_state
        if (canaries := run_state.admission.shared(begun)) is not None:
            run_state.progress.event(
                "canary", message=f"{canaries} canaries are done; continuing with the rest"
            )
        if begun.failed is not None and not run_state.reasons.no_new:
            run_state.reasons.stop_submitting(
                Exit.INCOMPLETE, f"a canary {begun.failed}; no more jobs were submitted"
            )

    def _failing(self, conn: Connection) -> str | None:
        """Return why to submit no more, by what has become of the last jobs of all workers since we began."""
        name = self._run_state.context.settings.name
        if self._first_event is None:
            self._first_event = events.last(conn)
        breaker, why = Breaker(), None
        for ended in events.ends(conn, name, after=self._first_event):
            if ended.kind == "succeeded":
                breaker.succeeded()
                why = None
                continue
            told = json.loads(ended.data)
            failure = Failure(
                cls=FailureClass(told["error_class"]),
                code=told["error_code"] or "",
                message=told["error_message"] or "",
            )
            why = breaker.failed(failure)
        return why

    def _divide(self, others: Sequence[Worker]) -> None:
        """Take our part of what the manifest may have at once; of the rate permits are asked for."""
        run_state, lease = self._run_state, self._lease
        name = run_state.context.settings.name
        mates = [each for each in others if each.manifest == name]
        tasks = run_state.scheduler.tasks
        lease.sharers = 1 + len(others)
        run_state.scheduler.limits.share_with(lease.sharers)
        self._mates = frozenset(each.id for each in mates)
        self._share.mates_busy = any(each.busy for each in mates)
        all_ = tasks.given
        before = sum(each.id < lease.worker for each in mates)
        part = math.inf
        if math.isfinite(all_):
            part, rest = divmod(int(all_), 1 + len(mates))
            part, theirs = part + (before < rest), sum(each.in_flight for each in mates)
            self._room_there = theirs < all_ - part
            part = max(min(part, all_ - theirs), 0)
        self._part = part if mates else math.inf
        tasks.keep_below(self._part)

    def _follow(self, seen: _Seen) -> None:
        run_state = self._run_state
        if seen.left:
            self._take_up(seen.left)
            number = len(seen.left)
            run_state.progress.event(
                "notice", message=f"taken over from another run: {number:,} job{'s' if number > 1 else ''}"
            )
        if seen.gone:
            run_state.backlog.look_again()  # what it had claimed, or was about to set free
        if seen.failing is not None and not run_state.reasons.no_new:
            run_state.reasons.stop_submitting(Exit.TEMPORARY, seen.failing)
        for each in seen.surprises:
            run_state.surprised(each)
        run_state.notify()
