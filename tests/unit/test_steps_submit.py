"""The submit step against every answer: what is then in the database, and what the next send looks like."""

from __future__ import annotations

import contextlib
import json
import random
import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from runner.budget import Verdict
from runner.clock import rfc3339
from runner.errors import Exit
from runner.machine import CONFLICT_SPAN_S, CONFLICT_TRIES
from runner.model import Budget, JobId, State
from runner.steps.submit import FRESH_BODIES, Held, submit, take_back
from runner.store import jobs, ledger
from runner.store.database import StateFile
from tests.desk import (
    BEGINNING,
    LOST,
    MODEL,
    NAME,
    NO_CONNECTION,
    Killed,
    Said,
    World,
    accepted,
    apply,
    bind,
    job,
    reference,
    refused,
    rows,
    takes,
    task,
)

pytestmark = pytest.mark.anyio

A, B = job("a"), job("b")
EMPTY = refused(402, "insufficient_credits")
BAD_GATEWAY = httpx.Response(502, text="<html>Bad gateway</html>")
NO_ID = httpx.Response(200, json={"status": "queued"})
TOO_FAST = refused(429, "rate_limited")
CONFLICT = refused(409, "idempotency_conflict")
OFF = refused(503, "public_api_disabled")
NO = refused(400)
KEY_REVOKED = refused(401, "api_key_revoked")
FAILED_EMPTY = accepted("t0", status="failed", code="insufficient_credits", reserved=0, final=0)


# --- the intent -----------------------------------------------------------------------------------


async def test_key_bytes_and_credits_are_committed_before_the_first_byte_leaves(tmp_path: Path) -> None:
    world = World(file=StateFile.open(tmp_path / "s.db"))
    bind(world.file, key12=world.account.key12)
    apply(world.file, A)
    seen: list[tuple[Any, ...]] = []

    def look(request: httpx.Request) -> httpx.Response:
        with sqlite3.connect(f"file:{tmp_path / 's.db'}?mode=ro", uri=True) as other:
            seen.extend(
                other.execute(
                    "SELECT j.state, j.key, j.body, j.in_doubt, j.first_sent_at, l.state, l.amount"
                    " FROM jobs j JOIN ledger l ON l.job = j.id"
                ).fetchall()
            )
        other.close()
        return accepted("t1")

    await world.submits("a", look)

    ((key, body),) = world.sent
    assert seen == [("submitting", key, body, 1, rfc3339(BEGINNING), "reserved", 10.0)]
    world.file.close()


async def test_an_accepted_job_waits_for_its_task() -> None:
    world = World.of(A)

    done = await world.submits("a", accepted("t1", status="processing", reserved=12))

    found = world.job("a")
    assert (done.state, found.state, done.stop) == (State.WAITING, State.WAITING, None)
    assert (found.task_id, found.task_status, found.submitted_at) == ("t1", "processing", rfc3339(BEGINNING))
    assert done.first_send
    assert world.credits() == (0, 12)
    assert [kind for (kind,) in rows(world.file, "SELECT kind FROM events ORDER BY id")] == [
        "intent",
        "accepted",
    ]


async def test_the_key_is_header_and_client_request_id_and_fits_any_service() -> None:
    world = World.of(job("зима 1", 'a "quoted" prompt ❄️', params={"aspect_ratio": "16:9", "duration": 6}))

    await world.submits("зима 1", accepted("t1"))

    ((key, body),) = world.sent
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", key)
    assert json.loads(body) == {
        "model": MODEL,
        "prompt": 'a "quoted" prompt ❄️',
        "params": {"aspect_ratio": "16:9", "duration": 6},
        "client_request_id": key,
    }


async def test_references_go_in_as_the_service_told_us_at_upload() -> None:
    picture, clip = reference("a.png"), reference("b.mp4")
    world = World.of(job("a", references=[picture, clip]))
    world.uploaded(picture, "https://files/1")
    world.uploaded(clip, "https://files/2", duration_token="tok", duration_s=6.5)

    await world.submits("a", accepted("t1"))

    assert world.bodies()[0]["params"]["referenceMediaItems"] == [
        {"url": "https://files/1", "kind": "image", "name": "a.png", "mimeType": "image/png"},
        {
            "url": "https://files/2",
            "kind": "image",
            "name": "b.mp4",
            "mimeType": "image/png",
            "durationToken": "tok",
            "durationSeconds": 6.5,
        },
    ]


# --- each answer to the first send ----------------------------------------------------------------

