"""A person's hand on a run from a second terminal: hold, go, stop, set; and a night that is over in time."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from tests.imitation.fixtures import Bench, ended, said
from tests.support import wait_for
from tests.warm import SPEED


def test_a_run_is_held_and_told_other_limits_and_goes_on(bench: Bench) -> None:
    """Held: nothing more is submitted. The cap of the manifest would stop it after two jobs."""
    service = bench.service
    prompts = bench.write(8, limits={"in_flight": 1}, budget={"max_credits": 60})
    service.become(task_s=(0.3, 0.3))
    process = bench.start(env={SPEED: "5"})
    wait_for(lambda: len(service.ledger.posts) >= 1)

    held = bench.command("hold", bench.manifest)
    assert held.code == 0, said(held)
    assert "held" in held.stdout
    posts = len(service.ledger.posts)
    status = bench.command("status", bench.manifest)
    changed = bench.command(
        "set", bench.manifest, "--in-flight", "5", "--rate", "150", "--max-credits", "80", "--json"
    )
    assert changed.code == 0, said(changed)
    assert changed.json["taken"] is True
    assert len(service.ledger.posts) == posts < 8, said(status)
    assert bench.command("go", bench.manifest).code == 0

    outcome = ended(process)
    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)
    assert service.ledger.most_running > 1
    for told in ("paused by `rivya-batch hold`", "at most 5 tasks", "150 requests", "80 credits", "resumed"):
        assert told in outcome.stderr


def test_a_run_is_stopped_in_good_order_and_the_next_one_collects(bench: Bench) -> None:
    service = bench.service
    prompts = bench.write(6, limits={"in_flight": 2})
    service.become(task_s=(1.0, 1.0))
    process = bench.start(env={SPEED: "5"})
    wait_for(lambda: len(service.ledger.posts) >= 2)

    stopped = bench.command("stop", bench.manifest)

    outcome = ended(process)
    assert (stopped.code, outcome.code) == (0, 130), said(stopped) + said(outcome)
    assert "rivya-batch stop" in said(outcome)
    service.become(task_s=(0.05, 0.05))
    assert bench.run().code == 0
    bench.assert_whole(prompts)


def test_without_a_run_there_is_nothing_to_tell(bench: Bench) -> None:
    bench.write(1)
    assert bench.command("stop", bench.manifest).code == 2
    assert bench.run().code == 0

    for arguments in (("hold",), ("go",), ("stop",), ("set", "--rate", "3")):
        outcome = bench.command(*arguments, bench.manifest)
        assert outcome.code == 2, said(outcome)
        assert "not being run" in outcome.stderr


@pytest.mark.parametrize("wrong", [(), ("--rate", "0"), ("--rate", "nan"), ("--in-flight", "1.5")])
def test_what_cannot_be_set_is_refused(bench: Bench, wrong: tuple[str, ...]) -> None:
    bench.write(1)

    assert bench.command("set", bench.manifest, *wrong).code == 2


@pytest.mark.parametrize("text", ["25:00", "soon", "2020-01-01T00:00", "2026-13-01T00:00"])
def test_a_time_to_stop_that_is_none_is_refused(bench: Bench, text: str) -> None:
    bench.write(1)

    assert bench.run("--stop-at", text).code == 2
    assert not bench.service.ledger.posts


@pytest.mark.slow
@pytest.mark.parametrize(("at_once", "task_s"), [(2, (1.0, 1.0)), (20, (0.5, 2.5))])
def test_a_night_that_is_to_be_over_in_time_leaves_nothing_running(
    bench: Bench, at_once: int, task_s: tuple[float, float]
) -> None:
    """Those that would not be home by then are not begun."""
    service = bench.service
    bench.write(600, limits={"in_flight": at_once})
    service.become(task_s=task_s)
    assert bench.run("--limit", str(3 * at_once)).code == 0
    stop_at = time.time() + 8.0

    outcome = bench.run("--stop-at", datetime.fromtimestamp(stop_at).isoformat())
    over = time.time()

    assert outcome.code == 10, said(outcome)
    assert "--stop-at" in said(outcome)
    assert stop_at - 4.5 < over < stop_at + 1.0
    assert {*bench.states()} == {"done", "planned"}
    assert bench.states()["done"] >= 5 * at_once


@pytest.mark.slow
def test_what_takes_longer_than_it_was_thought_is_left_to_the_next_run(bench: Bench) -> None:
    service = bench.service
    bench.write(20, limits={"in_flight": 2})
    service.become(task_s=(600.0, 600.0))
    stop_at = time.time() + 4.0

    outcome = bench.run("--stop-at", datetime.fromtimestamp(stop_at).isoformat())

    assert outcome.code == 10, said(outcome)
    assert time.time() < stop_at + 1.5
    assert bench.states() == {"waiting": 2, "planned": 18}
