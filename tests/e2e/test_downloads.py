"""Results: fetched whole or not at all, from hosts that are trusted with nothing; never a reason to pay again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.imitation.fixtures import Bench, StartService, said
from tests.imitation.personality import Personality
from tests.imitation.wire import Answer
from tests.support import Command

HTML = (("Content-Type", "text/html"),)
REFUSED = Answer(status=403, headers=(("Content-Type", "application/xml"),), body=b"<Error>Expired</Error>")


def to(url: str) -> Answer:
    return Answer(status=302, headers=(("Location", url),))


# What comes once instead of the result, and whether a new url is requested.
ONCE = {
    "expired": (REFUSED, True),
    "gone": (Answer(status=410), True),
    "html": (Answer(headers=HTML, body=b"<!doctype html><title>Sign in</title>"), True),
    "json": (Answer(body=b'{"error": "not yet"}'), True),
    "empty": (Answer(), True),
    "nothing": (Answer(status=204), True),
    "noise": (Answer(body=bytes(range(256)) * 8), True),
    "to-file": (to("file:///etc/passwd"), True),
    "to-private": (to("http://10.0.0.1/clip.mp4"), True),
    "to-metadata": (to("http://169.254.169.254/latest"), True),
    "busy": (Answer(status=503), False),
    "throttled": (Answer(status=429), False),
    "to-nowhere": (to(""), False),
}
TWISTED = {
    "cut": lambda right: replace(right, chunked=False, cut_at=len(right.body) // 2),
    "cut-chunked": lambda right: replace(right, chunked=True, cut_at=1000),
    "too-long-said": lambda right: replace(right, chunked=False, said_length=len(right.body) + 9),
    "too-short-said": lambda right: replace(right, chunked=False, said_length=len(right.body) - 9),
    "half-the-file": lambda right: replace(right, chunked=False, body=right.body[: len(right.body) // 2]),
    "a-part-unasked": lambda right: replace(right, status=206),
    "dripping": lambda right: replace(right, piece=700, drip_s=0.01),
}


def test_each_trouble_with_a_result_is_got_over_and_none_is_paid_for(bench: Bench) -> None:
    """A refused url, or one with something else behind it, is renewed by exactly one status GET."""
    service = bench.service
    prompts = bench.write([{"id": name} for name in (*ONCE, *TWISTED, "dropped", "reset")])
    for name, (answer, _) in ONCE.items():
        service.rule("result", "answer_before", answer=answer, where=service.result_of(f"prompt of {name}"))
    for name, twist in TWISTED.items():
        service.rule("result", "twist", answer=twist, where=service.result_of(f"prompt of {name}"))
    service.rule("result", "drop_before", where=service.result_of("prompt of dropped"))
    service.rule("result", "reset_after", where=service.result_of("prompt of reset"))

    outcome = bench.run(env={"TEST_CLOCK_SPEED": "10"})

    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)
    ledger = service.ledger
    renewals = {}
    for task in service.tasks.values():
        first = min(row.at for row in ledger.results if row.what == task.id)
        renewals[task.data["prompt"].removeprefix("prompt of ")] = sum(
            poll.at > first for poll in ledger.polls if poll.what == task.id
        )
    assert renewals == {name: int(ONCE[name][1]) if name in ONCE else 0 for name in renewals}
    headers = {name.lower() for row in ledger.results for name, _ in row.headers}
    assert not {"authorization", "cookie"} & headers
    assert [row.what for row in ledger.others] == ["credits"], "nothing else was asked, of either host"


def test_several_results_of_one_task_come_through_redirects_and_get_names_of_their_own(
    command: Command, start_service: StartService
) -> None:
    bench = Bench(command, start_service(Personality(results=3, result_redirects=3)))
    prompts = bench.write(2)

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)
    assert sorted(bench.results()) == sorted(
        f"job-{job}{more}.mp4" for job in (1, 2) for more in ("", "+2", "+3")
    )
    assert not any("authorization" in dict(row.headers) for row in bench.service.ledger.results)


def test_results_named_by_a_bare_path_are_under_the_services_own_host(
    command: Command, start_service: StartService
) -> None:
    bench = Bench(command, start_service(Personality(results_at="path", results=2, result_redirects=1)))
    prompts = bench.write(2)

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)
    assert not {"authorization"} & {
        name.lower() for row in bench.service.ledger.results for name, _ in row.headers
    }


def test_a_large_result_is_gone_on_with_where_a_kill_has_stopped_it(
    command: Command, start_service: StartService
) -> None:
    """Where the host takes ranges; the part of the dead run is continued by the next one."""
    service = start_service(Personality(result_bytes=1_500_000, result_ranges=True, result_chunked=False))
    bench = Bench(command, service)
    prompts = bench.write(1)
    service.rule(
        "result", "twist", answer=lambda right: replace(right, cut_at=900_000, drip_s=0.02, piece=300_000)
    )
    service.rule("result", "kill_before")

    killed = bench.run()
    service.rules.clear()
    after = bench.run()

    assert (killed.code, after.code) == (-9, 0), said(after)
    bench.assert_whole(prompts)
    ranges = [
        dict(row.headers).get("Range") or dict(row.headers).get("range") for row in service.ledger.results
    ]
    assert ranges[0] is None
    # What came in the last moment before the connection broke may have been in nobody's hands yet.
    assert 600_000 <= int(str(ranges[-1]).removeprefix("bytes=").removesuffix("-")) <= 900_000


@pytest.mark.parametrize(
    "chunked", [pytest.param(False, marks=pytest.mark.slow), True], ids=["said", "unsaid"]
)
def test_a_result_above_the_limit_is_not_taken_and_stays_paid_until_the_limit_is_raised(
    chunked: bool, command: Command, start_service: StartService
) -> None:
    service = start_service(Personality(result_bytes=900_000, result_chunked=chunked))
    bench = Bench(command, service)
    prompts = bench.write(1, limits={"max_result_bytes": "0.5MB"})

    small = bench.run(env={"TEST_CLOCK_SPEED": "40"})
    states = bench.states()
    bench.write(1, limits={"max_result_bytes": "1MB"})
    raised = bench.run()

    assert small.code == 5, said(small)
    assert states == {"downloading": 1}
    assert "max_result_bytes" in said(small)
    assert not bench.parts()
    assert raised.code == 0, said(raised)
    bench.assert_whole(prompts)


def test_a_result_that_cannot_be_had_ends_the_run_with_5_and_never_the_job(bench: Bench) -> None:
    prompts = bench.write([{"id": "page"}, {"id": "expired"}, {"id": "fine"}])
    service = bench.service
    page = Answer(headers=HTML, body=b"<html>")
    service.rule("result", "answer_before", answer=page, times=99, where=service.result_of("prompt of page"))
    service.rule(
        "result", "answer_before", answer=REFUSED, times=99, where=service.result_of("prompt of expired")
    )

    outcome = bench.run(env={"TEST_CLOCK_SPEED": "40"})
    states = dict(bench.rows())
    fetches = len(service.ledger.results)
    service.rules.clear()
    after = bench.run()

    assert outcome.code == 5, said(outcome)
    assert states == {"page": "downloading", "expired": "downloading", "fine": "done"}
    assert 2 * 2 + 1 <= fetches <= 2 * 7 + 1, "each is tried a few times in one run, and no more"
    assert after.code == 0, said(after)
    bench.assert_whole(prompts)
