"""Ten requests at once, of which polls that are not answered cannot take all."""

from __future__ import annotations

import math

from runner.engine.connections import FOR_POLLS, PLACES, SOONEST_S, Connections
from runner.pace.scheduler import Call


def polls(connections: Connections, rows: range, now: float) -> list[int]:
    return [connections.begin(Call.POLL, row, now) for row in rows]


def test_ten_at_once() -> None:
    connections = Connections()
    numbers = [connections.begin(Call.SUBMIT, None, 0.0) for _ in range(PLACES)]

    assert connections.places(0.0).full
    assert connections.places(100.0).full, "a submit keeps its place"
    connections.end(Call.SUBMIT, numbers[0], 0.1)
    assert not connections.places(0.1).full
    assert (connections.open(), connections.open(Call.SUBMIT), connections.open(Call.POLL)) == (9, 9, 0)


def test_a_poll_that_stays_unanswered_gives_up_its_place() -> None:
    connections = Connections()
    polls(connections, range(PLACES), 0.0)

    assert connections.places(1.0).full
    assert connections.places(1.0).change_at == SOONEST_S
    assert not connections.places(SOONEST_S).full
    assert not connections.places(SOONEST_S).any_open
    assert connections.places(SOONEST_S).change_at == math.inf


def test_while_some_are_slow_polls_fill_half_of_the_places() -> None:
    connections = Connections()
    polls(connections, range(PLACES), 0.0)
    now, begun = SOONEST_S, 0

    while connections.places(now).room_for_polls and not connections.places(now).full:
        polls(connections, range(100 + begun, 101 + begun), now)
        begun += 1

    assert begun == FOR_POLLS
    assert not connections.places(now).full, "the others are for submits"
    now += SOONEST_S  # these hang as well: nothing more is given up
    assert not connections.places(now).room_for_polls
    assert connections.places(now).any_open


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

    assert connections.places(now + 5.0).full
    assert all(connections.may_ask(row) for row in range(150, 200))
