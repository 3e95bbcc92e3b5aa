"""How a run goes: counted, shown and recorded, once a beat."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from runner.engine.floor import Floor
from runner.engine.results import Results
from runner.engine.view import Snapshot
from runner.errors import RunnerError
from runner.model import NEVER_SENT, State
from runner.store import jobs, ledger, rates, runs
from runner.store.marks import Begun

BEAT_S, SLOW_BEAT_S = 1.0, 3.0
TELLING_S = 10.0  # of jobs coming home, before their pace says when the last one will
STOPPED_S = 15.0  # without a beat: this process was stopped
MANY_JOBS = 20_000  # counting them takes longer
REMEMBER_EVERY = 2  # beats
NEAR_THE_CAP = "near the cap no more is sent until it is known what is on its way costs"
MARK_WITHIN_S = 2.0
_ENDED = (State.DONE, State.FAILED, State.ABANDONED, State.UNCERTAIN)


class Pulse:
    """Looks at the ledger now and then, and says what it saw.

    Args:
        floor: The run.
        results: What was brought home, and when.
    """

    def __init__(self, floor: Floor, results: Results) -> None:
        self._floor = floor
        self._results = results
        self._began = self._felt_at = floor.now()
        self._counts: dict[tuple[State, bool], int] = {}

    async def beat(self) -> None:
        """Show how it goes, for ever; now and then record that we live and what was learned."""
        beats = 0
        while True:
            self.felt(self._floor.now())
            try:
                await self.recount()
                if beats % REMEMBER_EVERY == 0:
                    await self.remember()
            except RunnerError as exc:
                self._floor.stop_for(exc)
                return
            beats += 1
            await anyio.sleep(BEAT_S if sum(self._counts.values()) < MANY_JOBS else SLOW_BEAT_S)

    def felt(self, now: float) -> None:
        """We run. Where we did not for a while (Ctrl-Z, a machine that was asleep), nobody was asked meanwhile."""
        gap_s, self._felt_at = now - self._felt_at, now
        if gap_s > STOPPED_S:
            self._floor.health.slept(gap_s)

    async def remember(self) -> int:
        """Record how it goes, and take our share of the account's rate; return among how many runs."""
        desk, scheduler = self._floor.desk, self._floor.scheduler
        found, stats = scheduler.found_rate, self.stats()

        def record(conn: Any) -> tuple[int, Begun | None]:
            runs.touch(conn, desk.run, stats=stats, now=desk.now())
            if found is not None:
                rates.save(conn, desk.account.name, found, desk.now())
            others = runs.unended(conn, base_url=desk.account.service, key12=desk.account.key12)
            sharers = 1 + sum(desk.is_run(name) for name in others if name != desk.settings.name)
            return sharers, ledger.begun(conn, desk.settings.name, desk.marks.last) if desk.marks else None

        # One account, one rate: runs that live side by side share it.
        sharers, begun = await desk.writer.write(record)
        if begun is not None:
            await self._mark(begun)
        scheduler.governor.share = 1.0 / sharers
        return sharers

    async def _mark(self, begun: Begun) -> None:
        """Write down outside the database what is committed in it; a drive that hangs holds nobody up."""
        desk, marks = self._floor.desk, self._floor.desk.marks
        if marks is None or begun == marks.last or not begun.number:
            return
        write = partial(marks.write, begun, base_url=desk.account.service, at=desk.now())
        with anyio.move_on_after(MARK_WITHIN_S):
            await anyio.to_thread.run_sync(write, abandon_on_cancel=True)

    async def recount(self) -> None:
        """Count the jobs and the credits, and show them."""
        floor = self._floor
        name = floor.desk.settings.name

        def read(conn: Any) -> tuple[dict[tuple[State, bool], int], tuple[float, float]]:
            return jobs.counts(conn, name), ledger.totals(conn, name)

        # Each beat sees to it that the file is still the one that others will find, also while nothing is sent.
        self._counts, (charged, reserved) = await floor.desk.writer.write(read, to_send=True)
        if floor.admission.elsewhere:
            # Nobody tells us when another run's probe is back; once no other run is left, ask a last time.
            floor.alone = await self.remember() == 1
            floor.credits_moved()
            floor.stir()
        if floor.admission.held:
            floor.stir()
        floor.progress.snapshot(self._view(charged, reserved))

    @property
    def unsent(self) -> int:
        """Listed jobs of which nothing was sent, at the last count."""
        return sum(self._counts.get((state, True), 0) for state in NEVER_SENT)

    def _view(self, charged: float, reserved: float) -> Snapshot:
        floor = self._floor
        counts: dict[str, int] = {}
        for (state, listed), number in self._counts.items():
            if listed:
                counts[state.value] = counts.get(state.value, 0) + number
        return Snapshot(
            counts=counts,
            orphans=sum(number for (_, listed), number in self._counts.items() if not listed),
            charged=charged,
            reserved=reserved,
            cap=floor.desk.settings.budget.max_credits,
            rate_per_s=floor.scheduler.rate_per_s,
            requests=floor.tally.requests,
            rejections=floor.tally.rejections,
            polls=floor.tally.polls,
            in_flight=floor.scheduler.in_flight,
            elapsed_s=floor.now() - self._began,
            eta_s=self._eta_s(),
            note=self._note(),
        )

    def _note(self) -> str:
        floor = self._floor
        if floor.health.troubled:
            return floor.health.last_trouble
        waits = [floor.wait_in_words(wait) for wait in floor.waits.all()]
        return "; ".join([*waits, NEAR_THE_CAP] if floor.admission.waits else waits)

    def _eta_s(self) -> float | None:
        left = sum(
            number for (state, listed), number in self._counts.items() if listed and state not in _ENDED
        )
        return (
            None
            if self._floor.admission.held
            else time_left_s(left, self._results.done_at, self._floor.now())
        )

    def stats(self) -> dict[str, Any]:
        """Return the numbers of the run as the database and programs get them."""
        floor = self._floor
        return {
            "seconds": round(floor.now() - self._began, 3),
            "rate_per_s": floor.scheduler.rate_per_s,
            "in_flight": floor.scheduler.in_flight,
            "eta_s": self._eta_s(),
            "cap": floor.desk.settings.budget.max_credits,
            "held": floor.admission.held,
            "stopping": floor.reasons.halted,
            "note": self._note(),
            **floor.tally.as_stats(),
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
    # The first to come home came alone: their pace says nothing of the others' yet.
    return left * seconds / len(done_at) if seconds >= TELLING_S else None
