"""Ten requests at once, of which polls that are not answered cannot take all."""

from __future__ import annotations

import math

import anyio
import httpx
import pytest

from runner.engine.connections import FOR_POLLS, PLACES, SLOW_PLACES, SOONEST_S, Connections
from runner.errors import Exit
from runner.model import Polling, State
from runner.scheduler import Call
from tests.live_engine import live


def polls(connections: Connections, rows: range, now: float) -> list[int]:
    return [connections.begin(Call.POLL, row, now) for row in rows]


def test_ten_at_once() -> None:
    connections = Connections()
    numbers = [connections.begin(Call.SUBMIT, None, 0.0) for _ in range(PLACES)]

    assert connections.full(0.0)
    assert connections.full(100.0), "a submit keeps its place"
    connections.end(Call.SUBMIT, numbers[0], 0.1)
    assert not connections.full(0.1)
    assert (connections.open(), connections.open(Call.SUBMIT), connections.open(Call.POLL)) == (9, 9, 0)


def test_a_poll_that_stays_unanswered_gives_up_its_place() -> None:
    connections = Connections()
    polls(connections, range(PLACES), 0.0)

    assert connections.full(1.0)
    assert connections.changes_at(1.0) == SOONEST_S
    assert not connections.full(SOONEST_S)
    assert connections.taken(SOONEST_S) == 0
    assert connections.changes_at(SOONEST_S) == math.inf


def test_while_some_are_slow_polls_fill_half_of_the_places() -> None:
    connections = Connections()
    polls(connections, range(PLACES), 0.0)
    now, begun = SOONEST_S, 0

    while connections.room_for_polls(now) and not connections.full(now):
        polls(connections, range(100 + begun, 101 + begun), now)
        begun += 1

    assert begun == FOR_POLLS
    assert not connections.full(now), "the others are for submits"
    now += SOONEST_S  # these hang as well: nothing more is given up
    assert not connections.room_for_polls(now)
    assert connections.taken(now) == FOR_POLLS + PLACES - SLOW_PLACES


def test_tasks_that_were_slow_share_half_of_the_places() -> None:
    connections = Connections()
    for number in polls(connections, range(12), 0.0):
        connections.end(Call.POLL, number, 30.0)

    asked = 0
    while connections.may_ask(asked) and asked < 12:
        polls(connections, range(asked, asked + 1), 31.0)
        asked += 1

    assert asked == FOR_POLLS
    assert connections.may_ask(99), "another task"
    for number in polls(connections, range(11, 12), 31.0):
        connections.end(Call.POLL, number, 31.1)
    assert connections.may_ask(11), "it was told of quickly this time"


def test_where_all_answers_take_long_none_is_slow() -> None:
    connections = Connections()
    now = 0.0
    for row in range(200):
        number = connections.begin(Call.POLL, row, now)
        now += 3.0
        connections.end(Call.POLL, number, now)

    polls(connections, range(PLACES), now)

    assert connections.full(now + 5.0)
    assert all(connections.may_ask(row) for row in range(150, 200))


@pytest.mark.anyio
async def test_a_dozen_tasks_nobody_tells_of_hold_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their polls hung for 30 s each, held all ten connections, and the end named none of them."""
    monkeypatch.setattr("runner.engine.connections.SOONEST_S", 0.1)
    world = live(30, polling=Polling(first_s=0.001, min_s=0.1, max_s=1.0))
    for n in range(12):
        await world.submit(f"j{n}")
    hung, released = set(world.tasks.values()), anyio.Event()
    plain, away = world._answer, httpx.Response(503)

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.rpartition("/")[2] not in hung:
            return plain(request)
        # As long as it takes until all others were sent, and told of.
        while len(world.polls) < 18 and not released.is_set():
            await anyio.sleep(0.02)
        released.set()
        return away

    monkeypatch.setattr(world, "_answer", answer)

    ended = await world.run(within_s=60.0, patience_s=2.0)

    assert {world.state(f"j{n}") for n in range(12, 30)} == {State.DONE}
    assert {world.state(f"j{n}") for n in range(12)} == {State.WAITING}
    assert ended.code is Exit.TEMPORARY
    assert "(asked for j" in ended.reasons[0]
