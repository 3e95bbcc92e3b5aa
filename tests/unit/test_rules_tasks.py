"""What follows from tasks: classes of failures, rounds, the breaker, credits, and which state may follow which."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from runner.lifecycle.rules import (
    MODERATION_LIKE,
    AfterTask,
    after_task,
    counts_for_breaker,
    has_ended_oddly,
    may_become,
    oddness,
    task_failure,
    wants_another_round,
)
from runner.model import NEVER_SENT, FailedRounds, State
from runner.service.amounts import credits_of
from runner.service.protocol import FailureClass, TaskStatus
from runner.service.rivya.failures import failure_class
from runner.service.rivya.tasks import read_task
from tests.service_words import TASK

# --- classes of failures, rounds, breaker ---------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status", "cls"),
    [
        ("validation_failed", 400, FailureClass.VALIDATION),
        ("webhook_url_rejected", 400, FailureClass.VALIDATION),
        ("", 413, FailureClass.VALIDATION),
        ("", 415, FailureClass.VALIDATION),
        ("unprocessable", 422, FailureClass.VALIDATION),
        ("not_found", 404, FailureClass.NOT_FOUND),
        ("model_missing", 404, FailureClass.NOT_FOUND),
        ("content_policy_violation", 400, FailureClass.POLICY),
        ("moderation_blocked", 422, FailureClass.POLICY),
        ("SAFETY_FILTER", 400, FailureClass.POLICY),
        ("teapot", 418, FailureClass.OTHER),
        # Of a task that failed there is no status.
        ("generation_failed", None, FailureClass.GENERATION),
        ("", None, FailureClass.GENERATION),
        ("some_code_of_next_year", None, FailureClass.GENERATION),
        ("nsfw_content", None, FailureClass.POLICY),
        ("invalid_input", None, FailureClass.VALIDATION),
        ("insufficient_credits", None, FailureClass.CREDITS),
        ("insufficient_credits", 402, FailureClass.CREDITS),
    ],
)
def test_the_class_of_a_failure(code: str, status: int | None, cls: FailureClass) -> None:
    assert failure_class(code=code, status=status) is cls


MANY = FailedRounds(generation=100, policy=100)


@pytest.mark.parametrize("cls", list(FailureClass))
def test_a_refused_request_never_gets_another_round_by_itself(cls: FailureClass) -> None:
    assert not wants_another_round(cls=cls, round_=1, rounds=MANY, task_failed=False, charged=0)


@pytest.mark.parametrize(
    ("round_", "rounds", "again"),
    [(1, 0, False), (1, 1, True), (2, 1, False), (2, 2, True), (3, 2, False), (50, 2, False)],
)
@pytest.mark.parametrize("cls", [FailureClass.GENERATION, FailureClass.POLICY])
def test_a_failed_task_gets_as_many_more_rounds_as_the_manifest_says_for_its_class(
    cls: FailureClass, round_: int, rounds: int, again: bool
) -> None:
    allowed = FailedRounds(**{cls.value: rounds})
    others = FailedRounds(generation=100, policy=100)

    assert wants_another_round(cls=cls, round_=round_, rounds=allowed, task_failed=True, charged=0) is again
    only_others = replace(others, **{cls.value: 0})
    assert not wants_another_round(cls=cls, round_=1, rounds=only_others, task_failed=True, charged=0)


@pytest.mark.parametrize(
    ("cls", "charged", "again"),
    [
        (FailureClass.GENERATION, 10.0, True),
        (FailureClass.GENERATION, None, True),
        (FailureClass.POLICY, 0.0, True),
        # Absent or null means charged in full: then the next one will be too.
        (FailureClass.POLICY, None, False),
        (FailureClass.POLICY, 0.5, False),
        (FailureClass.VALIDATION, 0.0, False),
    ],
)
def test_a_refusal_of_what_a_task_made_is_tried_again_only_where_it_was_free(
    cls: FailureClass, charged: float | None, again: bool
) -> None:
    assert wants_another_round(cls=cls, round_=1, rounds=MANY, task_failed=True, charged=charged) is again


def test_what_counts_for_the_breaker() -> None:
    counted = {cls for cls in FailureClass if counts_for_breaker(cls)}

    assert counted == {FailureClass.GENERATION, FailureClass.NOT_FOUND, FailureClass.OTHER}
    assert {FailureClass.VALIDATION, FailureClass.POLICY} == MODERATION_LIKE


# --- tasks ----------------------------------------------------------------------------------------


def test_the_documented_task_is_read_whole() -> None:
    task = read_task(
        {
            **TASK,
            "status": "succeeded",
            "reserved_credits": 8,
            "final_credits": 7.5,
            "result": {"primary_url": "https://m/1.png", "urls": ["https://m/1.png", "https://m/2.png"]},
        }
    )

    assert task is not None
    assert (task.id, task.status, task.word, task.model) == (
        "task_1",
        TaskStatus.SUCCEEDED,
        "succeeded",
        "z-image",
    )
    assert (task.reserved, task.final) == (8.0, 7.5)
    assert task.urls == ("https://m/1.png", "https://m/2.png")
    assert task.created_at == "2026-05-11T00:00:00.000Z"
    assert after_task(task) is AfterTask.DOWNLOADING


@pytest.mark.parametrize(
    "task_id", ["", "   ", ".", "..", " .. ", None, True, 1.5, ["task_1"], {"id": "x"}, "x" * 501]
)
def test_a_task_without_a_usable_id_is_no_task(task_id: Any) -> None:
    assert read_task({**TASK, "id": task_id}) is None


@pytest.mark.parametrize("data", [None, {}, {"status": "queued"}, {"task": "x"}, {"requestId": "req_1"}])
def test_what_has_no_id_is_no_task(data: Any) -> None:
    assert read_task(data) is None


# An envelope has an id too, and it is not the task's.
WRAPPED = {
    "data": {"data": TASK},
    "generation": {"generation": TASK},
    "task": {"task": TASK},
    "result": {"result": TASK},
    "response": {"code": 0, "message": "ok", "response": TASK},
    "twice": {"data": {"generation": TASK}},
    "in a list": {"data": [TASK]},
    "list of a wrapped one": {"data": [{"task": TASK}]},
    "beside the id of the request": {"id": "req_1", "data": TASK},
    "beside an id of any form": {"id": "8f14e45f", "status": "ok", "data": TASK},
    "beside an id and a status": {"id": "8f14e45f", "status": "succeeded", "data": TASK},
    "beside ids by other names": {"request_id": "r", "requestId": "req_1", "trace_id": "x", "data": TASK},
    "task_id": {**TASK, "id": None, "task_id": "task_1"},
    "taskId": {"code": 200, "data": {"taskId": "task_1"}},
    "generation_id": {"generation_id": "task_1"},
    "generationId": {"generationId": "task_1", "id": "req_1"},
    "named, beside the id of the request": {"id": "8f14e45f", "data": {"task_id": "task_1"}},
    "named, in the same object": {"id": "8f14e45f", "task_id": "task_1"},
    "the plain one, with something else in it": {**TASK, "data": {"id": "other", "status": "queued"}},
    "with results that have ids": {**TASK, "status": "rendering", "result": {"id": "file_1", "urls": []}},
    "with the id of another system": {**TASK, "task_id": "upstream-1"},
    "nothing but an id": {"id": "task_1"},
    "a word nobody knows": {"id": "task_1", "status": "dreaming"},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_task_is_found_however_it_is_wrapped_and_its_id_is_its_own(name: str) -> None:
    task = read_task(WRAPPED[name])

    assert task is not None
    assert task.id == "task_1"


def test_all_of_a_wrapped_task_is_read() -> None:
    ended = {**TASK, "status": "failed", "final_credits": 3, "error": {"code": "c", "message": "m"}}

    assert read_task({"data": {"generation": ended}}) == read_task(ended)


@pytest.mark.parametrize(
    "data",
    [
        {"id": "req_1"},
        {"id": "req_1", "status": "queued"},
        {"id": "abc", "requestId": "abc"},
        {"request_id": "abc", "status": "queued"},
        {"client_request_id": "rb1-1", "status": "queued"},
        {"data": [TASK, TASK]},
        {"data": []},
        {"data": "task_1"},
        {"data": {"user": {"id": "u1"}}},
        {"data": {"data": {"data": {"data": TASK}}}},
    ],
)
def test_no_other_id_is_taken_for_a_tasks(data: Any) -> None:
    assert read_task(data) is None


def test_an_id_that_is_a_whole_number_is_an_id() -> None:
    task = read_task({**TASK, "id": 4711})

    assert task is not None
    assert task.id == "4711"


URLS = {"primary_url": "https://m/1.mp4"}
ERROR = {"code": "provider_error", "message": "the model is gone"}
RUNS, COMES, FAILS, ENDS = AfterTask.RUNNING, AfterTask.DOWNLOADING, AfterTask.FAILED, "ended oddly"


@pytest.mark.parametrize(
    ("word", "plain", "with_urls", "with_error"),
    [
        # The documented words hold, whatever stands beside them.
        ("queued", RUNS, RUNS, RUNS),
        ("processing", RUNS, RUNS, RUNS),
        (" Processing ", RUNS, RUNS, RUNS),
        ("succeeded", COMES, COMES, COMES),
        (" Succeeded ", COMES, COMES, COMES),
        ("failed", FAILS, COMES, FAILS),  # with urls and a charge
        ("FAILED", FAILS, COMES, FAILS),
        # What can only mean a success.
        ("SUCCESS", COMES, COMES, COMES),
        ("Complete", COMES, COMES, COMES),
        ("completed", COMES, COMES, COMES),
        ("done", COMES, COMES, COMES),
        # What can only mean an end without a result is never `failed`: that may be paid for again.
        ("cancelled", ENDS, COMES, ENDS),
        ("CANCELED", ENDS, COMES, ENDS),
        ("expired", ENDS, COMES, ENDS),
        ("error", ENDS, COMES, ENDS),
        ("timed_out", ENDS, COMES, ENDS),
        # What nobody knows: a result is fetched, an error may be its end.
        ("delivered", RUNS, COMES, ENDS),
        ("42", RUNS, COMES, ENDS),
        ("other", RUNS, COMES, ENDS),
        ("", RUNS, COMES, ENDS),
        (None, RUNS, COMES, ENDS),
        (3, RUNS, COMES, ENDS),
        # What sounds like work in hand: a url may be a preview, and what went wrong may be tried again.
        ("rendering", RUNS, RUNS, RUNS),
        ("IN_PROGRESS", RUNS, RUNS, RUNS),
        ("pending", RUNS, RUNS, RUNS),
        ("partial-preview", RUNS, RUNS, RUNS),
        ("retrying", RUNS, RUNS, RUNS),
    ],
)
def test_what_a_word_makes_of_a_job_alone_with_a_result_and_with_an_error(
    word: Any, plain: AfterTask | str, with_urls: AfterTask, with_error: AfterTask | str
) -> None:
    for more, expected in (({}, plain), ({"result": URLS}, with_urls), ({"error": ERROR}, with_error)):
        task = read_task({**TASK, "status": word, "final_credits": 1, **more})

        assert task is not None
        assert has_ended_oddly(task) is (expected == ENDS), (word, more)
        assert after_task(task) is (RUNS if expected == ENDS else expected), (word, more)


def test_a_status_under_another_name_is_read() -> None:
    data = {key: value for key, value in TASK.items() if key != "status"}

    task = read_task({**data, "state": "succeeded"})
    nothing = read_task({**data, "result": URLS})

    assert task is not None
    assert task.status is TaskStatus.SUCCEEDED
    assert nothing is not None
    assert after_task(nothing) is AfterTask.DOWNLOADING


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        ("succeeded", None, ""),
        ("Succeeded", None, ""),
        ("completed", None, ""),
        (None, None, ""),
        (
            "succeeded",
            ERROR,
            "calls its task 'succeeded' (provider_error: the model is gone), yet names a result",
        ),
        (
            "canceled",
            ERROR,
            "calls its task 'canceled' (provider_error: the model is gone), yet names a result",
        ),
        ("canceled", None, "calls its task 'canceled', yet names a result"),
        ("failed", ERROR, "that its task failed (provider_error: the model is gone), yet it names a result"),
        ("failed", "boom", "that its task failed (boom), yet it names a result and charges for it"),
    ],
)
def test_what_is_odd_about_a_result_is_put_into_words(status: Any, error: Any, said: str) -> None:
    task = read_task({**TASK, "status": status, "final_credits": 1, "error": error, "result": URLS})

    assert task is not None
    assert after_task(task) is AfterTask.DOWNLOADING
    assert said in oddness(task)
    assert bool(said) is bool(oddness(task))


@pytest.mark.parametrize(("final", "after"), [(0, FAILS), (None, COMES), (0.5, COMES), ("12", COMES)])
def test_what_a_failed_task_gave_is_fetched_only_where_it_was_charged(final: Any, after: AfterTask) -> None:
    task = read_task({**TASK, "status": "failed", "final_credits": final, "result": URLS})

    assert task is not None
    assert after_task(task) is after


@pytest.mark.parametrize(
    ("result", "urls"),
    [
        (None, ()),
        ("https://m/1.png", ("https://m/1.png",)),
        ({}, ()),
        ({"primary_url": None, "urls": None}, ()),
        ({"primary_url": "https://m/1"}, ("https://m/1",)),
        ({"urls": ["https://m/1", "https://m/2"]}, ("https://m/1", "https://m/2")),
        (
            {"primary_url": "https://m/2", "urls": ["https://m/1", "https://m/2"]},
            ("https://m/2", "https://m/1"),
        ),
        ({"urls": ["https://m/1", "https://m/1", "", "  ", None, 4, {"url": " x\n"}]}, ("https://m/1", "x")),
        ({"urls": "https://m/1"}, ("https://m/1",)),
        ({"url": "https://m/1"}, ("https://m/1",)),
        ([{"url": "https://m/1", "type": "video"}], ("https://m/1",)),
        ({"metadata": {"url": "https://m/1"}}, ()),
    ],
)
def test_result_urls_are_read_leniently(result: Any, urls: tuple[str, ...]) -> None:
    task = read_task({**TASK, "status": "succeeded", "result": result})

    assert task is not None
    assert task.urls == urls
    assert after_task(task) is AfterTask.DOWNLOADING, "a succeeded task never fails for want of a url"


@pytest.mark.parametrize(
    ("value", "credits"),
    [
        (0, 0.0),
        (7, 7.0),
        (0.25, 0.25),
        (None, None),
        (True, None),
        (False, None),
        ("7", 7.0),
        ("12.50", 12.5),
        ("-7", None),
        ("1e3", 1000.0),
        ("+40", 40.0),
        ("4,000", 4000.0),
        ("4,0", None),
        ("1.234,5", None),
        ("40 euros", None),
        ([40], 40.0),
        ([40, 50], None),
        ({"amount": "40", "currency": "credits"}, 40.0),
        ({"reserved": 40}, None),
        ("nan", None),
        ("Infinity", None),
        ("７", None),
        (" 7\n", 7.0),
        ("7 credits", 7.0),
        ("", None),
        pytest.param("9" * 400, None, id="400 digits of text"),
        (-1, None),
        (math.nan, None),
        (math.inf, None),
        ([], None),
        pytest.param(10**400, None, id="400 digits"),
    ],
)
def test_an_amount_of_credits_is_a_finite_number_of_at_least_zero(value: Any, credits: float | None) -> None:
    assert credits_of(value) == credits


@pytest.mark.parametrize(
    ("text", "credits"),
    [
        ("NaN", None),
        ("Infinity", None),
        ("1e999", None),
        pytest.param("1" * 400, None, id="400 digits"),
        ("-0.0", 0.0),
    ],
)
def test_absurd_amounts_in_json_do_not_stop_the_run(text: str, credits: float | None) -> None:
    task = read_task({**TASK, "reserved_credits": json.loads(text)})

    assert task is not None
    assert task.reserved == credits


@pytest.mark.parametrize("said_error", [None, "boom", {}, {"code": None}, {"message": "no code"}])
def test_a_failed_task_may_say_nothing_of_why(said_error: Any) -> None:
    task = read_task({**TASK, "status": "failed", "error": said_error})

    assert task is not None
    assert after_task(task) is AfterTask.FAILED
    failure = task_failure(task)
    assert (failure.cls, failure.code) == (FailureClass.GENERATION, "unknown")
    assert failure.message


@pytest.mark.parametrize(
    ("code", "final", "after"),
    [
        ("insufficient_credits", 0, AfterTask.NO_CREDITS),
        # Absent or null means charged in full, so this payment is not undone.
        ("insufficient_credits", None, AfterTask.FAILED),
        ("insufficient_credits", 3, AfterTask.FAILED),
        ("generation_failed", 0, AfterTask.FAILED),
        ("generation_failed", None, AfterTask.FAILED),
    ],
)
def test_a_task_that_failed_for_want_of_credits_and_cost_nothing_is_no_round(
    code: str, final: float | None, after: AfterTask
) -> None:
    task = read_task(
        {**TASK, "status": "failed", "final_credits": final, "error": {"code": code, "message": ""}}
    )

    assert task is not None
    assert after_task(task) is after


# --- states ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(State))
def test_a_state_may_stay(state: State) -> None:
    assert may_become(state, state)


PERSON = {State.PLANNED, State.ABANDONED}  # begun again, or given up
FORBIDDEN = [
    # Paid work is never called failed for want of its result, nor sent again under another payment.
    *[(State.DOWNLOADING, new) for new in State if new not in PERSON | {State.DOWNLOADING, State.DONE}],
    *[(State.DONE, new) for new in State if new not in (State.DONE, State.DOWNLOADING, State.PLANNED)],
    # Nothing reaches a submit but what was never sent, or by a person's word from uncertain.
    *[
        (old, State.SUBMITTING)
        for old in State
        if old not in NEVER_SENT | {State.SUBMITTING, State.UNCERTAIN}
    ],
    # A doubt ends by a person only, and never in another payment.
    *[
        (State.UNCERTAIN, new)
        for new in State
        if new not in (State.UNCERTAIN, State.SUBMITTING, State.WAITING, State.ABANDONED)
    ],
    # What has ended is planned anew, never sent as it is.
    *[
        (old, new)
        for old in (State.FAILED, State.ABANDONED)
        for new in State
        if new not in (old, State.PLANNED)
    ],
    # What is in flight is not begun anew with its bytes thrown away.
    (State.WAITING, State.SUBMITTING),
    (State.WAITING, State.UNCERTAIN),
]


@pytest.mark.parametrize(("old", "new"), FORBIDDEN)
def test_what_a_state_never_becomes(old: State, new: State) -> None:
    assert not may_become(old, new)


def test_every_state_can_still_come_to_an_end() -> None:
    for state in State:
        reached, fresh = {state}, {state}
        while fresh:
            fresh = {new for old in fresh for new in State if may_become(old, new)} - reached
            reached |= fresh
        assert reached & {State.DONE, State.FAILED, State.ABANDONED}, state


def test_what_leads_back_to_a_payment() -> None:
    back = {old for old in State if any(may_become(old, new) for new in NEVER_SENT)} - NEVER_SENT

    # Refused, or failed under `failed_rounds`; from all others by a person's `retry` only.
    by_itself = {State.SUBMITTING, State.WAITING}
    assert back == by_itself | {State.DOWNLOADING, State.DONE, State.FAILED, State.ABANDONED}
