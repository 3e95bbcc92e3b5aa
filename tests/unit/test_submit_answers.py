"""What is known after each answer to a submit, and what the next send looks like."""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from runner.errors import Exit
from runner.host.clock import rfc3339
from runner.lifecycle.rules import CONFLICT_SPAN_S, CONFLICT_TRIES
from runner.model import FailedRounds, State
from runner.steps.submit import submit
from runner.store import jobs
from runner.store.sqlite import StateFile
from tests.submit_answers import EMPTY, FAILED_EMPTY, KEY_REVOKED, NO, PICTURE, TOO_FAST, A, B
from tests.world import (
    BEGINNING,
    LOST,
    MODEL,
    NO_CONNECTION,
    Said,
    World,
    accepted,
    apply,
    bind,
    job,
    reference,
    refused,
    rows,
    task,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_database")]

BAD_GATEWAY = httpx.Response(502, text="<html>Bad gateway</html>")
NO_ID = httpx.Response(200, json={"status": "queued"})
CONFLICT = refused(409, "idempotency_conflict")
OFF = refused(503, "public_api_disabled")


def not_the_api(status: int) -> dict[str, httpx.Response]:
    """Return what something in front of the API may say with this status."""
    return {
        "page": httpx.Response(status, html="<h1>Just a moment</h1>"),
        "message": httpx.Response(status, json={"message": "Unauthorized"}),
        "error": httpx.Response(status, json={"error": "forbidden"}),
        "no code": httpx.Response(status, json={"error": {"message": "Forbidden"}}),
    }


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
            "name": "b.png",  # its content says so
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
    **{
        f"{status}, {name}": (answer, {"state": "submitting", "doubt": 1, "money": (0, 10)})
        for status in (401, 402, 403, 404, 413, 415, 429)
        for name, answer in not_the_api(status).items()
    },
    "429, empty": (httpx.Response(429), {"state": "submitting", "doubt": 0, "money": (0, 10)}),
    "429, text": (httpx.Response(429, text="slow"), {"state": "submitting", "doubt": 0, "money": (0, 10)}),
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
    "413": (refused(413, "too_large"), "uncertain", (0, 10), None),
    "413 without words": (httpx.Response(413), "submitting", (0, 10), None),
    "401 page": (httpx.Response(401, html="<p>log in</p>"), "submitting", (0, 10), None),
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


@pytest.mark.parametrize("bare", [httpx.Response(429), httpx.Response(429, text="slow down")])
async def test_a_bare_429_keeps_key_and_bytes_until_the_api_itself_has_refused_them(
    bare: httpx.Response,
) -> None:
    """Its reference was uploaded anew meanwhile; only the API's own word lets another body follow."""
    world = World.of(job("a", references=[PICTURE]))
    world.uploaded(PICTURE, "https://files/1")
    await world.submits("a", bare)
    world.clock.pass_s(90_000)
    await world.submits("a", bare)
    world.uploaded(PICTURE, "https://files/2")
    await world.submits("a", bare, refused(400, message="https://files/1 has expired"))

    assert len(set(world.sent)) == 1
    await world.submits("a", accepted("t"))
    assert world.state("a") is State.WAITING
    assert len(set(world.sent)) == 2
    assert world.credits() == (0, 10)


async def test_waiting_behind_bare_429s_never_makes_a_job_uncertain() -> None:
    world = World.of(A)
    for _ in range(30):
        await world.submits("a", httpx.Response(429))
        world.clock.pass_s(1000)

    await world.submits("a", accepted("t"))

    assert world.state("a") is State.WAITING
    assert len(set(world.sent)) == 1


async def test_when_every_send_was_refused_for_certain_the_job_is_as_new() -> None:
    world = World.of(A)

    await world.submits("a", TOO_FAST, NO_CONNECTION, TOO_FAST, NO)

    assert world.state("a") is State.FAILED
    assert world.credits() == (0, 0)


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


async def test_a_conflict_that_shows_the_task_of_another_job_is_asked_again() -> None:
    world = World.of(A, B)
    await world.submits("a", accepted("t1"))
    shown = {"error": {"code": "idempotency_conflict", "message": "known"}, "task": task("t1")}

    done = await world.submits("b", httpx.Response(409, json=shown))
    again = await world.submits("b", httpx.Response(409, json={**shown, "task": task("t2")}))

    assert (done.state, again.state) == (State.SUBMITTING, State.WAITING)
    assert [world.job(each).task_id for each in ("a", "b")] == ["t1", "t2"]
    assert len(world.sent) == 3


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
    async with world.context() as context:
        done = await submit(context, row)

    assert done.state is State.UNCERTAIN


async def test_the_same_id_again_after_a_lost_answer_is_success() -> None:
    world = World.of(A)

    await world.submits("a", LOST, accepted("t1"))

    assert (world.state("a"), world.job("a").task_id) == (State.WAITING, "t1")
    assert world.credits() == (0, 10)


@pytest.mark.parametrize(("changed_after_s", "seconds"), [(1800.0, None), (30.0, 30.0)])
async def test_a_task_first_heard_of_long_after_it_was_sent_may_not_have_run_so_long(
    changed_after_s: float, seconds: float | None
) -> None:
    world = World.of(A)
    await world.submits("a", LOST)
    world.clock.pass_s(1800.0)

    changed = rfc3339(BEGINNING + changed_after_s)
    await world.submits("a", accepted("t1", status="succeeded", final=10, updated_at=changed))

    assert world.state("a") is State.DOWNLOADING
    assert world.job("a").duration_s == seconds


async def test_an_id_of_an_earlier_round_is_no_success() -> None:
    """Else the old failure would be read as the new round's, and be paid for twice in the books."""
    world = World.of(A, failed_rounds=FailedRounds(generation=1))
    await world.submits("a", accepted("t1", status="failed", code="generation_failed", final=0))
    assert (world.state("a"), world.job("a").round) == (State.PLANNED, 2)

    await world.submits("a", accepted("t1"))

    assert (world.state("a"), world.job("a").error_code) == (State.UNCERTAIN, "task_held")
