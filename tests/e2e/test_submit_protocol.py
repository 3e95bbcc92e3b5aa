"""What is paid: one payment a job, whatever becomes of the answers."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from itertools import count, product

import pytest

from tests.imitation.faults import On, error_answer, json_answer, page, prompt_is
from tests.imitation.fixtures import Bench, StartService, said
from tests.imitation.personality import PERSONALITIES, Personality
from tests.imitation.wire import Answer, Request
from tests.support import HURRIED, Command

LOST = {
    "dropped": ("drop_after", None),
    "reset": ("reset_after", None),
    "cut": ("cut", None),
    "500": ("answer_after", error_answer(500, "internal_error")),
    "502 of a gateway": ("answer_after", page(502)),
    "504 empty": ("answer_after", Answer(status=504)),
    "408": ("answer_after", error_answer(408, "timeout")),
    "202 without an id": ("answer_after", json_answer(202, {"status": "queued"})),
    "202 with a null id": ("answer_after", json_answer(202, {"id": None, "status": "queued"})),
    "200 with a page": ("answer_after", page(200, "<html>hello</html>")),
    "200 with a list": ("answer_after", json_answer(200, [])),
    "204": ("answer_after", Answer(status=204)),
    "302": ("answer_after", Answer(status=302, headers=(("Location", "/login"),))),
    "401 of a gateway": ("answer_after", page(401, "<h1>Log in</h1>")),
    "403 of a gateway": ("answer_after", page(403, "<h1>Just a moment</h1>")),
    "404 of a gateway": ("answer_after", page(404)),
    "402 in other words": ("answer_after", json_answer(402, {"message": "Payment Required"})),
    "403 in other words": ("answer_after", json_answer(403, {"error": {"code": "Forbidden"}})),
    "413 empty": ("answer_after", Answer(status=413)),
    "415 in other words": ("answer_after", json_answer(415, {"error": "unsupported"})),
    "429 of a gateway": ("answer_after", page(429, "<h1>Too fast</h1>")),
    "unknown code": ("answer_after", error_answer(599, "teapot_overflow")),
}


@pytest.mark.parametrize("who", PERSONALITIES)
def test_a_service_of_any_personality_is_paid_once_for_each_job(
    who: str, command: Command, start_service: StartService
) -> None:
    bench = Bench(command, start_service(PERSONALITIES[who]))
    bench.picture()
    prompts = bench.write([{"id": f"j{n}", "references": ["ref.png"] * (n < 2)} for n in range(5)])

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)
    assert bench.service.ledger.charged == sum(row[0] for row in bench.rows("charged", "ledger"))


def test_a_job_whose_answer_was_lost_is_sent_again_with_the_same_key_and_bytes(bench: Bench) -> None:
    """Also where the service's clock is an hour off all the time."""
    bench.service.ahead_s = 3600.0
    prompts = bench.write([{"id": name.replace(" ", "-")} for name in LOST])
    for prompt, (do, answer) in zip(prompts, LOST.values(), strict=True):
        bench.service.rule("submit", do, answer=answer, where=prompt_is(prompt))

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)
    for prompt in prompts:
        posts = bench.service.ledger.of(prompt)
        assert [post.outcome for post in posts] == ["created", "replayed"]
        assert len({(post.key, post.body) for post in posts}) == 1


