"""Caps hold whatever prices do: the real ledger and judge under many laws of price, without a network.

A service charges by a law, names reservations in a manner of its own, and ends tasks in any order. After every
payment: what was taken passes the cap by the surprise of one payment at most.
"""

from __future__ import annotations

import heapq
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from runner.host.clock import rfc3339
from runner.model import Budget, Job, TaskId
from runner.money import budget
from runner.money.budget import EPSILON, Verdict, judge
from runner.money.pricing import estimate
from runner.store import jobs, ledger
from runner.store.sqlite import StateFile
from tests.world import BEGINNING, CONTRACT, NAME, apply, bind, job

URL = "https://rivya.ai"
LISTED = float(CONTRACT.base_credits or 0)
Draw = random.Random
Law = Callable[[Draw, int], float]  # what payment number so-and-so is charged


def steady(draw: Draw, number: int) -> float:
    return 10.0


def dear(draw: Draw, number: int) -> float:
    return 40.0


def spread(draw: Draw, number: int) -> float:
    return float(draw.randint(1, 40))


def heavy(draw: Draw, number: int) -> float:
    """Most cost five to ten, one in a hundred a hundred or more."""
    return round(5.0 / max(1.0 - draw.random(), 0.002) ** 0.8, 1)


def risen(draw: Draw, number: int) -> float:
    """Twentyfold in mid-run."""
    return 10.0 if number < 15 else 200.0


def doubling(draw: Draw, number: int) -> float:
    return 1.0 + 2.0 ** min(number // 4, 7)


LAWS: dict[str, Law] = {law.__name__: law for law in (steady, dear, spread, heavy, risen, doubling)}
MANNERS = ("named", "late", "nothing", "one")
SEEDS = int(os.environ.get("CAPS_SEEDS", "1"))  # more than that by hand


@dataclass
class Night:
    """One run under one cap, as fast as the caps allow."""

    law: Law
    manner: str
    cap: float
    seed: int
    jobs: int = 50
    in_flight: int = 30
    task_s: float = 60.0
    answer_s: float = 0.2
    day: bool = False
    taken: list[float] = field(default_factory=list)
    most_out: int = 0
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        self.file = StateFile.in_memory()
        bind(self.file)
        apply(self.file, *(job(f"j{n}", params={"duration": 6}) for n in range(self.jobs)))
        self.queue: list[tuple[float, int, str, Job, float]] = []
        self.budget = Budget(max_credits_per_day=self.cap) if self.day else Budget(max_credits=self.cap)
        self.serial = 0

    def run(self) -> Night:
        waiting = [f"j{n}" for n in range(self.jobs)]
        while waiting or self.queue:
            while waiting and len(self.queue) < self.in_flight and self.send(waiting[0]):
                waiting.pop(0)
            if not self.queue:
                if not ledger.surprises(self.file.conn, NAME):
                    break
                with self.file.transaction() as conn:
                    ledger.surprises_told(conn, NAME, rfc3339(BEGINNING))
                continue
            self.step()
        self.file.close()
        return self

    def send(self, name: str) -> bool:
        with self.file.transaction() as conn:
            if ledger.surprises(conn, NAME):
                return False
            found = jobs.find(conn, NAME, name)[0]
            seen = ledger.price_seen(conn, URL, found.shape)
            cost = estimate(found, contract=CONTRACT, rules=(), seen=seen)
            now_s = BEGINNING + self.now_s
            verdict = judge(
                budget=self.budget,
                estimate=cost.reserve,
                price_seen=seen is not None or ledger.names_no_amounts(conn, URL),
                committed=ledger.grounds(conn, found, base_url=URL, now_s=now_s).committed,
            )
            if verdict is not Verdict.YES:
                return False
            ledger.reserve(conn, found, estimate=cost, base_url=URL, now=rfc3339(now_s))
        price = self.law(self.draw, len(self.taken))
        self.taken.append(price)
        self.after(self.answer_s, "answered", found, price)
        self.most_out = max(self.most_out, len(self.queue))
        assert sum(self.taken) <= self.cap + max(self.taken) + EPSILON
        return True

    def after(self, seconds: float, what: str, found: Job, price: float) -> None:
        self.serial += 1
        heapq.heappush(self.queue, (self.now_s + seconds, self.serial, what, found, price))

    def step(self) -> None:
        self.now_s, _, what, found, price = heapq.heappop(self.queue)
        now = rfc3339(BEGINNING + self.now_s)
        left_s = self.task_s * self.draw.uniform(0.5, 1.5)
        with self.file.transaction() as conn:
            match what:
                case "answered":
                    told = {"named": price, "one": 1.0}.get(self.manner)
                    ledger.accept(conn, found, task_id=TaskId(found.id), reserved=told, now=now)
                    self.after(left_s / 4, "polled", found, price)
                case "polled":
                    told = price if self.manner == "late" else None
                    if told:
                        ledger.note_reserved(conn, found, reserved=told, now=now)
                    self.after(left_s, "ended", found, price)
                case _:
                    ledger.settle(conn, found, final=price, succeeded=True, now=now)
                    conn.execute("UPDATE jobs SET state = 'done' WHERE id = ?", (found.row,))


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("law", LAWS)
def test_a_cap_is_passed_by_the_surprise_of_one_payment_at_most(law: str, manner: str) -> None:
    for number, cap in enumerate((200.0, 2000.0) * SEEDS):
        night = Night(LAWS[law], manner, cap, seed=number // 2, day=manner == "late").run()
        assert len(night.taken) == night.jobs or sum(night.taken) > cap / 2, "what fits is sent in the end"


def test_without_the_room_for_a_rise_a_cap_is_passed_by_many(monkeypatch: pytest.MonkeyPatch) -> None:
    for factor in ("UNTRIED", "RISE", "KEPT"):
        monkeypatch.setattr(budget, factor, 1.0)

    with pytest.raises(AssertionError):
        Night(risen, "nothing", 400.0, seed=0).run()


def test_a_cap_far_above_the_need_costs_no_time_but_the_first_end(monkeypatch: pytest.MonkeyPatch) -> None:
    capped = Night(steady, "named", 20_000.0, seed=0).run()
    room = Night(steady, "named", 1e9, seed=0).run()

    assert capped.most_out == room.most_out == room.in_flight
    assert capped.now_s < room.now_s + 1.5 * capped.task_s
