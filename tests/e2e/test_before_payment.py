"""Trouble of this machine and its network is told before money moves; trouble of the service is waited out."""

from __future__ import annotations

import os
import pty
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from datetime import datetime, timedelta

import pytest

from tests.imitation.faults import error_answer
from tests.imitation.fixtures import Bench, StartService, said
from tests.imitation.personality import USUAL, Personality
from tests.imitation.tasks import Fate
from tests.imitation.wire import TLS, Answer
from tests.support import clean_environment, programme

NOTHING_NAMED = {"SSL_CERT_FILE": "", "SSL_CERT_DIR": "", "REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": ""}
PAGE = Answer(status=502, headers=(("Content-Type", "text/html"),), body=b"<html>bad gateway</html>")


def questions(bench: Bench) -> int:
    return len([each for each in bench.service.ledger.others if each.what == "credits"])


def deliver_from(bench: Bench, host: str) -> None:
    """Let a host have delivered results of this service."""
    with closing(sqlite3.connect(bench.database)) as state, state:
        state.execute("DELETE FROM result_hosts")
        state.execute(
            "INSERT INTO result_hosts (base_url, host, seen_at) VALUES (?, ?, '2026-11-29T00:00:00.000Z')",
            (bench.service.base_url, host),
        )


def asked_on_a_terminal(bench: Bench, reply: bytes) -> tuple[int, str]:
    """Run with a terminal whose person has typed a reply already; return the exit code and what they saw."""
    ours, its = pty.openpty()
    os.write(ours, reply)
    process = subprocess.Popen(
        [*programme(), "run", str(bench.manifest)],
        stdin=its,
        stdout=its,
        stderr=its,
        cwd=bench.command.workspace,
        env=clean_environment(**bench.command.environment, **NOTHING_NAMED, TERM="dumb"),
        start_new_session=True,
    )
    os.close(its)
    shown = b""
    with suppress(OSError):  # how Linux says that nobody writes any more
        while piece := os.read(ours, 65_536):
            shown += piece
    os.close(ours)
    return process.wait(timeout=30), shown.decode()


@pytest.mark.slow
def test_a_person_is_told_before_they_are_asked(bench: Bench, start_service: StartService) -> None:
    bench.write(2)
    bench.service.ahead_s = -600
    code, shown = asked_on_a_terminal(bench, b"n\n")
    told, _, asked = shown.partition("Spend ")

    assert (code, "nothing was sent" in asked) == (2, True), shown
    assert "the clock of this machine is 10 minutes ahead of that of 127.0.0.1" in told
    assert "balance 1,000,000" in told

    bench.use(start_service(Personality(certificate="localhost")))
    code, shown = asked_on_a_terminal(bench, b"y\n")
    assert (code, "Spend" in shown, "SSL_CERT_FILE" in shown) == (5, False, True), shown
    later = f"{datetime.now().astimezone() + timedelta(hours=2):%H:%M}"
    outcome = bench.run("--start-at", later, env=NOTHING_NAMED)
    assert outcome.code == 5, said(outcome)
    assert "waiting until" not in outcome.stderr
    assert bench.service.ledger.requests == 0


def test_a_company_s_own_certificate_is_named_at_once_and_nothing_is_sent(
    bench: Bench, start_service: StartService
) -> None:
    bench.use(start_service(Personality(certificate="signed")))
    prompts = bench.write(3)
    authority = str(TLS / "authority.pem")
    elsewhere = {**NOTHING_NAMED, "REQUESTS_CA_BUNDLE": authority}

    planned = bench.command("plan", bench.manifest, env=elsewhere)
    began = time.monotonic()
    refused = bench.run("--patience", "10m", env=elsewhere)
    credits = bench.command("credits", env=elsewhere)
    took_s = time.monotonic() - began
    outcome = bench.run(env={**NOTHING_NAMED, "SSL_CERT_FILE": authority})

    assert (planned.code, refused.code, outcome.code) == (0, 5, 0), said(refused) + said(outcome)
    assert credits.code == 5
    for told in (planned.stdout, refused.stderr, credits.stderr):
        assert "presents a certificate of an authority that this machine does not know" in told
        assert 'SSL_CERT_FILE="$REQUESTS_CA_BUNDLE"' in told
        assert "CERTIFICATE_VERIFY_FAILED" not in told
    assert took_s < 30
    bench.assert_whole(prompts)
    assert all(len(bench.service.ledger.of(prompt)) == 1 for prompt in prompts)