FIRST: dict[str, tuple[Said, dict[str, Any]]] = {
    "accepted": (accepted("t"), {"state": "waiting", "doubt": 1, "money": (0, 10)}),
    "200": (httpx.Response(200, json=task("t")), {"state": "waiting", "doubt": 1, "money": (0, 10)}),
    "unknown status": (accepted("t", status="dreaming"), {"state": "waiting", "doubt": 1, "money": (0, 10)}),
    "done at once": (
        accepted("t", status="succeeded", final=9),
        {"state": "downloading", "doubt": 1, "money": (9, 0)},
    ),
    "failed at once": (
        accepted("t", status="failed", final=0, code="generation_failed"),
        {"state": "failed", "doubt": 1, "money": (0, 0), "cls": "generation"},
    ),
    "failed at once, charged": (
        accepted("t", status="failed", final=None, code="generation_failed"),
        {"state": "failed", "doubt": 1, "money": (10, 0), "cls": "generation"},
    ),
    "never left": (NO_CONNECTION, {"state": "submitting", "doubt": 0, "money": (0, 10)}),
    "429": (TOO_FAST, {"state": "submitting", "doubt": 0, "money": (0, 10)}),
    "lost": (LOST, {"state": "submitting", "doubt": 1, "money": (0, 10)}),
    "502": (BAD_GATEWAY, {"state": "submitting", "doubt": 1, "money": (0, 10)}),
    "no id": (NO_ID, {"state": "submitting", "doubt": 1, "money": (0, 10)}),
    "redirect": (httpx.Response(307), {"state": "submitting", "doubt": 1, "money": (0, 10)}),
    "HTML 400": (httpx.Response(400, text="<html>"), {"state": "submitting", "doubt": 1, "money": (0, 10)}),
    "off": (OFF, {"state": "submitting", "doubt": 1, "money": (0, 10)}),
    "409": (CONFLICT, {"state": "submitting", "doubt": 1, "money": (0, 10)}),
    "refused": (NO, {"state": "failed", "doubt": 0, "money": (0, 0), "cls": "validation"}),
    "policy": (
        refused(422, "content_policy_violation"),
        {"state": "failed", "doubt": 0, "money": (0, 0), "cls": "policy"},
    ),
    "413 without words": (
        httpx.Response(413),
        {"state": "failed", "doubt": 0, "money": (0, 0), "cls": "validation"},
    ),
    "401": (KEY_REVOKED, {"state": "planned", "doubt": 0, "money": (0, 0), "stop": Exit.REFUSED}),
    "403": (
        refused(403, "api_scope_denied"),
        {"state": "planned", "doubt": 0, "money": (0, 0), "stop": Exit.REFUSED},
    ),
    "empty": (EMPTY, {"state": "planned", "doubt": 0, "money": (0, 0), "stop": Exit.CREDITS}),
    "empty, 409": (
        refused(409, "insufficient_credits"),
        {"state": "planned", "doubt": 0, "money": (0, 0), "stop": Exit.CREDITS},
    ),
    "empty, 503": (
        refused(503, "insufficient_credits"),
        {"state": "planned", "doubt": 0, "money": (0, 0), "stop": Exit.CREDITS},
    ),
    "empty, as a task": (
        FAILED_EMPTY,
        {"state": "planned", "doubt": 0, "money": (0, 0), "stop": Exit.CREDITS},
    ),
    "empty, as a task that says nothing of its price": (
        accepted("t", status="failed", code="insufficient_credits", reserved=None, final=None),
        {"state": "failed", "doubt": 1, "money": (10, 0), "stop": Exit.CREDITS, "cls": "credits"},
    ),
}


@pytest.mark.parametrize("name", FIRST)
async def test_what_is_known_after_each_answer_to_the_first_send(name: str) -> None:
    answer, expected = FIRST[name]
    world = World.of(A)

    done = await world.submits("a", answer)

    found = world.job("a")
    assert (found.state, found.in_doubt) == (expected["state"], expected["doubt"])
    assert done.state is found.state
    assert done.stop is expected.get("stop")
    assert found.error_class == expected.get("cls")
    assert world.credits() == expected["money"]
    # The window counts from a send that may have been accepted, from nothing else.
    assert (found.first_sent_at is None) == (expected["doubt"] == 0)
    if found.state is State.SUBMITTING:
        assert done.delay_s is not None
        assert (found.key, found.body) == world.sent[0]


# --- each answer after a lost one -----------------------------------------------------------------

AFTER_LOST: dict[str, tuple[Said, str, tuple[float, float], Exit | None]] = {
    "accepted": (accepted("t"), "waiting", (0, 10), None),
    "refused": (NO, "uncertain", (0, 10), None),
    "404": (refused(404, "not_found"), "uncertain", (0, 10), None),
    "413": (httpx.Response(413), "uncertain", (0, 10), None),
    "policy": (refused(400, "content_policy_violation"), "uncertain", (0, 10), None),
    "empty": (EMPTY, "submitting", (0, 10), Exit.CREDITS),
    "401": (KEY_REVOKED, "submitting", (0, 10), Exit.REFUSED),
    "403": (refused(403, "api_scope_denied"), "submitting", (0, 10), Exit.REFUSED),
    "429": (TOO_FAST, "submitting", (0, 10), None),
    "never left": (NO_CONNECTION, "submitting", (0, 10), None),
    "lost": (LOST, "submitting", (0, 10), None),
    "off": (OFF, "submitting", (0, 10), None),
    "409": (CONFLICT, "submitting", (0, 10), None),
}


