"""A workspace in memory for tests of the store and the steps: real SQLite, a service that answers as told.

world = World(job("a"), job("b"))
world.says(accepted("t1"))
done = await world.submit("a")
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import anyio
import httpx

from runner.contract import Contract
from runner.fingerprint import fingerprint
from runner.host.clock import WITNESSES, ServiceClock, rfc3339
from runner.model import (
    Basis,
    Budget,
    Estimate,
    Job,
    JobId,
    JobSpec,
    Json,
    Kind,
    Limits,
    ModelId,
    Place,
    Reference,
    Settings,
    Sha256,
    State,
    Upload,
)
from runner.money.pricing import estimate, shape_of
from runner.service.account import Account
from runner.service.rivya.endpoints import open_service
from runner.service.seen import Fact, SeenService
from runner.steps import poll as polling
from runner.steps.context import RunContext
from runner.steps.submit import NotSent, Submitted, submit
from runner.store import jobs, ledger, manifests, staging, uploads
from runner.store.database import StateDatabase
from runner.store.staging import Applied, StagedJob
from runner.store.writer import GroupWriter
from tests.databases import empty_state

NAME = "autumn"
MODEL = ModelId("grok-imagine-video")
CONTRACT = Contract(id=MODEL, display_name="Grok", base_credits=10.0)
BEGINNING = 1_764_000_000.0  # 2025-11-24T16:00:00Z


class TestClock:
    """Clocks that stand still until they are moved."""

    __test__ = False

    def __init__(self) -> None:
        self.wall = BEGINNING
        self.boot: float | None = 5_000.0
        self.boot_name: str | None = "boot-1"

    def wall_s(self) -> float:
        return self.wall

    def mono_s(self) -> float:
        return self.wall - BEGINNING

    def boot_s(self) -> float | None:
        return self.boot

    def boot_id(self) -> str | None:
        return self.boot_name

    def pass_s(self, seconds: float) -> None:
        """Let time pass, awake or asleep."""
        self.wall += seconds
        if self.boot is not None:
            self.boot += seconds

    def reboot(self) -> None:
        """Begin another boot."""
        self.boot, self.boot_name = 3.0, f"{self.boot_name}+"


def reference(name: str, content: str | None = None, kind: Kind = Kind.IMAGE) -> Reference:
    """Return a reference of a file that holds `content` (its name, if nothing else is said)."""
    digest = hashlib.sha256((content if content is not None else name).encode()).hexdigest()
    mime = {"image": "image/png", "video": "video/mp4", "audio": "audio/mpeg"}[kind.value]
    return Reference(
        path=name, file=Path("/in") / name, kind=kind, mime=mime, size_bytes=9, sha256=Sha256(digest)
    )


def seen(key: str, value: str) -> SeenService:
    """Return what `doctor` would have seen."""
    return SeenService({key: Fact(key=key, value=value, words=value, at=rfc3339(BEGINNING))})


def job(
    name: str,
    prompt: str | None = None,
    *,
    params: Mapping[str, Json] | None = None,
    references: Sequence[Reference] = (),
    model: str = MODEL,
    output: str | None = None,
    axes: Mapping[str, Json] | None = None,
) -> JobSpec:
    """Return a job whose prompt is its own name, if nothing else is said."""
    prompt = prompt if prompt is not None else f"prompt of {name}"
    params = params if params is not None else {"duration": 6}
    return JobSpec(
        id=JobId(name),
        model=ModelId(model),
        prompt=prompt,
        params=params,
        references=tuple(references),
        output=output or name,
        fingerprint=fingerprint(
            model=model, prompt=prompt, params=params, references=[item.sha256 for item in references]
        ),
        axes=axes or {},
        place=Place(file="m.yaml", line=1, column=1),
    )


def takes(name: str, count: int, prompt: str = "once more") -> list[JobSpec]:
    """Return the jobs of `repeat: count`: one fingerprint, ids with -1, -2, …"""
    return [
        replace(job(name, prompt), id=JobId(f"{name}-{n}"), output=f"{name}-{n}") for n in range(1, count + 1)
    ]


def staged(spec: JobSpec, file: StateDatabase | None = None, service: str = "https://rivya.ai") -> StagedJob:
    """Return a job with its price, as planning would."""
    shape = shape_of(spec, CONTRACT)
    seen = ledger.price_seen(file.conn, service, shape) if file is not None else None
    return StagedJob(spec=spec, shape=shape, estimate=estimate(spec, contract=CONTRACT, rules=(), seen=seen))


def bind(file: StateDatabase, name: str = NAME, key12: str = "0" * 12) -> None:
    """Make a manifest name known."""
    with file.transaction() as conn:
        manifests.bind(
            conn,
            name=name,
            path=f"/m/{name}.yaml",
            base_url="https://rivya.ai",
            key12=key12,
            output_dir="/out",
            now=rfc3339(BEGINNING),
        )


def apply(file: StateDatabase, *specs: JobSpec, name: str = NAME, adopted: Sequence[int] = ()) -> Applied:
    """Stage jobs, take over what is adopted, and make them the listed ones."""
    staging.stage(file.conn, name, (staged(spec, file) for spec in specs))
    staging.adopt(file.conn, adopted)
    with file.transaction() as conn:
        return staging.apply(conn, name, rfc3339(BEGINNING))


def rows(file: StateDatabase, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Return what a query finds, as plain tuples."""
    return [tuple(row) for row in file.conn.execute(sql, values)]


