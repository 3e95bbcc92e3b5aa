"""Bad nights of several machines: each is told in one line before money moves, and nothing is lost or paid twice."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.crash.test_workers import at_work, number
from tests.databases import server
from tests.e2e.test_several_runs import Start, shared, start, write  # noqa: F401 (a fixture)
from tests.imitation.fixtures import ended, said
from tests.support import KEY, Command, Outcome, wait_for
from tests.warm import SHIFT

psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.extra

OTHER_KEY = "rvya_sk_other_0123456789abcdef"


def say(sql: str) -> None:
    with closing(psycopg.connect(server(), autocommit=True)) as conn:
        conn.execute(sql)


def errors(outcome: Outcome) -> list[str]:
    return [line for line in outcome.stderr.splitlines() if line.startswith("error:")]


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("postgresql://rivya@127.0.0.1:1/nights", 5),
        ("postgresql://rivya@nowhere.invalid/nights", 5),
        ("postgresql://rivya@/nights?host=/nowhere", 5),
        ("postgresql:nights", 2),
        ("mysql://rivya@db/nights", 2),
        ("{server}_that_is_not_there", 2),
    ],
)
def test_a_wrong_address(shared: Command, start_sandbox: Start, address: str, code: int) -> None:  # noqa: F811
    sandbox = start_sandbox()
    shared.use(sandbox)
    write(shared, 2)
    base, mark, query = server().partition("?")
    address = address.replace("{server}", base) + (mark + query if "{server}" in address else "")

    for command in (("run", shared.workspace / "night.yaml", "--yes"), ("worker",), ("workers",)):
        outcome = shared(*command, env={"RIVYA_STATE": address})
        assert outcome.code == code, said(outcome)
        assert len(errors(outcome)) == 1, said(outcome)
    assert sandbox.ledger()["tasks"] == []


def test_a_database_of_a_newer_version(shared: Command, start_sandbox: Start) -> None:  # noqa: F811
    sandbox = start_sandbox()
    shared.use(sandbox)
    write(shared, 2)
    say("INSERT INTO rivya_batch_steps (name, applied_at) VALUES ('9999_future', 'x')")
    try:
        outcomes = [shared("run", shared.workspace / "night.yaml", "--yes"), shared("worker")]
    finally:
        say("DELETE FROM rivya_batch_steps WHERE name = '9999_future'")

    for outcome in outcomes:
        assert outcome.code == 2, said(outcome)
        assert len(errors(outcome)) == 1
        assert "newer" in errors(outcome)[0]
    assert sandbox.ledger()["tasks"] == []


def test_a_disk_that_is_full_at_the_server(shared: Command, start_sandbox: Start) -> None:  # noqa: F811
    """It is full from the eighth job on, for all; when there is room again, the same command goes on."""
    sandbox = start_sandbox("--duration", "1:2")
    shared.use(sandbox)
    write(shared, 20)
    say(
        "CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF (SELECT count(*) FROM ledger) >= 8 THEN"
        " RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END IF;"
        " RETURN NEW; END $$"
    )
    say("CREATE TRIGGER full_disk BEFORE INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION full_disk()")
    try:
        running = [start(shared), start(shared)]
        outcomes = [ended(each) for each in running]
    finally:
        say("DROP TRIGGER full_disk ON ledger")
    before = len(sandbox.ledger()["tasks"])
    last = ended(start(shared))

    for outcome in outcomes:
        assert outcome.code == 5, said(outcome)
        assert "No space left on device" in outcome.stderr
    assert before <= 8
    assert last.code == 0, said(last)
    book = sandbox.ledger()
    assert (len(book["tasks"]), book["paid_twice"]) == (20, [])
    assert number("SELECT charged FROM credit_totals") == book["charged"]


def test_clocks_that_are_hours_apart(shared: Command, start_sandbox: Start) -> None:  # noqa: F811
    sandbox = start_sandbox("--duration", "1:2")
    sandbox.faults({"on": "submit", "do": "drop_after", "times": 4})
    shared.use(sandbox)
    write(shared, 40, budget={"max_credits_per_day": 100_000})

    running = [
        shared.start("run", shared.workspace / "night.yaml", "--yes", env={SHIFT: shift})
        for shift in ("7200", "-10800")
    ]
    outcomes = [ended(each) for each in running]

    assert [each.code for each in outcomes] == [0, 0], "\n".join(map(said, outcomes))
    book = sandbox.ledger()
    assert (len(book["tasks"]), book["paid_twice"]) == (40, [])
    assert number("SELECT charged FROM credit_totals") == book["charged"]


def test_what_is_not_the_same_on_one_machine(shared: Command, start_sandbox: Start) -> None:  # noqa: F811
    """Another account's key, another version of the program."""
    sandbox = start_sandbox("--duration", "5:6", "--key", KEY, "--key", f"{OTHER_KEY}=other")
    shared.use(sandbox)
    write(shared, 6)
    running = start(shared)
    wait_for(at_work)

    told = {
        "another API key": shared(
            "run", shared.workspace / "night.yaml", "--yes", env={"RIVYA_API_KEY": OTHER_KEY}
        )
    }
    say("UPDATE workers SET terms = 'of another version' WHERE ended_at IS NULL")
    told["another rivya-batch than"] = ended(start(shared))
    outcome = ended(running)

    for words, refused in told.items():
        assert refused.code == 2, said(refused)
        assert words in refused.stderr
        assert len(errors(refused)) == 1
    assert outcome.code == 0, said(outcome)
    assert len(sandbox.ledger()["tasks"]) == 6


