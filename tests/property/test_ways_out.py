"""From every state there is a way out by the commands, with what it costs; and nothing pays without a word.

A job is brought into each state there is, for each reason there is, by the real steps on a real database. Then every
command that the table of ways names for that state is typed, the real functions behind it do what they do, and the
service behaves from then on. Each change of state is recorded by the database itself.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.api.plans.file_moves import _fetch_again
from runner.api.resolve import CHOICES, Answering
from runner.api.retry import begin_rounds, may_begin_again, wanted_jobs
from runner.cli.retry import in_words
from runner.engine.backlog import _begin_uploads
from runner.errors import UsageError
from runner.host.clock import rfc3339
from runner.lifecycle.rules import Failure, may_become
from runner.lifecycle.ways import WAYS, Trouble
from runner.model import NEVER_SENT, Artifact, FailedRounds, Limits, Sha256, State
from runner.service.protocol import FailureClass, TaskView
from runner.service.rivya.tasks import read_task
from runner.steps import poll as polling
from runner.steps import trouble
from runner.steps.download import _record as take_home
from runner.steps.submit import take_back
from runner.steps.upload import fail_for_reference
from runner.store import jobs
from runner.store.sqlite import StateFile, _connect
from tests.staged import changed
from tests.submit_answers import FAILED_EMPTY, NO, PICTURE, TOO_FAST
from tests.world import (
    LOST,
    NAME,
    Said,
    World,
    accepted,
    bind,
    job,
    refused,
    task,
)

pytestmark = pytest.mark.anyio

DAY_S = 86_400.0
A, B = job("a"), job("b")
WITH_PICTURE = job("a", references=[PICTURE])
MANIFEST = f"version: 1\nname: {NAME}\nmodel: grok-imagine-video\njobs: [{{id: a, prompt: prompt of a}}]\n"
UNKNOWN = refused(404, "not_found")


def ok(status: str, **more: Any) -> httpx.Response:
    return httpx.Response(200, json=task("t1", status=status, **more))


NO_URL = ok("succeeded", final=10, result={"urls": []})
ODD = ok("cancelled")


@dataclass(slots=True)
class Person(Answering):
    """Somebody who looks at a service that knows a task `t9`."""

    at: str = ""

    def _task(self, task_id: str) -> tuple[TaskView, float]:
        view = read_task({**task(task_id), "created_at": None})
        assert view is not None
        return view, 0.0

    def _now(self) -> str:
        return self.at or rfc3339(1_764_000_000.0)


@dataclass
class Night(World):
    """A world on the disk, with its manifest, whose database notes each change of state."""

    manifest: Path = Path()
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def begin(cls, folder: Path, database: Path) -> Night:
        """Begin with a copy of a database (it takes longer to make one)."""
        (folder / "state").mkdir(parents=True)
        shutil.copy(database, folder / "state" / "runner.db")
        file = StateFile.open(folder / "state" / "runner.db")
        file.conn.execute("PRAGMA synchronous = OFF")
        night = cls(file=file, manifest=folder / "autumn.yaml")
        night.manifest.write_text(MANIFEST)
        night.settings = replace(night.settings, limits=Limits(job_deadline_s=3600.0))
        return night

    def walked(self) -> set[tuple[State, State]]:
        return {(State(old), State(new)) for old, new in self.file.conn.execute("SELECT * FROM walked")}

    async def hears(self, *answers: Said, after_s: float = 0.0) -> None:
        """Ask for the task once for each answer."""
        for answer in answers:
            self.clock.pass_s(after_s)
            self.says(answer)
            if self.state("a") is State.WAITING:
                await self.poll("a", late_at_s=self.clock.wall_s() + 1)
            else:
                async with self.context() as context:
                    await polling.renew(context, self.job("a").row)

    async def run(self) -> State:
        """Let a run do all it can, at a service that behaves."""
        async with self.context() as context:
            with self.file.transaction() as conn:
                take_back(conn, context)
        for _ in range(6):
            found = self.job("a")
            if found.state in NEVER_SENT or found.state is State.SUBMITTING:
                self.uploaded(PICTURE, f"https://u/{next(self.numbers)}")
                await self.submits("a", accepted(f"t-{next(self.numbers)}"))
            elif found.state is State.WAITING or (found.state is State.DOWNLOADING and not found.urls):
                assert found.task_id is not None
                view = task(found.task_id, status="succeeded", final=10, result={"urls": ["https://r/1"]})
                await self.hears(httpx.Response(200, json=view))
            elif found.state is State.DOWNLOADING:
                async with self.context() as context:
                    with self.file.transaction() as conn:
                        take_home(conn, context, found, (), set(), whole=True)
        return self.state("a")


Reach = Callable[[Night], Awaitable[Any]]


async def uploads(night: Night) -> None:
    night.lists(WITH_PICTURE, B)
    async with night.context() as context:
        with night.file.transaction() as conn:
            _begin_uploads(conn, context, [night.job("a")])


async def comes_back_refused(night: Night) -> None:
    await night.submits("a", TOO_FAST)
    night.lists(B)
    night.lists(A, B)


async def nobody_knows(night: Night) -> None:
    await night.submits("a", LOST)
    night.clock.pass_s(7200)
    await night.submit("a")


async def removed_in_mid_air(night: Night) -> None:
    await night.submits("a", LOST)
    night.lists(B)


async def runs(night: Night) -> None:
    await night.submits("a", accepted("t1"))


async def is_overdue(night: Night) -> None:
    await runs(night)
    night.clock.pass_s(7200)
    await night.hears(ok("processing"))


def hears(*answers: Said, after_s: float = 0.0) -> Reach:
    async def reach(night: Night) -> None:
        await runs(night)
        await night.hears(*answers, after_s=after_s)

    return reach


async def partly_there(night: Night) -> None:
    """Two results, of which one can be had."""
    await hears(ok("succeeded", final=10, result={"urls": ["https://r/1", "https://r/2"]}))(night)
    film = night.manifest.with_name("a.mp4")
    film.write_bytes(b"12345")
    item = Artifact(number=1, path=film, sha256=Sha256("0" * 64), size_bytes=5, mime="video/mp4")
    async with night.context() as context:
        with night.file.transaction() as conn:
            found = take_home(conn, context, night.job("a"), (item,), set(), whole=False)
            trouble.note(conn, context, found, Trouble.NOT_FETCHED, "result 2 of 2: HTTP 403")


async def finished(night: Night) -> None:
    await hears(ok("succeeded", final=10))(night)
    await night.run()


async def gone_from_disk(night: Night) -> None:
    await finished(night)
    _fetch_again(night.file, night.job("a"), rfc3339(night.clock.wall_s()))
    await night.hears(UNKNOWN)


async def on_disk_already(night: Night, state: State = State.DONE) -> None:
    """As `run` adopts what lies on the disk, all of it or a part."""
    with night.file.transaction() as conn:
        found = changed(conn, night.job("a"), "", state, task_id="t1")
        jobs.save_artifacts(conn, found, ())


async def partly_on_disk(night: Night) -> None:
    await on_disk_already(night, State.DOWNLOADING)


async def reference_is_refused(night: Night) -> None:
    async with night.context() as context:
        with night.file.transaction() as conn:
            failure = Failure(cls=FailureClass.VALIDATION, code="file_too_large", message="it is too large")
            fail_for_reference(conn, context, night.job("a").row, failure)


async def given_up(night: Night) -> None:
    await nobody_knows(night)
    typed(night, "abandon").abandon()


async def closed(night: Night) -> None:
    await hears(UNKNOWN, UNKNOWN, after_s=DAY_S)(night)
    typed(night, "abandon").abandon()


async def planned_again(night: Night) -> None:
    await night.submits("a", FAILED_EMPTY)


async def wanted_no_more(night: Night) -> None:
    """It failed, another round was planned, and the manifest lists it no longer; then again."""
    night.settings = replace(night.settings, failed_rounds=FailedRounds(generation=1))
    await hears(ok("failed", code="generation_failed", final=4))(night)
    assert night.state("a") is State.PLANNED
    night.lists(B)
    night.lists(A, B)


async def nothing(night: Night) -> None:
    pass


def sent(*answers: Said) -> Reach:
    async def reach(night: Night) -> None:
        await night.submits("a", *answers)

    return reach


# How a job comes to stand where it stands; whether `retry --only` takes it as it is.
PLACES: dict[str, tuple[Reach, State, bool]] = {
    "new": (nothing, State.PLANNED, False),
    "after an empty account": (planned_again, State.PLANNED, False),
    "uploading": (uploads, State.UPLOADING, False),
    "refused, removed, listed again": (comes_back_refused, State.PLANNED, False),
    "lost": (sent(LOST), State.SUBMITTING, False),
    "told to wait": (sent(TOO_FAST), State.SUBMITTING, False),
    "nobody knows": (nobody_knows, State.UNCERTAIN, False),
    "removed in mid-air": (removed_in_mid_air, State.UNCERTAIN, False),
    "running": (runs, State.WAITING, False),
    "overdue": (is_overdue, State.WAITING, True),
    "unknown for an hour": (hears(UNKNOWN, UNKNOWN, after_s=3000.0), State.WAITING, False),
    "unknown for a day": (hears(UNKNOWN, UNKNOWN, after_s=DAY_S), State.WAITING, True),
    "ended oddly just now": (hears(ODD), State.WAITING, False),
    "ended oddly": (hears(ODD, ODD, after_s=3600.0), State.WAITING, True),
    "without a url just now": (hears(NO_URL), State.DOWNLOADING, False),
    "without a url": (hears(NO_URL, NO_URL, after_s=300.0), State.DOWNLOADING, True),
    "to be fetched": (hears(ok("succeeded", final=10)), State.DOWNLOADING, False),
    "partly there": (partly_there, State.DOWNLOADING, True),
    "gone from the disk": (gone_from_disk, State.DOWNLOADING, False),
    "done": (finished, State.DONE, True),
    "on the disk already": (on_disk_already, State.DONE, True),
    "refused": (sent(NO), State.FAILED, True),
    "failed": (hears(ok("failed", code="generation_failed", final=4)), State.FAILED, True),
    "wanted no more": (wanted_no_more, State.FAILED, True),
    "reference is refused": (reference_is_refused, State.FAILED, True),
    "given up": (given_up, State.ABANDONED, True),
    "closed": (closed, State.ABANDONED, True),
}


def typed(night: Night, choice: str) -> Person:
    """Type `resolve`: what it finds, it says what that costs."""
    found = Person._find(night.file, NAME, "a", choice, sandbox=False)
    assert isinstance(found, Person)
    words = found.explain(choice)
    assert any(cost in words for cost in ("credits", "Costs nothing", "Nothing was charged")), words
    return found


def retry(night: Night) -> bool:
    """Type `retry --only a`, of one that is done with `--done`; return whether a round has begun."""
    done = night.state("a") is State.DONE
    wanted = wanted_jobs(night.manifest, state=None, sandbox=False, classes=(), only="a", done=done)
    if not wanted.rows:
        assert wanted.left_out
        return False
    assert "about 10 credits" in "\n".join(in_words(wanted))
    with night.file.transaction() as conn:
        begin_rounds(conn, wanted)
    assert night.state("a") is State.PLANNED
    return True


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Night]]:
    monkeypatch.setenv("RIVYA_API_KEY", "rvya_sk_one")
    begun: list[Night] = []
    database = tmp_path / "first.db"
    first = World(file=StateFile.open(database))
    first.file.conn.execute("CREATE TABLE walked (old TEXT, new TEXT)")
    first.file.conn.execute(
        "CREATE TRIGGER walks AFTER UPDATE OF state ON jobs WHEN OLD.state <> NEW.state"
        " BEGIN INSERT INTO walked VALUES (OLD.state, NEW.state); END"
    )
    bind(first.file, key12=first.account.key12)
    first.lists(A, B)
    first.file.close()

    def begin() -> Night:
        begun.append(Night.begin(tmp_path / str(len(begun)), database))
        return begun[-1]

    yield begin
    for each in begun:
        each.file.close()


async def test_from_every_state_each_way_of_the_table_leads_out(night: Callable[[], Night]) -> None:
    walked: set[tuple[State, State]] = set()
    for place, (reach, state, again) in PLACES.items():
        for way in _ways(state):
            here = night()
            await reach(here)
            assert here.state("a") is state, place
            ended = await take(here, way, again=again)
            assert ended, (place, way)
            walked |= here.walked()

    # What may become of a job of which nothing was sent, whatever it waits for.
    for reach, happens in itertools.product(
        (nothing, uploads, comes_back_refused), (on_disk_already, partly_on_disk, reference_is_refused)
    ):
        here = night()
        await reach(here)
        await happens(here)
        walked |= here.walked()

    assert {State(state) for _, state, _ in PLACES.values()} == set(State)
    # The table of changes is the one that happens: every change is allowed, and no other is.
    allowed = {(old, new) for old in State for new in State if old is not new and may_become(old, new)}
    assert walked == allowed


def _ways(state: State) -> Iterator[str]:
    for way in WAYS[state]:
        yield from CHOICES[state] if way == "resolve" else (way,)


async def take(night: Night, way: str, *, again: bool) -> bool:
    """Take one way out of where a job stands; return whether it leads to an end."""
    spent = sum(night.credits())
    match way:
        case "run":
            return await night.run() is State.DONE
        case "retry":
            assert retry(night) is again
            if not again:  # it may come home still: closed first, then begun again
                assert may_begin_again(night.job("a"), named=True) is False
                typed(night, "abandon").abandon()
                assert retry(night)
            assert sum(night.credits()) >= spent, "what was paid stays counted"
            return await night.run() is State.DONE and sum(night.credits()) >= spent + 10
        case "resend":
            typed(night, way).resend()
            if not night.job("a").listed:
                night.lists(A, B)
            return await night.run() is State.DONE
        case "attach":
            return await attach(night)
        case "accept":
            return accept(night)
        case _:
            typed(night, way).abandon()
            assert await night.run() is State.ABANDONED, "no run goes on with it"
            return sum(night.credits()) == spent


async def attach(night: Night) -> bool:
    person = typed(night, "attach")
    try:
        person.attach("t9")
    except UsageError:  # the service knows its task
        return night.job("a").trouble is None and await night.run() is State.DONE
    return night.job("a").task_id == "t9" and await night.run() is State.DONE


def accept(night: Night) -> bool:
    person = typed(night, "accept")
    if jobs.artifacts(night.file.conn, person.job.row) and night.job("a").urls:
        person.accept()
        return night.state("a") is State.DONE
    with pytest.raises(UsageError, match="has no result on disk"):
        person.accept()
    return True


# --- nothing pays without a word --------------------------------------------------------------------------------------

SAYS: dict[str, Said] = {
    "running": ok("processing"),
    "unknown": UNKNOWN,
    "refused": refused(400),
    "lost": LOST,
    "page": httpx.Response(404, text="<html>"),
    "odd": ODD,
    "odd with an error": ok("halted", code="x"),
    "rendering with a url": ok("rendering", result={"urls": ["https://r/1"]}),
    "no url": NO_URL,
    "no url, free": ok("succeeded", final=0, result=None),
    "odd success": ok("DONE", result={"urls": ["https://r/1"]}),
    "failed and charged": ok("failed", code="x", final=10, result={"urls": ["https://r/1"]}),
    "failed": ok("failed", code="generation_failed", final=0),
    "refused by policy": ok("failed", code="moderation", final=0),
    "no status": httpx.Response(200, json={"id": "t1"}),
    "another task": httpx.Response(200, json=task("t2", status="failed")),
    "nothing": httpx.Response(200, json={}),
}


@cache
def _content() -> bytes:
    first = World.of(A, B)
    assert isinstance(first.file, StateFile)
    content = first.file.conn.serialize()
    first.file.close()
    return content


def _copied() -> StateFile:
    file = StateFile(_connect(":memory:", uri=False), None, created=False, writable=True)
    file.conn.deserialize(_content())
    return file


@settings(
    max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
@given(
    heard=st.lists(
        st.tuples(st.sampled_from(sorted(SAYS)), st.sampled_from([0.0, 400.0, 4000.0, DAY_S])), max_size=5
    )
)
def test_whatever_a_service_says_of_a_task_it_is_never_paid_for_again_by_itself(
    heard: list[tuple[str, float]],
) -> None:
    async def story() -> None:
        world = Night(file=_copied())
        await runs(world)
        for name, after_s in heard:
            if world.state("a") in (State.WAITING, State.DOWNLOADING):
                await world.hears(SAYS[name], after_s=after_s)
            world.lists(A, B)
            assert world.state("a") in (State.WAITING, State.DOWNLOADING, State.FAILED)
            assert world.job("a").round == 1
        assert len(world.sent) == 1
        world.file.close()

    anyio.run(story)
