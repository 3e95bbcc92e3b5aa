"""The question that is no job's: whether the service answers, and takes our key. It costs nothing and changes nothing."""

from __future__ import annotations

from runner.engine.run_state import RunState


async def ask(run_state: RunState, sent_at: float) -> None:
    """Ask for the credits, whatever they are."""
    try:
        answer = await run_state.context.service.credits()
    finally:
        run_state.question_open = False
    run_state.question_answered(answer, sent_at)
