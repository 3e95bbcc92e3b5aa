"""Intents are committed a moment ahead of their sends: whatever comes in between, nothing is left half begun."""

from __future__ import annotations

import sqlite3
from typing import Any

import httpx
import pytest

from runner.engine import intents as ahead
from runner.engine.loop import Engine
from runner.errors import Exit
from runner.model import State
from runner.pace.scheduler import Call, Scheduler
from runner.steps import submit as steps
from runner.store import jobs, moves
from tests.live_engine import Live, live
from tests.world import refused

pytestmark = pytest.mark.anyio


def half_begun(world: Live) -> int:
    return int(world.file.conn.execute("SELECT count(*) FROM jobs WHERE state = 'submitting'").fetchone()[0])


def committed_first(world: Live) -> list[tuple[State, int]]:
    """Have each submit looked at from outside, as it comes to the service: how its row stands on the disk then."""
    seen: list[tuple[State, int]] = []

    def look(body: dict[str, Any]) -> httpx.Response | None:
        name = body["prompt"].removeprefix("prompt of ")
        row = world.job(name)
        seen.append((row.state, row.in_doubt))
        return None

    world.refuse = look
    return seen


async def test_what_leaves_is_committed_before_and_several_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = live(40)
    seen = committed_first(world)
    at_once: list[int] = []
    intend = steps.intend

    async def counted(context: Any, rows: Any, **more: Any) -> Any:
        at_once.append(len(rows))
        return await intend(context, rows, **more)

    monkeypatch.setattr(ahead, "intend", counted)

    ended = await world.run()

    assert ended.code is Exit.OK
    assert seen == [(State.SUBMITTING, 1)] * 40
    assert at_once[0] == 1, "until the service has answered, one"
    assert sum(at_once) == 40
    assert len(at_once) < 20


async def test_a_permit_is_taken_only_for_what_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was taken first: what a commit held up left later than its permit, in a bunch with others."""
    world = live(25)
    taken: list[int] = []
    sent = Scheduler.sent

    def looked_at(self: Scheduler, now: float, call: Call, job: int | None = None) -> None:
        if call is Call.SUBMIT:
            begun = world.file.conn.execute("SELECT count(*) FROM jobs WHERE state <> 'planned'").fetchone()
            taken.append(begun[0])
        sent(self, now, call, job)

    monkeypatch.setattr(Scheduler, "sent", looked_at)

    assert (await world.run()).code is Exit.OK

    assert len(taken) == 25
    assert all(begun >= number for number, begun in enumerate(taken, start=1))


async def test_what_was_not_sent_is_put_back_when_a_person_stops() -> None:
    world = live(30)
    engines: list[Engine] = []
    world.meanwhile = engines.append

    def stop(body: dict[str, Any]) -> httpx.Response | None:
        if len(world.sent) == 12:
            engines[0].stop(Exit.INTERRUPTED, "Ctrl-C")
        return None

    world.refuse = stop

    ended = await world.run()

    states = [world.state(f"j{n}") for n in range(30)]
    charged, reserved = world.credits()
    attempts = world.file.conn.execute("SELECT max(attempts) FROM jobs WHERE state = 'planned'").fetchone()
    assert ended.code is Exit.INTERRUPTED
    assert half_begun(world) == 0
    assert states.count(State.PLANNED) == 30 - len(world.sent) > 0
    assert charged + reserved == 10.0 * len(world.sent)
    assert attempts[0] == 0, "as if it had never been begun"


async def test_what_was_not_sent_is_put_back_when_a_person_holds() -> None:
    world = live(30)
    engines: list[Engine] = []
    world.meanwhile = engines.append
    put_back: list[int] = []

    def hold(body: dict[str, Any]) -> httpx.Response | None:
        if len(world.sent) == 12:
            engines[0].hold(True)
        return None

    def go_on(view: Any) -> None:
        if engines and engines[0].held and not half_begun(world):
            put_back.append(len(world.sent))
            engines[0].hold(False)

    world.refuse = hold
    world.shown.snapshot = go_on  # type: ignore[method-assign]

    ended = await world.run()

    assert ended.code is Exit.OK
    assert len(put_back) == 1
    assert put_back[0] < 30
    assert sorted(world.prompts()) == sorted(f"j{n}" for n in range(30)), "each once"


async def test_what_waits_for_a_shut_gate_is_put_back_and_sent_once_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ahead, "STALE_S", 0.05)
    world = live(30)
    waited: list[int] = []

    def shut_once(body: dict[str, Any]) -> httpx.Response | None:
        return refused(429, "rate_limited", **{"Retry-After": "1"}) if len(world.sent) == 10 else None

    world.refuse = shut_once
    withdraw = steps.withdraw

    async def counted(context: Any, back: Any) -> None:
        waited.append(len(back))
        await withdraw(context, back)

    monkeypatch.setattr(ahead, "withdraw", counted)

    ended = await world.run()

    assert ended.code is Exit.OK
    assert sum(waited) > 0
    keys = [key for key, _ in world.sent]
    assert len(set(keys)) == 30, "under the keys they had"
    assert len(keys) == 31, "and one of them twice, that was refused"


async def test_nothing_is_committed_while_nothing_may_be_sent_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was withdrawn, committed again, withdrawn, all the time."""
    monkeypatch.setattr(ahead, "STALE_S", 0.01)
    world = live(3)

    def shut(body: dict[str, Any]) -> httpx.Response | None:
        return refused(429, "rate_limited", **{"Retry-After": "1"}) if len(world.sent) == 1 else None

    world.refuse = shut

    ended = await world.run()

    intents = world.file.conn.execute("SELECT count(*) FROM events WHERE kind = 'intent'").fetchone()[0]
    assert ended.code is Exit.OK
    assert intents <= 4 + 2


async def test_a_limit_counts_what_is_committed_ahead() -> None:
    world = live(30)

    ended = await world.run(limit=7)

    assert ended.code is Exit.OK
    assert len(world.sent) == 7
    assert half_begun(world) == 0


async def test_an_intent_that_fails_is_undone_alone_and_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = live(20)
    intend = moves.intend

    def broken(conn: sqlite3.Connection, job: Any, *args: Any, **more: Any) -> Any:
        after = intend(conn, job, *args, **more)
        if job.id == "j9":
            raise jobs.StaleJob("job j9 was changed")
        return after

    monkeypatch.setattr(moves, "intend", broken)

    await world.run()

    assert world.state("j9") is State.PLANNED
    assert [world.state(f"j{n}") for n in range(20) if n != 9] == [State.DONE] * 19
    assert world.credits()[1] == 0