@pytest.mark.parametrize(
    ("dates", "killed"),
    [
        ("right", False),
        ("right", True),
        ("none before it slept", True),
        *(
            pytest.param(dates, killed, marks=pytest.mark.slow)
            for dates, killed in (
                ("none before it slept", False),
                *product(["with an age", "of two machines"], [False, True]),
                ("of polls alone", False),
                ("none after it slept", True),
            )
        ),
    ],
)
def test_a_machine_whose_clocks_all_stood_still_sends_nothing_again_that_the_service_has_forgotten(
    dates: str, killed: bool, bench: Bench
) -> None:
    """A virtual machine whose host slept for ten hours, just when an answer was lost; its own clocks lag.

    So does the clock of one of the two machines that answer for the service.
    """
    service = bench.service
    prompts = bench.write(8)
    turns = count()

    def dated(answer: Answer) -> Answer:
        if dates == "with an age":
            return replace(answer, headers=(*answer.headers, ("Age", "3")))
        if dates == "of polls alone":
            return replace(
                answer, headers=(*answer.headers, ("Date", format_datetime(service.now, usegmt=True)))
            )
        if dates == "of two machines" and next(turns) % 2 == 0:
            stood_still = service.now - timedelta(seconds=service.ahead_s)
            return replace(
                answer, headers=(*answer.headers, ("Date", format_datetime(stood_still, usegmt=True)))
            )
        return answer

    def sleep(on: On, request: Request) -> None:
        if service.ledger.paid[prompts[7]] and not service.ahead_s:
            service.ahead_s = 36_000.0
            service.forget_keys()
            service.become(dates=dates not in ("of polls alone", "none after it slept"))

    service.become(dates=dates not in ("none before it slept", "of polls alone"))

    service.observer = sleep
    service.rule("submit", "kill_after" if killed else "drop_after", where=prompt_is(prompts[7]))
    for on in ("poll",) if dates == "of polls alone" else ("submit", "poll", "credits"):
        service.rule(on, "twist", answer=dated, times=math.inf)

    outcome = bench.run()
    if killed:
        assert outcome.code == -9
        outcome = bench.run()

    assert outcome.code == 3, said(outcome)
    uncertain = {name for name, state in bench.rows() if state == "uncertain"}
    assert uncertain == {"job-8"} or (killed and "job-8" in uncertain)
    # Others were on their way when it was killed: they arrived, or they did not.
    arrived = {f"prompt of {name}" for name, _ in bench.rows() if name not in uncertain}
    assert set(service.ledger.paid.values()) == {1}
    assert arrived | {prompts[7]} <= set(service.ledger.paid) <= set(prompts)
    assert killed or service.ledger.paid == Counter(prompts)
    told = [line for line in outcome.stderr.splitlines() if "this machine" in line]
    assert len(told) == (dates != "none after it slept"), said(outcome)
    assert all("is 10 hours behind that of 127.0.0.1" in line for line in told)


def test_what_ended_unclear_has_time_to_end_at_the_service_before_its_key_is_sent_again(bench: Bench) -> None:
    """A gateway gives up on a slow submit, a connection breaks, the command is killed: the service works on.

    It looks a key up when a request comes, and notes it when the task is made. Twentyfold clock.
    """
    slow = {"504": page(504, "<h1>Gateway timeout</h1>"), "reset": None}
    head = {"idempotency": {"resend_after": "20s"}}
    jobs = [{"id": name} for name in (*slow, *"abcd")]
    bench.write(jobs, **head)
    for name, answer in slow.items():
        where = prompt_is(f"prompt of {name}")
        bench.service.rule("submit", "answer_early", answer=answer, later_s=0.5, where=where)
    bench.service.rule("submit", "kill_early", later_s=0.5, where=prompt_is("prompt of killed"))
    twentyfold = {"TEST_CLOCK_SPEED": "20"}
    whole = bench.command("run", bench.manifest, "--yes", env=twentyfold)
    prompts = bench.write([*jobs, {"id": "killed"}], **head)
    killed = bench.run(env=twentyfold)
    after = bench.run(env=twentyfold)

    assert (whole.code, killed.code, after.code) == (0, -9, 0), said(whole) + said(after)
    bench.assert_whole(prompts)
    assert "a submit of an earlier run got no clear answer" in after.stderr
    sends = {name: bench.service.ledger.of(f"prompt of {name}") for name in (*slow, "killed", *"abcd")}
    for name in (*slow, "killed"):
        first, second = sends[name]
        assert second.at - first.at >= 20 / 20 - 0.05
    assert max(sends[name][0].at for name in "abcd") < min(sends[name][1].at for name in slow), (
        "others went on"
    )


