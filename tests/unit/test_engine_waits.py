"""What a 429 about a quota is waited for, by which requests, and whether a run waits or ends."""

from __future__ import annotations

import math
import re
import time
from typing import Any

import httpx
import pytest

from runner.engine.gates import Holds
from runner.engine.run_state import moment
from runner.engine.waits import ALWAYS_S, FIRST_S, LONGEST_S, Waits, is_quota
from runner.errors import Exit
from runner.model import State
from runner.pace.scheduler import Call
from runner.service.protocol import Answer
from runner.service.reply import Reply
from runner.service.rivya.answers import understand
from tests.live_engine import AT_ONCE, live
from tests.world import refused, task

MINUTE, HOURS = 60.0, 30_000.0


def limited(retry_after_s: float | None, code: str = "rate_limited") -> Answer:
    data = {"error": {"code": code, "message": "no more"}}
    return understand(Reply(status=429, data=data, retry_after_s=retry_after_s))


@pytest.mark.parametrize(
    ("answer", "quota"),
    [
        (limited(None), False),
        (limited(0.0), False),
        (limited(1.0), False),
        (limited(60.0), False),
        (limited(61.0), False),  # a minute, rounded up
        (limited(300.0), True),
        (limited(4274.5), True),
        (limited(30_000.0), True),
        (limited(math.inf), True),  # ten years
        (limited(None, "daily_limit"), True),
        (limited(0.0, "daily_limit"), True),
        (limited(60.0, "daily_limit_exceeded"), True),
        (limited(None, "quota_exceeded"), True),
        (limited(2.0, "quota_exceeded"), False),  # of tasks at once
        (understand(Reply(status=429, retry_after_s=30_000.0, page=True)), True),
        (understand(Reply(status=503, retry_after_s=30_000.0)), False),
        (understand(Reply(status=402, data={"error": {"code": "quota_exceeded"}})), True),
        (understand(Reply(status=400, data={"error": {"code": "billing_hard_limit_reached"}})), True),
        (understand(Reply(status=400, data={"error": {"code": "concurrency_limit"}})), False),
        (
            understand(Reply(status=403, data={"error": {"code": "forbidden", "message": "Quota used up"}})),
            True,
        ),
        (understand(Reply(status=403, data={"error": {"code": "forbidden"}}, retry_after_s=600.0)), True),
        (understand(Reply(status=403, data={"error": {"code": "forbidden"}})), False),
    ],
)
def test_a_quota_is_told_from_a_rate(answer: Answer, quota: bool) -> None:
    assert is_quota(answer) is quota


def held(waits: Waits, now: float = 0.0, *, on_their_way: int = 0) -> Holds:
    return waits.holds(now, lambda call: on_their_way)


def test_only_what_was_refused_waits() -> None:
    waits = Waits(MINUTE)

    waits.refused(Call.SUBMIT, limited(HOURS), 100.0, sent_at=99.0)

    assert held(waits).submits.until == 100.0 + HOURS
    assert held(waits).repeats.until == -math.inf, "it may have been accepted"
    assert held(waits).polls.until == held(waits).uploads.until == -math.inf
    assert waits.next_at(100.0) == 100.0 + HOURS


def test_a_repeat_waits_once_a_repeat_was_refused() -> None:
    waits = Waits(MINUTE)

    waits.refused(Call.SUBMIT, limited(HOURS), 100.0, sent_at=99.0, repeat=True)

    assert held(waits).repeats.until == 100.0 + HOURS


def test_after_a_wait_one_asks_and_the_others_follow_when_it_passes() -> None:
    waits = Waits(MINUTE)
    waits.refused(Call.SUBMIT, limited(300.0), 100.0, sent_at=99.0)

    assert held(waits).submits.until == 400.0
    assert held(waits, on_their_way=1).submits.until == math.inf
    waits.passed(Call.SUBMIT, sent_at=99.5)  # it was on its way when the other was refused
    assert held(waits).submits.until == 400.0
    waits.passed(Call.POLL, sent_at=401.0)
    assert held(waits).submits.until == 400.0
    waits.passed(Call.SUBMIT, sent_at=401.0)
    assert held(waits, on_their_way=1).submits.until == -math.inf
    assert not waits


@pytest.mark.parametrize(
    ("patience_s", "asked_s", "waited"),
    [
        (60.0, 60.0, True),
        (1.0, 60.0, True),  # a minute is simply waited out
        (60.0, ALWAYS_S, True),
        (60.0, 300.0, False),
        (300.0, 300.0, True),
        (60.0, HOURS, False),
        (12 * 3600.0, HOURS, True),
    ],
)
def test_patience_decides_whether_a_run_waits(patience_s: float, asked_s: float, waited: bool) -> None:
    waits = Waits(patience_s)

    waits.refused(Call.SUBMIT, limited(asked_s, "daily_limit"), 0.0, sent_at=0.0)

    assert held(waits, 0.0).submits.beyond is not waited
    assert not held(waits, asked_s - 1.0).submits.beyond, "what is left of it is what counts"
    assert not held(waits).polls.beyond
    assert bool(waits.all_beyond(0.0)) is not waited


