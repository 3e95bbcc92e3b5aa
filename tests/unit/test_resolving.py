"""What a person may say of an uncertain job: which tasks can be its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from runner.api.resolve import CHOICES, Answering
from runner.api.retry import Rounds, begin_rounds, may_begin_again
from runner.errors import TemporaryTrouble, UsageError
from runner.host.clock import rfc3339
from runner.lifecycle.ways import WAYS
from runner.model import Artifact, Sha256, State
from runner.service.protocol import TaskView
from runner.service.rivya.tasks import read_task
from runner.steps import poll as polling
from runner.store import jobs
from tests.staged import changed, put
from tests.submit_answers import A, B
from tests.world import BEGINNING, LOST, MODEL, NAME, Said, World, accepted, refused, task

pytestmark = pytest.mark.anyio
NOWHERE = Path("in memory")


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


# --- paid work that does not come home -------------------------------------------------------------------


NOTHING: dict[str, Any] = {"status": "succeeded", "result": {"urls": []}}


async def stuck(kind: str, *, final: float | None = 10, passed_s: float = 90_000.0) -> World:
    """A job whose task was accepted, and whose result does not come for one reason."""
    world = World.of(A, B)
    await world.submits("a", accepted("t1"))
    said: Said = {
        "unknown": refused(404, "not_found"),
        "odd": httpx.Response(200, json=task("t1", status="cancelled")),
        "no result": httpx.Response(200, json=task("t1", final=final, **NOTHING)),
    }[kind]
    for seconds in (0.0, passed_s):
        world.clock.pass_s(seconds)
        world.says(said)
        if world.state("a") is State.WAITING:
            await world.poll("a")
        else:
            async with world.context() as context:
                await polling.renew(context, world.job("a").row)
    return world


def begin_again(world: World, name: str = "a") -> None:
    found = world.job(name)
    with world.file.transaction() as conn:
        begin_rounds(conn, Rounds(name=NAME, database=NOWHERE, rows={found.row: (found.state, found.round)}))


KINDS = {
    "unknown": (State.WAITING, (0, 10)),
    "odd": (State.WAITING, (0, 10)),
    "no result": (State.DOWNLOADING, (10, 0)),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_job_that_does_not_come_home_can_be_closed_and_its_credits_stay_counted(kind: str) -> None:
    world = await stuck(kind)
    state, credits = KINDS[kind]
    person = look(world)

    words = person.explain("abandon")
    person.abandon()

    assert (world.credits(), sum(world.credits())) == (credits, 10)
    assert (
        f"Its 10 credits stay {'charged' if credits[0] else 'reserved'}, and count against the caps" in words
    )
    assert world.state("a") is State.ABANDONED
    assert world.payment("a")["probe"] == 0
    assert state.value in ("waiting", "downloading")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("closed_before", [False, True])
async def test_a_job_that_does_not_come_home_can_be_begun_again_at_a_second_price(
    kind: str, closed_before: bool
) -> None:
    """By name only: the round before counts in full for ever, and nothing of it is mixed into the new one."""
    world = await stuck(kind)
    assert may_begin_again(world.job("a"), named=True)
    assert not may_begin_again(world.job("a"), named=False)
    if closed_before:
        look(world).abandon()

    begin_again(world)
    fresh = world.job("a")

    assert (fresh.state, fresh.round, fresh.task_id, fresh.trouble, fresh.urls) == (
        State.PLANNED,
        2,
        None,
        None,
        (),
    )
    assert world.credits() == (10, 0)

    await world.submits("a", accepted("t2"))

    assert (world.job("a").task_id, world.credits()) == ("t2", (10, 10))
    assert len(set(world.keys())) == 2


async def test_what_may_pass_is_not_begun_again_and_can_be_closed_with_a_warning() -> None:
    world = await stuck("unknown", passed_s=3600.0)

    assert not may_begin_again(world.job("a"), named=True)
    begin_again(world)
    words = look(world).explain("abandon")

    assert (world.state("a"), world.job("a").round) == (State.WAITING, 1)
    assert "which may still pass: it counts as settled from 2025-11-25" in words


async def test_a_task_under_way_can_be_closed_and_is_said_to_be_under_way() -> None:
    world = World.of(A)
    await world.submits("a", accepted("t1", status="processing"))

    words = look(world).explain("abandon")
    look(world).abandon()

    assert "it seems to be running ('processing'), and `rivya-batch run` collects it" in words
    assert (world.state("a"), world.credits()) == (State.ABANDONED, (0, 10))


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ({"status": "processing", "reserved": 40}, 40),
        ({"status": "succeeded", "reserved": 1, "final": 40}, 40),
        ({"status": "queued", "reserved": 0}, 10),
        ({"status": "failed", "reserved": 10, "final": 0}, 10),
    ],
)
async def test_a_job_that_is_given_up_counts_with_what_the_service_says_by_then(
    said: dict[str, Any], counted: float
) -> None:
    """Nobody asks for its task again; at the price of before, the next jobs would pass the cap."""
    world = World.of(A)
    await world.submits("a", accepted("t1", reserved=None))

    look(world, **said).abandon()

    assert (world.state("a"), world.credits()) == (State.ABANDONED, (0, counted))


async def test_a_job_is_given_up_also_where_the_service_cannot_be_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World.of(A)
    await world.submits("a", accepted("t1"))

    def away(*_: Any) -> Any:
        raise TemporaryTrouble("no answer")

    monkeypatch.setattr(Looking, "_task", away)
    look(world).abandon()

    assert (world.state("a"), world.credits()) == (State.ABANDONED, (0, 10))


async def test_where_nothing_was_charged_nobody_says_that_it_was() -> None:
    world = await stuck("no result", final=0)
    world.file.conn.execute("UPDATE ledger SET state = 'released', charged = 0, amount = 0")

    assert "Nothing was charged for it." in look(world).explain("abandon")


async def test_a_task_that_was_taken_for_another_can_be_put_right() -> None:
    """A wrong id was read out of an answer: the true one costs nothing more."""
    world = await stuck("unknown")

    look(world).attach("t9")

    assert (world.state("a"), world.job("a").task_id, world.job("a").error_code) == (
        State.WAITING,
        "t9",
        None,
    )
    assert world.credits() == (0, 10)
    with pytest.raises(UsageError, match="has a task already"):
        look(world).attach("t10")


@pytest.mark.parametrize("gone", [False, True])
async def test_what_is_there_can_be_taken_as_the_whole(gone: bool, tmp_path: Path) -> None:
    world = await stuck("no result")
    place = tmp_path / "a.mp4"
    place.write_bytes(b"12345")
    item = Artifact(number=1, path=place, sha256=Sha256("0" * 64), size_bytes=5, mime="video/mp4")
    with world.file.transaction() as conn:
        found = changed(conn, world.job("a"), "", urls='["https://r/1", "https://r/2"]')
        jobs.save_artifacts(conn, found, [item])
    if gone:
        place.unlink()
        with pytest.raises(UsageError, match="job a has no result on disk"):
            look(world).accept()
        return

    words = look(world).explain("accept")
    look(world).accept()

    assert "a.mp4" in words
    (kept,) = jobs.artifacts(world.file.conn, world.job("a").row)
    assert kept.warning == "accepted without 1 of its 2 results"
    assert (world.state("a"), world.job("a").error_code, world.credits()) == (State.DONE, None, (10, 0))


@pytest.mark.parametrize("state", [state for state in State if state not in CHOICES])
def test_where_there_is_nothing_to_say_the_way_on_is_told(state: State) -> None:
    world = World.of(A)
    with world.file.transaction() as conn:
        put(conn, world.job("a"), state)

    with pytest.raises(UsageError) as caught:
        Answering._find(world.file, NAME, "a", "abandon", sandbox=False)

    assert f"job a is {state.value}: there is nothing to resolve" in caught.value.message
    assert any(way in caught.value.hint for way in (*WAYS[state], "its files are on disk"))


async def test_another_round_is_for_what_is_still_failed_when_it_begins() -> None:
    """A person was asked about a job that a run has changed by the time the answer comes."""
    world = await uncertain()
    meant = Rounds(name=NAME, database=NOWHERE, rows={world.job("a").row: (State.FAILED, 1)})

    with world.file.transaction() as conn:
        begin_rounds(conn, meant)

    assert (world.state("a"), world.job("a").round) == (State.UNCERTAIN, 1)