@pytest.mark.parametrize("name", AFTER_LOST)
async def test_after_a_lost_answer_nothing_is_taken_back(name: str) -> None:
    answer, state, money, stop = AFTER_LOST[name]
    world = World.of(A)

    done = await world.submits("a", LOST, answer)

    found = world.job("a")
    assert (found.state, done.stop, world.credits()) == (state, stop, money)
    assert found.in_doubt >= 1
    assert found.first_sent_at == rfc3339(BEGINNING)
    assert world.sent[0] == world.sent[1] == (found.key, found.body)
    assert not done.first_send


async def test_a_definite_refusal_of_one_send_does_not_clear_the_doubt_about_another() -> None:
    world = World.of(A)

    for answer in (LOST, TOO_FAST, NO_CONNECTION, TOO_FAST, KEY_REVOKED):
        await world.submits("a", answer)
        assert world.job("a").in_doubt == 1
    await world.submits("a", NO)

    assert world.state("a") is State.UNCERTAIN
    assert len(set(world.sent)) == 1


async def test_when_every_send_was_refused_for_certain_the_job_is_as_new() -> None:
    world = World.of(A)

    await world.submits("a", TOO_FAST, NO_CONNECTION, TOO_FAST, NO)

    assert world.state("a") is State.FAILED
    assert world.credits() == (0, 0)


# --- the window -----------------------------------------------------------------------------------


async def lost_and_waited(seconds: float, **settings: Any) -> World:
    world = World.of(A, **settings)
    await world.submits("a", LOST)
    world.clock.pass_s(seconds)
    return world


@pytest.mark.parametrize(
    ("seconds", "sends"), [(0.0, 2), (1.0, 2), (3599.0, 2), (3600.0, 2), (3600.5, 1), (1e6, 1)]
)
async def test_the_same_bytes_go_out_again_inside_the_window_only(seconds: float, sends: int) -> None:
    world = await lost_and_waited(seconds)

    if sends == 2:
        await world.submits("a", accepted("t"))
        assert world.state("a") is State.WAITING
    else:
        done = await world.submit("a")
        assert (done.held, done.answer) == (Held.UNCERTAIN, None)
        assert world.job("a").error_code == "window_over"
        assert world.credits() == (0, 10)

    assert len(world.sent) == sends
    assert len(set(world.sent)) == 1


async def test_the_window_counts_from_the_first_send_not_from_the_last() -> None:
    world = World.of(A)
    for _ in range(7):
        await world.submits("a", LOST)
        world.clock.pass_s(500)
    assert world.job("a").first_sent_at == rfc3339(BEGINNING)
    world.clock.pass_s(200)

    assert (await world.submit("a")).held is Held.UNCERTAIN


async def test_the_window_does_not_count_refusals_that_were_certain() -> None:
    world = World.of(A)
    for _ in range(5):
        await world.submits("a", TOO_FAST)
        world.clock.pass_s(1500)
    await world.submits("a", LOST)
    sent_at = world.job("a").first_sent_at
    world.clock.pass_s(3000)
    await world.submits("a", accepted("t"))

    assert sent_at == rfc3339(BEGINNING + 7500)
    assert world.state("a") is State.WAITING


