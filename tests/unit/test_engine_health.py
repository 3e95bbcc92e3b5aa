"""When the service counts as away, how it is asked whether it is back, and when a run gives up."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from typing import Any

import httpx
import pytest

from runner.engine.health import FIRST_PATIENCE_S, LOST_IN_A_ROW, PATIENCE_S, Health
from runner.errors import Exit
from runner.model import Polling
from runner.service.protocol import Answer
from runner.service.reply import Reply
from runner.service.rivya.answers import understand, understand_credits
from tests.live_engine import AT_ONCE, live
from tests.world import task

OFF = understand(Reply(status=503, data={"error": {"code": "public_api_disabled", "message": "down"}}))
GOOD = understand(Reply(status=200, data={"id": "t1", "status": "queued"}))


def told(health: Health, answer: Answer, now: float) -> None:
    health.answered(answer, now, 0.5, sent_at=now)


@pytest.mark.parametrize(
    ("patience_s", "answered", "given_up_after_s"),
    [
        (None, False, FIRST_PATIENCE_S),
        (None, True, PATIENCE_S),
        (600.0, False, 600.0),  # ended after 30 s, whatever had been said
        (600.0, True, 600.0),
        (5.0, False, 5.0),
        (5.0, True, 5.0),
    ],
)
def test_patience_is_what_was_said(patience_s: float | None, answered: bool, given_up_after_s: float) -> None:
    health = Health(patience_s)
    if answered:
        told(health, GOOD, 0.0)

    told(health, OFF, 100.0)

    assert health.gives_up_at == 100.0 + given_up_after_s
    assert health.verdict(99.9 + given_up_after_s) is None
    assert "public_api_disabled" in (health.verdict(100.0 + given_up_after_s) or "")


AWAY = understand(Reply(status=502, detail="HTTP 502, a web page instead of an answer"))
PAGE = understand(
    Reply(status=403, page=True, detail='HTTP 403, a web page instead of an answer: "Just a moment..."')
)


def ill(answer: Answer = AWAY, patience_s: float | None = None) -> Health:
    """Return a health that was good, and lost four answers at 100 s."""
    health = Health(patience_s)
    told(health, GOOD, 0.0)
    for _ in range(LOST_IN_A_ROW):
        told(health, answer, 100.0)
    return health


def asked(health: Health, answer: Answer, now: float) -> None:
    health.question_answered(answer, now, 0.5, sent_at=now)


@pytest.mark.parametrize(
    "answer", [AWAY, PAGE, understand(Reply(status=404, page=True)), understand(Reply())]
)
def test_four_lost_answers_in_a_row_are_a_reason_to_ask(answer: Answer) -> None:
    """A page counts whatever its status: at a gateway's 403 all jobs were sent."""
    health = Health(None)
    told(health, GOOD, 0.0)
    for _ in range(LOST_IN_A_ROW - 1):
        told(health, answer, 1.0)
    before = health.ill
    told(health, answer, 1.0)

    assert (before, health.ill, health.question_first) == (False, True, True)
    assert 1.0 < health.paused_until <= 2.0


def test_until_anything_was_understood_one_lost_answer_is_a_reason_to_ask() -> None:
    health = Health(None)

    told(health, AWAY, 1.0)

    assert (health.has_answered, health.ill, health.question_first) == (False, True, True)
    assert 1.0 < health.paused_until <= 2.0
    asked(health, understand_credits(NO_SUCH_PATH), 2.0)
    assert (health.has_answered, health.ill) == (True, False)


NO_SUCH_PATH = Reply(status=404, data={"error": {"code": "not_found"}})


@pytest.mark.parametrize(
    ("answer", "proper"),
    [
        (GOOD, True),
        (OFF, True),
        (understand(NO_SUCH_PATH), True),
        (understand(Reply(status=403, data={"error": {"code": "api_scope_missing"}})), True),
        (understand(Reply(status=429)), True),
        (understand_credits(Reply(status=200, data={"current_credits": 5})), True),
        (understand_credits(Reply(status=200, data={"ok": True})), False),
        (understand(Reply(status=200, data={}), body=b""), False),
        (understand(Reply(status=404, page=True)), False),
        (understand(Reply(status=502)), False),
        (understand(Reply(detail="the answer was cut off")), False),
        (understand(Reply(sent=False)), False),
    ],
)
def test_which_answers_are_proper(answer: Answer, proper: bool) -> None:
    """A 404 of the API itself is, a gateway's is not."""
    assert answer.proper is proper
    health = Health(None)
    told(health, answer, 1.0)
    assert health.has_answered is proper


@pytest.mark.anyio
async def test_a_service_none_of_whose_answers_can_be_read_is_sent_one_job_and_no_more_in_later_runs() -> (
    None
):
    """It accepts all of them: ten were paid for in each run."""
    world = live(30)
    world.wallet = lambda: httpx.Response(502)
    world.refuse = lambda body: httpx.Response(502)

    for _ in range(50):
        assert (await world.run(stop_after_s=0.4)).code is Exit.TIME
        if len(world.sent) >= 2:
            break

    assert len(world.sent) >= 2, "what may be paid for is asked about again"
    assert len(set(world.keys())) == 1
    world.refuse = lambda body: None
    assert (await world.run()).code is Exit.OK
    assert len(set(world.keys())) == 30


@pytest.mark.anyio
async def test_a_service_that_refuses_the_question_alone_is_sent_all_jobs() -> None:
    world = live(30)
    world.wallet = lambda: httpx.Response(502)

    ended = await world.run()

    assert ended.code is Exit.OK
    assert len(world.sent) == 30


