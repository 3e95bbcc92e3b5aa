"""A refused key is asked about before a run ends for it: stray answers are told from a key that is gone."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

from runner.engine import Engine
from runner.engine.key import ASKS, WAVES, KeyCheck
from runner.errors import Exit
from runner.model import State
from runner.pace.scheduler import Call
from runner.service.protocol import Answer
from runner.service.reply import Reply
from runner.service.rivya.answers import understand
from tests.live_engine import AT_ONCE, live
from tests.world import refused, task

GOOD = understand(Reply(status=200, data={"id": "t1", "status": "queued"}))
AWAY = understand(Reply(status=502))
LIMITED = understand(Reply(status=429))


def no(status: int = 401, code: str = "api_key_revoked") -> Answer:
    return understand(Reply(status=status, data={"error": {"code": code, "message": "no"}}))


class Night:
    """Requests and questions, one a tenth of a second after another."""

    def __init__(self, *, passed: tuple[Call, ...] = (Call.SUBMIT, Call.POLL)) -> None:
        self.key = KeyCheck()
        self.now = 100.0
        for call in passed:
            self.request(call, GOOD)

    def request(self, call: Call, answer: Answer, *, sent_at: float | None = None) -> str | None:
        self.now += 0.1
        return self.key.answered(
            call, answer, self.now, sent_at=self.now - 0.1 if sent_at is None else sent_at
        )

    def question(self, answer: Answer) -> str | None:
        assert self.key.ask_at < math.inf, "nobody wants to know"
        self.now = max(self.now, self.key.ask_at) + 0.1
        return self.key.question_answered(answer, self.now, sent_at=self.now - 0.1)


def test_one_stray_refusal_is_asked_about_at_once_and_holds_nothing() -> None:
    night = Night()

    why = night.request(Call.POLL, no())

    assert why is None
    assert (night.key.ask_at, night.key.checking) == (night.now, False)
    assert night.question(GOOD) is None
    assert (night.key.ask_at, night.key.checking) == (math.inf, False)


def test_a_key_revoked_in_mid_run_ends_it_within_some_seconds() -> None:
    night = Night()
    night.request(Call.POLL, no())
    began = night.now

    said = [night.question(no()) for _ in range(ASKS)]

    assert said[:-1] == [None] * (ASKS - 1)
    assert "api_key_revoked" in (said[-1] or "")
    assert 5 < night.now - began < 10
    assert night.key.checking, "nothing else is sent meanwhile"


@pytest.mark.parametrize("code", ["api_key_invalid", "api_scope_denied"])
@pytest.mark.parametrize("question", [no(), no(403, "api_scope_denied")])
def test_a_key_refused_from_the_first_answer_on_ends_the_run_at_once(code: str, question: Answer) -> None:
    night = Night(passed=())
    night.request(Call.SUBMIT, no(401 if code == "api_key_invalid" else 403, code))

    assert night.key.checking
    assert "HTTP 40" in (night.question(question) or "")


def test_a_stray_first_answer_is_no_end() -> None:
    night = Night(passed=())
    night.request(Call.SUBMIT, no())

    assert night.question(GOOD) is None
    assert night.request(Call.SUBMIT, GOOD) is None
    assert (night.key.checking, night.key.ask_at) == (False, math.inf)


def test_whatever_passes_that_was_sent_later_ends_the_doubt() -> None:
    night = Night()
    sent_at = night.now
    night.request(Call.POLL, no(), sent_at=sent_at)
    night.question(no())

    night.request(Call.SUBMIT, GOOD, sent_at=sent_at - 1.0)
    doubted = night.key.checking
    night.request(Call.SUBMIT, GOOD, sent_at=sent_at + 0.01)

    assert (doubted, night.key.checking) == (True, False)


def test_refusals_that_were_on_their_way_together_are_one() -> None:
    night = Night(passed=(Call.SUBMIT,))
    sent_at = night.now

    said = [night.request(Call.POLL, no(403, "api_scope_denied"), sent_at=sent_at) for _ in range(10)]

    assert said == [None] * 10


@pytest.mark.parametrize("known", [True, False])
def test_a_scope_that_is_missing_for_one_kind_ends_the_run(known: bool) -> None:
    """The key is good for questions; it is asked a few times if this kind has passed before, once if not."""
    night = Night(passed=(Call.POLL, Call.SUBMIT) if known else (Call.POLL,))
    began, waves = night.now, 0
    why = None
    while why is None:
        waves += 1
        night.now = max(night.now, night.key.checking_until)
        why = night.request(Call.SUBMIT, no(403, "api_scope_denied"))
        night.request(Call.POLL, GOOD)
        if why is None and night.key.ask_at < math.inf:
            night.question(GOOD)

    assert "api_scope_denied" in why
    assert "submit" in why
    assert waves == (WAVES if known else 2)
    assert night.now - began < 10


def test_one_task_that_may_not_be_seen_ends_nothing_while_others_are() -> None:
    night = Night()
    for _ in range(50):
        assert night.request(Call.POLL, no(403, "forbidden")) is None
        if night.key.ask_at < math.inf:
            assert night.question(GOOD) is None
        assert night.request(Call.POLL, GOOD) is None


@pytest.mark.parametrize(
    ("rows", "code", "ends"),
    [
        ((3, 3, 3, 3, 3, 3), "forbidden", False),  # the last one there is, and we may not see it
        ((3, 4, 3, 4, 3, 4), "forbidden", True),
        ((3, 3, 3, 3, 3, 3), "api_scope_denied", True),
    ],
)
def test_a_task_that_alone_may_not_be_seen_is_no_key_that_is_refused(
    rows: tuple[int, ...], code: str, ends: bool
) -> None:
    night, said = Night(), []
    for row in rows:
        night.now = max(night.now, night.key.checking_until) + 1.0
        said.append(night.key.answered(Call.POLL, no(403, code), night.now, sent_at=night.now - 0.1, row=row))
        if night.key.ask_at < math.inf:
            assert night.question(GOOD) is None

    assert any(said) is ends


def test_a_key_that_may_not_ask_for_credits_is_no_key_that_is_refused() -> None:
    night = Night()
    for _ in range(20):
        night.request(Call.POLL, no())
        assert night.question(no(403, "api_scope_denied")) is None
        night.request(Call.POLL, GOOD)

    assert not night.key.checking


@pytest.mark.parametrize("answer", [AWAY, LIMITED])
def test_a_question_that_tells_nothing_is_asked_again_and_not_counted(answer: Answer) -> None:
    night = Night()
    night.request(Call.POLL, no())

    said = [night.question(answer) for _ in range(30)]

    assert said == [None] * 30
    assert night.question(GOOD) is None
    assert not night.key.checking


def test_a_question_of_others_that_is_refused_is_doubted_too() -> None:
    """It is asked whether the service is back, and the answer is a stray 401."""
    night = Night()

    assert night.key.question_answered(no(), night.now, sent_at=night.now) is None
    assert night.question(GOOD) is None
    assert not night.key.checking


# --- whole runs -------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("code", ["api_key_invalid", "api_scope_denied"])
async def test_a_night_of_stray_refusals_is_one_run(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in twenty of all answers, the key is good: each run ended with 4 at the first."""
    monkeypatch.setattr("runner.engine.key.AGAIN_S", 0.02)
    draws = random.Random(11)
    world = live(80)

    def stray(_: Any = None) -> httpx.Response | None:
        return refused(401 if code == "api_key_invalid" else 403, code) if draws.random() < 0.05 else None

    world.refuse = world.refuse_poll = stray
    world.wallet = lambda: stray() or httpx.Response(200, json={})

    ended = await world.run(within_s=30.0)

    assert (ended.code, ended.reasons) == (Exit.OK, ())
    assert {world.state(f"j{n}") for n in range(80)} == {State.DONE}
    assert len(world.tasks) == 80
    assert world.questions < 60


