"""The real loop and steps with a service in the same process, for tests of what a run does."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from runner.engine import Ended, Engine, RunOptions
from runner.engine.view import Snapshot
from runner.host.clock import SystemClock
from runner.model import Limits, Polling
from runner.pace.concurrency import ConcurrencyLimit
from runner.pace.durations import Durations
from runner.pace.limits import AccountLimits
from runner.pace.scheduler import Scheduler
from runner.steps.context import RunContext
from runner.steps.download import DownloadResult, Fetched, Settled
from runner.store import jobs, moves
from tests.world import World, job, task

Answerer = Callable[[dict[str, Any]], httpx.Response | None]
AT_ONCE = (
    "2025-11-24T16:00:00.003Z"  # how long tasks take by the service's own word, so nobody waits for them
)
QUICK: dict[str, Any] = {
    "limits": Limits(requests_per_second=1000.0),
    "polling": Polling(first_s=0.001, min_s=0.001, max_s=0.005),
    "resend_after_s": 0.05,
}


class Silent:
    """Shows nothing, and remembers what was to be told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def event(self, kind: str, **data: Any) -> None:
        self.events.append((kind, data))

    def snapshot(self, view: Snapshot) -> None:
        pass


class Home:
    """Downloads that bring everything home at once."""

    slow_places = 0

    async def fetch(
        self, context: RunContext, row: int, settled: Settled | None = None, **_: Any
    ) -> DownloadResult:
        def done(conn: sqlite3.Connection) -> Any:
            moves.done(conn, jobs.get(conn, row), context.now())
            return jobs.get(conn, row)

        return DownloadResult(job=await context.writer.write(done), fetched=Fetched.DONE)


@dataclass
class Live(World):
    """A world whose service accepts everything and has it ready at the second poll, unless told otherwise."""

    clock: Any = field(default_factory=SystemClock)
    refuse: Answerer = lambda body: None
    first_word: Callable[[str], dict[str, Any]] = lambda task_id: task(task_id)
    after: Callable[[str, int], dict[str, Any]] = lambda task_id, polls: (
        task(task_id, status="succeeded", final=10, updated_at=AT_ONCE) if polls > 1 else task(task_id)
    )
    tasks: dict[str, str] = field(default_factory=dict)
    polls: dict[str, int] = field(default_factory=dict)
    uploads: int = 0
    questions: int = 0
    wallet: Callable[[], httpx.Response] = lambda: httpx.Response(200, json={"current_credits": 1000})
    refuse_poll: Callable[[str], httpx.Response | None] = lambda task_id: None
    home: Any = field(default_factory=lambda: Home())
    meanwhile: Callable[[Engine], None] = lambda engine: None
    shown: Silent = field(default_factory=Silent)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/credits"):
            self.questions += 1
            return self.wallet()
        if request.method == "GET":
            task_id = request.url.path.rpartition("/")[2]
            self.polls[task_id] = self.polls.get(task_id, 0) + 1
            if (no := self.refuse_poll(task_id)) is not None:
                return no
            return httpx.Response(200, json=self.after(task_id, self.polls[task_id]))
        if request.url.path.endswith("/files"):
            self.uploads += 1
            return httpx.Response(201, json={"id": "f", "url": f"https://files/{self.uploads}"})
        key = request.headers["idempotency-key"]
        self.sent.append((key, request.content))
        no = self.refuse(json.loads(request.content))
        if no is not None:
            return no
        return httpx.Response(201, json=self.first_word(self.tasks.setdefault(key, f"t{len(self.tasks)}")))

    async def run(self, within_s: float = 30.0, **options: Any) -> Ended:
        """Run to the end; one that does not come is a failure."""
        async with self.context() as context:
            scheduler = Scheduler(
                polling=context.settings.polling,
                limits=AccountLimits(
                    given_per_s=1000.0, tasks=ConcurrencyLimit(context.settings.limits.in_flight)
                ),
                durations=Durations(),
            )
            engine = Engine(context, scheduler, self.home, RunOptions(**options), self.shown)  # type: ignore[arg-type]
            self.meanwhile(engine)
            with anyio.fail_after(within_s):
                return await engine.run()

    def prompts(self) -> list[str]:
        """Return what was submitted, in order."""
        return [body["prompt"].removeprefix("prompt of ") for body in self.bodies()]


def live(count: int, **settings: Any) -> Live:
    world = Live.of(*(job(f"j{n}") for n in range(count)), **{**QUICK, **settings})
    assert isinstance(world, Live)
    return world
