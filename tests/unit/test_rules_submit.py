"""What an answer of the service means, and what follows for a submit: the rules for paying once, as tables."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from runner.errors import Exit
from runner.lifecycle.rules import (
    CONFLICT_SPAN_S,
    CONFLICT_TRIES,
    After,
    SubmitOutcome,
    after_submit,
)
from runner.service.protocol import Answer, Meaning
from runner.service.reply import Reply
from runner.service.rivya.answers import understand
from tests.prepared_bytes import BODY
from tests.service_words import TASK


def error(code: str = "validation_failed", message: str = "no", request_id: str = "req_1") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "requestId": request_id}}


def said(status: int | None, data: Any = None, **more: Any) -> Answer:
    return understand(Reply(status=status, data=data, **more))


def outcome(answer: Answer, **given: Any) -> SubmitOutcome:
    return after_submit(answer, **{"earlier_unclear": 0, "conflicts": 0, "conflict_age_s": 0.0, **given})


# --- what an answer means -------------------------------------------------------------------------

NO_PROOF = (400, 401, 402, 403, 404, 405, 406, 410, 411, 413, 414, 415, 421, 422, 426, 431, 451, 495, 499)

MEANINGS = [
    # An answer with an id, in whatever shade of 2xx.
    *[(status, TASK, Meaning.OK) for status in (200, 201, 202, 204, 299)],
    # 2xx without a JSON object is no success and no refusal.
    (200, None, Meaning.UNCLEAR),
    (202, None, Meaning.UNCLEAR),
    # Redirects are never followed and prove nothing, whatever they say.
    *[(status, error(), Meaning.UNCLEAR) for status in (300, 301, 302, 303, 304, 307, 308)],
    (302, error("insufficient_credits"), Meaning.UNCLEAR),
    (100, None, Meaning.UNCLEAR),
    (101, None, Meaning.UNCLEAR),
    # Refusals in the service's own words.
    *[(status, error(), Meaning.REFUSED) for status in (400, 404, 413, 415, 422)],
    (400, error("a_code_of_next_year"), Meaning.REFUSED),
    (404, error("not_found"), Meaning.REFUSED),
    (418, error("a_code_of_next_year"), Meaning.REFUSED),
    # The same statuses from a gateway's page, or in a shape that is not the service's.
    *[(status, None, Meaning.UNCLEAR) for status in NO_PROOF],
    *[
        (status, data, Meaning.UNCLEAR)
        for status in NO_PROOF
        for data in (
            {"message": "Unauthorized"},
            {"error": "forbidden"},
            {"error": {"message": "Forbidden"}},
            {"error": {"code": str(status), "message": "no"}},
            {"error": {"code": status, "message": "no", "status": "PERMISSION_DENIED"}},
            {"error": {"code": "ResourceNotFound"}},
            {"error": {"code": "FUNCTION_INVOCATION_TIMEOUT"}},
            {"errors": [{"code": "not_found"}]},
            {"code": "not_found", "message": "no"},
            {},
        )
    ],
    (400, {"message": "Bad Request"}, Meaning.UNCLEAR),
    (404, {"error": "Not Found"}, Meaning.UNCLEAR),
    (400, {"error": {"message": "no code"}}, Meaning.UNCLEAR),
    (400, {"error": {"code": "", "message": "empty code"}}, Meaning.UNCLEAR),
    (400, {"error": {"code": 7}}, Meaning.UNCLEAR),
    (400, {"error": ["validation_failed"]}, Meaning.UNCLEAR),
    # Credits are known by the code, with any status.
    *[
        (status, error("insufficient_credits"), Meaning.NO_CREDITS)
        for status in (400, 401, 402, 403, 404, 409, 422, 429, 500, 503)
    ],
    # So is an account that cannot pay by what other services call it, and by the status that says nothing else.
    *[
        (status, error(code), Meaning.NO_CREDITS)
        for status in (400, 402, 403, 422)
        for code in ("payment_required", "insufficient_balance", "insufficient_funds", "out_of_credits")
    ],
    (402, error("card_declined"), Meaning.NO_CREDITS),
    (402, error("upstream_timeout"), Meaning.UNCLEAR),
    (400, error("insufficient_resolution"), Meaning.REFUSED),
    (503, error("insufficient_balance"), Meaning.UNCLEAR),
    # A limit of the account is no job's fault.
    *[
        (status, error(code), Meaning.RATE_LIMITED)
        for status in (400, 403, 422)
        for code in (
            "billing_hard_limit_reached",
            "spending_limit_exceeded",
            "usage_limit_reached",
            "concurrency_limit_exceeded",
        )
    ],
    (403, error("forbidden", message="Monthly quota exceeded"), Meaning.RATE_LIMITED),
    (403, error("forbidden", message="You have reached your usage limit."), Meaning.RATE_LIMITED),
    (403, error("forbidden", message="no"), Meaning.KEY_REFUSED),
    (403, error("api_scope_denied", message="no quota"), Meaning.KEY_REFUSED),
    (401, error("api_key_invalid", message="no quota"), Meaning.KEY_REFUSED),
    (400, error("validation_failed", message="a prompt about a quota"), Meaning.REFUSED),
    (400, error("prompt_limit_exceeded"), Meaning.REFUSED),
    # 429 whatever it says besides.
    (429, None, Meaning.RATE_LIMITED),
    (429, error("rate_limited"), Meaning.RATE_LIMITED),
    (429, error("validation_failed"), Meaning.RATE_LIMITED),
    # Our key, when the service itself refuses it.
    *[
        (401, error(code), Meaning.KEY_REFUSED)
        for code in ("api_key_missing", "api_key_invalid", "api_key_revoked", "api_key_expired")
    ],
    (403, error("api_scope_denied"), Meaning.KEY_REFUSED),
    # Conflicts.
    (409, error("idempotency_conflict"), Meaning.CONFLICT),
    (409, error("validation_failed"), Meaning.CONFLICT),
    (409, None, Meaning.CONFLICT),
    # The service's own fault, or its gateway's.
    (503, error("public_api_disabled"), Meaning.DISABLED),
    (503, error("internal_error"), Meaning.UNCLEAR),
    *[(status, None, Meaning.UNCLEAR) for status in (500, 502, 503, 504, 520, 599)],
    (500, error("validation_failed"), Meaning.UNCLEAR),
    (500, TASK, Meaning.UNCLEAR),
    (408, error("timeout"), Meaning.UNCLEAR),
    (425, error("too_early"), Meaning.UNCLEAR),
    # Of a request under way, or of something behind the service.
    *[(status, error("locked"), Meaning.UNCLEAR) for status in (423, 424, 499)],
    # The documented codes are the contract, should another status come with them; a 5xx proves nothing.
    *[(status, error("idempotency_conflict"), Meaning.CONFLICT) for status in (400, 403, 412, 422)],
    *[(status, error("rate_limited"), Meaning.RATE_LIMITED) for status in (400, 403, 420)],
    (503, error("idempotency_conflict"), Meaning.UNCLEAR),
    (503, error("rate_limited"), Meaning.UNCLEAR),
]


@pytest.mark.parametrize(("status", "data", "meaning"), MEANINGS)
def test_the_meaning_of_an_answer(status: int, data: Any, meaning: Meaning) -> None:
    assert said(status, data).meaning is meaning


@pytest.mark.parametrize(
    "data", [{"status": "queued"}, {"task": "t"}, {"id": " "}, {"data": [TASK, TASK]}, None]
)
def test_a_submit_that_brings_no_task_id_was_not_answered(data: Any) -> None:
    answer = understand(Reply(status=201, data=data), body=BODY)

    assert answer.meaning is Meaning.UNCLEAR
    assert answer.words() == "HTTP 201 and no task id in the answer"
    assert understand(Reply(status=201, data=TASK), body=BODY).meaning is Meaning.OK


@pytest.mark.parametrize("status", [201, 202, 204, 303])
@pytest.mark.parametrize("data", [None, {}, {"status": "queued"}])
@pytest.mark.parametrize(
    ("location", "task_id"),
    [
        ("/api/v1/generations/task_1", "task_1"),
        ("https://rivya.ai/api/v1/generations/a%2Fb/", "a/b"),
        ("https://rivya.ai/login?next=/api/v1/generations/task_1", None),
        ("/api/v1/generations", None),
        ("/api/v1/generations/", None),
        ("/api/v1/generations/..", None),
        (None, None),
    ],
)
def test_a_task_may_be_named_by_the_place_where_it_is(
    status: int, data: Any, location: str | None, task_id: str | None
) -> None:
    answer = understand(Reply(status=status, data=data, location=location), body=BODY)

    assert answer.meaning is (Meaning.OK if task_id else Meaning.UNCLEAR)
    assert (answer.task.id if answer.task else None) == task_id


@pytest.mark.parametrize(
    ("status", "data"), [*((status, None) for status in (301, 302, 307, 308, 409, 500)), (201, error())]
)
def test_no_other_redirect_and_no_refusal_names_a_task_by_its_place(status: int, data: Any) -> None:
    answer = understand(Reply(status=status, data=data, location="/api/v1/generations/task_1"), body=BODY)

    assert answer.task is None
    assert answer.meaning in (Meaning.UNCLEAR, Meaning.CONFLICT)


@pytest.mark.parametrize(("sent", "meaning"), [(True, Meaning.UNCLEAR), (False, Meaning.NEVER_LEFT)])
def test_no_answer_is_unclear_unless_certainly_nothing_was_sent(sent: bool, meaning: Meaning) -> None:
    assert said(None, sent=sent).meaning is meaning


def test_an_answer_keeps_what_people_need() -> None:
    answer = said(400, error(message="prompt too long", request_id="req_9"), retry_after_s=3.0)

    assert (answer.code, answer.message, answer.request_id) == (
        "validation_failed",
        "prompt too long",
        "req_9",
    )
    assert answer.retry_after_s == 3.0
    assert answer.words() == "HTTP 400 validation_failed prompt too long (request req_9)"


def test_without_words_of_the_service_ours_are_shown() -> None:
    answer = said(502, None, detail="HTTP 502, text/html", request_id="from-a-header")

    assert answer.words() == "HTTP 502, text/html (request from-a-header)"


@pytest.mark.parametrize(
    "data", [{}, {"error": None}, {"error": {"code": None, "message": None, "requestId": 4}}]
)
def test_an_odd_error_object_is_understood_without_trouble(data: Any) -> None:
    for status in (200, 302, 400, 409, 429, 500, 503):
        assert isinstance(said(status, data).words(), str)


# --- definite or not ------------------------------------------------------------------------------

PAGES = tuple(said(status, page=True) for status in (*NO_PROOF, 429))
REFUSALS = tuple(said(status, error()) for status in (400, 404, 413, 415, 422))
EMPTY = tuple(said(status, error("insufficient_credits")) for status in (400, 402, 403, 409, 429, 500))
NEVER_DEFINITE = (
    said(None, sent=True),
    *(said(status) for status in (500, 502, 503, 504, 301, 302, 307, 200, 202, 408, 425, 400, 404)),
    said(503, error("public_api_disabled")),
    said(409, error("idempotency_conflict")),
    said(200, {}),
    said(200, {"id": ""}),
    said(200, {"id": None, "status": "queued"}),
    *PAGES,
    said(401, {"message": "Unauthorized"}),
    said(429, {"message": "Too Many Requests"}),
)
ALWAYS_DEFINITE = (
    said(None, sent=False),
    said(429),
    said(429, error("rate_limited")),
    said(401, error("api_key_revoked")),
    said(403, error("api_scope_denied")),
)


@pytest.mark.parametrize("answer", ALWAYS_DEFINITE)
@pytest.mark.parametrize("earlier_unclear", [0, 1, 7])
def test_a_send_is_definitely_refused_when_it_never_left_or_was_answered_429_401_403(
    answer: Answer, earlier_unclear: int
) -> None:
    assert outcome(answer, earlier_unclear=earlier_unclear).definite


@pytest.mark.parametrize("answer", NEVER_DEFINITE)
@pytest.mark.parametrize("earlier_unclear", [0, 1])
def test_what_is_never_definite(answer: Answer, earlier_unclear: int) -> None:
    found = outcome(answer, earlier_unclear=earlier_unclear, conflicts=1)

    assert not found.definite
    assert found.after is After.AGAIN
    assert not found.new_revision


@pytest.mark.parametrize("answer", REFUSALS)
def test_a_refusal_is_definite_and_final_when_every_earlier_send_was_refused_too(answer: Answer) -> None:
    found = outcome(answer)

    assert found.definite
    assert found.after is After.FAILED
    assert found.failure is not None
    assert found.stop is None


@pytest.mark.parametrize("answer", REFUSALS)
@pytest.mark.parametrize("urls", [(), ("https://files/1",)])
def test_a_refusal_after_a_lost_answer_proves_nothing(answer: Answer, urls: tuple[str, ...]) -> None:
    found = outcome(replace(answer, stale_urls=urls), earlier_unclear=1)

    assert found.after is After.UNCERTAIN
    assert not found.definite
    assert not found.new_revision
    assert found.failure is not None


def test_a_refused_url_after_a_lost_answer_makes_no_new_body() -> None:
    answer = said(400, error(message="https://files/1 has expired"))

    assert (
        outcome(replace(answer, stale_urls=("https://files/1",)), earlier_unclear=1).after is After.UNCERTAIN
    )


@pytest.mark.parametrize("answer", EMPTY)
def test_an_empty_account_puts_the_job_back_with_a_new_revision_and_stops_submitting(answer: Answer) -> None:
    found = outcome(answer)

    assert (found.after, found.definite, found.new_revision) == (After.BACK, True, True)
    assert found.stop is Exit.CREDITS


@pytest.mark.parametrize("answer", EMPTY)
def test_an_empty_account_after_an_unclear_send_stays_submitting(answer: Answer) -> None:
    found = outcome(answer, earlier_unclear=1)

    assert (found.after, found.definite, found.new_revision) == (After.AGAIN, False, False)
    assert found.stop is Exit.CREDITS


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_the_run_and_keeps_the_revision(status: int) -> None:
    answer = said(status, error("api_key_revoked"))
    clear, unclear = outcome(answer), outcome(answer, earlier_unclear=1)

    assert clear.stop is Exit.REFUSED
    assert unclear.stop is Exit.REFUSED
    assert (clear.after, unclear.after) == (After.BACK, After.AGAIN)
    assert not clear.new_revision
    assert not unclear.new_revision


def test_too_fast_is_repeated_for_ever_and_never_stops_anything() -> None:
    found = outcome(
        said(429, retry_after_s=7.0), conflicts=CONFLICT_TRIES + 5, conflict_age_s=CONFLICT_SPAN_S * 9
    )

    assert (found.after, found.definite, found.stop) == (After.AGAIN, True, None)
    assert found.retry_after_s == 7.0


@pytest.mark.parametrize(
    ("answer", "definite", "pinned"),
    [
        (said(429, error("rate_limited")), True, False),
        # Nothing to read in it: what a limiter says, but not the API itself.
        (said(429), True, True),
        # Somebody's page, or words of another shape: perhaps it was passed on before.
        (said(429, page=True), False, False),
        (said(429, {"message": "Too Many Requests"}), False, False),
        (said(429, {"error": "slow down"}), False, False),
    ],
)
def test_what_a_429_proves_depends_on_who_says_it(answer: Answer, definite: bool, pinned: bool) -> None:
    found = outcome(answer)

    assert (found.after, found.definite, found.pinned) == (After.AGAIN, definite, pinned)


def test_a_disabled_api_is_asked_again_with_the_same_bytes() -> None:
    found = outcome(said(503, error("public_api_disabled"), retry_after_s=30.0))

    assert (found.after, found.definite, found.new_revision) == (After.AGAIN, False, False)
    assert found.retry_after_s == 30.0


@pytest.mark.parametrize("status", [200, 201, 202, 203, 207])
@pytest.mark.parametrize("earlier_unclear", [0, 3])
def test_any_2xx_with_an_id_is_success(status: int, earlier_unclear: int) -> None:
    found = outcome(said(status, TASK), earlier_unclear=earlier_unclear)

    assert found.after is After.WAITING
    assert found.task is not None
    assert found.task.id == "task_1"


def test_a_2xx_with_an_error_object_but_no_id_is_no_success_and_no_refusal() -> None:
    found = outcome(said(200, error("insufficient_credits")))

    assert (found.after, found.definite) == (After.AGAIN, False)


# Whatever comes: only these may follow, and nothing that is not definite leaves `submitting` but to
# a person or to a task.
ALL = (*ALWAYS_DEFINITE, *NEVER_DEFINITE, *REFUSALS, *EMPTY, said(200, TASK))


@pytest.mark.parametrize("earlier_unclear", [0, 1, 5])
def test_only_a_definite_refusal_of_every_send_frees_the_job_for_other_bytes(earlier_unclear: int) -> None:
    for answer, urls, fresh in itertools.product(ALL, ((), ("https://files/1",)), (True, False)):
        found = outcome(
            replace(answer, stale_urls=urls),
            earlier_unclear=earlier_unclear,
            fresh_bodies_left=fresh,
            conflicts=1,
        )
        frees = found.after in (After.FAILED, After.BACK, After.NEW_BODY)
        assert not frees or (found.definite and earlier_unclear == 0), answer
        assert not found.new_revision or frees, answer


# --- 409 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conflicts", "age_s", "after"),
    [
        (1, 0.0, After.AGAIN),
        (CONFLICT_TRIES - 1, 0.0, After.AGAIN),
        (CONFLICT_TRIES - 1, CONFLICT_SPAN_S, After.AGAIN),
        (CONFLICT_TRIES, 0.0, After.UNCERTAIN),
        (CONFLICT_TRIES + 1, 0.0, After.UNCERTAIN),
        (1, CONFLICT_SPAN_S + 0.1, After.UNCERTAIN),
        # A clock set back knows nothing, but the count still ends it.
        (1, -1e9, After.AGAIN),
        (CONFLICT_TRIES, -1e9, After.UNCERTAIN),
    ],
)
@pytest.mark.parametrize("earlier_unclear", [0, 2])
def test_a_conflict_is_repeated_at_most_8_times_or_10_minutes(
    conflicts: int, age_s: float, after: After, earlier_unclear: int
) -> None:
    answer = said(409, error("idempotency_conflict"), retry_after_s=2.0)

    found = outcome(answer, conflicts=conflicts, conflict_age_s=age_s, earlier_unclear=earlier_unclear)

    assert found.after is after
    assert not found.definite
    assert (found.failure is not None) == (after is After.UNCERTAIN)
    assert CONFLICT_TRIES == 8
    assert CONFLICT_SPAN_S == 600.0


SHOWN = [
    (409, TASK),
    (409, {"data": TASK}),
    (409, {**error("idempotency_conflict"), "generation": TASK}),
    (409, {"error": {"code": "idempotency_conflict", "details": TASK}}),
    (409, {"error": {"code": "request_already_accepted", "task": {**TASK, "status": "succeeded"}}}),
    (422, {**error("duplicate_client_request_id"), "task": TASK}),
]
NOT_SHOWN = [
    (409, {**error("task_limit"), "task": TASK}, Meaning.CONFLICT),  # some task is in the way
    (409, {**TASK, "model": "another"}, Meaning.CONFLICT),
    (409, {**TASK, "model": None}, Meaning.CONFLICT),
    (409, {**TASK, "status": "failed"}, Meaning.CONFLICT),  # another round may follow that
    (409, {**TASK, "status": "conflict"}, Meaning.CONFLICT),
    (409, {"id": "task_1"}, Meaning.CONFLICT),
    (422, {**error(), "task": TASK}, Meaning.REFUSED),
    (422, TASK, Meaning.UNCLEAR),
    (502, {**error("idempotency_conflict"), "task": TASK}, Meaning.UNCLEAR),
]


@pytest.mark.parametrize(("status", "data"), SHOWN)
@pytest.mark.parametrize("earlier_unclear", [0, 2])
def test_a_key_that_is_known_with_its_task_shown_is_accepted(
    status: int, data: Any, earlier_unclear: int
) -> None:
    answer = understand(Reply(status=status, data=data), body=BODY)

    found = outcome(answer, earlier_unclear=earlier_unclear)

    assert found.after is After.WAITING
    assert found.task is not None
    assert found.task.id == "task_1"


@pytest.mark.parametrize(("status", "data", "meaning"), NOT_SHOWN)
def test_nothing_less_than_the_task_of_a_known_key_is_taken_for_ours(
    status: int, data: Any, meaning: Meaning
) -> None:
    assert understand(Reply(status=status, data=data), body=BODY).meaning is meaning


@pytest.mark.parametrize(
    "data",
    [
        {"error": {"code": "idempotency_conflict", "message": "known", "details": {"generation_id": "t7"}}},
        {"error": {"code": "idempotency_conflict", "message": "known", "task_id": "t7"}},
        {"task_id": "t7"},
    ],
)
def test_a_conflict_names_the_task_that_it_is_about_so_that_it_can_be_attached(data: Any) -> None:
    answer = understand(Reply(status=409, data=data, detail="HTTP 409, application/json"), body=BODY)

    assert answer.meaning is Meaning.CONFLICT
    assert answer.words().endswith("; it names task t7")


# --- reference urls that are gone -----------------------------------------------------------------

URL = "https://files.example/ABC?sig=1"


@pytest.mark.parametrize(
    ("code", "message", "found"),
    [
        ("validation_failed", f"cannot read {URL}", True),
        ("validation_failed", f"cannot read {URL.upper()}", True),
        ("file_expired", "upload it again", True),
        ("validation_failed", "reference media not found", True),
        ("validation_failed", "the url could not be fetched", True),
        ("media_unreachable", "", True),
        ("validation_failed", "duration must be 6 or 10", False),
        ("validation_failed", "prompt is required", False),
        ("file_too_large", "at most 10 MB", False),
        ("", "", False),
    ],
)
def test_a_refusal_that_names_a_reference_that_is_gone(code: str, message: str, found: bool) -> None:
    body = json.dumps({"params": {"referenceMediaItems": [{"url": URL}]}}).encode()
    reply = Reply(status=400, data=error(code, message))

    assert understand(reply, body=body).stale_urls == ((URL,) if found else ())
    assert understand(reply, body=BODY).stale_urls == (), "there is none to be made anew"


def test_a_gone_url_leads_to_a_new_body_while_some_are_left() -> None:
    answer = replace(said(400, error(message=f"{URL} has expired")), stale_urls=(URL,))

    again = outcome(answer)
    enough = outcome(answer, fresh_bodies_left=False)

    assert (again.after, again.definite, again.new_revision) == (After.NEW_BODY, True, True)
    assert (enough.after, enough.new_revision) == (After.FAILED, False)


def test_a_job_without_references_has_no_url_to_make_anew() -> None:
    assert outcome(said(400, error("file_expired", "url expired"))).after is After.FAILED