def test_a_good_answer_to_the_question_lets_all_go_on_but_is_no_reason_for_more_patience() -> None:
    health = ill()

    asked(health, GOOD, 101.0)

    assert (health.ill, health.question_first, health.paused_until) == (False, False, -math.inf)
    assert health.troubled
    assert health.verdict(10_000.0) is None, "its last word was a good one: the next request of a job decides"
    told(health, AWAY, 100.0 + PATIENCE_S)
    assert "HTTP 502" in (health.verdict(100.0 + PATIENCE_S) or "")


def test_where_the_question_fails_too_a_job_asks_next_and_so_on_in_turns() -> None:
    health, turns, now = ill(), [], 100.0
    for _ in range(6):
        now = health.paused_until
        turns.append((health.question_first, health.question_failed))
        (asked if health.question_first else told)(health, AWAY, now)

    assert turns == [(True, False), (False, True)] * 3
    assert now - 100.0 > 0.5 + 1 + 2 + 4, "ever less often"
    assert health.verdict(100.0 + PATIENCE_S) is not None


def test_one_good_answer_to_a_job_ends_all_of_it() -> None:
    health = ill()

    told(health, GOOD, 101.0)

    assert (health.ill, health.troubled, health.gives_up_at) == (False, False, math.inf)


def test_what_was_on_its_way_when_others_were_lost_is_the_same_trouble() -> None:
    health = ill()
    paused_until = health.paused_until
    health.answered(AWAY, 103.0, 0.5, sent_at=99.0)
    same = health.paused_until
    asked(health, GOOD, 110.0)

    for _ in range(12):  # a dozen polls that hung all the while
        health.answered(AWAY, 111.0, 0.5, sent_at=109.0)

    assert same == paused_until
    assert not health.ill


@pytest.mark.parametrize(
    ("asked_s", "pause_s"),
    [(None, 0.375), (0.0, 0.375), (20.0, 20.0), (50.0, 50.0), (600.0, 30.0), (math.inf, 30.0)],
)
def test_a_service_that_says_how_long_it_is_away_is_asked_then(asked_s: float | None, pause_s: float) -> None:
    """Where that is more than we have patience for it is asked now and then: nobody knows when that was written."""
    off = understand(
        Reply(status=503, data={"error": {"code": "public_api_disabled"}}, retry_after_s=asked_s)
    )
    health = Health(None)
    told(health, GOOD, 0.0)
    told(health, off, 100.0)

    assert health.paused_until == pytest.approx(100.0 + pause_s, abs=0.2)


def test_time_in_which_we_did_not_run_is_no_impatience() -> None:
    """Ctrl-Z for an hour while the service was away: it gave up at `fg`."""
    health = ill()

    health.slept(3600.0)

    assert health.verdict(100.0 + 3600.0) is None
    assert health.verdict(100.0 + 3600.0 + PATIENCE_S) is not None


# --- submits ----------------------------------------------------------------------------------------------


def submitted(health: Health, answer: Answer, now: float, *, sent_at: float | None = None) -> None:
    health.submit_answered(answer, now, 0.5, sent_at=now if sent_at is None else sent_at)


@pytest.mark.parametrize("answer", [AWAY, PAGE, OFF, understand(Reply())])
def test_after_four_lost_submits_they_follow_one_by_one(answer: Answer) -> None:
    health, now, pauses = Health(None), 100.0, []
    for _ in range(LOST_IN_A_ROW):
        assert not health.submits_are_lost
        submitted(health, answer, now)
    for _ in range(9):
        pauses.append(health.submits_paused_until - now)
        now = health.submits_paused_until
        submitted(health, answer, now)

    assert health.submits_are_lost
    assert pauses[0] < 1.0
    assert max(pauses) <= 30.0
    assert pauses[:6] == sorted(pauses[:6])
    submitted(health, GOOD, now)
    assert not health.submits_are_lost


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        (understand(Reply(sent=False)), True),  # it never left: that says nothing of submits
        (understand(Reply(status=429)), False),
        (understand(Reply(status=400, data={"error": {"code": "validation_failed"}})), False),
        (GOOD, False),
    ],
)
def test_whatever_the_service_decides_on_a_submit_ends_the_suspicion(answer: Answer, lost: bool) -> None:
    health = Health(None)
    for _ in range(LOST_IN_A_ROW):
        submitted(health, AWAY, 100.0)

    submitted(health, answer, 101.0)

    assert health.submits_are_lost is lost


@pytest.mark.anyio
async def test_half_a_second_of_lost_submits_costs_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """No submit, not even those four again, until a task ended: 974 polls instead of 42, and four uncertain jobs."""
    world = live(40, polling=Polling(first_s=0.001, min_s=0.001, max_s=0.01))
    began = time.monotonic()
    lost = [httpx.Response(502)] * 4
    accepted: list[float] = []

    def refuse(body: dict[str, Any]) -> httpx.Response | None:
        if len(world.tasks) >= 10 and lost:
            return lost.pop()
        accepted.append(time.monotonic())
        return None

    # Nothing ends before all are there.
    world.after = lambda task_id, polls: (
        task(task_id, status="succeeded", final=10, updated_at=AT_ONCE)
        if len(world.tasks) == 40
        else task(task_id)
    )
    world.refuse = refuse

    ended = await world.run(within_s=60.0)
    keys = Counter(world.keys())

    assert ended.code is Exit.OK
    assert sorted(keys.values())[-4:] == [2] * 4
    assert len(keys) == 40
    fresh = accepted[:36]
    assert max(after - before for before, after in itertools.pairwise(fresh)) < 5.0
    assert fresh[-1] - began < 15.0