def test_another_folder_of_the_same_name(shared: Command, start_sandbox: Start) -> None:  # noqa: F811
    sandbox = start_sandbox("--duration", "5:6")
    shared.use(sandbox)
    write(shared, 6)
    running = start(shared)
    wait_for(at_work)

    say("UPDATE workers SET sign = 'shared-of-elsewhere' WHERE ended_at IS NULL")
    refused = ended(start(shared))
    outcome = ended(running)

    assert refused.code == 2, said(refused)
    assert "is not the folder that its results go to" in errors(refused)[0]
    assert outcome.code == 0, said(outcome)
    assert len(sandbox.ledger()["tasks"]) == 6


def test_who_was_killed_is_gone_and_who_goes_on_is_told_of(shared: Command, start_sandbox: Start) -> None:  # noqa: F811
    """Also where it is the run that began first that goes on."""
    sandbox = start_sandbox("--duration", "8:9")
    shared.use(sandbox)
    write(shared, 4)
    first = start(shared)
    wait_for(lambda: len(at_work()) == 1)
    second = start(shared)
    wait_for(lambda: len(at_work()) == 2)
    both = shared("status", shared.workspace / "night.yaml")
    second.kill()
    ended(second)
    seen = [shared("workers").stdout, shared("status", shared.workspace / "night.yaml").stdout]
    told = shared("set", shared.workspace / "night.yaml", "--rate", "20")
    outcome = ended(first)

    assert "with 1 more run (`rivya-batch workers`)" in both.stdout
    assert ("gone" in seen[0]) or ("shut out" in seen[0])
    assert seen[0].count("at work") == 1
    assert "running    " in seen[1]
    assert str(second.pid) not in seen[1]
    assert "last run" not in seen[1]
    assert told.code == 0, said(told)
    assert outcome.code == 0, said(outcome)
    assert len(sandbox.ledger()["tasks"]) == 4


def test_all_were_killed_and_nobody_is_at_work_then(shared: Command, start_sandbox: Start) -> None:  # noqa: F811
    """What is handed over next is told to have nobody at it; a run then goes on with all of it."""
    sandbox = start_sandbox("--duration", "2:3")
    shared.use(sandbox)
    write(shared, 8)
    running = [start(shared), start(shared)]
    wait_for(lambda: len(at_work()) == 2)
    for each in running:
        each.kill()
        ended(each)

    handed = shared("run", shared.workspace / "night.yaml", "--yes", "--detach")
    last = ended(start(shared))

    assert handed.code == 0, said(handed)
    assert "nobody at it yet" in handed.stderr
    assert last.code == 0, said(last)
    assert (len(sandbox.ledger()["tasks"]), sandbox.ledger()["paid_twice"]) == (8, [])
