"""Nights on which a service is odd in ways that pass, and what a person is told where they do not."""

from __future__ import annotations

import math
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.imitation.faults import a_while, error_answer, now_and_then, page
from tests.imitation.fixtures import Bench, StartService, ended, said
from tests.imitation.personality import Personality
from tests.imitation.wire import Answer
from tests.support import Command

API = ("submit", "poll", "upload", "credits")
CHALLENGE = Answer(
    status=403,
    headers=(("Content-Type", "text/html"), ("Server", "cloudflare"), ("cf-mitigated", "challenge")),
    body=b"<html><head><title>Just a moment...</title></head></html>",
)
DAILY = error_answer(429, "daily_limit", "your limit of the day is reached", ("Retry-After", "60"))
STRAY = error_answer(401, "api_key_invalid", "who are you?")


@pytest.mark.parametrize(
    ("jobs", "speed"), [(120, 20), pytest.param(400, 1, marks=pytest.mark.slow)], ids=["hurried", "real"]
)
def test_a_bad_night_is_one_run(jobs: int, speed: int, command: Command, start_service: StartService) -> None:
    """Stray refusals, a gateway's page for 20 s, a quota of the day for a minute, lost answers: one run, exit 0.

    Each of them ended the run, or left jobs uncertain; 400 jobs took nine runs.
    """
    task_s = (5.0 / speed, 15.0 / speed)
    bench = Bench(command, start_service(Personality(task_s=task_s, retry_after="seconds")))
    service = bench.service
    prompts = bench.write(jobs, polling={"first_s": 2.5, "min_s": 5, "max_s": 60})
    blocked, spent = a_while(20 / speed, after=jobs // 4), a_while(60 / speed, after=jobs * 2 // 3)
    for number, kind in enumerate(API):
        service.rule(kind, "answer_before", answer=CHALLENGE, times=math.inf, where=blocked)
        stray = now_and_then(0.01 if speed == 1 else 0.03, seed=number)
        service.rule(kind, "answer_before", answer=STRAY, times=math.inf, where=stray)
    service.rule("submit", "answer_before", answer=DAILY, times=math.inf, where=spent)
    for kind in ("submit", "poll"):
        service.rule(kind, "drop_after", times=math.inf, where=now_and_then(0.02, seed=7))

    outcome = bench.run("--patience", "2m", env={"TEST_CLOCK_SPEED": str(speed)}, timeout_s=900)

    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)
    # Each kind of trouble, on whichever requests it fell: how many polls there are is the run's to say.
    happened = {(rule.do, id(rule.answer)) for rule in service.rules if rule.done}
    assert happened == {(rule.do, id(rule.answer)) for rule in service.rules}, "all of it has happened"
    assert len(re.findall("before more submits", outcome.stderr)) == 1, "told once: " + said(outcome)
    assert 'Just a moment..." (server: cloudflare)' in outcome.stderr


def test_a_page_that_stays_is_named_and_the_key_is_not_blamed(bench: Bench) -> None:
    prompts = bench.write(6)
    for kind in API:
        bench.service.rule(
            kind, "answer_before", answer=CHALLENGE, times=math.inf, where=a_while(3600, after=2)
        )

    outcome = bench.run("--patience", "20s", env={"TEST_CLOCK_SPEED": "20"})
    bench.service.rules.clear()
    again = bench.run(env={"TEST_CLOCK_SPEED": "20"})

    assert outcome.code == 5, said(outcome)
    assert "stopped: the service has not responded properly for 20 s: HTTP 403" in outcome.stderr
    assert 'Just a moment..." (server: cloudflare)' in outcome.stderr
    assert "key" not in outcome.stderr.replace("--patience", "")
    assert again.code == 0, said(again)
    bench.assert_whole(prompts)


@pytest.mark.parametrize(
    ("said_s", "options", "code"),
    [
        ("30000", (), 5),
        pytest.param("4274.5", (), 5, marks=pytest.mark.slow),
        ("300", ("--patience", "10m"), 0),
        ("100", (), 0),  # less than two minutes is waited whatever the patience
        (None, (), 5),  # it does not say until when
        pytest.param("315360000", (), 5, marks=pytest.mark.slow),  # ten years
    ],
)
def test_a_quota_of_the_day_is_told_and_patience_decides(
    said_s: str | None, options: tuple[str, ...], code: int, bench: Bench
) -> None:
    """One submit a minute for ever, polls and downloads waited as well, and nobody was told until when."""
    prompts = bench.write(8)
    headers = () if said_s is None else (("Retry-After", said_s),)
    answer = error_answer(429, "daily_limit", "enough for today", *headers)
    lasts_s = float(said_s or "inf") / 100
    bench.service.rule(
        "submit", "answer_before", answer=answer, times=math.inf, where=a_while(lasts_s, after=5)
    )

    outcome = bench.run(*options, env={"TEST_CLOCK_SPEED": "100"}, timeout_s=60)

    refused = sum(post.status == 429 for post in bench.service.ledger.posts)
    assert outcome.code == code, said(outcome)
    assert outcome.stderr.count("warning    the service") == 1
    assert bench.states()["done"] == (5 if code else 8), "what was not refused came home"
    if code == 0:
        bench.assert_whole(prompts)
        return
    named = r"asks to wait until (\d{4}-\d\d-\d\d )?\d\d:\d\d before more submits"
    unnamed = "accepts no more submits for now and does not say until when"
    timed = said_s is not None and float(said_s) < 1e6
    assert re.search(f"stopped: the service ({named if timed else unnamed}) .*daily_limit", outcome.stderr)
    assert refused <= 10 + (0 if timed else 3)


