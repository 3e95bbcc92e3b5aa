"""Workers that wait at a database for manifests that are handed over."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.crash.test_workers import at_work, number
from tests.e2e.test_several_runs import Start, shared, write  # noqa: F401 (a fixture)
from tests.imitation.fixtures import ended, said
from tests.support import Command, Outcome, Process, until_said, wait_for

pytestmark = pytest.mark.extra


def worker(command: Command, **env: str) -> Process:
    return command.start("worker", env=env)


def hand_over(command: Command, *options: str) -> Outcome:
    return command("run", command.workspace / "night.yaml", "--yes", "--detach", *options)


def open_handovers() -> float:
    return number("SELECT count(*) FROM handovers WHERE ended_at IS NULL")


def told_to_end(process: Process) -> Outcome:
    process.send_signal(signal.SIGTERM)
    return ended(process)


def test_what_is_handed_over_is_done_by_workers_that_wait(
    shared: Command,  # noqa: F811
    start_sandbox: Start,
) -> None:
    sandbox = start_sandbox("--duration", "1:2")
    shared.use(sandbox)
    write(shared, 40)
    waiting = [worker(shared), worker(shared)]
    for each in waiting:
        until_said(each, "waiting for work")

    began = time.monotonic()
    handed = hand_over(shared)
    wait_for(lambda: len(sandbox.ledger()["tasks"]) > 0)
    woken_s = time.monotonic() - began
    wait_for(lambda: not open_handovers(), within_s=60)
    outcomes = [told_to_end(each) for each in waiting]

    assert handed.code == 0, said(handed)
    assert "40 jobs handed over to workers" in handed.stderr
    assert woken_s < 10.0  # they look by themselves after 20 s only
    assert [each.code for each in outcomes] == [0, 0], "\n".join(map(said, outcomes))
    book = sandbox.ledger()
    assert (len(book["tasks"]), book["paid_twice"]) == (40, [])
    assert number("SELECT exit_code FROM handovers") == 0
    assert (shared.workspace / "out" / "night" / "report.html").is_file()
    assert not list((shared.workspace / "out").rglob("handed-*"))


def test_a_worker_that_is_told_to_end_leaves_what_it_has_to_the_others(
    shared: Command,  # noqa: F811
    start_sandbox: Start,
) -> None:
    sandbox = start_sandbox("--duration", "3:4")
    shared.use(sandbox)
    write(shared, 30)
    handed = hand_over(shared)
    shown = shared("workers")
    assert "night: handed over" in shown.stdout, said(shown)
    stands = shared("status", shared.workspace / "night.yaml")
    assert "and nobody is at it: start `rivya-batch worker`" in stands.stdout, said(stands)
    first = worker(shared)
    wait_for(lambda: len(sandbox.ledger()["tasks"]) > 5)

    outcome = told_to_end(first)
    open_then = open_handovers()
    second = worker(shared)
    wait_for(lambda: not open_handovers(), within_s=60)

    assert handed.code == 0, said(handed)
    assert outcome.code == 0, said(outcome)
    assert "told to end" in outcome.stderr
    assert open_then == 1
    assert told_to_end(second).code == 0
    book = sandbox.ledger()
    assert (len(book["tasks"]), book["paid_twice"]) == (30, [])


def test_the_limit_of_what_is_handed_over_outlives_its_workers(
    shared: Command,  # noqa: F811
    start_sandbox: Start,
) -> None:
    sandbox = start_sandbox("--duration", "2:3")
    shared.use(sandbox)
    write(shared, 30, limits={"requests_per_second": 4})
    hand_over(shared, "--limit", "9")
    first = worker(shared)
    wait_for(lambda: len(sandbox.ledger()["tasks"]) > 3)
    first.kill()
    ended(first)
    second = worker(shared)
    wait_for(lambda: not open_handovers(), within_s=60)

    assert told_to_end(second).code == 0
    assert len(sandbox.ledger()["tasks"]) == 9


def test_who_hands_over_may_wait_for_the_end(shared: Command, start_sandbox: Start) -> None:  # noqa: F811
    sandbox = start_sandbox("--duration", "1:2")
    sandbox.faults({"on": "task", "do": "task_fails", "times": 1})
    shared.use(sandbox)
    write(shared, 6)
    waiting = worker(shared)

    outcome = shared("run", shared.workspace / "night.yaml", "--yes", "--no-work")

    assert outcome.code == 3, said(outcome)
    assert told_to_end(waiting).code == 0


def test_a_worker_says_in_one_line_why_it_does_not_take_part(
    shared: Command,  # noqa: F811
    start_sandbox: Start,
    tmp_path: Path,
) -> None:
    sandbox = start_sandbox("--duration", "1:2", "--key", "rvya_sk_other_0123456789abcdef=default")
    shared.use(sandbox)
    write(shared, 6)
    handed = hand_over(shared)
    assert handed.code == 0, said(handed)
    document = json.loads((shared.workspace / "night.yaml").read_text("utf-8"))

    def refused(**env: str) -> str:
        process = worker(shared, **env)
        assert process.stderr is not None
        lines: list[str] = []
        while not (lines and "not taking part" in lines[-1]):
            lines.append(process.stderr.readline())
            assert lines[-1], lines
        process.kill()
        ended(process)
        return lines[-1]

    assert "handed over with another API key" in refused(RIVYA_API_KEY="rvya_sk_other_0123456789abcdef")
    shared.write("night.yaml", json.dumps({**document, "prompt": "another"}))
    assert "another version of the file" in refused()
    (shared.workspace / "night.yaml").unlink()
    assert "night.yaml" in refused()
    shared.write("night.yaml", json.dumps(document))
    (shared.workspace / "out" / "night").rename(tmp_path / "elsewhere")
    assert "not the folder that its results go to" in refused()
    assert len(sandbox.ledger()["tasks"]) == 0
    assert not at_work()


def test_what_cannot_be_handed_over_is_refused(shared: Command, start_sandbox: Start) -> None:  # noqa: F811
    shared.use(start_sandbox())
    write(shared, 2)
    file = str(shared.workspace / "own.db")

    outcomes = {
        "is a file": hand_over(shared, "--state", file),
        "a rehearsal is for one run alone": hand_over(shared, "--sandbox"),
        "--stop-after": hand_over(shared, "--stop-after", "1h"),
        "waits for manifests at a PostgreSQL server": shared("worker", "--state", file),
    }

    for words, outcome in outcomes.items():
        assert outcome.code == 2, said(outcome)
        assert words in outcome.stderr
