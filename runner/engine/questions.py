"""The question that is no job's: whether the service answers, and takes our key. It costs nothing and changes nothing."""

from __future__ import annotations

from runner.engine.run_state import RunState
from runner.store import ledger


async def ask(run_state: RunState, sent_at: float) -> None:
    """Ask for the credits, and look at how many there are where that is wanted."""
    try:
        answer = await run_state.context.service.credits()
        run_state.question_answered(answer, sent_at)
        if run_state.balance.wanted:
            charged, reserved = await run_state.context.writer.write(ledger.all_totals)
            run_state.balance_told(answer.balance, counted=charged + reserved)
    finally:
        run_state.question_open = False
