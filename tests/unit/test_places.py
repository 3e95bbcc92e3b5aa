"""Who is fetched when some downloads hardly move: a table of moments, no clock and no connection."""

from __future__ import annotations

from collections import deque

import pytest

from runner.engine.places import SLOW_BYTES_PER_S, TRIAL_EVERY_S, WINDOW_S, Places
from runner.steps.download import DownloadHandle


class Night:
    """Places, a queue, and films that bring so many bytes per second each."""

    def __init__(self, waiting: int, *, ordinary: int = 2, slow: int = 2) -> None:
        self.places = Places(ordinary, slow)
        self.waiting = deque(range(waiting))
        self.handles: dict[int, DownloadHandle] = {}
        self.now = 0.0

    def begin(self) -> list[int]:
        """Begin what may be begun; return which."""
        self.places.judge(self.now, waiting=bool(self.waiting))
        begun = []
        while (taken := self.places.take(self.waiting)) is not None:
            row, slow = taken
            self.handles[row] = DownloadHandle()
            self.places.begin(row, self.handles[row], self.now, slow=slow)
            begun.append(row)
        return begun

    def pass_s(self, seconds: float, **rates: float) -> list[int]:
        """Let time pass; `r3=1000` lets film 3 bring a thousand bytes a second. Return what is begun then."""
        for name, rate in rates.items():
            self.handles[int(name[1:])].meter.size_bytes += int(rate * seconds)
        self.now += seconds
        return self.begin()

    def end(self, row: int, *, well: bool = True) -> list[int]:
        """A film has come, or let go."""
        del self.handles[row]
        self.places.over(row, self.now, well=well)
        return self.begin()

    def letting_go(self) -> list[int]:
        return [row for row, handle in self.handles.items() if handle.scope.cancel_called]


@pytest.fixture(autouse=True)
def anyio_backend() -> str:
    return "asyncio"


pytestmark = pytest.mark.anyio  # a scope can only be made where something runs


async def test_no_more_than_the_limit_are_fetched_at_once() -> None:
    night = Night(5)

    assert night.begin() == [0, 1]
    assert night.pass_s(WINDOW_S, r0=1e6, r1=1e6) == []
    assert night.end(0) == [2]


async def test_a_slow_one_makes_room_and_goes_on() -> None:
    night = Night(5)
    night.begin()

    assert night.pass_s(WINDOW_S - 1, r0=1e3, r1=1e6) == []
    assert night.pass_s(1, r0=1e3, r1=1e6) == [2]
    assert night.letting_go() == []
    assert night.end(1) == [3], "the slow one has a place of its own"


async def test_with_all_places_for_slow_ones_taken_one_lets_go_now_and_then_to_see() -> None:
    night = Night(9)
    night.begin()
    assert night.pass_s(WINDOW_S, r0=1e3, r1=1e3) == [2, 3]
    night.pass_s(WINDOW_S, r2=1e3, r3=1e3)

    assert len(night.letting_go()) == 1
    (gone,) = night.letting_go()
    night.places.let_go.append(gone)
    assert night.end(gone, well=False) == [4]
    night.pass_s(WINDOW_S, **{f"r{row}": 1e3 for row in night.handles})
    assert night.letting_go() == []
    night.pass_s(TRIAL_EVERY_S, **{f"r{row}": 1e3 for row in night.handles})
    assert len(night.letting_go()) == 1


async def test_once_others_are_known_to_be_quick_all_slow_ones_let_go_for_them() -> None:
    night = Night(9)
    night.begin()
    night.pass_s(0.1, r0=1e6)
    assert night.end(0) == [2]
    assert night.pass_s(WINDOW_S, r1=1e3, r2=1e3) == [3, 4]

    night.pass_s(WINDOW_S, r3=1e3, r4=1e3)

    assert night.letting_go() == [3, 4]
    for row in (3, 4):
        night.places.let_go.append(row)
        night.end(row, well=False)
    assert set(night.handles) == {1, 2, 5, 6}


async def test_what_let_go_is_begun_again_when_nothing_else_waits() -> None:
    night = Night(2, ordinary=1, slow=1)
    night.begin()
    night.places.let_go.append(7)

    assert night.pass_s(1, r0=1e6) == [7], "in the place for slow ones"
    night.places.let_go.append(8)
    assert night.end(0) == [1]
    assert night.end(1) == [8]


async def test_on_a_slow_line_all_are_equal_and_none_lets_go() -> None:
    """Nobody would be served by it: those that wait would be as slow."""
    night = Night(9)
    night.begin()
    took_s = 400.0
    for row in (0, 1):
        night.handles[row].meter.size_bytes = 4_000_000
    night.now = took_s
    for row in (0, 1):
        night.end(row)

    for _ in range(40):
        night.pass_s(WINDOW_S, **{f"r{row}": 1e4 for row in night.handles})

    assert night.letting_go() == []
    assert set(night.handles) == {2, 3}


async def test_a_place_that_brings_enough_is_left_alone_however_large_its_film_is() -> None:
    night = Night(9)
    night.begin()
    night.pass_s(0.1, r0=1e6)
    night.end(0)

    for _ in range(40):
        night.pass_s(WINDOW_S, **{f"r{row}": SLOW_BYTES_PER_S * 1.1 for row in night.handles})

    assert set(night.handles) == {1, 2}


async def test_one_that_has_come_and_is_being_named_is_not_slow() -> None:
    night = Night(5)
    night.begin()
    night.handles[0].meter.judged = night.handles[1].meter.judged = True

    assert night.pass_s(WINDOW_S) == []


async def test_while_nothing_waits_nobody_is_judged() -> None:
    night = Night(2)
    night.begin()

    assert night.places.judge(1e6, waiting=False) == float("inf")
    night.pass_s(100, r0=1, r1=1)
    assert night.letting_go() == []