@pytest.mark.parametrize(("slept_s", "sends"), [(0.0, 2), (3599.0, 2), (3601.0, 1)])
async def test_a_laptop_that_falls_asleep_while_it_connects_sends_nothing_too_late(
    slept_s: float, sends: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World.of(A)
    await world.submits("a", LOST)
    connect = httpx.MockTransport.handle_async_request

    async def slowly(self: httpx.MockTransport, request: httpx.Request) -> httpx.Response:
        world.clock.pass_s(slept_s)
        return await connect(self, request)

    monkeypatch.setattr(httpx.MockTransport, "handle_async_request", slowly)
    world.says(accepted("t"))
    await world.submit("a")
    if sends == 1:
        assert world.state("a") is State.SUBMITTING
        await world.submit("a")

    assert world.state("a") is (State.WAITING if sends == 2 else State.UNCERTAIN)
    assert len(world.sent) == sends
    assert world.credits() == (0, 10)


def set_back(world: World) -> None:
    world.clock.wall -= 10 * 3600


def set_back_a_little(world: World) -> None:
    # 70 minutes have passed; the wall says 10.
    world.clock.pass_s(70 * 60)
    world.clock.wall -= 60 * 60


def set_forward(world: World) -> None:
    world.clock.wall += 10 * 3600


def rebooted_and_set_back(world: World) -> None:
    world.clock.reboot()
    world.clock.wall -= 60


def boot_clock_ran_backwards(world: World) -> None:
    assert world.clock.boot is not None
    world.clock.boot -= 100


@pytest.mark.parametrize(
    "happens", [set_back, set_back_a_little, set_forward, rebooted_and_set_back, boot_clock_ran_backwards]
)
async def test_a_clock_that_cannot_be_trusted_ends_the_window(happens: Callable[[World], None]) -> None:
    world = await lost_and_waited(10)

    happens(world)

    assert (await world.submit("a")).held is Held.UNCERTAIN
    assert len(world.sent) == 1


async def test_a_reboot_inside_the_window_does_not_end_it() -> None:
    world = await lost_and_waited(600)
    world.clock.reboot()
    world.clock.pass_s(60)

    await world.submits("a", accepted("t"))

    assert world.state("a") is State.WAITING


async def test_a_system_without_a_boot_clock_goes_by_the_wall() -> None:
    world = World.of(A)
    world.clock.boot, world.clock.boot_name = None, None
    await world.submits("a", LOST)
    world.clock.pass_s(3000)
    await world.submits("a", LOST)
    world.clock.pass_s(700)

    assert (await world.submit("a")).held is Held.UNCERTAIN


async def test_the_manifest_may_allow_a_shorter_window() -> None:
    world = await lost_and_waited(61, resend_within_s=60.0)

    assert (await world.submit("a")).held is Held.UNCERTAIN


# --- 409 ------------------------------------------------------------------------------------------


async def test_a_conflict_is_asked_again_eight_times_at_most() -> None:
    world = World.of(A)
    for number in range(1, CONFLICT_TRIES):
        done = await world.submits("a", CONFLICT)
        assert (done.state, world.job("a").conflicts) == (State.SUBMITTING, number)
        world.clock.pass_s(1)
    done = await world.submits("a", CONFLICT)

    assert done.state is State.UNCERTAIN
    assert world.job("a").error_code == "idempotency_conflict"
    assert world.credits() == (0, 10)
    assert len(set(world.sent)) == 1


async def test_a_conflict_is_asked_again_for_ten_minutes_at_most() -> None:
    world = World.of(A)
    await world.submits("a", CONFLICT)
    world.clock.pass_s(CONFLICT_SPAN_S - 1)
    await world.submits("a", CONFLICT)
    assert world.state("a") is State.SUBMITTING
    world.clock.pass_s(2)
    await world.submits("a", CONFLICT)

    assert world.state("a") is State.UNCERTAIN


async def test_conflicts_and_other_answers_between_them_are_counted_apart() -> None:
    world = World.of(A)
    for _ in range(CONFLICT_TRIES - 1):
        await world.submits("a", CONFLICT, TOO_FAST, LOST)
    assert world.state("a") is State.SUBMITTING

    await world.submits("a", accepted("t"))

    assert world.state("a") is State.WAITING


# --- ids ------------------------------------------------------------------------------------------


async def test_an_id_that_another_job_holds_is_an_error() -> None:
    world = World.of(A, B)
    await world.submits("a", accepted("t1"))

    done = await world.submits("b", accepted("t1"))

    assert (done.state, world.job("b").error_code) == (State.UNCERTAIN, "task_held")
    assert (world.job("b").task_id, world.job("a").task_id) == (None, "t1")
    assert world.state("a") is State.WAITING
    assert world.credits() == (0, 20), "the reservation of the unclear one is kept"
    assert "a" in (world.job("b").error_message or "")


async def test_an_id_that_a_job_of_another_manifest_holds_is_an_error() -> None:
    world = World.of(A)
    await world.submits("a", accepted("t1"))
    bind(world.file, "winter")
    apply(world.file, B, name="winter")
    world.settings = replace(world.settings, name="winter")
    row = jobs.find(world.file.conn, "winter", "b")[0].row
    world.says(accepted("t1"))
    async with world.desk() as desk:
        done = await submit(desk, row)

    assert done.state is State.UNCERTAIN


async def test_the_same_id_again_after_a_lost_answer_is_success() -> None:
    world = World.of(A)

    await world.submits("a", LOST, accepted("t1"))

    assert (world.state("a"), world.job("a").task_id) == (State.WAITING, "t1")
    assert world.credits() == (0, 10)


async def test_an_id_of_an_earlier_round_is_no_success() -> None:
    """Else the old failure would be read as the new round's, and be paid for twice in the books."""
    world = World.of(A, failed_rounds=1)
    await world.submits("a", accepted("t1", status="failed", code="generation_failed", final=0))
    assert (world.state("a"), world.job("a").round) == (State.PLANNED, 2)

    await world.submits("a", accepted("t1"))

    assert (world.state("a"), world.job("a").error_code) == (State.UNCERTAIN, "task_held")


# --- an empty account -----------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [EMPTY, refused(403, "insufficient_credits"), FAILED_EMPTY])
async def test_after_a_top_up_an_empty_account_is_paid_under_a_new_revision(answer: httpx.Response) -> None:
    world = World.of(A)
    await world.submits("a", answer)
    found = world.job("a")
    assert (found.state, found.round, found.revision, found.key, found.body) == (
        State.PLANNED,
        1,
        2,
        None,
        None,
    )

    await world.submits("a", accepted("t1"))

    assert world.state("a") is State.WAITING
    assert len(set(world.keys())) == 2
    assert world.credits() == (0, 10)
    assert rows(world.file, "SELECT count(*) FROM ledger") == [(1,)]


async def test_an_account_that_stays_empty_is_one_revision_for_each_answer_and_no_credit() -> None:
    world = World.of(A)
    for number in range(1, 5):
        await world.submits("a", FAILED_EMPTY if number % 2 else EMPTY)
        assert world.job("a").revision == number + 1
        assert world.credits() == (0, 0)

    assert len(set(world.keys())) == 4


async def test_an_empty_account_after_a_lost_answer_keeps_the_key_until_it_is_known() -> None:
    world = World.of(A)
    await world.submits("a", LOST, EMPTY, EMPTY)
    await world.submits("a", accepted("t1"))

    assert len(set(world.sent)) == 1
    assert world.state("a") is State.WAITING


async def test_a_task_that_fails_later_for_want_of_credits_is_planned_anew() -> None:
    world = World.of(A)
    await world.submits("a", accepted("t1"))
    world.says(httpx.Response(200, json=task("t1", status="failed", code="insufficient_credits", final=0)))

    found = await world.poll("a")

    assert (found.state, found.stop) == (State.PLANNED, Exit.CREDITS)
    assert (world.job("a").round, world.job("a").revision, world.job("a").task_id) == (1, 2, None)
    assert world.credits() == (0, 0)
    await world.submits("a", accepted("t2"))
    assert world.state("a") is State.WAITING
    assert len(set(world.keys())) == 2


async def test_a_task_without_credits_that_may_have_cost_something_is_not_paid_again_by_itself() -> None:
    world = World.of(A)

    done = await world.submits("a", accepted("t", status="failed", code="insufficient_credits", final=None))

    assert (done.state, done.stop) == (State.FAILED, Exit.CREDITS)
    assert world.credits() == (10, 0)


# --- rounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "failed_rounds", "state", "round_"),
    [
        ("generation_failed", 0, State.FAILED, 1),
        ("generation_failed", 1, State.PLANNED, 2),
        ("content_policy", 1, State.FAILED, 1),
        ("invalid_input", 1, State.FAILED, 1),
        (None, 1, State.PLANNED, 2),
    ],
)
async def test_a_failed_task_gets_another_round_only_by_the_manifests_word(
    code: str | None, failed_rounds: int, state: State, round_: int
) -> None:
    world = World.of(A, failed_rounds=failed_rounds)

    await world.submits("a", accepted("t1", status="failed", code=code, final=4))

    assert (world.state("a"), world.job("a").round) == (state, round_)
    assert world.credits() == (4, 0)