@pytest.mark.anyio
async def test_a_key_that_is_revoked_in_mid_run_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.engine.key.AGAIN_S", 0.02)
    world = live(60)
    counted = itertools.count()

    def revoked(_: Any = None) -> httpx.Response | None:
        return refused(401, "api_key_revoked") if next(counted) >= 40 else None

    world.refuse = world.refuse_poll = revoked
    world.wallet = lambda: refused(401, "api_key_revoked")

    ended = await world.run()
    requests = next(counted)
    states = {world.state(f"j{n}") for n in range(60)}
    world.refuse, world.refuse_poll = lambda body: None, lambda task_id: None
    again = await world.run()

    assert ended.code is Exit.REFUSED
    assert ended.reasons[0].startswith("the service rejects the API key: HTTP 401 api_key_revoked")
    assert requests <= 40 + 25
    assert states <= {State.PLANNED, State.WAITING, State.DONE}, "what was refused goes back"
    assert again.code is Exit.OK
    assert len(world.tasks) == 60


@pytest.mark.anyio
async def test_a_wrong_key_is_sent_two_requests() -> None:
    world = live(60)
    world.refuse = lambda body: refused(401, "api_key_invalid")
    world.wallet = lambda: refused(401, "api_key_invalid")

    ended = await world.run()

    assert ended.code is Exit.REFUSED
    assert world.questions == 1
    assert len(world.sent) <= 10
    assert {world.state(f"j{n}") for n in range(60)} == {State.PLANNED}


def ends_once_given_up(engines: Sequence[Engine]) -> Callable[[str, int], dict[str, Any]]:
    """Return what has tasks end as soon as the engine submits no more."""

    def after(task_id: str, polls: int) -> dict[str, Any]:
        given_up = engines[0]._reasons.no_new
        return task(task_id, status="succeeded", final=10, updated_at=AT_ONCE) if given_up else task(task_id)

    return after


@pytest.mark.anyio
async def test_a_key_that_may_no_longer_submit_brings_home_what_it_may_ask_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run ended at once, and urls of results may be gone by the next one."""
    monkeypatch.setattr("runner.engine.key.AGAIN_S", 0.02)
    world = live(20)
    counted = itertools.count()
    engines: list[Engine] = []

    def denied(body: dict[str, Any]) -> httpx.Response | None:
        return refused(403, "api_scope_denied") if next(counted) >= 6 else None

    world.refuse, world.meanwhile = denied, engines.append
    world.after = ends_once_given_up(engines)

    ended = await world.run()

    states = [world.state(f"j{n}") for n in range(20)]
    assert ended.code is Exit.REFUSED
    assert "each time it is used for a submit" in ended.reasons[0]
    assert (states.count(State.DONE), states.count(State.PLANNED)) == (6, 14)


@pytest.mark.anyio
async def test_a_submit_in_doubt_is_left_to_the_next_run_by_a_key_that_may_no_longer_submit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runner.engine.key.AGAIN_S", 0.02)
    world = live(12)
    counted = itertools.count()
    engines: list[Engine] = []

    def lost_then_denied(body: dict[str, Any]) -> httpx.Response | None:
        number = next(counted)
        if number == 3:
            return httpx.Response(502)
        return refused(403, "api_scope_denied") if number >= 6 else None

    world.refuse, world.meanwhile = lost_then_denied, engines.append
    world.after = ends_once_given_up(engines)

    ended = await world.run()

    states = [world.state(f"j{n}") for n in range(12)]
    assert ended.code is Exit.REFUSED
    assert (states.count(State.DONE), states.count(State.SUBMITTING)) == (5, 1)
    assert len(world.sent) < 40
