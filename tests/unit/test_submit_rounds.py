"""When a job is paid for anew: empty accounts, rounds, other bytes, another key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from runner.errors import Exit
from runner.model import FailedRounds, JobId, State
from runner.steps.submit import FRESH_BODIES, NotSent
from tests.submit_answers import EMPTY, FAILED_EMPTY, KEY_REVOKED, NO, PICTURE, TOO_FAST, A, B
from tests.world import LOST, NO_CONNECTION, World, accepted, job, refused, rows, takes, task

pytestmark = pytest.mark.anyio


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
    world = World.of(A, failed_rounds=FailedRounds(generation=failed_rounds))

    await world.submits("a", accepted("t1", status="failed", code=code, final=4))

    assert (world.state("a"), world.job("a").round) == (state, round_)
    assert world.credits() == (4, 0)


@pytest.mark.parametrize(("final", "state"), [(0, State.PLANNED), (4, State.FAILED), (None, State.FAILED)])
async def test_a_refusal_that_was_free_gets_another_round_where_the_manifest_says_so(
    final: float | None, state: State
) -> None:
    world = World.of(A, failed_rounds=FailedRounds(policy=1))

    await world.submits("a", accepted("t1", status="failed", code="content_policy", final=final))

    assert (world.state("a"), world.job("a").round) == (state, 2 if state is State.PLANNED else 1)
    assert world.credits() == (10 if final is None else final, 0)


async def test_a_new_round_has_a_new_key_and_its_own_payment() -> None:
    world = World.of(A, failed_rounds=FailedRounds(generation=1))
    await world.submits("a", accepted("t1", status="failed", code="generation_failed", final=4))
    await world.submits("a", accepted("t2", status="failed", code="generation_failed", final=5))

    assert (world.state("a"), world.job("a").round) == (State.FAILED, 2)
    assert len(set(world.keys())) == 2
    assert world.credits() == (9, 0)


async def test_a_refused_request_gets_no_other_round_whatever_the_manifest_says() -> None:
    world = World.of(A, failed_rounds=FailedRounds(generation=5))

    await world.submits("a", NO)

    assert (world.state("a"), world.job("a").round) == (State.FAILED, 1)


async def test_a_job_that_left_the_manifest_gets_no_other_round() -> None:
    world = World.of(A, B, failed_rounds=FailedRounds(generation=5))
    await world.submits("a", accepted("t1"))
    world.lists(B)
    world.says(httpx.Response(200, json=task("t1", status="failed", code="generation_failed")))

    assert (await world.poll("a")).state is State.FAILED


# --- bytes and references -------------------------------------------------------------------------

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
            assert (await world.submit("a")).not_sent is NotSent.UPLOADS, (
                "the url that is gone is not used again"
            )

    assert world.state("a") is State.FAILED
    assert len(set(world.keys())) == FRESH_BODIES + 1
    assert world.credits() == (0, 0)


async def test_a_reference_without_a_fresh_copy_is_not_submitted() -> None:
    world = World.of(WITH_PICTURE)
    assert (await world.submit("a")).not_sent is NotSent.UPLOADS
    world.uploaded(PICTURE, "https://files/1")
    world.clock.pass_s(3601)
    assert (await world.submit("a")).not_sent is NotSent.UPLOADS
    world.clock.wall -= 2 * 3601
    assert (await world.submit("a")).not_sent is NotSent.UPLOADS, "a copy from the future is of unknown age"

    assert world.sent == []
    assert rows(world.file, "SELECT count(*) FROM ledger") == [(0,)]


async def test_an_upload_of_another_account_is_not_used() -> None:
    world = await uploaded_world()
    world.key = "rvya_sk_two"

    assert (await world.submit("a")).not_sent is NotSent.UPLOADS


# --- the key of the account -----------------------------------------------------------------------


async def test_an_unclear_send_of_another_account_is_uncertain() -> None:
    world = World.of(A)
    await world.submits("a", LOST)
    world.key = "rvya_sk_two"

    done = await world.submit("a")

    assert (done.not_sent, world.job("a").error_code) == (NotSent.UNCERTAIN, "key_changed")
    assert len(world.sent) == 1


async def test_what_another_account_refused_for_certain_may_be_sent_by_this_one() -> None:
    world = World.of(A)
    await world.submits("a", TOO_FAST)
    world.key = "rvya_sk_two"
    await world.submits("a", LOST)
    assert world.job("a").key12 == world.account.key12
    await world.submits("a", accepted("t1"))

    assert world.state("a") is State.WAITING