def test_certificates_that_are_not_there_are_named_by_every_command_that_asks(
    bench: Bench, start_service: StartService
) -> None:
    bench.use(start_service(Personality(certificate="signed")))
    bench.write(2)
    missing = {**NOTHING_NAMED, "SSL_CERT_FILE": "/nowhere/ca.pem"}

    outcomes = [bench.run(env=missing), bench.command("credits", env=missing)]
    planned = bench.command("plan", bench.manifest, "--json", env=missing)

    for outcome in outcomes:
        assert outcome.code == 2, said(outcome)
        assert "SSL_CERT_FILE names /nowhere/ca.pem, which is not there" in outcome.stderr
    (finding,) = [each for each in planned.json["findings"] if each["weight"] == "stop"]
    assert "/nowhere/ca.pem" in finding["found"]
    assert bench.service.api.connections == 0
    assert not bench.database.exists()


def test_a_clock_that_is_hours_behind_is_told_once_and_the_run_goes_on(bench: Bench) -> None:
    bench.service.ahead_s = 36_000
    prompts = bench.write(3)

    planned = bench.command("plan", bench.manifest)
    outcome = bench.run()

    assert (planned.code, outcome.code) == (0, 0), said(outcome)
    told = "the clock of this machine is 10 hours behind that of 127.0.0.1; set it if it is wrong"
    assert planned.stdout.count(told) == outcome.stderr.count(told) == 1
    bench.assert_whole(prompts)
    again = bench.run()  # with nothing to pay for, nothing is asked
    assert again.code == 0
    assert told not in again.stderr
    assert questions(bench) == 2


def test_nothing_is_paid_for_while_no_result_could_come_home(bench: Bench) -> None:
    """What is paid for already is brought home all the same; a canary may try it."""
    first = bench.write(1)
    bench.service.rule("poll", "answer_before", times=1000, answer=PAGE)
    assert bench.run("--stop-after", "1s").code == 10
    bench.service.rules.clear()
    deliver_from(bench, "198.18.0.7")
    prompts = [*first, *bench.write([{"id": "job-1"}, {"id": "job-2"}, {"id": "job-3"}])[1:]]

    planned = bench.command("plan", bench.manifest)
    outcome = bench.run()

    assert outcome.code == 5, said(outcome)
    assert list(bench.service.ledger.paid) == first
    assert bench.states() == {"done": 1, "planned": 2}
    for told in (planned.stdout, outcome.stderr):
        assert "results cannot be fetched: 198.18.0.7 is not a public address" in told
        assert "HTTPS_PROXY=http://127.0.0.1:" in told
    assert "--canary 1" in outcome.stderr
    # The host of the one that came home is known now: put the other back.
    deliver_from(bench, "198.18.0.7")
    canary = bench.run("--canary", "1")
    assert canary.code == 0, said(canary)
    bench.assert_whole(prompts)


def test_a_refused_key_ends_the_run_before_anything_is_sent_a_single_refusal_does_not(bench: Bench) -> None:
    prompts = bench.write(2)
    invalid = error_answer(401, "api_key_invalid", "who are you?")
    bench.service.refused_keys[bench.service.key] = invalid
    refused = bench.run()
    assert refused.code == 4, said(refused)
    assert "api_key_invalid" in refused.stderr
    assert bench.service.ledger.posts == []
    bench.service.refused_keys.clear()

    bench.service.rule("credits", "answer_before", answer=invalid)
    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)


