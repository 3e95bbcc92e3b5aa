"""Where a service names no amounts, the balance is looked at before a cap is trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from runner.engine import Engine
from runner.engine.balance import FAR, FIRST_LOOK, Balance
from runner.errors import Exit
from runner.model import Budget, State
from tests.live_engine import AT_ONCE, Live, live
from tests.world import task

START = 1000.0


@dataclass
class Account:
    """An account whose balance falls by so much for each task that was made."""

    world: Live
    price: float
    looks: int = 0

    def wallet(self) -> httpx.Response:
        self.looks += 1
        return httpx.Response(200, json={"current_credits": START - self.price * len(self.world.tasks)})


def silent_night(price: float, *, count: int = 20, cap: float | None = 1000.0, before: bool = False) -> Live:
    """Return a night with a service that names no amount of its 10-credit tasks; it was known `before`."""
    world = live(count, budget=Budget(max_credits=cap))

    def says(task_id: str, polls: int = 0) -> dict[str, Any]:
        words: Mapping[str, Any] = {"status": "succeeded", "updated_at": AT_ONCE} if polls > 1 else {}
        return {**task(task_id, **words), "reserved_credits": None, "final_credits": None}

    def begin(engine: Engine) -> None:
        engine.balance_is(START, charged=0.0, silent=before)

    world.first_word, world.after, world.meanwhile = says, says, begin
    world.wallet = Account(world, price).wallet
    return world


@pytest.mark.anyio
@pytest.mark.parametrize("before", [False, True])
async def test_a_balance_that_falls_far_beyond_what_is_counted_ends_submits_before_many_are_out(
    before: bool,
) -> None:
    """They were counted at the listed price for ever: a cap of 50 was charged 200, and nobody was told."""
    world = silent_night(50.0, before=before)

    ended = await world.run()

    assert ended.code is Exit.CREDITS
    assert "has fallen by 150 credits since this run began, where 30 are counted" in ended.reasons[0]
    assert "prices:" in ended.reasons[0]
    assert ended.to_see
    assert len(world.tasks) == FIRST_LOOK
    assert [world.state(f"j{n}") for n in range(20)].count(State.DONE) == FIRST_LOOK


@pytest.mark.anyio
@pytest.mark.parametrize("before", [False, True])
async def test_a_balance_that_agrees_lets_all_go_on(before: bool) -> None:
    world = silent_night(10.0, before=before)

    ended = await world.run()

    assert ended.code is Exit.OK
    assert len(world.tasks) == 20
    assert 1 <= world.questions <= 4, "at the third end, and each time they have doubled"


@pytest.mark.anyio
async def test_without_a_cap_nothing_is_asked() -> None:
    world = silent_night(50.0, cap=None)

    ended = await world.run()

    assert (ended.code, world.questions) == (Exit.OK, 0)


@pytest.mark.anyio
async def test_a_balance_that_cannot_be_had_stops_nothing() -> None:
    world = silent_night(50.0, before=True)
    world.wallet = lambda: httpx.Response(200, json={})

    ended = await world.run()

    assert (ended.code, len(world.tasks)) == (Exit.OK, 20)


def test_what_is_rounding_or_a_little_spent_elsewhere_is_no_alarm() -> None:
    for fallen, alarm in ((-500.0, False), (0.0, False), (30.0 * FAR, False), (30.0 * FAR + 1, True)):
        balance = Balance()
        balance.begins(START, charged=100.0, silent=False)
        for _ in range(FIRST_LOOK):
            balance.not_named()
        assert balance.wanted
        assert (balance.told(START - fallen, counted=130.0) is not None) is alarm
        assert not balance.wanted


def test_a_balance_nobody_knew_at_the_beginning_is_no_witness() -> None:
    balance = Balance()
    balance.begins(None, charged=0.0, silent=True)
    for _ in range(10 * FIRST_LOOK):
        balance.not_named()

    assert not balance.wanted
    assert not balance.trying