@pytest.mark.slow
def test_a_dozen_tasks_nobody_tells_of_hold_nothing_back(
    command: Command, start_service: StartService
) -> None:
    """Their polls took 28 s to a 503 and held all connections, so submits stood; the end named none of them."""
    speed = 10
    bench = Bench(command, start_service(Personality(task_s=(0.5, 1.0), times="absent")))
    service = bench.service
    manners = {"first_s": 2.5, "min_s": 5, "max_s": 60}
    hung = bench.write(12, polling=manners)
    process, deadline = bench.start(), time.monotonic() + 30
    while len(service.ledger.payments) < 12 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    assert ended(process).code == 130
    others = bench.write(52, polling=manners)[12:]
    assert service.ledger.paid.keys() == set(hung)
    mute = Answer(status=503, head_pause_s=28 / speed)
    service.rule(
        "poll",
        "answer_before",
        answer=mute,
        times=math.inf,
        where=lambda request: service.tasks[request.segments[3]].data["prompt"] in hung,
    )
    bench.command.environment["TEST_CLOCK_SPEED"] = str(speed)

    outcome = bench.run("--patience", "20s", timeout_s=120)

    posts = [post.at for prompt in others for post in service.ledger.of(prompt)]
    assert outcome.code == 5, said(outcome)
    assert (max(posts) - min(posts)) * speed < 25, "no submit waits for a poll that hangs"
    assert bench.states() == {"done": 40, "waiting": 12}
    assert re.search(r"stopped: the service .* \(asked for job-\d+, .* and 7 more\)", outcome.stderr)


def break_folder(bench: Bench) -> None:
    """A sync program, say, has put a link in the place of the results."""
    elsewhere = bench.command.workspace / "elsewhere"
    shutil.move(bench.out, elsewhere)
    bench.out.write_text("no folder")


def break_database(bench: Bench) -> None:
    size = bench.database.stat().st_size
    with bench.database.open("r+b") as file:
        file.write(b"x" * size)
    for name in ("-wal", "-shm"):
        wal = Path(f"{bench.database}{name}")
        with wal.open("r+b") as file:
            file.write(b"x" * wal.stat().st_size)


@pytest.mark.parametrize("break_it", [break_folder, break_database])
def test_an_error_of_the_machine_in_mid_run_is_no_success(
    break_it: Callable[[Bench], None], bench: Bench
) -> None:
    """Exit 0 with nineteen tasks waiting, or 2, which says that nothing was sent."""
    bench.write(20, limits={"downloads": 1})
    broken = False

    def breaks(on: object, request: object) -> None:
        nonlocal broken
        if not broken and len(bench.service.ledger.results) == 3:
            broken = True
            break_it(bench)

    bench.service.observer = breaks

    outcome = bench.run(timeout_s=60)

    assert broken
    assert outcome.code == 5, said(outcome)
    assert "Traceback" not in outcome.stderr


def test_a_process_that_was_stopped_goes_on_well(command: Command, start_service: StartService) -> None:
    """Ctrl-Z while the service was away, and `fg` twenty minutes later: patience was over at once."""
    bench = Bench(command, start_service(Personality(task_s=(0.3, 0.6))))
    prompts = bench.write(30)
    away = page(502)
    process = bench.start("--patience", "60s", env={"TEST_CLOCK_SPEED": "600"})
    deadline = time.monotonic() + 30
    while len(bench.service.ledger.payments) < 10 and time.monotonic() < deadline:
        time.sleep(0.005)
    rules = [
        bench.service.rule(kind, "answer_before", answer=away, times=math.inf)
        for kind in ("submit", "poll", "credits")
    ]
    while not any(rule.done for rule in rules) and time.monotonic() < deadline:
        time.sleep(0.001)

    process.send_signal(signal.SIGSTOP)
    time.sleep(2.0)  # twenty minutes, by its own clock
    bench.service.rules.clear()
    process.send_signal(signal.SIGCONT)
    stdout, stderr = process.communicate(timeout=60)

    assert process.wait(timeout=60) == 0, stdout + stderr
    bench.assert_whole(prompts)
