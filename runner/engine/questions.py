"""The question that is no job's: whether the service answers, and takes our key. It costs nothing and changes nothing."""

from __future__ import annotations

from runner.engine.floor import Floor


async def ask(floor: Floor, sent_at: float) -> None:
    """Ask for the credits, whatever they are."""
    try:
        answer = await floor.desk.service.credits()
    finally:
        floor.question_open = False
    floor.question_answered(answer, sent_at)
