"""Three runs of one manifest on one database at a server; again and again one of them is killed: the book decides."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.databases import close_all, empty_state, of_kind, server
from tests.imitation.fixtures import ended, said
from tests.support import Command, Process, Sandbox, wait_for

pytestmark = [pytest.mark.crash, pytest.mark.extra]

WORKERS = 3
KILLS = 3  # `--crash-rounds=N` for more
MOST_KILLS = 100
JOBS_A_KILL = 25
MOST_TAKES = 1000  # of one job
LONGEST_S = 15.0  # for one kill, on a machine that has other things to do

Start = Callable[..., Sandbox]


def write(command: Command, takes: int, **head: object) -> None:
    document = {
        "version": 1,
        "name": "night",
        "model": "grok-imagine-video",
        "prompt": "a prompt",
        "polling": {"first_s": 0.5, "min_s": 0.5},
        "limits": {"requests_per_second": 20},
        "idempotency": {"resend_after": "1s"},
        "jobs": [
            {"id": f"j{first}", "repeat": min(takes - first, MOST_TAKES)}
            for first in range(0, takes, MOST_TAKES)
        ],
        **head,
    }
    (command.workspace / "night.yaml").write_text(json.dumps(document), encoding="utf-8")


def start(command: Command) -> Process:
    return command.start("run", command.workspace / "night.yaml", "--yes")


def at_work() -> list[int]:
    """Return the processes that take part now."""
    import psycopg

    with closing(psycopg.connect(server(), autocommit=True)) as conn:
        found = conn.execute("SELECT pid FROM workers WHERE ended_at IS NULL AND fenced = 0 AND sharers > 0")
        return [row[0] for row in found]


def number(sql: str) -> float:
    import psycopg

    with closing(psycopg.connect(server(), autocommit=True)) as conn:
        row = conn.execute(sql).fetchone()
        assert row is not None
        return float(row[0])


def test_one_of_three_is_killed_and_the_others_go_on(
    command: Command, start_sandbox: Start, pytestconfig: pytest.Config
) -> None:
    """One create answer in ten is lost as well. Nothing is paid twice, nothing is lost, and the books are equal."""
    kills = min(pytestconfig.getoption("--crash-rounds") or KILLS, MOST_KILLS)
    jobs = kills * JOBS_A_KILL + 30
    dice = random.Random(f"workers {kills}")
    with of_kind("postgresql"):
        empty_state()
        close_all()
    sandbox = start_sandbox("--duration", "1:3", "--credits", "1000000")
    sandbox.faults({"on": "submit", "do": "drop_after", "times": 1_000_000, "probability": 0.1})
    command.use(sandbox)
    command.environment["RIVYA_STATE"] = server()
    write(command, jobs)

    running = [start(command) for _ in range(WORKERS)]
    killed, until = 0, time.monotonic() + LONGEST_S * (kills + 4)
    while killed < kills and time.monotonic() < until:
        working = [each for each in running if each.pid in at_work()]
        if len(working) == WORKERS:
            victim = dice.choice(working)
            victim.kill()
            ended(victim)
            killed += 1
            running[running.index(victim)] = start(command)
            time.sleep(dice.random())
        running = [each if each.poll() is None else start(command) for each in running]
        if number("SELECT count(*) FROM jobs WHERE state = 'done'") == jobs:
            break
        time.sleep(0.1)
    outcomes = [ended(each, timeout_s=120.0) for each in running]

    book = sandbox.ledger()
    assert all(outcome.code == 0 for outcome in outcomes), "\n".join(map(said, outcomes))
    assert killed > kills // 2
    assert number("SELECT count(*) FROM jobs WHERE state = 'done'") == jobs
    assert book["paid_twice"] == []
    assert len(book["tasks"]) == jobs
    assert number("SELECT charged FROM credit_totals") == book["charged"]
    assert number("SELECT sum(amount) FROM ledger") == book["charged"]
    assert len(list((command.workspace / "out" / "night").glob("*.mp4"))) == jobs
    assert not list((command.workspace / "out" / "night").rglob("*.part"))


def test_a_film_is_made_of_a_still_that_another_run_has_made_also_if_that_is_killed(
    command: Command, start_sandbox: Start
) -> None:
    """Each still sets its film free for whoever comes first; what a killed run had made sets free as well."""
    number_of_each = 24
    with of_kind("postgresql"):
        empty_state()
        close_all()
    sandbox = start_sandbox("--duration", "1:2", "--credits", "1000000")
    command.use(sandbox)
    command.environment["RIVYA_STATE"] = server()
    still = {"id": "still-${n}", "model": "z-image", "matrix": {"n": list(range(number_of_each))}}
    film = {
        "id": "film-${n}",
        "matrix": {"n": list(range(number_of_each))},
        "references": [{"job": "still-${n}"}],
    }
    write(command, 1, jobs=[film, still], limits={"requests_per_second": 30})

    running = [start(command) for _ in range(WORKERS)]
    wait_for(lambda: len(at_work()) == WORKERS)
    wait_for(lambda: number("SELECT count(*) FROM jobs WHERE state = 'done'") >= 6)
    running[0].kill()
    ended(running[0])
    outcomes = [ended(each, timeout_s=120.0) for each in running[1:]]

    book = sandbox.ledger()
    assert [outcome.code for outcome in outcomes] == [0, 0], "\n".join(map(said, outcomes))
    assert number("SELECT count(*) FROM jobs WHERE state = 'done'") == 2 * number_of_each
    assert book["paid_twice"] == []
    assert len(book["tasks"]) == 2 * number_of_each
    assert len(list((command.workspace / "out" / "night").glob("film-*.mp4"))) == number_of_each


def test_a_run_of_another_version_of_the_file_cannot_take_part(
    command: Command, start_sandbox: Start
) -> None:
    with of_kind("postgresql"):
        empty_state()
        close_all()
    command.use(start_sandbox("--duration", "3:4"))
    command.environment["RIVYA_STATE"] = server()
    write(command, 20)
    first = start(command)
    wait_for(at_work)

    refused = {}
    for why, head in (
        ("another version of the file", {"prompt": "another"}),
        ("other settings", {"budget": {"max_credits": 5000}}),
    ):
        write(command, 20, **head)
        refused[why] = ended(start(command))
    write(command, 20)
    limited = ended(command.start("run", command.workspace / "night.yaml", "--yes", "--limit", "1"))
    outcome = ended(first)

    for why, told in refused.items():
        assert told.code == 2, said(told)
        assert why in told.stderr
    assert limited.code == 2, said(limited)
    assert outcome.code == 0, said(outcome)


def test_what_stops_one_stops_all(command: Command, start_sandbox: Start) -> None:
    """Each sees only some of the failures; together they are ten in a row, and nobody submits more."""
    with of_kind("postgresql"):
        empty_state()
        close_all()
    sandbox = start_sandbox("--duration", "2:3")
    sandbox.faults({"on": "task", "do": "task_fails", "times": 1_000_000})
    command.use(sandbox)
    command.environment["RIVYA_STATE"] = server()
    write(command, 200, limits={"requests_per_second": 40, "in_flight": 6})

    first = start(command)
    wait_for(at_work)
    outcomes = [ended(each) for each in (start(command), first)]

    for outcome in outcomes:
        assert outcome.code == 5, said(outcome)
        assert "10 jobs in a row failed" in outcome.stderr
    book = sandbox.ledger()
    assert len(book["tasks"]) <= 23  # ten, those under way then, and those begun until the others looked
    assert book["max_in_flight_seen"] <= 6


def test_all_are_held_and_stopped_together_and_one_that_comes_later_as_well(
    command: Command, start_sandbox: Start
) -> None:
    with of_kind("postgresql"):
        empty_state()
        close_all()
    sandbox = start_sandbox("--duration", "2:3")
    command.use(sandbox)
    command.environment["RIVYA_STATE"] = server()
    write(command, 100, limits={"requests_per_second": 6})
    night = command.workspace / "night.yaml"

    running = [start(command), start(command)]
    wait_for(lambda: len(at_work()) >= 2)
    held = command("hold", night)
    running.append(start(command))
    wait_for(lambda: len(at_work()) >= 3)
    before = len(sandbox.ledger()["tasks"])
    shown = command("workers", "--json").json["workers"]
    assert [each["stands"] for each in shown] == ["at work"] * 3
    assert {each["pid"] for each in shown} == set(at_work())
    assert command("workers").stdout.count("at work") == 3
    stopped = command("stop", night)
    outcomes = [ended(each) for each in running]

    assert (held.code, stopped.code) == (0, 0), said(held) + said(stopped)
    assert len(sandbox.ledger()["tasks"]) == before < 100
    for outcome in outcomes:
        assert outcome.code == 130, said(outcome)
