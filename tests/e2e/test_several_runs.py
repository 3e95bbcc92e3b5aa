"""Several runs of one manifest at a server: what is asked for holds for all of them together, or is refused in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.crash.test_workers import at_work, number
from tests.databases import close_all, empty_state, of_kind, server
from tests.imitation.fixtures import ended, said
from tests.support import Command, Outcome, Process, Sandbox, wait_for

pytestmark = pytest.mark.extra

Start = Callable[..., Sandbox]


@pytest.fixture
def shared(command: Command) -> Command:
    """The command, with an empty database at a server."""
    with of_kind("postgresql"):
        empty_state()
        close_all()
    command.environment["RIVYA_STATE"] = server()
    return command


def write(command: Command, jobs: int | list[dict[str, Any]], **head: Any) -> None:
    document = {
        "version": 1,
        "name": "night",
        "model": "grok-imagine-video",
        "prompt": "a prompt",
        "polling": {"first_s": 0.3, "min_s": 0.3},
        "limits": {"requests_per_second": 30},
        "idempotency": {"resend_after": "1s"},
        **head,
        "jobs": [{"id": "j", "repeat": jobs}] if isinstance(jobs, int) else jobs,
    }
    command.write("night.yaml", json.dumps(document))


def start(command: Command, *options: str, file: str = "night.yaml") -> Process:
    return command.start("run", command.workspace / file, "--yes", *options)


def both(command: Command, *options: str, file: str = "night.yaml") -> list[Outcome]:
    """Run it twice at once."""
    running = [start(command, *options, file=file)]
    wait_for(at_work)
    running.append(start(command, *options, file=file))
    return [ended(each) for each in running]


def test_a_limit_is_that_of_all_of_them(shared: Command, start_sandbox: Start) -> None:
    sandbox = start_sandbox("--duration", "2:3")
    shared.use(sandbox)
    write(shared, 60)

    outcomes = both(shared, "--limit", "23")

    assert [each.code for each in outcomes] == [0, 0], "\n".join(map(said, outcomes))
    assert len(sandbox.ledger()["tasks"]) == 23
    more = ended(start(shared, "--limit", "4"))
    assert more.code == 0, said(more)
    assert len(sandbox.ledger()["tasks"]) == 27


def test_a_few_slow_jobs_are_shared(shared: Command, start_sandbox: Start) -> None:
    """The first to come leaves those that it cannot send soon to the other, which has half the places for tasks."""
    sandbox = start_sandbox("--duration", "2:2")
    shared.use(sandbox)
    write(shared, 24, limits={"requests_per_second": 30, "in_flight": 4})

    outcomes = both(shared)

    assert [each.code for each in outcomes] == [0, 0], "\n".join(map(said, outcomes))
    assert len(sandbox.ledger()["tasks"]) == 24
    # Each tells of its own.
    charged = [re.search(r"^charged +(\d+) for", said(each), re.MULTILINE) for each in outcomes]
    assert sum(int(each[1]) for each in charged if each) == sandbox.ledger()["charged"]
    assert number("SELECT min(n) FROM (SELECT count(*) AS n FROM shares GROUP BY worker) AS each") >= 6
    assert number("SELECT count(DISTINCT worker) FROM shares") == 2


def test_a_chain_goes_on_whichever_of_them_has_made_what_it_waits_for(
    shared: Command, start_sandbox: Start
) -> None:
    sandbox = start_sandbox("--duration", "1:3")
    shared.use(sandbox)
    stills = [{"id": f"still{n}", "model": "z-image", "prompt": f"still {n}"} for n in range(12)]
    films = [{"id": f"film{n}", "references": [{"job": f"still{n}"}]} for n in range(12)]
    limits = {"requests_per_second": 30, "in_flight": 4}
    write(shared, [*films, *stills], limits=limits)  # each film is passed over before it is free

    outcomes = both(shared)

    assert [each.code for each in outcomes] == [0, 0], "\n".join(map(said, outcomes))
    assert len(sandbox.ledger()["tasks"]) == 24
    assert number("SELECT count(DISTINCT worker) FROM shares") == 2


def test_the_rest_waits_for_the_canaries_of_all(shared: Command, start_sandbox: Start) -> None:
    sandbox = start_sandbox("--duration", "2:2")
    shared.use(sandbox)
    write(shared, 40)

    running = [start(shared, "--canary", "3"), start(shared, "--canary", "3")]
    wait_for(lambda: len(at_work()) == 2)
    most = 0
    while not number("SELECT count(*) FROM jobs WHERE state = 'done'"):
        most = max(most, len(sandbox.ledger()["tasks"]))
    outcomes = [ended(each) for each in running]

    assert most == 3
    assert [each.code for each in outcomes] == [0, 0], "\n".join(map(said, outcomes))
    assert len(sandbox.ledger()["tasks"]) == 40
    assert any("3 canaries are done" in each.stderr for each in outcomes)


def test_a_canary_of_one_that_fails_stops_all(shared: Command, start_sandbox: Start) -> None:
    sandbox = start_sandbox("--duration", "1:2")
    sandbox.faults({"on": "task", "do": "task_fails", "times": 1})
    shared.use(sandbox)
    write(shared, 40)

    outcomes = both(shared, "--canary", "3")

    assert [each.code for each in outcomes] == [3, 3], "\n".join(map(said, outcomes))
    assert all("a canary failed" in each.stderr for each in outcomes)
    assert len(sandbox.ledger()["tasks"]) == 3


def test_only_some_jobs_and_without_those_with_mistakes(shared: Command, start_sandbox: Start) -> None:
    sandbox = start_sandbox("--duration", "2:3")
    shared.use(sandbox)
    jobs: list[dict[str, Any]] = [{"id": f"{letter}{n}"} for n in range(10) for letter in "ab"]
    write(shared, [*jobs, {"id": "a99", "params": {"duration": 999}}])

    outcomes = both(shared, "--only", "a*", "--skip-invalid")

    assert [each.code for each in outcomes] == [3, 3], "\n".join(map(said, outcomes))
    assert all("left out for mistakes: 1 job (a99)" in each.stderr for each in outcomes)
    assert len(sandbox.ledger()["tasks"]) == 10


def test_a_saved_plan_is_done_by_all(shared: Command, start_sandbox: Start) -> None:
    sandbox = start_sandbox("--duration", "2:3")
    shared.use(sandbox)
    write(shared, 30)
    saved = shared("plan", shared.workspace / "night.yaml", "--out", "night-plan.json")
    assert saved.code == 0, said(saved)

    outcomes = both(shared, file="night-plan.json")

    assert [each.code for each in outcomes] == [0, 0], "\n".join(map(said, outcomes))
    assert len(sandbox.ledger()["tasks"]) == 30


def test_what_one_run_does_alone_is_refused_in_one_line(shared: Command, start_sandbox: Start) -> None:
    sandbox = start_sandbox("--duration", "4:5")
    sandbox.faults({"on": "task", "do": "task_fails", "times": 1})
    shared.use(sandbox)
    write(shared, 12)
    first = ended(start(shared, "--limit", "1"))
    assert first.code == 3, said(first)
    running = start(shared)
    wait_for(at_work)

    retried = shared("retry", shared.workspace / "night.yaml", "--yes")
    probed = ended(start(shared, "--limit", "2"))
    outcome = ended(running)

    assert retried.code == 2, said(retried)
    assert "`retry` is for one run alone, and 1 run of night" in retried.stderr
    assert probed.code == 2, said(probed)
    assert "other settings, options" in probed.stderr
    assert outcome.code == 3, said(outcome)
    assert len(sandbox.ledger()["tasks"]) == 12


@pytest.mark.parametrize("factor", [1, 4])
def test_the_cap_is_never_passed_but_by_one_probe(shared: Command, start_sandbox: Start, factor: int) -> None:
    """Four runs, one of which is killed; the service charges what is listed, or four times as much."""
    sandbox = start_sandbox("--duration", "1:2", "--price-factor", str(factor))
    shared.use(sandbox)
    write(shared, 60, budget={"max_credits": 300})

    running = [start(shared) for _ in range(4)]
    wait_for(lambda: len(at_work()) >= 2)
    running[0].kill()
    outcomes = [ended(each) for each in running]
    charged = sandbox.ledger()["charged"]
    again = ended(start(shared))

    assert {each.code for each in outcomes[1:]} == {8}, "\n".join(map(said, outcomes))
    assert again.code == 8, said(again)
    assert charged <= 300 + (0 if factor == 1 else 10 * factor)
    assert sandbox.ledger()["paid_twice"] == []
    assert number("SELECT charged FROM credit_totals") == sandbox.ledger()["charged"]
