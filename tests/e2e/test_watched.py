"""A run as machines watch it: lines of JSON, a file of numbers, and `/metrics`."""

from __future__ import annotations

import json
import re

import httpx

from tests.imitation.fixtures import Bench, said


def test_lines_of_the_log_and_of_stderr_are_json_with_run_job_attempt_and_request(bench: Bench) -> None:
    bench.write(2)
    bench.service.rule("submit", "drop_after")

    outcome = bench.run("--log-format", "json", env={"TEST_CLOCK_SPEED": "5"})

    assert outcome.code == 0, said(outcome)
    log = [
        json.loads(line)
        for line in (bench.command.workspace / "state" / "runner.log").read_text().splitlines()
    ]
    events = [each["event"] for each in log]
    assert events.count("submitted") == events.count("done") == 2
    assert all(each["run"] == 1 and each["manifest"] == "night" for each in log)
    submitted = [each for each in log if each["event"] == "submitted"]
    assert sorted(each["attempt"] for each in submitted) == [1, 2]
    assert all({"at", "job", "task_id", "request_id"} <= {*each} for each in submitted)
    on_stderr = [json.loads(line)["event"] for line in outcome.stderr.splitlines() if line.startswith("{")]
    assert on_stderr.count("done") == 2
    assert outcome.stdout.startswith("night: all 2 jobs are done")


def test_numbers_are_in_a_file_and_at_metrics(bench: Bench) -> None:
    bench.write(3)
    outcome = bench.run("--metrics-file", "night.prom")

    text = (bench.command.workspace / "night.prom").read_text()
    assert outcome.code == 0, said(outcome)
    for line in (
        'rivya_batch_jobs{manifest="night",state="done"} 3',
        'rivya_batch_credits_spent{manifest="night"} 30',
        'rivya_batch_exit_code{manifest="night"} 0',
        'rivya_batch_running{manifest="night"} 0',
    ):
        assert line in text.splitlines()

    process = bench.command.start("serve", bench.manifest, "--metrics", "--no-open")
    assert process.stderr is not None
    url = ""
    while not url:
        line = process.stderr.readline()
        assert line, "it ended"
        found = re.search(r"http://\S+/metrics", line)
        url = found[0] if found else ""
    answer = httpx.get(url, trust_env=False)

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'rivya_batch_jobs{manifest="night",state="done"} 3' in answer.text.splitlines()
    for headers, method in (({"host": "evil.example"}, "GET"), ({}, "POST")):
        assert httpx.request(method, url, headers=headers, trust_env=False).status_code in (421, 405)
    assert httpx.get(url.replace("/metrics", "/"), trust_env=False).status_code == 404


def test_without_being_asked_there_are_no_numbers_to_be_had(bench: Bench) -> None:
    bench.write(1)
    assert bench.run().code == 0
    process = bench.command.start("serve", bench.manifest, "--no-open", "--json")
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]

    assert httpx.get(url.partition("/t/")[0] + "/metrics", trust_env=False).status_code == 404


def test_a_file_of_numbers_in_no_folder_is_bad_usage(bench: Bench) -> None:
    bench.write(1)

    assert bench.run("--metrics-file", "nowhere/night.prom").code == 2
    assert not bench.service.ledger.posts
