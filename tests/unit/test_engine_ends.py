"""How a run ends: every reason has a rank, and no run ends with 0 before all that was asked for is done."""

from __future__ import annotations

from typing import Any

import pytest

from runner.engine import Engine
from runner.engine.reasons import MOST, Reasons
from runner.errors import EXIT_PRECEDENCE, Exit, StateError, UsageError, of_a_run
from runner.model import State
from runner.steps.context import RunContext
from runner.steps.download import DownloadResult, Settled
from tests.live_engine import Home, live

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("code", Exit)
async def test_every_reason_has_a_rank(code: Exit) -> None:
    """A code without one was no reason at all: the run ended with 0."""
    reasons = Reasons()
    reasons.note(Exit.INCOMPLETE, "two failed")

    reasons.note(code, "something else")

    assert of_a_run(code) in EXIT_PRECEDENCE
    assert reasons.code() is not Exit.OK
    assert set(reasons.words()) == {"two failed", "something else"}


@pytest.mark.parametrize("code", [Exit.USAGE, Exit.LOCKED])
async def test_a_run_that_has_begun_never_says_that_nothing_was_sent(code: Exit) -> None:
    reasons = Reasons()

    reasons.note(code, "the folder is read-only")

    assert reasons.code() is Exit.TEMPORARY


async def test_all_reasons_are_told_but_not_a_thousand_times() -> None:
    reasons = Reasons()
    for number in range(1000):
        reasons.note(Exit.TEMPORARY, f"the result of job {number} cannot be fetched")
    reasons.note(Exit.CREDITS, "the account is empty")
    reasons.note(Exit.CREDITS, "the account is empty")

    told = reasons.words()

    assert told[0] == "the account is empty"
    assert told[1:3] == tuple(f"the result of job {number} cannot be fetched" for number in range(2))
    assert told[-1] == f"and {1000 - MOST} more reasons like these"
    assert len(told) == MOST + 2


class Broken(Home):
    """The folder of results cannot be written any more once so many files are home."""

    def __init__(self, error: Exception, after: int = 2) -> None:
        self.error, self.left = error, after

    async def fetch(
        self, context: RunContext, row: int, settled: Settled | None = None, **_: Any
    ) -> DownloadResult:
        if not self.left:
            raise self.error
        self.left -= 1
        return await super().fetch(context, row, settled)


@pytest.mark.parametrize(
    "error",
    [
        UsageError("cannot write to out/autumn", hint="make it writable"),
        StateError("the state database is not a database"),
    ],
)
async def test_a_folder_or_a_file_that_can_no_longer_be_used_ends_with_5(error: Exception) -> None:
    """A usage error in mid-run was in no rank of exit codes: exit 0, with nineteen tasks waiting."""
    world = live(12)
    world.home = Broken(error)

    ended = await world.run()

    assert ended.code is Exit.TEMPORARY
    assert str(error) in ended.reasons[0]
    assert [world.state(f"j{n}") for n in range(12)].count(State.DONE) == 2


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (State.WAITING, Exit.TEMPORARY),
        (State.DOWNLOADING, Exit.TEMPORARY),
        (State.FAILED, Exit.INCOMPLETE),
        (State.ABANDONED, Exit.OK),
    ],
)
async def test_0_is_checked_against_the_ledger(state: State, code: Exit) -> None:
    """Whatever a run believes of itself: a listed job that is not done is told of."""
    world = live(3)
    forget = "UPDATE jobs SET state = ? WHERE job = 'j1'"

    class Forgetful(Home):
        async def fetch(
            self, context: RunContext, row: int, settled: Settled | None = None, **_: Any
        ) -> DownloadResult:
            done = await super().fetch(context, row, settled)
            if done.job.id == "j1":
                await context.writer.write(lambda conn: conn.execute(forget, (state.value,)))
            return done

    world.home = Forgetful()

    ended = await world.run()

    assert ended.code is code
    if code is Exit.TEMPORARY:
        assert f"not everything is done: 1 {state.value}" in ended.reasons[0]


@pytest.mark.parametrize(
    "options", [{"limit": 2}, {"limit": 0}, {"only": "j[01]"}, {"canary": 2, "only": "j[01]"}]
)
async def test_what_was_not_asked_for_may_be_left(options: dict[str, Any]) -> None:
    world = live(5)

    ended = await world.run(**options)

    assert (ended.code, ended.reasons) == (Exit.OK, ())
    assert [world.state(f"j{n}") for n in range(2, 5)] == [State.PLANNED] * 3


async def test_a_retry_asks_for_its_own_jobs_only() -> None:
    world = live(3)

    ended = await world.run(rows=frozenset({world.job("j2").row}))

    assert (ended.code, world.prompts()) == (Exit.OK, ["j2"])


async def test_what_is_asked_for_and_never_begun_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    world = live(3)

    def meanwhile(engine: Engine) -> None:
        engine._backlog.fed = True  # as a fault of the queues would have it

    world.meanwhile = meanwhile

    ended = await world.run()

    assert ended.code is Exit.TEMPORARY
    assert ended.reasons == ("not everything is done: 3 planned; run again to continue",)
