"""How a run goes: counted, shown and recorded, once a beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from runner.engine.hands import obey
from runner.engine.results import Results
from runner.engine.run_state import RunState
from runner.engine.view import Snapshot
from runner.errors import RunnerError
from runner.model import NEVER_SENT, Order, State
from runner.store import events, jobs, ledger, orders, runs, switches, workers
from runner.store.connection import Connection
from runner.store.marks import PaymentsBegun

BEAT_S, SLOW_BEAT_S = 1.0, 3.0
TELLING_S = 10.0  # of jobs coming home, before their pace says when the last one will
STOPPED_S = 15.0  # without a beat: this process was stopped
MANY_JOBS = 20_000  # counting them takes longer
FEW = 3  # jobs that are left: they are named
REMEMBER_EVERY = 2  # beats
NEAR_THE_CAP = "waits to see what jobs under way cost, so that the cap holds"
MARK_WITHIN_S = 2.0
_ENDED = (State.DONE, State.FAILED, State.ABANDONED, State.UNCERTAIN)


class Heartbeat:
    """Looks at the ledger now and then, and says what it saw.

    Args:
        run_state: The run.
        results: What was brought home, and when.
    """

    def __init__(self, run_state: RunState, results: Results) -> None:
        self._run_state = run_state
        self._results = results
        self._began = self._felt_at = run_state.now()
        self._counts: dict[tuple[State, bool], int] = {}
        self._off: Mapping[State, int] = {}
        self._quiet_since: int | None = None  # the last event when no other run had anything out

    async def beat(self) -> None:
        """Show how it goes, for ever; now and then record that we live and what was learned."""
        beats = 0
        while True:
            self.felt(self._run_state.now())
            try:
                await self.recount()
                if beats % REMEMBER_EVERY == 0:
                    await self.remember()
            except RunnerError as exc:
                self._run_state.stop_for(exc)
                return
            beats += 1
            await anyio.sleep(BEAT_S if sum(self._counts.values()) < MANY_JOBS else SLOW_BEAT_S)

    def felt(self, now: float) -> None:
        """We run. Where we did not for a while (Ctrl-Z, a machine that was asleep), nobody was asked meanwhile."""
        gap_s, self._felt_at = now - self._felt_at, now
        if gap_s > STOPPED_S:
            self._run_state.health.slept(gap_s)

    async def remember(self) -> int:
        """Record how it goes, and take our share of the account's rate; return among how many runs."""
        context, limits = self._run_state.context, self._run_state.limits
        stats, write_limits = self.stats(), limits.news()

        def record(conn: Connection) -> tuple[int, PaymentsBegun | None]:
            runs.touch(conn, context.run, stats=stats, now=context.now())
            write_limits(conn)
            others = runs.unended(conn, base_url=context.account.service, key12=context.account.key12)
            sharers = 1 + sum(context.is_run(name) for name in others if name != context.settings.name)
            return sharers, ledger.begun(
                conn, context.settings.name, context.marks.last
            ) if context.marks else None

        # One account, one rate: runs that live side by side share it.
        sharers, begun = await context.writer.write(record)
        if begun is not None:
            await self._mark(begun)
        if context.lease is None:  # else its own beats say what is shared
            self._run_state.scheduler.limits.share_with(sharers)
        return sharers

    async def _last_event_if_quiet(self) -> int | None:
        """Return the number of what happened last, if no other run has anything out of which the cost is not known."""
        lease, write = self._run_state.context.lease, self._run_state.context.writer.write
        if lease is None:
            return await write(events.last) if await self.remember() == 1 else None
        return await write(
            lambda conn: None if workers.others_wait_for_tasks(conn, lease.worker) else events.last(conn)
        )

    async def _mark(self, begun: PaymentsBegun) -> None:
        """Write down outside the database what is committed in it; a drive that hangs holds nobody up."""
        context, marks = self._run_state.context, self._run_state.context.marks
        if marks is None or begun == marks.last or not begun.number:
            return
        write = partial(marks.write, begun, base_url=context.account.service, at=context.now())
        with anyio.move_on_after(MARK_WITHIN_S):
            await anyio.to_thread.run_sync(write, abandon_on_cancel=True)

    async def recount(self) -> None:
        """Count the jobs and the credits, and show them."""
        run_state = self._run_state
        name = run_state.context.settings.name

        context = run_state.context

        def read(
            conn: Connection,
        ) -> tuple[dict[tuple[State, bool], int], tuple[float, float], list[Order]]:
            ordered = orders.take(conn, context.run, context.now())
            self._off = switches.counts(conn, name)
            run_state.backlog.look_at_switches(conn)
            return jobs.counts(conn, name), ledger.totals(conn, name), ordered

        # Each beat checks that the file is still the one that others will find, even while nothing is sent.
        self._counts, (charged, reserved), ordered = await context.writer.write(read, to_send=True)
        for order in ordered:
            obey(run_state, order)
        if run_state.admission.elsewhere:
            # Nobody tells us when another run's probe is back; once no other has anything out, ask a last time. Another
            # that waits as we do may have been faster then: it was the last time only if nothing happened since.
            before, self._quiet_since = self._quiet_since, await self._last_event_if_quiet()
            run_state.alone = before is not None and before == self._quiet_since
            if not run_state.alone:
                run_state.credits_moved()
            run_state.notify()
        if run_state.admission.paused or run_state.backlog.runs_low:
            run_state.notify()
        run_state.progress.snapshot(self._view(charged, reserved))

    @property
    def unsent(self) -> int:
        """Listed jobs of which nothing was sent and that are to be, at the last count."""
        return sum(self._counts.get((state, True), 0) - self._off.get(state, 0) for state in NEVER_SENT)

    def _view(self, charged: float, reserved: float) -> Snapshot:
        run_state = self._run_state
        counts, orphans = jobs.by_state(self._counts, self._off)
        return Snapshot(
            counts=counts,
            orphans=orphans,
            charged=charged,
            reserved=reserved,
            cap=run_state.context.budget.max_credits,
            rate_per_s=run_state.scheduler.limits.rate_per_s,
            requests=run_state.tally.requests,
            rejections=run_state.tally.rejections,
            polls=run_state.tally.polls,
            in_flight=run_state.scheduler.in_flight,
            elapsed_s=run_state.now() - self._began,
            eta_s=self._eta_s(),
            note=self._note(),
            waiting_for=run_state.waits_for(FEW) if self._left() <= FEW else (),
        )

    def _note(self) -> str:
        run_state = self._run_state
        if run_state.health.troubled:
            return f"trouble: {run_state.health.last_trouble}"
        waits = [run_state.wait_in_words(wait) for wait in run_state.waits.all()]
        return "; ".join([*waits, NEAR_THE_CAP] if run_state.admission.waits else waits)

    def _left(self) -> int:
        """Return how many jobs have not ended."""
        return sum(
            number - self._off.get(state, 0)
            for (state, listed), number in self._counts.items()
            if listed and state not in _ENDED
        )

    def _eta_s(self) -> float | None:
        return (
            None
            if self._run_state.admission.paused
            else time_left_s(self._left(), self._results.done_at, self._run_state.now())
        )

    def stats(self) -> dict[str, Any]:
        """Return the numbers of the run as the database and programs get them."""
        run_state = self._run_state
        return {
            "seconds": round(run_state.now() - self._began, 3),
            "rate_per_s": run_state.scheduler.limits.rate_per_s,
            "in_flight": run_state.scheduler.in_flight,
            "eta_s": self._eta_s(),
            "cap": run_state.context.budget.max_credits,
            "held": run_state.admission.paused,
            "stopping": run_state.reasons.halted,
            "note": self._note(),
            **run_state.tally.as_stats(),
        }


def time_left_s(left: int, done_at: Sequence[float], now: float) -> float | None:
    """Return in how many seconds the last job will be home; None while nothing tells.

    Args:
        left: Jobs that have not ended.
        done_at: When the last ones came home, oldest first, in seconds of any one clock.
        now: The reading of that clock.
    """
    if not left or len(done_at) < 3:
        return None
    seconds = now - done_at[0]
    # The first results to arrive say nothing yet about the pace of the others.
    return left * seconds / len(done_at) if seconds >= TELLING_S else None