@pytest.mark.parametrize(
    "answer",
    [
        error_answer(403, "api_scope_denied", "credits:read is missing"),
        error_answer(429, "rate_limited", "slow down"),
        error_answer(404, "not_found"),
        Answer(status=401, headers=(("Content-Type", "text/html"),), body=b"<html>log in</html>"),
        PAGE,
    ],
    ids=["scope", "limit", "not found", "login page", "bad gateway"],
)
def test_a_service_that_does_not_tell_credits_is_nobody_s_trouble(bench: Bench, answer: Answer) -> None:
    prompts = bench.write(1)
    bench.service.rule("credits", "answer_before", times=1000, answer=answer)

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    assert "credits:read" not in outcome.stderr
    bench.assert_whole(prompts)


def test_a_name_that_is_not_found_is_told_and_nothing_is_sent(bench: Bench) -> None:
    assert USUAL.certificate == ""
    bench.write(2)

    outcome = bench.run("--patience", "1s", env={"RIVYA_BASE_URL": "https://rivya.invalid"})

    assert outcome.code == 5, said(outcome)
    assert "the name rivya.invalid cannot be found" in outcome.stderr
    assert "check how it is spelled" in outcome.stderr
    assert bench.states() == {"planned": 2}


def with_odd_cells(bench: Bench, texts: list[str]) -> None:
    """Write a manifest with a row for each text, and its table."""
    bench.write([{"id": "shot-${row.sku}", "rows": "shots.csv", "prompt": "${row.text}"}])
    rows = "".join(f"s{number},{text}\n" for number, text in enumerate(texts))
    (bench.manifest.parent / "shots.csv").write_text(f"sku,text\n{rows}", encoding="utf-8")


def test_without_a_terminal_yes_does_not_pay_for_cells_that_look_like_mistakes(bench: Bench) -> None:
    with_odd_cells(bench, ["a cat", "#REF!", "nan", "a dog"])

    refused = bench.run()
    others = bench.run("--only", "shot-s[03]")
    again = bench.run()
    accepted = bench.run("--accept-warnings")
    done = bench.run()

    assert (refused.code, others.code, again.code, accepted.code, done.code) == (2, 0, 2, 0, 0), said(refused)
    assert "2 jobs have cells such as `#REF!` or `nan` (shot-s1, shot-s2)" in refused.stderr
    assert "--accept-warnings" in refused.stderr
    assert len(bench.service.ledger.payments) == 4


def test_once_they_are_mended_yes_is_enough(bench: Bench) -> None:
    with_odd_cells(bench, ["a cat", "undefined"])
    refused = bench.run()
    with_odd_cells(bench, ["a cat", "a dog"])

    assert (refused.code, bench.run().code) == (2, 0)
    assert "1 job has a cell such as" in refused.stderr


@pytest.mark.slow
def test_a_rehearsal_and_a_person_are_not_stopped_by_odd_cells(bench: Bench) -> None:
    with_odd_cells(bench, ["#REF!"])

    assert bench.command("run", bench.manifest, "--sandbox", "--sandbox-options", "--duration 0.1").code == 0
    code, shown = asked_on_a_terminal(bench, b"y\n")
    assert code == 0, shown
    assert shown.index("a prompt is `#REF!`") < shown.index("Spend ")


def test_a_retry_does_not_pay_for_cells_that_look_like_mistakes_either(bench: Bench) -> None:
    with_odd_cells(bench, ["A cat #REF! in the rain"])
    bench.service.fates["A cat #REF! in the rain"] = Fate(status="failed", times=1)
    first = bench.run("--accept-warnings")

    refused = bench.command("retry", bench.manifest, "--yes")
    paid = len(bench.service.ledger.payments)
    accepted = bench.command("retry", bench.manifest, "--yes", "--accept-warnings")

    assert (first.code, refused.code, accepted.code) == (3, 2, 0), said(refused)
    assert "1 job of these has a cell such as `#REF!` or `nan` (shot-s0)" in refused.stderr
    assert paid == 1
