"""The same kills where the state database is at a PostgreSQL server, and a server that goes away: the book decides."""

from __future__ import annotations

import pytest

from tests.crash.test_each_effect import EFFECTS, JOBS, is_killed
from tests.databases import close_all, empty_state, of_kind, server
from tests.imitation.fixtures import Bench, StartService, said
from tests.imitation.personality import USUAL
from tests.imitation.wire import Answer
from tests.support import Command

pytestmark = [pytest.mark.crash, pytest.mark.extra]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("effect", EFFECTS)
def test_killed_at_an_effect_each_job_is_paid_once_at_a_server(
    effect: str, when: str, command: Command, start_service: StartService
) -> None:
    """What the server knows in the end is copied into a file, and looked at there."""
    bench = Bench(command, start_service(USUAL))
    with of_kind("postgresql"):
        empty_state()
    command.environment["RIVYA_STATE"] = server()
    for letter in "abc":
        bench.picture(f"{letter}.png", letter)
    prompts = bench.write(JOBS, limits={"downloads": 2})

    first, second = (is_killed(bench, effect, when, skip) for skip in (0, 1))
    last = bench.run()

    assert first
    assert last.code == 0, said(last)
    assert bench.service.kills == first + second
    assert not bench.database.exists()
    copied = command("state", "copy", "--to", bench.database)
    assert copied.code == 0, said(copied)
    bench.assert_whole(prompts)
    assert bench.states() == {"done": 5}


@pytest.mark.parametrize("effect", EFFECTS)
def test_a_run_whose_server_goes_away_ends_with_5_and_the_next_one_continues(
    effect: str, command: Command, start_service: StartService
) -> None:
    """Its connections are cut between a request and the answer: what the answer says cannot be written."""
    psycopg = pytest.importorskip("psycopg")
    bench = Bench(command, start_service(USUAL))
    with of_kind("postgresql"):
        empty_state()
        close_all()  # not ours, which is kept from test to test
    command.environment["RIVYA_STATE"] = server()
    bench.picture("a.png", "a")
    bench.picture("b.png", "b")
    bench.picture("c.png", "c")
    prompts = bench.write(JOBS)

    def cut(answer: Answer) -> Answer:
        with psycopg.connect(server(), autocommit=True) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rivya-batch'"
                " AND datname = current_database() AND pid <> pg_backend_pid()"
            )
        return answer

    bench.service.rule(effect, "twist", answer=cut, times=1)
    first, last = bench.run(), bench.run()

    assert first.code == 5, said(first)
    assert "run again" in first.stderr
    assert last.code == 0, said(last)
    copied = command("state", "copy", "--to", bench.database)
    assert copied.code == 0, said(copied)
    bench.assert_whole(prompts)
    assert bench.states() == {"done": 5}


def test_a_reference_that_only_the_machine_has_that_died_is_sent_by_another(
    command: Command, start_service: StartService
) -> None:
    """It was agreed to and planned there; nothing of it was uploaded yet."""
    bench = Bench(command, start_service(USUAL))
    with of_kind("postgresql"):
        empty_state()
        close_all()
    command.environment["RIVYA_STATE"] = server()
    for letter in "abc":
        bench.picture(f"{letter}.png", letter)
    prompts = bench.write(JOBS)
    assert is_killed(bench, "upload", "before", 0)
    for letter in "abc":
        (command.workspace / f"{letter}.png").unlink()

    other = bench.run()

    assert other.code == 0, said(other)
    bench.assert_whole(prompts)
    assert len(list((bench.out / ".references").iterdir())) == 3


def test_without_a_server_a_reference_that_is_gone_is_told_before_anything_is_paid(bench: Bench) -> None:
    bench.write([{"id": "one", "references": [bench.picture("a.png", "a")]}])
    assert is_killed(bench, "upload", "before", 0)
    (bench.command.workspace / "a.png").unlink()

    outcome = bench.run()

    assert outcome.code == 2, said(outcome)
    assert "a.png does not exist" in outcome.stderr
    assert not (bench.out / ".references").exists()
