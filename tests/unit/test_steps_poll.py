"""The poll step against every answer: a task ends by its own word, and by nothing else."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from runner.errors import Exit
from runner.host.clock import rfc3339
from runner.lifecycle.ways import Trouble
from runner.model import FailedRounds, Limits, State
from runner.steps import poll as polling
from tests.world import BEGINNING, LOST, NO_CONNECTION, Said, World, accepted, job, refused, rows, seen, task

pytestmark = pytest.mark.anyio

A = job("a")
DEADLINE_S = 3600.0
NIGHT_S = 8 * 3600.0
DAY_S = 86_400.0


async def waiting(**settings: Any) -> World:
    world = World.of(A, limits=Limits(job_deadline_s=DEADLINE_S), **settings)
    await world.submits("a", accepted("t1", status="queued"))
    return world


def ok(status: str, task_id: str = "t1", **more: Any) -> httpx.Response:
    return httpx.Response(200, json=task(task_id, status=status, **more))


async def polled(world: World, *answers: Said) -> polling.Polled:
    found: polling.Polled | None = None
    for answer in answers:
        world.says(answer)
        found = await world.poll("a", late_at_s=BEGINNING + DEADLINE_S)
    assert found is not None
    return found


NO_ANSWER: dict[str, Said] = {
    "lost": LOST,
    "no connection": NO_CONNECTION,
    "429": refused(429, "rate_limited"),
    "502": httpx.Response(502, text="<html>"),
    "503": refused(503, "public_api_disabled"),
    "302": httpx.Response(302),
    "HTML": httpx.Response(200, text="<html>"),
    "HTML 404": httpx.Response(404, text="<html>"),
}
NOT_KNOWN: dict[str, Said] = {
    "404": refused(404, "not_found"),
    "410": refused(410, "gone"),
    "400": refused(400),
    "200, another task": ok("succeeded", "t2", final=1),
    "200, no id": httpx.Response(200, json={"status": "failed", "final_credits": 0}),
    "200, an error": httpx.Response(200, json={"error": {"code": "generation_failed"}}),
    "200, nothing": httpx.Response(200, json={}),
}
NOTHING_NEW: dict[str, Said] = {
    "409": refused(409, "idempotency_conflict"),
}


@pytest.mark.parametrize("name", [*NO_ANSWER, *NOTHING_NEW])
async def test_what_is_no_word_of_this_task_changes_nothing(name: str) -> None:
    world = await waiting()
    before = rows(world.file, "SELECT * FROM jobs"), rows(world.file, "SELECT * FROM ledger")

    found = await polled(world, {**NO_ANSWER, **NOTHING_NEW}[name])

    assert (found.state, found.stop, found.overdue) == (None, None, False)
    assert (rows(world.file, "SELECT * FROM jobs"), rows(world.file, "SELECT * FROM ledger")) == before


@pytest.mark.parametrize("name", NOT_KNOWN)
async def test_a_task_the_service_does_not_know_is_told_of_after_a_day(name: str) -> None:
    """Counted from the first such answer in a row; nothing but a better answer begins it anew."""
    world = await waiting()
    answer, pages = NOT_KNOWN[name], NO_ANSWER["HTML 404"]

    found = await polled(world, answer)
    world.clock.pass_s(DAY_S - 60)
    await polled(world, answer, pages, LOST)
    before = world.job("a")
    world.clock.pass_s(61)
    await polled(world, answer)
    after = world.job("a")

    assert (found.state, found.stop, found.trouble) == (None, None, Trouble.UNKNOWN_TASK)
    assert (before.state, before.trouble, before.error_code) == (State.WAITING, "unknown_task", None)
    assert (after.state, after.error_class, after.error_code) == (State.WAITING, "stuck", "unknown_task")
    assert after.error_message is not None
    assert f"(HTTP {name[:3]}" in after.error_message
    assert after.is_stuck
    assert world.credits() == (0, 10)

    await polled(world, ok("processing"))
    known = world.job("a")

    assert (known.trouble, known.trouble_since, known.error_class, known.error_code) == (None,) * 4
    assert known.state is State.WAITING


@pytest.mark.parametrize(
    "said",
    [
        {"status": "succeeded", "final_credits": 10, "result": {"primary_url": "https://m/1"}},
        {
            "id": "row-77",
            "task_id": "t1",
            "status": "succeeded",
            "final_credits": 10,
            "result": {"url": "https://m/1"},
        },
        {"id": " T1 ", "status": "succeeded", "final_credits": 10, "result": ["https://m/1"]},
        {"data": {"status": "succeeded", "final_credits": "10 credits", "result": "https://m/1\n"}},
    ],
)
async def test_a_task_that_is_told_of_under_another_name_or_none_is_the_one_that_was_asked_for(
    said: dict[str, Any],
) -> None:
    world = await waiting()

    found = await polled(world, httpx.Response(200, json=said))

    assert (found.state, world.job("a").urls) == (State.DOWNLOADING, ("https://m/1",))
    assert world.credits() == (10, 0)


@pytest.mark.parametrize("final", ["1.234,5", -40, True, {"total": 40}])
async def test_a_charge_that_is_no_amount_is_told_and_counted_in_full(final: Any) -> None:
    world = await waiting()

    found = await polled(world, ok("succeeded", final=final))

    assert found.unread
    assert world.credits() == (10, 0)


async def test_a_clock_that_was_set_back_begins_the_day_anew() -> None:
    world = await waiting()
    await polled(world, NOT_KNOWN["404"])

    world.clock.wall -= 2 * DAY_S
    await polled(world, NOT_KNOWN["404"])
    world.clock.wall += DAY_S - 1
    await polled(world, NOT_KNOWN["404"])

    assert world.job("a").error_code is None


@pytest.mark.parametrize("word", ["queued", "processing", "paused", "delivered", ""])
async def test_a_task_that_runs_goes_on_waiting_whatever_it_calls_that(word: str) -> None:
    world = await waiting()

    found = await polled(world, ok(word), ok(word))

    assert (found.state, found.word) == (State.WAITING, word)
    assert (world.job("a").polls, world.job("a").task_status) == (2, word)
    assert world.credits() == (0, 10)


@pytest.mark.parametrize(
    ("word", "more"), [("cancelled", {}), ("error", {}), ("halted", {"code": "provider_error"})]
)
async def test_an_end_nobody_has_documented_is_told_of_after_an_hour_and_never_paid_again(
    word: str, more: dict[str, Any]
) -> None:
    world = await waiting(failed_rounds=FailedRounds(generation=3))
    answer = ok(word, final=None, **more)

    found = await polled(world, answer)
    before = world.job("a")
    world.clock.pass_s(3600)
    await polled(world, answer)
    after = world.job("a")

    assert (found.state, found.trouble, before.is_stuck) == (State.WAITING, Trouble.ODD_END, False)
    assert (after.state, after.error_code, after.is_stuck) == (State.WAITING, "odd_end", True)
    assert after.error_message is not None
    assert repr(word) in after.error_message
    assert (after.round, world.credits()) == (1, (0, 10))

    await polled(world, ok(word, result={"urls": ["https://r/late"]}, final=7, **more))
    home = world.job("a")

    assert (home.state, home.urls, home.is_stuck) == (State.DOWNLOADING, ("https://r/late",), False)
    assert home.oddness is not None
    assert world.credits() == (7, 0)


@pytest.mark.parametrize("final", [10, None])
async def test_what_a_failed_task_gave_and_was_charged_for_is_brought_home(final: float | None) -> None:
    world = await waiting(failed_rounds=FailedRounds(generation=3))

    await polled(world, ok("failed", code="quality", final=final, result={"urls": ["https://r/1"]}))

    home = world.job("a")
    assert (home.state, home.urls, home.round) == (State.DOWNLOADING, ("https://r/1",), 1)
    assert home.oddness == (
        "the service says that its task failed (quality: because quality), yet it names a result and charges for it"
    )
    assert world.credits() == (10, 0)
    assert rows(world.file, "SELECT ends FROM prices") == [("[]",)], "no price of a success"


async def test_credits_named_late_are_written_down() -> None:
    world = await waiting()

    await polled(world, ok("queued", reserved=40))

    assert world.credits() == (0, 40)


@pytest.mark.parametrize(
    ("final", "credits", "doubted"),
    [(7, (7, 0), None), (0, (10, 0), 10), (None, (10, 0), None), (25, (25, 0), None)],
)
async def test_a_task_that_succeeded_is_settled_and_brought_home(
    final: float | None, credits: tuple[float, float], doubted: float | None
) -> None:
    world = await waiting()
    world.clock.pass_s(31.0)

    found = await polled(world, ok("succeeded", final=final))

    job_now = world.job("a")
    assert (found.state, job_now.state, job_now.urls) == (
        State.DOWNLOADING,
        State.DOWNLOADING,
        ("https://r/t1",),
    )
    assert job_now.duration_s == 30.0
    assert world.credits() == credits
    assert found.doubted == doubted, "a result for nothing, of which ten were reserved"


@pytest.mark.parametrize(
    ("value", "duration_s"), [("the end", 30.0), ("not the end", None), ("absent", 30.0)]
)
async def test_times_that_were_seen_not_to_be_the_end_teach_nothing(
    value: str, duration_s: float | None
) -> None:
    world = await waiting()
    world.seen = seen("updated_at", value)
    world.clock.pass_s(31.0)

    await polled(world, ok("succeeded", final=10))

    assert (world.job("a").state, world.job("a").duration_s) == (State.DOWNLOADING, duration_s)


@pytest.mark.parametrize(
    ("changed_after_s", "ahead_s", "unwatched", "known"),
    [
        (30.0, 0, True, True),
        (NIGHT_S, 0, True, False),  # changed as we asked: by our asking, or by chance
        (NIGHT_S, 0, False, True),
        (NIGHT_S - 600.0, 0, True, True),
        (NIGHT_S + 3600.0, 3600, True, False),  # its clock is ahead
        (NIGHT_S, 3600, True, True),  # so by its own clock that was an hour ago
    ],
)
async def test_after_an_absence_a_change_just_as_we_asked_tells_no_duration(
    changed_after_s: float, ahead_s: float, unwatched: bool, known: bool
) -> None:
    """Else a night's pause would teach that tasks take a night, and the next ones would be asked for then."""
    world = await waiting()
    world.clock.pass_s(NIGHT_S)
    answer = ok("succeeded", updated_at=rfc3339(BEGINNING + changed_after_s))
    answer.headers["Date"] = formatdate(BEGINNING + NIGHT_S + ahead_s, usegmt=True)
    world.says(answer)

    found = await world.poll("a", unwatched=unwatched)

    duration_s = changed_after_s if known else None
    assert (found.duration_s, world.job("a").duration_s) == (duration_s, duration_s)