async def test_a_new_round_has_a_new_key_and_its_own_payment() -> None:
    world = World.of(A, failed_rounds=1)
    await world.submits("a", accepted("t1", status="failed", code="generation_failed", final=4))
    await world.submits("a", accepted("t2", status="failed", code="generation_failed", final=5))

    assert (world.state("a"), world.job("a").round) == (State.FAILED, 2)
    assert len(set(world.keys())) == 2
    assert world.credits() == (9, 0)


async def test_a_refused_request_gets_no_other_round_whatever_the_manifest_says() -> None:
    world = World.of(A, failed_rounds=5)

    await world.submits("a", NO)

    assert (world.state("a"), world.job("a").round) == (State.FAILED, 1)


async def test_a_job_that_left_the_manifest_gets_no_other_round() -> None:
    world = World.of(A, B, failed_rounds=5)
    await world.submits("a", accepted("t1"))
    world.lists(B)
    world.says(httpx.Response(200, json=task("t1", status="failed", code="generation_failed")))

    assert (await world.poll("a")).state is State.FAILED


# --- bytes and references -------------------------------------------------------------------------

PICTURE = reference("a.png")
WITH_PICTURE = job("a", references=[PICTURE])


async def uploaded_world(url: str = "https://files/1", **settings: Any) -> World:
    world = World.of(WITH_PICTURE, **settings)
    world.uploaded(PICTURE, url)
    return world