# --- answers ----------------------------------------------------------------------------------------------

Said = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


def accepted(
    task_id: str, *, status: str = "queued", reserved: float | None = 10, **more: Any
) -> httpx.Response:
    """Return a 201 with a generation object."""
    return httpx.Response(201, json=task(task_id, status=status, reserved=reserved, **more))


def task(
    task_id: str,
    *,
    status: str = "queued",
    reserved: float | None = 10,
    final: float | None = 0,
    code: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return a generation object."""
    return {
        "id": task_id,
        "status": status,
        "model": MODEL,
        "reserved_credits": reserved,
        "final_credits": final,
        "created_at": "2025-11-24T16:00:00.000Z",
        "updated_at": "2025-11-24T16:00:30.000Z",
        "result": {"primary_url": f"https://r/{task_id}"} if status == "succeeded" else None,
        "error": {"code": code, "message": f"because {code}"} if code else None,
        **more,
    }


def refused(
    status: int, code: str = "validation_failed", message: str = "no", **headers: str
) -> httpx.Response:
    """Return an error in the service's own words."""
    error = {"code": code, "message": message, "requestId": "req_1"}
    return httpx.Response(status, json={"error": error}, headers=headers)


LOST = httpx.ReadTimeout("the answer is lost")
NO_CONNECTION = httpx.ConnectError("refused")


class Killed(BaseException):
    """The process dies at this very moment."""


@dataclass
class World:
    """One manifest, its database, and a service that says what it was told to say, in order."""

    file: StateDatabase = field(default_factory=empty_state)
    clock: TestClock = field(default_factory=TestClock)
    settings: Settings = field(
        default_factory=lambda: Settings(path=Path("/m/autumn.yaml"), name=NAME, output_dir=Path("/out"))
    )
    key: str = "rvya_sk_one"
    ahead_s: float | None = None  # of true time, by the service's `Date`; None: it sends none
    slept_s: float = 0.0  # how long all our clocks have stood still
    lags_s: tuple[float, ...] = (
        0.0,
    )  # of the clocks of the machines that answer in turn, the service's own first
    answered: int = 0
    asked: int = 0  # how often the service was asked for its time
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    script: list[Said] = field(default_factory=list)
    last_body: bytes = b""
    is_run: Callable[[str], bool] = lambda name: False  # whether another manifest is run now
    seen: SeenService = field(default_factory=SeenService)  # what was found out of the service before

    @classmethod
    def of(cls, *specs: JobSpec, **settings: Any) -> World:
        """Return a world whose manifest lists these jobs; `settings` are fields of `Settings`."""
        world = cls()
        world.settings = replace(world.settings, **settings)
        bind(world.file, key12=world.account.key12)
        world.lists(*specs)
        return world

    @property
    def account(self) -> Account:
        return Account("https://rivya.ai", self.key)

    def lists(self, *specs: JobSpec, adopted: Sequence[int] = ()) -> Applied:
        """Run the manifest again, with these jobs in it."""
        return apply(self.file, *specs, adopted=adopted)

    def says(self, *answers: Said) -> None:
        """Tell the service what to say next."""
        self.script.extend(answers)

    def _dated(self, request: httpx.Request) -> httpx.Response:
        answer = self._answer(request)
        if self.ahead_s is None:
            return answer
        lag_s = self.lags_s[self.answered % len(self.lags_s)]
        self.answered += 1
        date = format_datetime(
            datetime.fromtimestamp(self.clock.wall_s() + self.slept_s + self.ahead_s - lag_s, UTC),
            usegmt=True,
        )
        return httpx.Response(
            answer.status_code, content=answer.content, headers={**answer.headers, "Date": date}
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/credits"):
            self.asked += 1
            return httpx.Response(200, json={"current_credits": 1000})
        self.last_body = request.content
        if "idempotency-key" in request.headers:
            self.sent.append((request.headers["idempotency-key"], request.content))
        answer = self.script.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer(request) if callable(answer) else answer

    @asynccontextmanager
    async def context(self) -> AsyncIterator[RunContext]:
        """Begin a run: its context, its writer at work."""
        writer = GroupWriter(self.file, inline=True)
        service_clock = ServiceClock(self.clock)
        async with (
            open_service(
                self.account,
                now=self.clock.wall_s,
                transport=httpx.MockTransport(self._dated),
                heard=service_clock.heard,
            ) as service,
            anyio.create_task_group() as group,
        ):
            group.start_soon(writer.serve)
            yield RunContext(
                run=1,
                settings=self.settings,
                account=self.account,
                service=service,
                writer=writer,
                clock=self.clock,
                service_clock=service_clock,
                contracts={MODEL: CONTRACT},
                draw=lambda: 0.5,
                is_run=self.is_run,
                seen=self.seen,
            )
            group.cancel_scope.cancel()

    async def submit(self, name: str) -> Submitted:
        """Take one submit step of a job, by a run of its own; what it raises is raised plainly.

        Like a run, it asks for the service's time where the step wants that first.
        """
        done: Submitted | BaseException
        async with self.context() as context:
            try:
                if self.ahead_s is not None:
                    await context.service.credits()
                done = await submit(context, self.job(name).row)
                for _ in range(WITNESSES if done.not_sent is NotSent.TIME else 0):
                    if done.not_sent is not NotSent.TIME:
                        break
                    await context.service.credits()
                    done = await submit(context, self.job(name).row)
            except (Exception, Killed) as exc:
                done = exc
        if isinstance(done, BaseException):
            raise done
        return done

    async def submits(self, name: str, *answers: Said) -> Submitted:
        """Take one submit step for each answer; return the last one's outcome."""
        done: Submitted | None = None
        for answer in answers:
            self.says(answer)
            done = await self.submit(name)
        assert done is not None
        return done

    async def poll(self, name: str, *, late_at_s: float = 1e18, unwatched: bool = False) -> polling.Polled:
        """Poll a job's task once."""
        found = self.job(name)
        seen = polling.WaitingTask(
            task_id=found.task_id or "",
            word=found.task_status or "",
            late_at_s=late_at_s,
            unwatched=unwatched,
        )
        async with self.context() as context:
            return await polling.poll(context, found.row, seen)

    def job(self, name: str) -> Job:
        """Return the row of a job: the listed one, else the latest."""
        return jobs.find(self.file.conn, NAME, name)[0]

    def state(self, name: str) -> State:
        return self.job(name).state

    def credits(self) -> tuple[float, float]:
        """Return (charged, reserved) of the manifest."""
        return ledger.totals(self.file.conn, NAME)

    def payment(self, name: str) -> dict[str, Any]:
        """Return the ledger's row of a job's present round."""
        found = self.job(name)
        row = self.file.conn.execute(
            "SELECT * FROM ledger WHERE job = ? AND round = ?", (found.row, found.round)
        ).fetchone()
        return dict(row) if row is not None else {}

    def uploaded(self, item: Reference, url: str, **more: Any) -> None:
        """Say that a file is at the service."""
        copy = Upload(url=url, uploaded_at=rfc3339(self.clock.wall_s()), **more)
        with self.file.transaction() as conn:
            uploads.save(
                conn,
                sha256=item.sha256,
                kind=item.kind.value,
                model=MODEL,
                account=self.account.name,
                copy=copy,
                raw="{}",
            )

    def price_was(self, spec: JobSpec, credits: float) -> None:
        """Say that a price has been seen before."""
        with self.file.transaction() as conn:
            conn.execute(
                "INSERT INTO prices (base_url, shape, model, reserved, ends, seen_at) VALUES (?, ?, ?, ?, ?, '')",
                ("https://rivya.ai", shape_of(spec, CONTRACT), spec.model, credits, json.dumps([credits])),
            )

    def bodies(self) -> list[dict[str, Any]]:
        """Return what was submitted, parsed."""
        return [json.loads(body) for _, body in self.sent]

    def keys(self) -> list[str]:
        """Return the keys of all submits, in order."""
        return [key for key, _ in self.sent]


__all__ = [
    "BEGINNING",
    "CONTRACT",
    "LOST",
    "MODEL",
    "NAME",
    "NO_CONNECTION",
    "Basis",
    "Budget",
    "Estimate",
    "Killed",
    "Limits",
    "TestClock",
    "World",
    "accepted",
    "apply",
    "bind",
    "job",
    "reference",
    "refused",
    "rows",
    "staged",
    "takes",
    "task",
]