@pytest.mark.parametrize(
    ("created_s", "updated_s", "known"),
    [
        (0.0, 30.0, True),
        (-2.0, 30.0, True),  # cut to seconds, and its answer had a way to go
        (0.0, 86_400.0, False),  # one of its clocks is a day ahead
        (-3600.0, 30.0, False),  # or an hour behind
        (30.0, 0.0, False),
    ],
)
async def test_no_task_lasts_longer_than_since_it_was_sent(
    created_s: float, updated_s: float, known: bool
) -> None:
    """Five such tasks taught 86,400 s, and the sixth was not asked for in a day."""
    world = await waiting()
    world.clock.pass_s(31.0)
    times = {"created_at": rfc3339(BEGINNING + created_s), "updated_at": rfc3339(BEGINNING + updated_s)}

    found = await polled(world, ok("succeeded", **times))

    assert (found.duration_s is not None) is known


@pytest.mark.parametrize("result", [None, {}, {"urls": []}, " ", 4])
async def test_a_task_that_succeeded_without_a_url_is_still_brought_home(result: Any) -> None:
    world = await waiting()

    found = await polled(world, ok("succeeded", final=7, result=result))

    assert (found.state, world.job("a").urls) == (State.DOWNLOADING, ())


async def test_a_task_that_failed_says_why() -> None:
    world = await waiting()

    found = await polled(world, ok("failed", code="generation_failed", final=0))

    job_now = world.job("a")
    assert (found.state, job_now.error_class, job_now.error_code) == (
        State.FAILED,
        "generation",
        "generation_failed",
    )
    assert job_now.error_message == "because generation_failed"
    assert world.credits() == (0, 0)