async def test_a_repeated_send_has_the_same_bytes_whatever_became_of_its_uploads_and_manifest() -> None:
    world = await uploaded_world()
    await world.submits("a", LOST)
    world.uploaded(PICTURE, "https://files/2", duration_token="new")
    await world.submits("a", TOO_FAST)
    world.clock.pass_s(3000)
    world.lists(
        replace(WITH_PICTURE, references=(replace(PICTURE, path="moved/b.png", file=Path("/b.png")),))
    )
    await world.submits("a", NO_CONNECTION)
    with world.file.transaction() as conn:
        conn.execute("DELETE FROM uploads")

    await world.submits("a", accepted("t1"))

    assert len(world.sent) == 4
    assert len(set(world.sent)) == 1
    assert world.state("a") is State.WAITING


async def test_a_renamed_job_is_sent_again_under_the_key_it_was_first_sent_with() -> None:
    world = World.of(A)
    await world.submits("a", LOST)

    world.lists(replace(A, id=JobId("new name"), output="x"))
    await world.submits("new name", accepted("t1"))

    assert len(set(world.sent)) == 1


async def test_an_id_that_was_given_to_another_job_makes_keys_of_its_own() -> None:
    """a was renamed to b; a new a asks for the same again: it is another payment, not the old one."""
    world = World.of(A)
    await world.submits("a", accepted("t1"))
    world.lists(replace(A, id=JobId("b"), output="b"))
    world.lists(replace(A, id=JobId("b"), output="b"), A)

    await world.submits("a", accepted("t2"))

    assert len(set(world.keys())) == 2
    assert (world.job("a").task_id, world.job("b").task_id) == ("t2", "t1")


async def test_takes_of_one_request_have_keys_of_their_own() -> None:
    world = World.of(*takes("x", 3))
    for number in (1, 2, 3):
        await world.submits(f"x-{number}", accepted(f"t{number}"))

    assert len(set(world.keys())) == 3


@pytest.mark.parametrize("same_url", [True, False])
async def test_after_certain_refusals_the_key_changes_with_the_bytes_and_only_then(same_url: bool) -> None:
    world = await uploaded_world()
    await world.submits("a", KEY_REVOKED)
    assert world.state("a") is State.PLANNED
    if not same_url:
        world.uploaded(PICTURE, "https://files/2")

    await world.submits("a", accepted("t1"))

    assert (world.sent[0] == world.sent[1]) is same_url
    assert (world.keys()[0] == world.keys()[1]) is same_url
    assert world.job("a").revision == (1 if same_url else 2)


async def test_a_refused_url_is_made_anew_a_few_times_then_the_job_fails() -> None:
    world = await uploaded_world()
    for number in range(1, FRESH_BODIES + 2):
        world.uploaded(PICTURE, f"https://files/{number}")
        done = await world.submits("a", refused(400, message=f"https://files/{number} has expired"))
        if number <= FRESH_BODIES:
            assert (done.state, world.job("a").revision) == (State.PLANNED, number + 1)
            assert (await world.submit("a")).held is Held.UPLOADS, "the url that is gone is not used again"

    assert world.state("a") is State.FAILED
    assert len(set(world.keys())) == FRESH_BODIES + 1
    assert world.credits() == (0, 0)


async def test_a_reference_without_a_fresh_copy_is_not_submitted() -> None:
    world = World.of(WITH_PICTURE)
    assert (await world.submit("a")).held is Held.UPLOADS
    world.uploaded(PICTURE, "https://files/1")
    world.clock.pass_s(3601)
    assert (await world.submit("a")).held is Held.UPLOADS
    world.clock.wall -= 2 * 3601
    assert (await world.submit("a")).held is Held.UPLOADS, "a copy from the future is of unknown age"

    assert world.sent == []
    assert rows(world.file, "SELECT count(*) FROM ledger") == [(0,)]


async def test_an_upload_of_another_account_is_not_used() -> None:
    world = await uploaded_world()
    world.key = "rvya_sk_two"

    assert (await world.submit("a")).held is Held.UPLOADS


# --- the key of the account -----------------------------------------------------------------------


async def test_an_unclear_send_of_another_account_is_uncertain() -> None:
    world = World.of(A)
    await world.submits("a", LOST)
    world.key = "rvya_sk_two"

    done = await world.submit("a")

    assert (done.held, world.job("a").error_code) == (Held.UNCERTAIN, "key_changed")
    assert len(world.sent) == 1


