"""Results on disk of which the database knows less: when they end a job's doubt, and what counts as paid then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from runner.api.plans import results_on_disk
from runner.host.clock import rfc3339
from runner.model import NEVER_SENT, Basis, Estimate, Settings, State, TaskId
from runner.results.sidecar import Sidecar, SidecarIndex
from runner.store import jobs, ledger, staging
from tests.world import BEGINNING, MODEL, NAME, World, job, staged

NOW = rfc3339(BEGINNING)
URL = "https://rivya.ai"
JOB = job("a")
SENT = [state for state in State if state not in NEVER_SENT | {State.DONE}]
SIDECAR = Sidecar(
    manifest=NAME,
    job=JOB.id,
    fingerprint=JOB.fingerprint,
    round=2,
    key="key-of-2",
    base_url=URL,
    sandbox=False,
    model=MODEL,
    prompt=JOB.prompt,
    params=JOB.params,
    references=(),
    task_id=TaskId("t-on-disk"),
    reserved_credits=12,
    final_credits=11,
    artifacts=(),
    submitted_at=NOW,
    finished_at=NOW,
)


class Disk:
    """An output folder with one sidecar in it."""

    def __init__(self, sidecar: Sidecar) -> None:
        self.sidecar = sidecar

    def find_adoptable(self, stem: str, **who: Any) -> Sidecar:
        return self.sidecar


def world_in(state: State, *, round_: int, edition: int = 0) -> World:
    """Return a world whose job stands there, its present round paid for as far as that goes."""
    world = World.of(JOB)
    found = world.job("a")
    with world.file.transaction() as conn:
        conn.execute(
            "UPDATE jobs SET state = ?, round = ?, edition = ?, key = ? WHERE id = ?",
            (state.value, round_, edition, f"key-of-{round_}", found.row),
        )
        found = jobs.get(conn, found.row)
        if state not in NEVER_SENT:
            estimate = Estimate(credits=10, reserve=10, basis=Basis.LISTED)
            ledger.reserve(conn, found, estimate=estimate, base_url=URL, now=NOW)
        if state in (State.FAILED, State.DOWNLOADING):
            ledger.settle(conn, found, final=10, succeeded=False, now=NOW)
    return world


def taken_over(world: World, sidecar: Sidecar) -> bool:
    """Run the manifest with this sidecar on the disk; say whether it was taken over."""
    conn = world.file.conn
    staging.stage(conn, NAME, [staged(JOB)])
    settings = Settings(path=Path("/m.yaml"), name=NAME, output_dir=Path("/out"))
    found = results_on_disk.adoptable(world.file, settings, URL, cast("SidecarIndex", Disk(sidecar)))
    staging.adopt(conn, found)
    with world.file.transaction():
        staging.apply(conn, NAME, NOW)
        results_on_disk.take_over(conn, NAME, found, NOW)
    return bool(found)


@pytest.mark.parametrize("state", SENT)
def test_the_result_of_a_later_round_ends_the_one_before(state: State) -> None:
    world = world_in(state, round_=1)

    assert taken_over(world, SIDECAR)

    done = world.job("a")
    assert (done.state, done.round, done.key, done.task_id) == (State.DONE, 2, "key-of-2", "t-on-disk")
    assert world.credits() == (10 + 11, 0), "what may have been charged for the first round counts in full"
    assert (done.error_class, done.body) == (None, None)


@pytest.mark.parametrize("state", SENT)
def test_the_result_of_the_very_send_ends_its_doubt(state: State) -> None:
    """A task that is known is asked for, and a result that is on its way home comes: both are free."""
    world = world_in(state, round_=2)
    doubted = state in (State.SUBMITTING, State.UNCERTAIN)

    assert taken_over(world, SIDECAR) == doubted

    assert (world.state("a") is State.DONE) == doubted
    assert not doubted or world.credits() == (11, 0)


@pytest.mark.parametrize("state", SENT)
@pytest.mark.parametrize("other", [{"round": 1, "key": "key-of-1"}, {"key": "another"}])
def test_a_result_of_another_payment_of_this_round_or_an_earlier_one_proves_nothing(
    state: State, other: dict[str, Any]
) -> None:
    world = world_in(state, round_=2)

    assert not taken_over(world, replace(SIDECAR, **other))

    assert world.state("a") is state


@pytest.mark.parametrize("state", sorted(NEVER_SENT))
@pytest.mark.parametrize("round_", [1, 2, 3])
def test_what_was_never_sent_is_done_in_the_round_its_result_is_of(state: State, round_: int) -> None:
    """With a lost database the next round would have had the key of one that was paid for."""
    world = world_in(state, round_=round_)

    assert taken_over(world, SIDECAR)

    assert (world.state("a"), world.job("a").round) == (State.DONE, max(round_, 2))
    assert world.credits() == (11, 0)
    again = world_in(state, round_=round_)
    assert taken_over(again, replace(SIDECAR, final_credits=None, reserved_credits=None))
    assert again.credits() == (0, 0), "nobody has ever named an amount"


@pytest.mark.parametrize("state", sorted(NEVER_SENT))
def test_the_result_it_had_is_none_of_a_job_that_is_to_be_made_again(state: State) -> None:
    world = world_in(state, round_=3, edition=1)

    assert not taken_over(world, SIDECAR)

    assert world.state("a") is state


@pytest.mark.parametrize(("told", "edition"), [(1, 1), (None, 0)])
def test_how_often_a_result_was_made_is_known_again(told: int | None, edition: int) -> None:
    world = world_in(State.PLANNED, round_=1)

    assert taken_over(world, replace(SIDECAR, edition=told))

    assert world.job("a").edition == edition


def test_what_was_paid_long_ago_is_no_surprise() -> None:
    world = world_in(State.PLANNED, round_=1)
    world.price_was(JOB, 1)

    assert taken_over(world, replace(SIDECAR, final_credits=500))

    assert world.credits() == (500, 0)
    assert ledger.surprises(world.file.conn, NAME) == []