@pytest.mark.parametrize("asked_s", [None, 0.0, math.inf])
@pytest.mark.parametrize(("patience_s", "asks"), [(60.0, 3), (3600.0, 10), (0.0, 3)])
def test_a_quota_without_a_time_is_asked_about_ever_less_often(
    asked_s: float | None, patience_s: float, asks: int
) -> None:
    waits, now, gaps = Waits(patience_s), 0.0, []
    waits.refused(Call.SUBMIT, limited(asked_s, "daily_limit"), now, sent_at=now)
    while not held(waits, now).submits.beyond:
        gaps.append(held(waits).submits.until - now)
        now += gaps[-1]
        waits.refused(Call.SUBMIT, limited(asked_s, "daily_limit"), now, sent_at=now)

    assert len(gaps) == asks
    assert gaps[0] == FIRST_S
    assert gaps == sorted(gaps)
    assert max(gaps) <= LONGEST_S
    assert now >= 60.0, "a quota of a minute was waited out"


def test_a_quota_that_names_a_minute_for_ever_is_not_waited_for_for_ever() -> None:
    """One submit a minute, the whole night, and nobody was told."""
    waits, now = Waits(60.0), 0.0
    waits.refused(Call.SUBMIT, limited(60.0, "daily_limit"), now, sent_at=now)
    while not held(waits, now).submits.beyond:
        now += 60.0
        waits.refused(Call.SUBMIT, limited(60.0, "daily_limit"), now, sent_at=now)

    assert now == 120.0


def test_it_is_told_once() -> None:
    waits = Waits(60.0)
    first = waits.refused(Call.SUBMIT, limited(HOURS), 0.0, sent_at=0.0).is_news()
    others = [
        waits.refused(Call.SUBMIT, limited(HOURS - n), float(n), sent_at=0.0).is_news() for n in range(20)
    ]
    later = waits.refused(Call.SUBMIT, limited(2 * HOURS), HOURS, sent_at=HOURS).is_news()

    assert (first, others, later) == (True, [False] * 20, True)


def test_a_time_of_day_has_its_day_where_that_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    night_s = 1_764_026_400.0  # 2025-11-24T23:20:00Z

    assert moment(night_s, 120.0) == "23:22"
    assert moment(night_s, 8 * 3600.0) == "2025-11-25 07:20"


# --- whole runs -------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "when"),
    [
        (
            {"Retry-After": "30000"},
            r"the service asks to wait until (\d{4}-\d\d-\d\d )?\d\d:\d\d before more submits",
        ),
        (
            {"Retry-After": "4274.5"},
            r"the service asks to wait until (\d{4}-\d\d-\d\d )?\d\d:\d\d before more submits",
        ),
    ],
)
async def test_a_quota_of_the_day_ends_submits_and_brings_home_what_is_there(
    answer: dict[str, str], when: str
) -> None:
    """One submit a minute for ever, and polls and downloads waited too."""
    world = live(40)
    accepted = 0

    def daily(body: dict[str, Any]) -> httpx.Response | None:
        nonlocal accepted
        accepted += 1
        return refused(429, "rate_limited", **answer) if accepted > 12 else None

    world.refuse = daily

    ended = await world.run()

    states = [world.state(f"j{n}") for n in range(40)]
    told = [data["message"] for kind, data in world.shown.events if kind == "warning"]
    assert ended.code is Exit.TEMPORARY
    assert re.match(when, ended.reasons[0])
    assert ended.reasons[0].endswith("; run again then")
    assert len(told) == 1
    assert re.match(when, told[0])
    assert states.count(State.DONE) == 12
    assert states.count(State.PLANNED) == 28
    assert len(world.sent) <= 12 + 10, "and what was on its way"
    assert world.credits()[1] == 0


@pytest.mark.anyio
async def test_a_quota_for_polls_ends_polls_only() -> None:
    world = live(5)
    world.refuse_poll = lambda task_id: refused(429, "rate_limited", **{"Retry-After": "30000"})

    ended = await world.run()

    assert ended.code is Exit.TEMPORARY
    assert "before more polls" in ended.reasons[0]
    assert len(world.tasks) == 5, "submits were not refused"
    assert {world.state(f"j{n}") for n in range(5)} == {State.WAITING}


@pytest.mark.anyio
async def test_what_was_sent_before_a_quota_is_asked_about_in_spite_of_it() -> None:
    """Its window would be over by the time the quota is."""
    world = live(6)
    sends: dict[str, int] = {}

    def daily(body: dict[str, Any]) -> httpx.Response | None:
        name = body["prompt"].removeprefix("prompt of ")
        sends[name] = sends.get(name, 0) + 1
        if name == "j0":
            return httpx.Response(502) if sends[name] == 1 else None
        return refused(429, "daily_limit", **{"Retry-After": "30000"})

    world.refuse = daily

    ended = await world.run(within_s=60.0)

    assert ended.code is Exit.TEMPORARY
    assert world.state("j0") is State.DONE
    assert sends["j0"] == 2


@pytest.mark.anyio
async def test_the_wait_after_an_unclear_poll_grows_with_those_in_a_row_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It grew with all unclear polls of a task: a long one on a flaky service was seen ever later."""
    attempts: list[int] = []

    def delay_s(attempt: int, **_: object) -> float:
        attempts.append(attempt)
        return 0.0

    monkeypatch.setattr("runner.engine.polls.retry_delay_s", delay_s)
    world = live(1)
    unclear = iter([True, True, False] * 3)
    world.refuse_poll = lambda task_id: httpx.Response(502) if next(unclear, False) else None
    world.after = lambda task_id, polls: (
        task(task_id, status="succeeded", final=10, updated_at=AT_ONCE) if polls > 9 else task(task_id)
    )

    assert (await world.run()).code is Exit.OK

    assert attempts == [1, 2] * 3
