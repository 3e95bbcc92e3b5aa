"""Failed tasks and refused requests: what is paid for again, by whose word; when a run stops itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.imitation.faults import error_answer, prompt_is
from tests.imitation.fixtures import Bench, StartService, said
from tests.imitation.personality import Personality
from tests.imitation.tasks import Fate
from tests.support import HURRIED, Command


def test_rounds_are_paid_for_by_the_manifests_word_or_a_persons_and_never_for_moderation(
    bench: Bench,
) -> None:
    """`failed_rounds: 1` allows one more payment for a task that failed; `retry` allows what it names."""
    service = bench.service
    service.fates |= {
        "prompt of once": Fate(status="failed", times=1),
        "prompt of always": Fate(status="failed"),
        "prompt of silent": Fate(status="failed", no_error=True),
        "prompt of moderated": Fate(status="failed", code="content_moderation_blocked"),
        "prompt of odd": Fate(status="failed", code="validation_failed"),
    }
    service.rule(
        "submit",
        "answer_before",
        answer=error_answer(400, "validation_failed"),
        times=99,
        where=prompt_is("prompt of refused"),
    )
    jobs = [{"id": name} for name in ("once", "always", "silent", "moderated", "odd", "refused", "fine")]

    bench.write(jobs, retry={"failed_rounds": 1})
    night = bench.run()
    after_night = bench.service.ledger.paid.copy()
    again = bench.run()

    assert (night.code, again.code) == (3, 3), said(night)
    assert {name.removeprefix("prompt of "): count for name, count in after_night.items()} == {
        "once": 2,
        "always": 2,
        "silent": 2,
        "moderated": 1,
        "odd": 1,
        "fine": 1,
    }
    assert service.ledger.paid == after_night, "a failed job stays failed in the next run"
    classes = dict(bench.rows("job, error_class", where="state = 'failed'"))
    assert classes == {
        "always": "generation",
        "silent": "generation",
        "moderated": "policy",
        "odd": "validation",
        "refused": "validation",
    }

    # A person's word: only the failed jobs named, none of the new ones, and not without a yes.
    posts = len(service.ledger.posts)
    service.fates.clear()
    bench.write([*jobs, {"id": "new"}], retry={"failed_rounds": 1})
    unasked = bench.command("retry", bench.manifest, "--class", "generation")
    some = bench.command("retry", bench.manifest, "--class", "generation", "--only", "al*", "--yes")
    sent = [post.prompt for post in service.ledger.posts[posts:]]
    rest = bench.command("retry", bench.manifest, "--class", "policy", "--class", "generation", "--yes")
    none = bench.command("retry", bench.manifest, "--class", "not_found", "--yes")

    assert unasked.code == 2, said(unasked)
    assert some.code == 3, said(some)
    assert sent == ["prompt of always"]
    assert sorted(post.prompt for post in service.ledger.posts[posts + 1 :]) == [
        "prompt of moderated",
        "prompt of silent",
    ]
    assert rest.code == 3, said(rest)
    assert none.code == 0, said(none)
    assert dict(bench.rows("job, round"))["always"] == 3
    keys = [post.key for post in service.ledger.of("prompt of always")]
    assert len(set(keys)) == 3, "each round has a key of its own"
    assert dict(bench.rows())["new"] == "planned"
    charged = bench.rows("sum(charged)", "ledger")[0][0]
    assert charged == service.ledger.charged


@pytest.mark.slow
def test_ten_failures_in_a_row_stop_the_run_and_the_next_starts_at_zero(
    command: Command, start_service: StartService
) -> None:
    """Moderation-like ones do not count, nor do lost answers; a success in between begins anew."""
    bench = Bench(command, start_service(Personality(task_s=(0.05, 0.05))))
    service = bench.service
    jobs = [{"id": f"{kind}-{n}"} for kind, count in (("odd", 12), ("bad", 40)) for n in range(count)]
    prompts = bench.write(jobs, limits={"in_flight": 1})
    for prompt in prompts:
        code = "generation_failed" if "bad" in prompt else "content_policy"
        service.fates[prompt] = Fate(status="failed", code=code)
    service.rule("poll", "drop_after", times=12)

    first = bench.run(env=HURRIED)
    after_first = len(service.ledger.payments)
    second = bench.run(env=HURRIED)
    after_second = len(service.ledger.payments)
    service.fates = {prompt: fate for prompt, fate in service.fates.items() if int(prompt.split("-")[1]) % 7}
    third = bench.run(env=HURRIED)

    assert (first.code, second.code, third.code) == (5, 5, 3), said(first) + said(second) + said(third)
    assert "10 jobs in a row failed" in first.stderr
    assert 12 + 10 <= after_first <= 12 + 12
    assert 10 <= after_second - after_first <= 12
    assert len(service.ledger.payments) == 52
    assert service.ledger.paid_twice == {}


def test_a_deadline_ends_waiting_and_not_the_job(bench: Bench) -> None:
    prompts = bench.write([{"id": "slow"}, {"id": "quick"}], limits={"job_deadline": "1s"})
    bench.service.fates["prompt of slow"] = Fate(status="running")

    night = bench.run()
    states = dict(bench.rows())
    for task in bench.service.tasks.values():
        task.fate = replace(task.fate, status="succeeded")
    morning = bench.run()

    assert night.code == 3, said(night)
    assert "overdue" in said(night) or "deadline" in said(night)
    assert states == {"slow": "waiting", "quick": "done"}
    assert morning.code == 0, said(morning)
    bench.assert_whole(prompts)


def test_the_reason_that_asks_most_of_a_person_is_the_exit_code(bench: Bench) -> None:
    """Of 4, 8, 10, 5 and 3 that apply at once, the first."""
    service = bench.service
    jobs = [{"id": "bad"}, {"id": "slow"}, *({"id": f"more-{n}"} for n in range(4))]
    bench.write(jobs, budget={"max_credits": 15}, limits={"in_flight": 2})
    service.fates |= {"prompt of bad": Fate(status="failed"), "prompt of slow": Fate(status="running")}

    # A job has failed, time is over, the cap is reached: 8. Then our key is refused as well: 4.
    credits = bench.run("--stop-after", "1.5s")
    service.rule("poll", "answer_before", answer=error_answer(401, "api_key_revoked"), times=99)
    refused = bench.run()
    service.rules.clear()
    bench.write(jobs, budget={"max_credits": 3000}, limits={"in_flight": 1})
    # Time is over, a job has failed, the service is away: 10.
    time = bench.run("--stop-after", "1s")

    assert (credits.code, refused.code, time.code) == (8, 4, 10), said(credits) + said(refused) + said(time)
    assert "failed" in said(credits)
    assert service.ledger.taken <= 60


def test_what_retry_costs_is_said_truly_for_jobs_that_were_refused_and_never_paid_for(
    command: Command, start_service: StartService
) -> None:
    service = start_service(Personality(refunds=False))
    bench = Bench(command, service)
    bench.write([{"id": "refused"}])
    service.rule("submit", "answer_before", answer=error_answer(400, "validation_failed"))

    unpaid = bench.run()
    asked = bench.command("retry", bench.manifest)
    bench.write([{"id": "refused"}, {"id": "paid"}])
    service.fates["prompt of paid"] = Fate(status="failed")
    paid = bench.run()
    asked_again = bench.command("retry", bench.manifest)
    stands = bench.command("status", bench.manifest)

    assert (unpaid.code, asked.code, paid.code) == (3, 2, 3), said(unpaid) + said(asked) + said(paid)
    assert "→ mend the job in the manifest, then run again" in unpaid.stdout
    assert "rivya-batch retry" not in said(unpaid), "it would be refused again"
    assert "to be submitted again: 1 job: about" in asked.stderr
    assert "nothing was paid for them before" in asked.stderr
    assert "another round" not in said(asked)
    typed = f"`rivya-batch retry {bench.manifest.name} --class generation`"
    assert typed in stands.stdout, "it can be typed as it stands there"
    assert "as they are; costs credits again: shows the price and asks" in paid.stderr
    assert "another round for 2 jobs: about" in asked_again.stderr
    assert "nothing was paid for them before" in asked_again.stderr