def test_an_account_that_is_limited_by_pages_is_only_slower(
    command: Command, start_service: StartService
) -> None:
    """Each such 429 is unclear by itself; it is waited out like any other, not for as long as a lost answer."""
    be = Personality(limit_body="page", in_flight=2, task_s=(0.2, 0.3))
    bench = Bench(command, start_service(be))
    prompts = bench.write(6, idempotency={"resend_after": "30m"})

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    assert bench.service.ledger.limited
    bench.assert_whole(prompts)


def test_key_and_body_are_as_documented(bench: Bench) -> None:
    """`16:9` unquoted is 969 to a YAML 1.1 reader."""
    bench.manifest.write_text(
        "version: 1\nname: night\nmodel: grok-imagine-video\npolling: {first_s: 0.05, min_s: 0.05}\n"
        "params: {duration: '7', resolution: 480p, aspect_ratio: 16:9}\n"
        "jobs:\n  - {id: a, prompt: A cat}\n",
        encoding="utf-8",
    )

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    (post,) = bench.service.ledger.posts
    assert post.data["params"] == {"duration": 7, "resolution": "480p", "aspect_ratio": "16:9"}
    assert post.key == post.request_id
    assert post.key
    assert len(post.key) <= 64
    assert set(post.data) == {"model", "prompt", "params", "client_request_id"}


def test_a_service_without_idempotency_is_paid_again_only_where_an_answer_was_lost(
    command: Command, start_service: StartService
) -> None:
    """The client cannot know; but no job without a lost answer may ever be sent twice."""
    bench = Bench(command, start_service(Personality(idempotency="none")))
    prompts = bench.write(6)
    bench.service.rule("submit", "answer_before", answer=error_answer(429, "rate_limited"), times=3)
    bench.service.rule("poll", "drop_after", times=3)

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)


def test_once_the_window_is_over_nothing_is_sent_again_until_a_person_says_so(bench: Bench) -> None:
    prompts = bench.write(4, idempotency={"resend_within": "1s"})
    bench.service.rule("submit", "drop_after", times=999)

    night = bench.run("--patience", "3s")
    posts = len(bench.service.ledger.posts)
    morning = bench.run()

    assert night.code in (3, 5), said(night)
    assert morning.code == 3, said(morning)
    assert bench.states() == {"uncertain": 4}
    assert len(bench.service.ledger.posts) == posts
    assert len(bench.service.ledger.payments) == 4
    reserved = bench.rows("sum(amount)", "ledger")[0][0]
    assert reserved == 40

    bench.service.rules.clear()
    bench.write(4)
    tasks = {post.prompt: post.task for post in bench.service.ledger.posts if post.task}
    resolve = ["resolve", bench.manifest]
    assert bench.command(*resolve, "job-1", "--resend").code == 2  # no terminal to ask on
    answers = [
        bench.command(*resolve, "job-1", "--resend", "--yes"),
        bench.command(*resolve, "job-2", "--attach", tasks[prompts[1]]),
        bench.command(*resolve, "job-3", "--abandon", "--yes"),
    ]
    held = bench.command(*resolve, "job-4", "--attach", tasks[prompts[1]])
    unknown = bench.command(*resolve, "job-4", "--attach", "gen-999999")
    after = bench.run()

    assert [answer.code for answer in answers] == [0, 0, 0], "".join(map(said, answers))
    assert (held.code, unknown.code) == (2, 2), said(held) + said(unknown)
    assert after.code == 3, said(after)
    assert bench.states() == {"done": 2, "abandoned": 1, "uncertain": 1}
    assert bench.service.ledger.paid_twice == {}