async def test_what_another_account_refused_for_certain_may_be_sent_by_this_one() -> None:
    world = World.of(A)
    await world.submits("a", TOO_FAST)
    world.key = "rvya_sk_two"
    await world.submits("a", LOST)
    assert world.job("a").key12 == world.account.key12
    await world.submits("a", accepted("t1"))

    assert world.state("a") is State.WAITING


# --- what is not sent at all ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", [state for state in State if state not in ("planned", "uploading", "ready", "submitting")]
)
async def test_a_job_that_is_not_to_be_sent_is_not_sent(state: State) -> None:
    world = World.of(A)
    with world.file.transaction() as conn:
        jobs.advance(conn, world.job("a"), "", state=state.value)

    assert (await world.submit("a")).held is Held.GONE
    assert (world.sent, world.state("a")) == ([], state)


async def test_a_job_that_left_the_manifest_is_not_begun() -> None:
    world = World.of(A)
    with world.file.transaction() as conn:
        conn.execute("UPDATE jobs SET listed = 0")

    assert (await world.submit("a")).held is Held.GONE
    assert world.sent == []


@pytest.mark.parametrize(
    ("budget", "verdict"),
    [
        (Budget(max_credits=9), Verdict.OVER_TOTAL),
        (Budget(max_credits_per_day=9), Verdict.OVER_DAY),
        (Budget(max_credits_per_job=9), Verdict.OVER_JOB),
    ],
)
async def test_what_does_not_fit_is_neither_sent_nor_reserved(budget: Budget, verdict: Verdict) -> None:
    world = World.of(A, budget=budget)

    done = await world.submit("a")

    assert (done.held, done.verdict, done.state) == (Held.BUDGET, verdict, State.PLANNED)
    assert world.sent == []
    assert rows(world.file, "SELECT count(*) FROM ledger") == [(0,)]


async def test_under_a_cap_one_price_never_seen_is_out_at_a_time() -> None:
    world = World.of(A, B, budget=Budget(max_credits=1000))
    await world.submits("a", LOST)
    assert (await world.submit("b")).verdict is Verdict.PROBE_OUT
    await world.submits("a", accepted("t1", reserved=40))
    await world.submits("b", accepted("t2", reserved=40))

    assert world.credits() == (0, 80)
    assert world.payment("b")["basis"] == "observed"


async def test_a_surprise_stops_at_the_cap_after_one_probe() -> None:
    """The real price is four times the listed one; the cap has room for nine at the listed one."""
    world = World.of(*[job(f"j{number}") for number in range(9)], budget=Budget(max_credits=95))
    sent = 0
    for number in range(9):
        world.says(accepted(f"t{number}", reserved=40))
        done = await world.submit(f"j{number}")
        if done.held is not None:
            world.script.clear()
            assert done.verdict is Verdict.OVER_TOTAL
        else:
            sent += 1

    assert sent == 2
    assert sum(world.credits()) == 80


async def test_a_probe_that_was_sent_without_a_cap_is_a_probe_under_one() -> None:
    world = World.of(A, job("b", params={"duration": 10}))
    await world.submits("a", LOST)
    world.settings = replace(world.settings, budget=Budget(max_credits=1000))

    assert (await world.submit("b")).verdict is Verdict.PROBE_OUT


async def test_what_is_sent_again_needs_no_new_room() -> None:
    world = World.of(A, budget=Budget(max_credits=10))
    await world.submits("a", LOST)
    world.settings = replace(world.settings, budget=Budget(max_credits=0))

    await world.submits("a", accepted("t1"))

    assert world.state("a") is State.WAITING
    assert world.credits() == (0, 10)


# --- crashes --------------------------------------------------------------------------------------


def die(_: httpx.Request) -> httpx.Response:
    raise Killed


@pytest.mark.parametrize("deaths", [1, 3])
async def test_a_run_that_dies_between_intent_and_answer_sends_the_same_again(deaths: int) -> None:
    world = World.of(A)
    for _ in range(deaths):
        world.says(die)
        with pytest.raises(Killed):
            await world.submit("a")
        assert world.state("a") is State.SUBMITTING
        world.clock.pass_s(100)
    assert (world.job("a").in_doubt, world.credits()) == (deaths, (0, 10))

    await world.submits("a", accepted("t1"))

    assert world.state("a") is State.WAITING
    assert len(set(world.sent)) == 1
    assert world.credits() == (0, 10)


async def test_a_send_whose_run_died_counts_as_unclear() -> None:
    world = World.of(A)
    world.says(die)
    with pytest.raises(Killed):
        await world.submit("a")

    await world.submits("a", NO)

    assert world.state("a") is State.UNCERTAIN


async def test_a_run_that_died_before_its_intent_has_sent_nothing() -> None:
    world = World.of(A)
    with pytest.raises(ZeroDivisionError), world.file.transaction() as conn:
        conn.execute("UPDATE jobs SET state = 'submitting'")
        raise ZeroDivisionError

    await world.submits("a", accepted("t1"))

    assert len(world.sent) == 1