async def test_a_message_cut_in_the_middle_of_an_emoji_is_written_down() -> None:
    world = await waiting()
    body = json.dumps(task("t1", status="failed", code="x")).replace("because x", "your prompt: \\ud83e")

    found = await polled(world, httpx.Response(200, content=body.encode()))

    assert found.state is State.FAILED
    assert world.job("a").error_message == "your prompt: \ufffd"


# --- the deadline -----------------------------------------------------------------------------------


async def overdue(*answers: Said) -> tuple[World, polling.Polled]:
    world = await waiting()
    world.clock.pass_s(DEADLINE_S + 1)
    return world, await polled(world, *answers)


@pytest.mark.parametrize("answer", [ok("queued"), ok("dreaming"), refused(404, "not_found")])
async def test_a_deadline_ends_the_waiting_not_the_job(answer: Said) -> None:
    world, found = await overdue(answer)

    assert found.overdue
    assert (world.state("a"), world.job("a").overdue, world.job("a").task_id) == (State.WAITING, True, "t1")
    assert world.credits() == (0, 10)


@pytest.mark.parametrize("name", NO_ANSWER)
async def test_a_deadline_is_judged_on_an_answered_poll_only(name: str) -> None:
    """A laptop that wakes in the morning: its network comes back after it does."""
    world, found = await overdue(NO_ANSWER[name])

    assert not found.overdue
    assert not world.job("a").overdue