def test_a_refusal_fails_the_job_and_a_refusal_after_a_lost_answer_is_for_a_person(bench: Bench) -> None:
    prompts = bench.write([{"id": name} for name in ("bad", "policy", "large", "lost", "fine")])
    refused = {
        "bad": error_answer(400, "validation_failed", "params.duration is odd"),
        "policy": error_answer(422, "content_policy_violation", "no"),
        "large": error_answer(413, "payload_too_large"),
        "lost": error_answer(400, "validation_failed", "now I know"),
    }
    bench.service.rule("submit", "drop_after", where=prompt_is("prompt of lost"))
    for name, answer in refused.items():
        bench.service.rule(
            "submit", "answer_before", answer=answer, times=99, where=prompt_is(f"prompt of {name}")
        )

    outcome = bench.run()
    again = bench.run()

    assert (outcome.code, again.code) == (3, 3), said(outcome)
    found = {job: (state, cls) for job, state, cls in bench.rows("job, state, error_class")}
    assert found["bad"] == ("failed", "validation")
    assert found["policy"] == ("failed", "policy")
    assert found["large"] == ("failed", "validation")
    assert found["lost"][0] == "uncertain"
    assert found["fine"][0] == "done"
    assert [len(bench.service.ledger.of(prompt)) for prompt in prompts] == [1, 1, 1, 2, 1]
    kept = dict(bench.rows("j.job, l.amount", "ledger l JOIN jobs j ON j.id = l.job"))
    assert kept == {"bad": 0, "policy": 0, "large": 0, "lost": 10, "fine": 10}


def test_a_conflict_is_asked_again_with_the_same_key_and_then_left_to_a_person(bench: Bench) -> None:
    """In flight: the next answer is the task. Another body, or expired: no answer ever is."""
    bench.write([{"id": "in-flight"}, {"id": "for-ever"}])
    conflict = error_answer(409, "idempotency_conflict", "this key is in use", ("Retry-After", "0"))
    bench.service.rule(
        "submit", "answer_after", answer=conflict, times=1, where=prompt_is("prompt of in-flight")
    )
    bench.service.rule(
        "submit", "answer_before", answer=conflict, times=99, where=prompt_is("prompt of for-ever")
    )

    outcome = bench.run("--stop-after", "6s", env=HURRIED)

    assert bench.service.ledger.paid == {"prompt of in-flight": 1}
    assert dict(bench.rows())["in-flight"] == "done", said(outcome)
    assert dict(bench.rows())["for-ever"] in ("submitting", "uncertain")
    assert 2 <= len(bench.service.ledger.of("prompt of for-ever")) <= 8
    assert all(len(bodies) == 1 for bodies in bench.service.ledger.bodies_by_key().values())


def test_a_refused_key_stops_the_run_and_the_next_goes_on(bench: Bench) -> None:
    prompts = bench.write(3)
    refused = bench.service.refused_keys
    refused[bench.service.key] = error_answer(401, "api_key_revoked")
    revoked = bench.run()
    refused[bench.service.key] = error_answer(403, "api_scope_denied")
    denied = bench.run()
    posts = len(bench.service.ledger.posts)
    refused.clear()
    after = bench.run()

    assert (revoked.code, denied.code) == (4, 4), said(revoked) + said(denied)
    assert posts <= 6
    assert after.code == 0, said(after)
    bench.assert_whole(prompts)
    assert bench.service.key not in said(revoked) + said(denied) + said(after)


def test_nothing_is_sent_for_a_manifest_with_a_mistake(bench: Bench) -> None:
    bench.write([{"id": "a"}, {"id": "b", "params": {"duration": 99, "colour": "red"}}, {"id": "a"}])

    outcome = bench.run()

    assert outcome.code == 2, said(outcome)
    assert "Traceback" not in outcome.stderr
    assert bench.service.ledger.requests == 0
    assert bench.service.api.connections == 0
    assert all(word in outcome.stderr for word in ("duration is 99", "colour", "used twice")), said(outcome)


def test_spending_wants_a_yes(bench: Bench) -> None:
    bench.write(2)

    outcome = bench.command("run", bench.manifest, "--limit", "1", "--only", "job-*", stdin="y\n")

    assert outcome.code == 2, said(outcome)
    assert "--yes" in outcome.stderr
    assert "at most 1 are submitted" in outcome.stderr, "a sum that is not all spent now says so"
    assert "an id like job-*" in outcome.stderr
    assert bench.service.ledger.posts == []
