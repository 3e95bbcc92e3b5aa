"""A service that is away, slow to say yes, or answers anything but what was asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.imitation.faults import error_answer, json_answer, page, prompt_is
from tests.imitation.fixtures import Bench, StartService, said
from tests.imitation.personality import Personality
from tests.imitation.wire import Answer
from tests.support import HURRIED, Command
from tests.warm import SHIFT

REAL = pytest.param(1, marks=pytest.mark.slow)  # the real clock
DISABLED = error_answer(503, "public_api_disabled", "down for a while")


def test_a_service_that_is_off_ends_the_run_with_5_and_nothing_is_lost(bench: Bench) -> None:
    """Off from the start, off half way, off for a moment; then the rest is made, each job paid once."""
    service = bench.service
    prompts = bench.write(5)
    service.rule("submit", "answer_before", answer=DISABLED, times=999)
    off = bench.run("--patience", "1s", env=HURRIED)
    probes = len(service.ledger.posts)
    service.rules.clear()
    service.rule("poll", "answer_before", answer=DISABLED, times=999)
    half_way = bench.run("--patience", "1s", env=HURRIED)
    paid = len(service.ledger.payments)
    service.rules.clear()
    for kind in ("submit", "poll"):
        service.rule(kind, "answer_before", answer=DISABLED, times=2)
        service.rule(kind, "reset_before", times=3)
    after = bench.run(env=HURRIED)

    assert (off.code, half_way.code, after.code) == (5, 5, 0), said(off) + said(half_way) + said(after)
    assert "public_api_disabled" in off.stderr
    assert probes <= 12, "one request at a time asks whether it is back"
    assert paid >= 1
    bench.assert_whole(prompts)


@pytest.mark.slow
def test_a_service_none_of_whose_answers_can_be_read_is_paid_one_job(bench: Bench) -> None:
    """Each run paid for ten more."""
    service = bench.service
    prompts = bench.write(20)

    def unreadable(right: Answer) -> Answer:
        length = f"{len(right.body)}, {len(right.body)}"
        return replace(right, unframed=True, headers=(*right.headers, ("Content-Length", length)))

    for kind in ("credits", "submit", "poll"):
        service.rule(kind, "twist", answer=unreadable, times=999)
    outcomes = [bench.run("--patience", "5s", env=HURRIED) for _ in range(3)]
    paid = sum(service.ledger.paid.values())
    service.rules.clear()
    after = bench.run(env=HURRIED)

    assert [outcome.code for outcome in outcomes] == [5, 5, 5], "".join(map(said, outcomes))
    assert paid == 1
    assert after.code == 0, said(after)
    bench.assert_whole(prompts)


@pytest.mark.slow
def test_patience_holds_from_the_first_request_on(bench: Bench) -> None:
    """Away for more than a minute from the start: `--patience 10m` ended after 30 s."""
    prompts = bench.write(3)
    bench.service.rule("submit", "answer_before", answer=DISABLED, times=20)

    outcome = bench.run("--patience", "10m", env={"TEST_CLOCK_SPEED": "60"})

    posts = bench.service.ledger.posts
    assert outcome.code == 0, said(outcome)
    assert (posts[19].at - posts[0].at) * 60 > 60
    bench.assert_whole(prompts)


def test_a_service_nobody_listens_at_is_told_from_one_that_refuses(bench: Bench) -> None:
    prompts = bench.write(2)
    address = bench.service.base_url
    bench.command.environment["RIVYA_BASE_URL"] = "http://127.0.0.1:9"

    nobody = bench.run("--patience", "1s")
    reserved = bench.rows("sum(amount)", "ledger")[0][0]
    bench.command.environment["RIVYA_BASE_URL"] = address
    other = bench.run()

    assert nobody.code == 5, said(nobody)
    assert bench.service.ledger.requests == 0
    assert reserved in (0, 20, None)
    assert other.code == 2, "the name is bound to the other address by now: " + said(other)
    assert len(prompts) == 2


def test_retry_after_in_each_form_is_waited_for_and_never_counted(bench: Bench) -> None:
    """Our own clock is fifty minutes slow: a date is that many seconds after the `Date` beside it."""
    now = datetime.now(UTC)
    forms = {
        "none": (),
        "zero": (("Retry-After", "0"),),
        "decimal": (("Retry-After", "0.3"),),
        "seconds": (("Retry-After", "1"),),
        "date": (("Retry-After", format_datetime(now + timedelta(seconds=1), usegmt=True)),),
        "past": (("Retry-After", format_datetime(now - timedelta(days=1), usegmt=True)),),
        "words": (("Retry-After", "soon"),),
        "negative": (("Retry-After", "-5"),),
        "empty": (("Retry-After", ""),),
    }
    prompts = bench.write([{"id": name} for name in forms])
    for name, headers in forms.items():
        answer = Answer(status=429, headers=headers, body=b"slow down")
        bench.service.rule("submit", "answer_before", answer=answer, where=prompt_is(f"prompt of {name}"))

    outcome = bench.run(env={SHIFT: "-3000"})

    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)
    first, second = bench.service.ledger.of("prompt of seconds")
    assert second.at - first.at >= 0.9
    assert bench.rows("count(*)", where="in_doubt > 1") == [(0,)]


def test_an_absurd_retry_after_is_a_quarter_of_a_minute_and_not_a_year(bench: Bench) -> None:
    prompts = bench.write(1)
    absurd = Answer(status=429, headers=(("Retry-After", "1763800000"),))
    bench.service.rule("submit", "answer_before", answer=absurd)

    outcome = bench.run(env={"TEST_CLOCK_SPEED": "100"}, timeout_s=20)

    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)


def test_polls_that_answer_anything_else_change_nothing(bench: Bench) -> None:
    """Not a 404, not a page, not another task's success, not a word nobody knows."""
    odd = {
        "404": error_answer(404, "not_found"),
        "500": error_answer(500, "internal_error"),
        "page": page(200, "<html>hello"),
        "list": json_answer(200, []),
        "other-task": json_answer(200, {"id": "gen-999999", "status": "failed", "error": None}),
        "no-id": json_answer(200, {"status": "failed"}),
        "no-status": json_answer(200, {"id": "gen-000001"}),
        "unknown-status": json_answer(200, {"id": "gen-000001", "status": "cancelled"}),
        "redirect": Answer(status=302, headers=(("Location", "http://127.0.0.1:9/"),)),
        "conflict": error_answer(409, "idempotency_conflict"),
        "refused": error_answer(400, "validation_failed"),
        "429": error_answer(429, "rate_limited", "slow", ("Retry-After", "0")),
    }
    prompts = bench.write([{"id": f"p{name}"} for name in odd])
    for name, answer in odd.items():
        where = bench.service.poll_of(f"prompt of p{name}")
        bench.service.rule("poll", "answer_before", answer=answer, times=2, where=where)

    outcome = bench.run(env={"TEST_CLOCK_SPEED": "4"})

    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)
    assert len(bench.service.ledger.posts) == len(prompts)


