"""Whether all that was asked for is done, as the ledger has it: no run ends with 0 on its own word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from runner.engine import chained
from runner.engine.chained import HeldJobs
from runner.engine.run_state import RunState
from runner.errors import Exit
from runner.model import NEVER_SENT, State
from runner.money.budget import Verdict
from runner.store import jobs, switches
from runner.store.connection import Connection

UNDER_WAY = (State.SUBMITTING, State.WAITING, State.DOWNLOADING)

NO_ROOM = {
    Verdict.OVER_TOTAL: "the next job does not fit under budget.max_credits; raise it, or use --max-credits N",
    Verdict.OVER_DAY: "the next job does not fit under budget.max_credits_per_day; raise it, or run again when the"
    " last 24 hours of this workspace hold less",
}


async def look_at_the_ledger(run_state: RunState) -> None:
    """Note what is failed, uncertain or overdue, of this or an earlier run, and what is left for no known reason.

    Raises:
        RunnerError: The ledger cannot be read.
    """
    context = run_state.context

    def read(
        conn: Connection,
    ) -> tuple[dict[tuple[State, bool], int], int, Counter[str], HeldJobs, Verdict]:
        run_state.share.take_back(conn)
        name = context.settings.name
        held = chained.held_jobs(conn, run_state)
        left = _left(conn, run_state, frozenset(held.rows))
        verdict = _verdict(conn, run_state)
        return jobs.counts(conn, name), jobs.overdue(conn, name), left, held, verdict

    counts, overdue, left, held, verdict = await context.writer.write(read)
    found = {
        "failed": counts.get((State.FAILED, True), 0),
        "uncertain": counts.get((State.UNCERTAIN, True), 0) + counts.get((State.UNCERTAIN, False), 0),
        "overdue": overdue,
        "stuck": run_state.aside.troubled,
    }
    if any(found.values()):
        run_state.reasons.note(Exit.INCOMPLETE, _in_words(found))
    for words in held.words():
        run_state.reasons.note(Exit.INCOMPLETE, words)
    if verdict in NO_ROOM:
        run_state.reasons.note(Exit.CREDITS, NO_ROOM[verdict])
    elif left:
        run_state.reasons.note(
            Exit.TEMPORARY, f"not everything is done: {_in_words(left)}; run again to continue"
        )


def _left(conn: Connection, run_state: RunState, held: Collection[int]) -> Counter[str]:
    """Return by state the listed jobs that this run was to finish and has not, where no other reason says why."""
    left: Counter[str] = Counter()
    code = run_state.reasons.code()
    if code not in (Exit.OK, Exit.INCOMPLETE):
        return left
    others = run_state.share.of_others(conn)
    for row, _, state, overdue in jobs.listed_in(conn, run_state.context.settings.name, UNDER_WAY):
        if not overdue and row not in run_state.told and row not in others:
            left[state.value] += 1
    if code is Exit.OK and run_state.admission.allowance(0):
        asked_for = run_state.options.asks_for
        off = switches.off_ids(conn, run_state.context.settings.name)
        for row, id_, state, _ in jobs.listed_in(conn, run_state.context.settings.name, NEVER_SENT):
            if not asked_for(row, id_) or id_ in off:
                continue
            if row not in others and row not in held and row not in run_state.told:
                left[state.value] += 1
    return left


def _verdict(conn: Connection, run_state: RunState) -> Verdict:
    """Return whether the next job fits under the caps, where others have it, who send it no more if it does not."""
    waits = (
        run_state.share.claims and run_state.reasons.code() is Exit.OK and run_state.admission.allowance(0)
    )
    if not waits:
        return Verdict.YES
    page = jobs.page_to_send(conn, run_state.context.settings.name, after=(-1, -1), limit=1)
    return run_state.context.judge(conn, page[0])[1] if page else Verdict.YES


def _in_words(found: dict[str, int] | Counter[str]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in found.items() if number)
