"""What a run does near a cap and after a surprise: it waits for ends, says why, and goes on or stops in good order."""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import pytest

from runner.errors import Exit
from runner.model import Budget, Limits, State
from tests.live_engine import AT_ONCE, Live, live
from tests.world import task

pytestmark = pytest.mark.anyio


def ends_with(world: Live, final: float) -> None:
    """Let each task end at its second poll with this charge."""
    world.after = lambda task_id, polls: (
        task(task_id, status="succeeded", final=final, updated_at=AT_ONCE) if polls > 1 else task(task_id)
    )


async def test_under_a_cap_more_is_sent_as_ends_tell_what_it_costs() -> None:
    """One job first; what ended as it was reserved lets more go; the last ones wait for room, and all come home."""
    world = live(12, budget=Budget(max_credits=120))
    out: list[int] = []

    def count(body: dict[str, Any]) -> None:
        out.append(len(world.tasks) - sum(polls > 1 for polls in world.polls.values()))

    world.refuse = count

    ended = await world.run()

    assert ended.code is Exit.OK
    assert len(world.sent) == 12
    assert out[:2] == [0, 0], "nothing follows the first before its end"
    assert max(out) <= 2  # 120 at four times ten credits


async def test_an_unclear_payment_near_the_cap_is_named_instead_of_waited_for() -> None:
    world = live(3, budget=Budget(max_credits=100))
    world.refuse = lambda body: httpx.Response(502)
    await world.submit("j0")
    world.file.conn.execute("UPDATE jobs SET state = 'uncertain' WHERE job = 'j0'")
    world.refuse = lambda body: None

    ended = await world.run()

    assert ended.code is Exit.INCOMPLETE
    assert any("until the cost of an unclear payment is known" in reason for reason in ended.reasons)
    assert [world.state(f"j{n}") for n in range(3)] == [State.UNCERTAIN, State.PLANNED, State.PLANNED]


@pytest.mark.parametrize("cap", [None, 100_000.0])
async def test_a_surprise_stops_new_submits_and_brings_home_what_is_paid(cap: float | None) -> None:
    world = live(40, budget=Budget(max_credits=cap), limits=Limits(requests_per_second=1000.0, in_flight=3))
    ends_with(world, 40_500)

    ended = await world.run()

    assert ended.code is Exit.CREDITS
    assert "40,500 credits where 10 were reserved; no more jobs were submitted" in ended.reasons[0]
    assert 1 <= len(world.sent) <= 6
    states = Counter(world.state(f"j{number}") for number in range(40))
    assert states == {State.DONE: len(world.sent), State.PLANNED: 40 - len(world.sent)}
    assert sum(kind == "surprise" for kind, _ in world.shown.events) == 1, "told once"


async def test_a_reservation_that_surprises_stops_before_it_is_charged() -> None:
    world = live(40, limits=Limits(requests_per_second=1000.0, in_flight=3))
    world.first_word = lambda task_id: task(task_id, reserved=40_500)
    ends_with(world, 10)

    ended = await world.run()

    assert ended.code is Exit.CREDITS
    assert "40,500 credits where about 10 were expected" in ended.reasons[0]
    assert len(world.sent) <= 6


@pytest.mark.parametrize(("end", "told"), [(10, 1), (40_500, 1), (50_000, 1), (4_000_000, 2)])
async def test_a_surprise_is_told_once_for_a_job_unless_it_becomes_a_much_larger_one(
    end: float, told: int
) -> None:
    """It was told as it was reserved, as it was polled, and as it was charged."""
    world = live(1)
    world.first_word = lambda task_id: task(task_id, reserved=40_500)
    world.after = lambda task_id, polls: (
        task(task_id, status="succeeded", reserved=end, final=end, updated_at=AT_ONCE)
        if polls > 2
        else task(task_id, reserved=40_500 + polls)
    )

    ended = await world.run()

    assert ended.code is Exit.CREDITS
    assert sum(kind == "surprise" for kind, _ in world.shown.events) == told
    assert sum("job j0" in reason for reason in ended.reasons) == told


async def test_results_for_nothing_are_counted_in_full_and_told_once() -> None:
    world = live(5)
    ends_with(world, 0)

    ended = await world.run()

    assert ended.code is Exit.OK
    assert world.credits() == (50, 0)
    told = [data["message"] for kind, data in world.shown.events if kind == "warning"]
    assert len(told) == 1
    assert "counted as 10" in told[0]