async def test_a_task_that_ended_before_it_was_asked_late_is_not_overdue() -> None:
    world, found = await overdue(LOST, ok("succeeded", final=7))

    assert (found.state, found.overdue, world.job("a").overdue) == (State.DOWNLOADING, False, False)


async def test_an_overdue_task_comes_home_when_it_ends_after_all() -> None:
    world, _ = await overdue(ok("processing"))

    await polled(world, ok("succeeded", final=7))

    assert (world.state("a"), world.job("a").overdue) == (State.DOWNLOADING, False)


# --- our key ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [refused(401, "api_key_revoked"), refused(403, "api_scope_denied")])
async def test_a_refused_key_stops_the_run_and_keeps_the_task(answer: Said) -> None:
    world = await waiting()

    found = await polled(world, answer)

    assert (found.stop, world.state("a")) == (Exit.REFUSED, State.WAITING)


async def test_a_task_that_another_account_cannot_see_stops_the_run() -> None:
    world = await waiting()
    world.key = "rvya_sk_two"

    found = await polled(world, refused(404, "not_found"))

    assert (found.stop, world.state("a")) == (Exit.REFUSED, State.WAITING)


# --- fresh urls -----------------------------------------------------------------------------------------


async def renew(world: World, answer: Said) -> None:
    world.says(answer)
    async with world.context() as context:
        await polling.renew(context, world.job("a").row)


@pytest.mark.parametrize("name", [*NO_ANSWER, *NOTHING_NEW, *NOT_KNOWN, "failed", "queued", "no urls"])
async def test_a_task_that_succeeded_once_never_becomes_anything_else(name: str) -> None:
    answers = {
        **NO_ANSWER,
        **NOTHING_NEW,
        **NOT_KNOWN,
        "failed": ok("failed", code="expired", final=0),
        "queued": ok("queued"),
        "no urls": ok("succeeded", result=None),
    }
    world = await waiting()
    await polled(world, ok("succeeded", final=7))

    await renew(world, answers[name])

    assert (world.state("a"), world.job("a").urls) == (State.DOWNLOADING, ("https://r/t1",))
    assert world.credits() == (7, 0)


async def test_a_fresh_url_takes_the_place_of_the_old_one() -> None:
    world = await waiting()
    await polled(world, ok("succeeded", final=7))

    await renew(world, ok("succeeded", final=7, result={"urls": ["https://r/fresh"]}))

    assert world.job("a").urls == ("https://r/fresh",)
    assert world.credits() == (7, 0)


async def test_a_success_without_a_url_is_told_of_after_minutes_and_forgotten_when_one_comes() -> None:
    world = await waiting()
    nothing = ok("succeeded", final=7, result={"urls": []}, code="storage_failed")

    await polled(world, nothing)
    first = world.job("a")
    world.clock.pass_s(299)
    await renew(world, nothing)
    await renew(world, LOST)
    before = world.job("a")
    world.clock.pass_s(2)
    await renew(world, nothing)
    after = world.job("a")

    assert (first.state, first.trouble, before.is_stuck) == (State.DOWNLOADING, "no_result", False)
    assert (after.state, after.error_code, after.is_stuck) == (State.DOWNLOADING, "no_result", True)
    assert after.error_message is not None
    assert "storage_failed" in after.error_message
    assert world.credits() == (7, 0)

    await renew(world, ok("succeeded", final=7, result={"urls": ["https://r/late"]}))
    late = world.job("a")

    assert (late.urls, late.trouble, late.error_code, late.is_stuck) == (
        ("https://r/late",),
        None,
        None,
        False,
    )