@pytest.mark.parametrize("speed", [60, REAL])
def test_a_conflict_without_end_is_asked_eight_times_and_then_left_to_a_person(
    speed: int, bench: Bench
) -> None:
    """The waits between are a minute each in the end."""
    bench.write([{"id": "held"}, {"id": "fine"}])
    conflict = error_answer(409, "idempotency_conflict", "this key is in use")
    bench.service.rule(
        "submit", "answer_before", answer=conflict, times=99, where=prompt_is("prompt of held")
    )

    outcome = bench.run(env={"TEST_CLOCK_SPEED": str(speed)}, timeout_s=300)
    again = bench.run()

    posts = bench.service.ledger.of("prompt of held")
    assert (outcome.code, again.code) == (3, 3), said(outcome)
    assert len(posts) == 8
    assert len({(post.key, post.body) for post in posts}) == 1
    assert dict(bench.rows()) == {"held": "uncertain", "fine": "done"}
    assert bench.rows("amount", "ledger l JOIN jobs j ON j.id = l.job", "j.job = 'held'") == [(10,)]


@pytest.mark.slow
def test_a_service_that_names_no_task_is_not_sent_every_job(
    command: Command, start_service: StartService
) -> None:
    """It takes submits and charges for them, but says their ids in a way nobody has documented."""
    service = start_service(Personality(task_s=(1.5, 1.5)))
    service.rule("submit", "answer_after", answer=json_answer(201, {"task": "t"}), skip=2, times=999)
    bench = Bench(command, service)
    prompts = bench.write(40, idempotency={"resend_within": "1s"})

    outcome = bench.run()
    states = bench.states()

    assert outcome.code == 5, said(outcome)
    assert "submits in a row were answered without a task id (HTTP 201" in said(outcome)
    assert len(service.ledger.payments) <= 2 + 21
    assert states["done"] == 2
    assert states["planned"] >= len(prompts) - 2 - 21
    assert service.ledger.paid_twice == {}


@pytest.mark.parametrize("speed", [60, REAL])
def test_an_answer_that_never_comes_is_unclear_and_asked_for_again(
    speed: int, command: Command, start_service: StartService
) -> None:
    """The service accepts, and is silent: on submits, on polls, on results. We wait 30 s for each."""
    bench = Bench(command, start_service(Personality(result_chunked=False)))
    service = bench.service
    prompts = bench.write(3)
    silent = {"head_pause_s": 20.0 if speed > 1 else 90.0}
    for on, where in (
        ("submit", prompt_is(prompts[0])),
        ("poll", service.poll_of(prompts[1])),
        ("result", service.result_of(prompts[2])),
    ):
        service.rule(on, "twist", answer=lambda right: Answer(**{**fields(right), **silent}), where=where)

    outcome = bench.run(env={"TEST_CLOCK_SPEED": str(speed)}, timeout_s=15 if speed > 1 else 85)

    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)
    assert [post.outcome for post in service.ledger.of(prompts[0])] == ["created", "replayed"]


def fields(answer: Answer) -> dict[str, object]:
    return {"status": answer.status, "headers": answer.headers, "body": answer.body}
