"""What a person orders of a run from another terminal, done: the same as the buttons of the live page, and more."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from runner.engine.run_state import RunState
from runner.errors import Exit
from runner.model import Order, OrderKind

STOPPED = "told so by `rivya-batch stop`; your jobs keep running at the service; run again to collect them"


def obey(run_state: RunState, order: Order) -> None:
    """Do what was ordered, and say so."""
    value = order.value
    match order.kind:
        case OrderKind.HOLD:
            run_state.hold(True)
            told = "paused by `rivya-batch hold`: no new jobs are submitted"
        case OrderKind.GO:
            run_state.hold(False)
            told = "resumed by `rivya-batch go`"
        case OrderKind.STOP:
            told = "stopping, by `rivya-batch stop`: finishing open requests"
            run_state.stop(Exit.INTERRUPTED, STOPPED)
        case OrderKind.RATE:
            run_state.scheduler.limits.set(value)
            told = (
                f"at most {value:g} requests per second"
                if value is not None
                else "the rate is the manifest's again"
            )
        case OrderKind.IN_FLIGHT:
            run_state.scheduler.tasks.set(int(value) if value is not None else None)
            told = (
                f"at most {value:g} tasks at once"
                if value is not None
                else "tasks at once are the manifest's again"
            )
        case OrderKind.MAX_CREDITS:
            context = run_state.context
            context.caps.budget = replace(context.budget, max_credits=value)
            run_state.credits_moved()
            told = (
                f"the cap of this run is {value:g} credits now"
                if value is not None
                else "this run has no cap now"
            )
        case _:
            assert_never(order.kind)
    run_state.progress.event("notice", message=told)
    run_state.notify()