async def test_an_answer_that_cannot_be_written_down_is_asked_for_again(tmp_path: Path) -> None:
    """The disk is full just then: the same key, the same bytes, once there is room."""
    world = World.of(A)

    def accepted_but_locked(_: httpx.Request) -> httpx.Response:
        world.file.conn.execute("PRAGMA query_only = ON")
        return accepted("t1")

    world.says(accepted_but_locked)
    with pytest.raises(Exception, match="readonly"):
        await world.submit("a")
    world.file.conn.execute("PRAGMA query_only = OFF")
    assert world.state("a") is State.SUBMITTING

    await world.submits("a", accepted("t1"))

    assert world.state("a") is State.WAITING
    assert len(set(world.sent)) == 1


async def test_an_intent_that_cannot_be_written_down_sends_nothing() -> None:
    world = World.of(A)
    world.file.conn.execute("PRAGMA query_only = ON")

    with pytest.raises(Exception, match="readonly"):
        await world.submit("a")

    assert world.sent == []


async def test_a_row_that_was_changed_while_its_submit_was_on_the_way_is_not_overwritten() -> None:
    world = World.of(A)

    def meanwhile(_: httpx.Request) -> httpx.Response:
        with world.file.transaction() as conn:
            jobs.advance(conn, world.job("a"), "", state=State.UNCERTAIN.value)
        return accepted("t1")

    world.says(meanwhile)
    with pytest.raises(jobs.StaleJob):
        await world.submit("a")

    assert (world.state("a"), world.job("a").task_id) == (State.UNCERTAIN, None)
    assert ledger.totals(world.file.conn, NAME) == (0, 10)


# --- what an earlier run left ---------------------------------------------------------------------


async def test_what_was_refused_for_certain_is_judged_by_todays_caps_and_keeps_its_key() -> None:
    world = World.of(A, B)
    await world.submits("a", TOO_FAST)
    await world.submits("b", LOST)
    async with world.desk() as desk:
        await desk.writer.write(lambda conn: take_back(conn, desk))
    assert (world.state("a"), world.state("b")) == (State.PLANNED, State.SUBMITTING)
    assert world.credits() == (0, 10)

    await world.submits("a", accepted("t1"))

    assert world.sent[0] == world.sent[2]
    assert world.credits() == (0, 20)


# --- any service, any history ---------------------------------------------------------------------


class Honest:
    """A service that remembers its keys and charges each once, on a line that loses things."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.tasks: dict[str, str] = {}
        self.bodies: dict[str, bytes] = {}
        self.empty = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        key, fate = request.headers["idempotency-key"], self.draw.random()
        if fate < 0.10:
            raise httpx.ConnectError("refused")
        if fate < 0.25:
            raise httpx.ReadTimeout("lost on the way there")
        if fate < 0.35:
            return refused(429, "rate_limited")
        if fate < 0.40:
            return refused(401, "api_key_revoked")
        if key in self.tasks:
            assert self.bodies[key] == request.content, "one key, two bodies"
        elif self.empty:
            return refused(402, "insufficient_credits")
        else:
            self.tasks[key], self.bodies[key] = f"t{len(self.tasks)}", request.content
        if fate < 0.60:
            raise httpx.ReadTimeout("lost on the way back")
        if fate < 0.66:
            raise Killed
        if fate < 0.72:
            return httpx.Response(502)
        return accepted(self.tasks[key])


@pytest.mark.parametrize("seed", range(30))
async def test_an_honest_service_on_a_bad_line_is_paid_once_for_each_job(seed: int) -> None:
    draw = random.Random(seed)
    service = Honest(draw)
    picture = job("p", references=[PICTURE])
    names = ["a", "b", "p"]
    world = World.of(A, B, picture)
    for _ in range(60):
        name = draw.choice(names)
        if world.state(name) in (State.WAITING, State.UNCERTAIN):
            continue
        service.empty = draw.random() < 0.2
        if draw.random() < 0.3:
            world.uploaded(PICTURE, f"https://files/{draw.random()}")
        world.clock.pass_s(draw.choice([0, 1, 10]))
        world.says(service)
        with contextlib.suppress(Killed):
            await world.submit(name)
        world.script.clear()

        charged = len(service.tasks)
        out = rows(world.file, "SELECT count(*) FROM ledger WHERE state = 'reserved'")[0][0]
        assert charged <= out, "whatever may have been charged is reserved"

    assert len(service.tasks) <= len(names)
    for name in names:
        if world.state(name) is State.WAITING:
            found = world.job(name)
            assert found.key is not None
            assert (service.tasks[found.key], service.bodies[found.key]) == (found.task_id, found.body)
