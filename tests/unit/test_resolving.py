"""What a person may say of an uncertain job: which tasks can be its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from runner.api.resolving import Answering
from runner.api.retrying import Failed, begin_rounds
from runner.clock import rfc3339
from runner.errors import UsageError
from runner.machine import TaskView, read_task
from runner.model import State
from tests.desk import BEGINNING, LOST, MODEL, NAME, World, accepted, task
from tests.submit_answers import A, B

pytestmark = pytest.mark.anyio


@dataclass(slots=True)
class Looking(Answering):
    """Somebody who sees this task at the service, whose clock is ahead by `skew_s`."""

    sees: dict[str, Any] = field(default_factory=dict)
    skew_s: float = 0.0

    def _task(self, task_id: str) -> tuple[TaskView, float]:
        view = read_task({**self.sees, "id": task_id})
        assert view is not None
        return view, self.skew_s


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIVYA_API_KEY", "rvya_sk_one")


async def uncertain() -> World:
    world = World.of(A, B)
    await world.submits("a", LOST)
    world.clock.pass_s(7200)
    await world.submit("a")
    assert world.state("a") is State.UNCERTAIN
    return world


def look(world: World, *, skew_s: float = 0.0, created_s: float = 5.0, **more: Any) -> Looking:
    """Look at a task that was created so many seconds after the job's first send, by the service's clock."""
    sees = task("", created_at=rfc3339(BEGINNING + created_s + skew_s), **more)
    return Looking(
        file=world.file,
        job=world.job("a"),
        reserved=10,
        service="https://rivya.ai",
        sandbox=False,
        sees=sees,
        skew_s=skew_s,
    )


@pytest.mark.parametrize("skew_s", [0.0, -600.0, 600.0])
@pytest.mark.parametrize(("created_s", "may"), [(-86_400.0, False), (-2.0, False), (-0.5, True), (3.0, True)])
async def test_a_task_older_than_the_first_send_is_another_ones(
    created_s: float, may: bool, skew_s: float
) -> None:
    world = await uncertain()

    if may:
        look(world, created_s=created_s, skew_s=skew_s).attach("t9")
        assert (world.state("a"), world.job("a").task_id) == (State.WAITING, "t9")
        assert world.credits() == (0, 10)
    else:
        with pytest.raises(UsageError, match="before this job was first sent"):
            look(world, created_s=created_s, skew_s=skew_s).attach("t9")
        assert (world.state("a"), world.job("a").task_id) == (State.UNCERTAIN, None)


async def test_a_task_from_before_a_second_window_may_be_the_first_sends() -> None:
    """`--resend` opened a new window; the task is of the old one."""
    world = await uncertain()
    look(world).resend()
    world.clock.pass_s(60)
    await world.submits("a", LOST)
    world.clock.pass_s(7200)
    await world.submit("a")
    assert world.state("a") is State.UNCERTAIN

    look(world, created_s=5.0).attach("t9")

    assert world.state("a") is State.WAITING


async def test_a_task_of_another_model_or_of_another_job_is_not_taken() -> None:
    world = await uncertain()
    await world.submits("b", accepted("t1"))

    with pytest.raises(UsageError, match=f"of model z-image, job a of {MODEL}"):
        look(world, model="z-image").attach("t9")
    with pytest.raises(UsageError, match="task t1 belongs to job b already"):
        look(world).attach("t1")

    assert (world.state("a"), world.credits()) == (State.UNCERTAIN, (0, 20))


async def test_a_job_that_was_given_up_stays_counted_and_holds_no_price_back() -> None:
    world = await uncertain()

    look(world).abandon()

    assert (world.state("a"), world.credits()) == (State.ABANDONED, (0, 10))
    assert world.payment("a")["probe"] == 0


async def test_another_round_is_for_what_is_still_failed_when_it_begins() -> None:
    """A person was asked about a job that a run has changed by the time the answer comes."""
    world = await uncertain()
    meant = Failed(name=NAME, rows=(world.job("a").row,), credits=10, by_class=Counter(other=1))

    with world.file.transaction() as conn:
        begin_rounds(conn, meant)

    assert (world.state("a"), world.job("a").round) == (State.UNCERTAIN, 1)
