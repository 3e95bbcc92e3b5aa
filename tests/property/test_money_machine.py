"""Money and jobs under anything that can happen: the real steps and store against a service that keeps a book.

A Hypothesis state machine. Submits fly: between the committed intent and the recorded answer other submits
begin, answers get lost, the process dies, clocks jump, the manifest is edited, a person decides. After every
step: one charge for each job and round, no paid task forgotten, no intent beyond a cap, one price tried at a
time, one key for the same bytes only, and the running totals equal to the rows they are of.

`MONEY_EXAMPLES=500` runs it longer, on other ways each time (`make crash` does).
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from runner.api.resolve import Answering
from runner.api.retry import Rounds, begin_rounds, may_begin_again
from runner.errors import UsageError
from runner.host.clock import ServiceClock, rfc3339
from runner.lifecycle.rules import SubmitOutcome, after_submit, send_age_s
from runner.model import NEVER_SENT, Budget, FailedRounds, Job, JobSpec, Limits, Settings, State
from runner.money import budget
from runner.money.budget import Verdict
from runner.service.account import Account
from runner.service.protocol import Answer, TaskView
from runner.service.reply import Reply
from runner.service.rivya.answers import understand
from runner.service.rivya.endpoints import Rivya
from runner.service.rivya.tasks import read_task
from runner.steps import context as run_context
from runner.steps import poll as polling
from runner.steps import submit as submitting
from runner.steps.context import RunContext
from runner.steps.download import _record as take_home
from runner.steps.submit import NotSent, Submitted, take_back
from runner.steps.submit import submit as submit_step
from runner.store import jobs, ledger
from runner.store.database import StateDatabase
from runner.store.sqlite import StateFile, _connect
from runner.store.writer import GroupWriter
from tests.databases import empty_state, of_kind
from tests.money_service import DEAREST, MANNERS, TURNED_AWAY, Service, Task, error
from tests.world import (
    CONTRACT,
    MODEL,
    NAME,
    TestClock,
    World,
    apply,
    bind,
    job,
    reference,
)

EXAMPLES = int(os.environ.get("MONEY_EXAMPLES", "0"))
WINDOW_S = 3600.0
SERVICE = "https://rivya.ai"
KEYS = ("rvya_sk_one", "rvya_sk_two")  # both of one account
IMAGE = reference("in.png")
POOL: tuple[JobSpec, ...] = (
    job("a", "one", params={"duration": 4}),
    job("a", "two", params={"duration": 6}),
    job("b", "one", params={"duration": 4}),
    job("b", "three", params={"duration": 8}),
    job("c", "three", params={"duration": 8}),
    job("c", "one", params={"duration": 4}),
    job("d", "four", params={"duration": 6}, references=[IMAGE]),
    job("e", "five", params={"duration": 10}),
    *(job(name, "six", params={"duration": 4}) for name in "fgh"),
)


HOWS = ("answered", "lost", "lost on the way", "killed", "killed after", "turned away", "refused")
CHOICES = ("resend", "attach")
VERBS = (*HOWS, "lost", "answered", *CHOICES, "night", "night", "night, clock set back", "poll")


# --- the client's side of the wire ------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Flight:
    """A submit between its intent and its answer."""

    row: int
    key: str
    body: bytes
    left_s: float = 0.0
    answer: asyncio.Future[Reply]
    step: asyncio.Task[Submitted] | None = None
    said: Reply | None = None  # what the service said when it arrived; None: it is on its way


class Wire(Rivya):
    """Stands for the service: a submit hangs in the air until the machine answers it."""

    def __init__(self) -> None:
        self.launched: Flight | None = None
        self.poll_says = Reply(status=500)
        self.says_its_time: Callable[[], None] = lambda: None

    async def submit(
        self, body: bytes, key: str, *, still_allowed: Callable[[], bool] | None = None
    ) -> Answer:
        assert still_allowed is None or still_allowed()
        self.launched = Flight(row=0, key=key, body=body, answer=asyncio.get_running_loop().create_future())
        reply = await self.launched.answer
        if reply.status is not None:
            self.says_its_time()
        return understand(reply, body=body)

    async def poll(self, task_id: str) -> Answer:
        self.says_its_time()
        return understand(self.poll_says)


class Person(Answering):
    """Somebody who types `resolve`, at this clock, and looks at this service."""

    __slots__ = ("clock", "sees")
    clock: TestClock
    sees: Service

    def _task(self, task_id: str) -> tuple[TaskView, float]:
        view = read_task(self.sees.tasks[task_id].view())
        assert view is not None
        return view, 0.0

    def _now(self) -> str:
        return rfc3339(self.clock.wall_s())


def _empty() -> bytes:
    file = StateFile.in_memory()
    bind(file, key12=Account(SERVICE, KEYS[0]).key12)
    return file.conn.serialize()


EMPTY = _empty()


def opened(content: bytes) -> StateFile:
    """Open a database of which this much was committed."""
    file = StateFile(_connect(":memory:", uri=False), None, created=False, writable=True)
    file.conn.deserialize(content)
    return file


# --- the machine --------------------------------------------------------------------------------------------


class Money(RuleBasedStateMachine):
    """Everything that can happen to a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.file = self.new_file()
        self.clock = TestClock()
        self.flights: list[Flight] = []
        self.ghosts: list[Flight] = []  # given up by us, but still on the way to the service
        self.owner: dict[str, tuple[int, int, int]] = {}  # key -> (row, round, revision)
        self.ordered: set[tuple[int, int]] = set()  # rounds a person has paid for
        self.given_up: set[tuple[int, int]] = set()  # rounds a person has closed
        self.never_told: set[str] = set()  # their tasks, where the service had not named a price by then
        self.risked: set[tuple[int, int]] = set()  # sent again by a person although the key was forgotten
        self.before = os.environ.get("RIVYA_API_KEY")
        os.environ["RIVYA_API_KEY"] = KEYS[0]

    @initialize(
        cap=st.sampled_from([None, None, 60.0, 150.0, 1000.0]),
        day=st.sampled_from([None, None, None, None, None, 80.0]),
        rounds=st.integers(0, 1),
        retention_s=st.sampled_from([WINDOW_S, WINDOW_S, 2 * WINDOW_S, 1e12]),
        set_back=st.booleans(),
        dates=st.booleans(),
        two_machines=st.booleans(),
        manner=st.sampled_from(MANNERS),
        scattered=st.booleans(),
        listed=st.sets(st.sampled_from(range(len(POOL))), min_size=1, max_size=6),
    )
    def begin(
        self,
        cap: float | None,
        day: float | None,
        rounds: int,
        retention_s: float,
        set_back: bool,
        listed: set[int],
        dates: bool = False,
        two_machines: bool = False,
        manner: str = "named",
        scattered: bool = False,
    ) -> None:
        self.dates = dates  # whether the service tells its time
        self.two_machines = two_machines  # answer in turn, the clock of one standing still when ours do
        self.lag_s, self.turns = 0.0, count()
        # A clock that was set back and a reboot together hide an age from every honest clock.
        self.may_set_back = set_back
        self.settings = Settings(
            path=Path("/m/autumn.yaml"),
            name=NAME,
            output_dir=Path("/out"),
            budget=Budget(max_credits=cap, max_credits_per_day=day),
            limits=Limits(job_deadline_s=5 * 3600.0),
            failed_rounds=FailedRounds(generation=rounds),
            resend_within_s=WINDOW_S,
        )
        self.service = Service(retention_s, manner=manner, scattered=scattered)
        self.was_wrong = False  # whether our clock ever differed from the service's
        self.sit_down(KEYS[0])
        self.run_manifest(listed, KEYS[0])

    # --- the database, which is one at a server in `MoneyAtServer` ---

    def new_file(self) -> StateDatabase:
        """Return a database in which the manifest's name is bound, and nothing else."""
        return opened(EMPTY)

    def after_a_kill(self) -> StateDatabase:
        """Return a database of which is left what was committed."""
        assert isinstance(self.file, StateFile)
        left = self.file.conn.serialize()
        self.file.conn.close()
        return opened(left)

    def leave(self) -> None:
        """Be done with it."""
        self.file.close()

    # --- plumbing ---

    def sit_down(self, key: str) -> None:
        """Begin a process: nothing is known but what the database holds."""
        self.wire = Wire()
        service_clock = ServiceClock(self.clock)
        self.wire.says_its_time = lambda: service_clock.heard(self.told_s() if self.dates else None)
        if self.dates:
            self.wire.says_its_time()  # every run asks before it sends anything
        self.context = RunContext(
            run=1,
            settings=self.settings,
            account=Account(SERVICE, key),
            service=self.wire,
            writer=GroupWriter(self.file, inline=True),
            clock=self.clock,
            service_clock=service_clock,
            contracts={MODEL: CONTRACT},
            draw=lambda: 0.5,
        )

    def told_s(self) -> float:
        second = self.two_machines and next(self.turns) % 2 == 0
        return (self.service.now_s - (self.lag_s if second else 0.0)) // 1

    def wait(self, step: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(step)

    async def until_it_flies(self, step: asyncio.Task[Submitted]) -> None:
        while not step.done() and self.wire.launched is None:
            await asyncio.sleep(0)

    def rows(self, *states: State) -> list[Job]:
        return jobs.in_states(self.file.conn, NAME, states or tuple(State))

    def in_the_air(self) -> set[int]:
        return {flight.row for flight in self.flights}

    def to_submit(self, *, again: bool = False) -> list[Job]:
        air = self.in_the_air()
        found = [] if again else [found for found in self.rows(*NEVER_SENT) if found.listed]
        return [found for found in (*found, *self.rows(State.SUBMITTING)) if found.row not in air]

    def pick(self, data: st.DataObject, items: list[Any]) -> Any:
        return items[data.draw(st.integers(0, len(items) - 1), label="which")]

    # --- submits ---

    @precondition(lambda self: len(self.flights) < 4 and self.to_submit())
    @rule(data=st.data())
    def launch(self, data: st.DataObject) -> None:
        """Commit an intent and let the request go; or be held back."""
        self.choose(data)

    @precondition(lambda self: len(self.flights) < 4 and self.to_submit())
    @rule(data=st.data(), how=st.sampled_from(["lost", "lost on the way", "killed", "killed after"]))
    def submit_in_vain(self, data: st.DataObject, how: str) -> None:
        """Send a job, and never hear of it."""
        self.submit(data, how)

    @precondition(lambda self: len(self.flights) < 4 and self.to_submit())
    @rule(data=st.data())
    def submit_well(self, data: st.DataObject) -> None:
        """Send a job, and hear of it at once."""
        self.submit(data, "answered")

    @precondition(lambda self: not self.flights and len(self.to_submit()) > 1)
    @rule(dear=st.booleans())
    def wave(self, dear: bool) -> None:
        """All that is allowed goes out before the first answer comes, perhaps on the day prices have risen."""
        self.service.dear |= dear and bool(self.service.tasks)
        for found in self.to_submit():
            self.send(found)
        for flight in tuple(self.flights):
            self.deliver(flight, self.service.submit(flight.body, flight.key))

    @precondition(lambda self: len(self.flights) < 4 and self.to_submit(again=True))
    @rule(data=st.data(), how=st.sampled_from(["answered", "answered", "lost", "turned away"]))
    def submit_again(self, data: st.DataObject, how: str) -> None:
        """Send a job again, whose fate is not known."""
        self.submit(data, how, again=True)

    @precondition(lambda self: len(self.flights) < 4 and self.to_submit())
    @rule(data=st.data(), fate=st.sampled_from(["succeeded", "failed"]))
    def whole_life(self, data: st.DataObject, fate: str) -> None:
        """Send a job, and look when its task has ended."""
        before = set(self.service.tasks)
        self.submit(data, "answered")
        for task_id in set(self.service.tasks) - before:
            task = self.service.tasks[task_id]
            for found in self.rows(State.WAITING):
                if found.task_id == task_id:
                    self.end(task, fate)
                    self.ask(found, "answer")

    @precondition(lambda self: len(self.flights) < 4 and self.to_submit())
    @rule(data=st.data(), verbs=st.lists(st.sampled_from(VERBS), min_size=3, max_size=8))
    def story(self, data: st.DataObject, verbs: list[str]) -> None:
        """What happens to one job, one thing after another."""
        row = self.pick(data, self.to_submit()).row
        for verb in verbs:
            found = jobs.get(self.file.conn, row)
            sendable = row in {other.row for other in self.to_submit()}
            if verb in HOWS and sendable:
                flight = self.send(found)
                if flight is None and jobs.get(self.file.conn, row).state in NEVER_SENT:
                    return  # held back by a cap or for its uploads: nothing more will happen to it now
                self.deal_with(flight, verb, data)
            elif verb in CHOICES and found.state is State.UNCERTAIN:
                self.decide(found, verb)
            elif verb.startswith("night"):
                self.time_passes(4000.0, ours=not verb.endswith("host"))
                self.clock_is_set(-1000.0 if verb.endswith("back") else 0.0)
            elif verb == "poll" and found.state is State.WAITING:
                self.ask(found, "answer")
            self.holds()

    def holds(self) -> None:
        """Check the invariants that matter most in the middle of a step."""
        self.one_charge_for_each_job_and_round()
        self.nothing_paid_is_forgotten()

    def submit(self, data: st.DataObject, how: str, *, again: bool = False) -> None:
        self.deal_with(self.choose(data, again=again), how, data)

    def deal_with(self, flight: Flight | None, how: str, data: st.DataObject) -> None:
        if flight is None:
            return
        if how in ("answered", "lost", "killed after"):
            flight.said = self.service.submit(flight.body, flight.key)
        match how:
            case "answered":
                assert flight.said is not None
                self.deliver(flight, flight.said)
            case "turned away":
                self.deliver(flight, data.draw(st.sampled_from(TURNED_AWAY), label="answer"))
            case "refused":
                self.deliver(flight, error(400, "validation_failed"))
            case "lost" | "lost on the way":
                self.deliver(flight, Reply(detail="the connection closed"))
            case _:
                self.crash()

    def choose(self, data: st.DataObject, *, again: bool = False) -> Flight | None:
        found: Job = self.pick(data, self.to_submit(again=again))
        if found.references and data.draw(st.integers(0, 4), label="upload first"):
            self.upload()
        return self.send(found)

    def send(self, found: Job) -> Flight | None:
        fresh = found.state in NEVER_SENT
        total = sum(ledger.totals(self.file.conn, NAME))
        self.wire.launched = None
        step = self.loop.create_task(submit_step(self.context, found.row))
        self.wait(self.until_it_flies(step))
        flight = self.wire.launched
        if flight is None:
            held = step.result()
            assert held.not_sent is not None
            if held.not_sent is NotSent.TIME:
                self.wire.says_its_time()
                return self.send(found)
            return None
        flight.row, flight.step, flight.left_s = found.row, step, self.service.now_s
        self.flights.append(flight)
        now = jobs.get(self.file.conn, found.row)
        assert (now.state, now.key, now.body) == (State.SUBMITTING, flight.key, flight.body)
        assert now.in_doubt > 0
        identity = (now.row, now.round, now.revision)
        assert self.owner.setdefault(flight.key, identity) == identity
        self.service.bodies[flight.key].add(flight.body)
        if fresh:
            self.within_caps(total)
        return flight

    def within_caps(self, total: float) -> None:
        """An intent was committed: everything it knew of fits."""
        cap, day = self.settings.budget.max_credits, self.settings.budget.max_credits_per_day
        now = sum(ledger.totals(self.file.conn, NAME))
        assert now > total
        assert cap is None or now <= cap + 1e-6
        assert day is None or ledger.day_total(self.file.conn, self.clock.wall_s()) <= day + 1e-6

    def upload(self) -> None:
        world = World(file=self.file, clock=self.clock, key=self.context.account.key)
        world.uploaded(IMAGE, f"https://files/{int(self.service.now_s)}-{len(self.owner)}")

    @precondition(lambda self: any(flight.said is None for flight in self.flights))
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        """The service gets a request; its answer is on its way back."""
        flight = self.pick(data, [flight for flight in self.flights if flight.said is None])
        flight.said = self.service.submit(flight.body, flight.key)

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def answered(self, data: st.DataObject) -> None:
        """The service's own answer comes."""
        flight = self.pick(data, self.flights)
        if flight.said is None:
            flight.said = self.service.submit(flight.body, flight.key)
        self.deliver(flight, flight.said)

    @precondition(lambda self: self.flights)
    @rule(
        data=st.data(),
        answer=st.sampled_from(
            [
                Reply(detail="timed out"),
                Reply(status=502),
                Reply(status=500, data={"error": {"code": "internal"}}),
                Reply(status=201, data={"status": "queued"}),
                Reply(status=302),
                Reply(status=200),
                Reply(status=400, page=True),
                Reply(status=401, page=True),
                Reply(status=403, data={"message": "Forbidden"}),
                Reply(status=413),
                Reply(status=429, page=True),
                Reply(status=429, data={"error": "Too Many Requests"}),
                error(409, "idempotency_conflict"),
                error(503, "public_api_disabled"),
            ]
        ),
    )
    def unclear(self, data: st.DataObject, answer: Reply) -> None:
        """An answer that says nothing, before or after the request took effect."""
        flight = self.pick(data, self.flights)
        if flight.said is None:
            self.ghosts.append(flight)
        self.deliver(flight, answer)

    @precondition(lambda self: any(flight.said is None for flight in self.flights))
    @rule(data=st.data(), answer=st.sampled_from(TURNED_AWAY))
    def turned_away(self, data: st.DataObject, answer: Reply) -> None:
        """This request is refused at the door, whatever became of those before it."""
        flight = self.pick(data, [flight for flight in self.flights if flight.said is None])
        self.deliver(flight, answer)

    def deliver(self, flight: Flight, answer: Reply) -> None:
        flight.answer.set_result(answer)
        assert flight.step is not None
        self.flights.remove(flight)
        self.wait(flight.step)

    @precondition(lambda self: self.ghosts)
    @rule(data=st.data())
    def late(self, data: st.DataObject) -> None:
        """A request nobody waits for any more arrives after all."""
        ghost = self.pick(data, self.ghosts)
        self.ghosts.remove(ghost)
        self.service.submit(ghost.body, ghost.key)

    # --- death, and the next run ---

    @rule()
    def crash(self) -> None:
        """Killed: what was committed is all that is left. Then the next process goes on."""
        for flight in self.flights:
            assert flight.step is not None
            flight.step.cancel()
            with suppress(asyncio.CancelledError):
                self.wait(flight.step)
            if flight.said is None:
                self.ghosts.append(flight)
        self.flights.clear()
        self.file = self.after_a_kill()
        self.sit_down(self.context.account.key)
        with self.file.transaction() as conn:
            take_back(conn, self.context)

    @precondition(lambda self: not self.flights)
    @rule()
    def evening(self) -> None:
        """The run ends in good order: what was refused for sure keeps nothing reserved."""
        with self.file.transaction() as conn:
            take_back(conn, self.context)

    @rule(changed=st.sets(st.sampled_from(range(len(POOL))), max_size=3), key=st.sampled_from(KEYS))
    def edit(self, changed: set[int], key: str) -> None:
        """Run again with jobs removed, edited, renamed, brought back, perhaps with another key."""
        listed = {number for number in self.listed if number not in changed}
        ids = {POOL[number].id for number in changed - self.listed}
        listed = {number for number in listed if POOL[number].id not in ids} | (changed - self.listed)
        self.run_manifest(listed or self.listed, key)

    @precondition(lambda self: self.twins())
    @rule(data=st.data(), instead=st.booleans())
    def twin(self, data: st.DataObject, instead: bool) -> None:
        """Rename a job, or list its content once more under another id, perhaps one it had before."""
        old, new = self.pick(data, self.twins())
        self.run_manifest((self.listed - {old} if instead else self.listed) | {new}, self.context.account.key)

    def twins(self) -> list[tuple[int, int]]:
        ids = {POOL[number].id for number in self.listed}
        return [
            (old, new)
            for old in sorted(self.listed)
            for new, spec in enumerate(POOL)
            if spec.id not in ids and spec.fingerprint == POOL[old].fingerprint
        ]

    def run_manifest(self, listed: set[int], key: str) -> None:
        self.crash()
        self.listed = listed
        chosen = {POOL[number].id: POOL[number] for number in sorted(listed)}
        apply(self.file, *chosen.values())
        os.environ["RIVYA_API_KEY"] = key
        self.sit_down(key)
        with self.file.transaction() as conn:
            take_back(conn, self.context)

    # --- tasks ---

    @precondition(lambda self: any(task.status == "queued" for task in self.service.tasks.values()))
    @rule(
        data=st.data(),
        fate=st.sampled_from(
            ["processing", "succeeded", "dearer", "silent", "free", "failed", "failed for money"]
        ),
    )
    def task_moves(self, data: st.DataObject, fate: str) -> None:
        """A task goes on, or ends."""
        self.end(self.pick(data, [t for t in self.service.tasks.values() if t.status == "queued"]), fate)

    def end(self, task: Task, fate: str) -> None:
        match fate:
            case "processing":
                task.status = "processing"
            case "succeeded":
                task.status, task.final = "succeeded", task.price
            case "dearer":
                task.status, task.final = "succeeded", task.price + 1
            case "silent":
                task.status, task.final = "succeeded", None
            case "free":
                task.status, task.final = "succeeded", 0.0
            case "failed":
                task.status, task.final, task.code = "failed", 0.0, "generation_failed"
            case _:
                task.status, task.final, task.code = "failed", None, "moderation_refused"

    @precondition(lambda self: self.rows(State.WAITING))
    @rule(
        data=st.data(),
        how=st.sampled_from(["answer", "answer", "answer", "garbage", "404", "other", "429", "killed"]),
    )
    def poll(self, data: st.DataObject, how: str) -> None:
        """Ask for a task."""
        known = data.draw(st.sampled_from([None, 10.0]), label="known")
        late = data.draw(st.booleans(), label="late")
        self.ask(self.pick(data, self.rows(State.WAITING)), how, known=known, late=late)

    def ask(self, found: Job, how: str, *, known: float | None = None, late: bool = False) -> None:
        assert found.task_id is not None
        says = {
            "garbage": Reply(status=200),
            "404": error(404, "not_found"),
            "other": Reply(status=200, data={"id": "somebody-else", "status": "failed"}),
            "429": Reply(status=429),
        }
        self.wire.poll_says = says.get(how, Reply(status=200, data=self.service.tasks[found.task_id].view()))
        if how == "killed":
            return  # before its commit: as if it had never been asked
        seen = polling.WaitingTask(
            task_id=found.task_id,
            word=found.task_status or "",
            late_at_s=self.clock.wall_s() + (-1.0 if late else 1e9),
            reserved=known,
        )
        self.wait(polling.poll(self.context, found.row, seen))
        self.wait(self.context.writer.flush())
        if how != "answer":
            assert jobs.get(self.file.conn, found.row).state is State.WAITING

    @precondition(lambda self: self.rows(State.DOWNLOADING))
    @rule(data=st.data())
    def download(self, data: st.DataObject) -> None:
        """Bring a result home."""
        found = self.pick(data, self.rows(State.DOWNLOADING))
        with self.file.transaction() as conn:
            take_home(conn, self.context, found, (), set(), whole=True)

    # --- money, time ---

    @rule(wallet=st.sampled_from([0.0, 20.0, 1e9]), as_task=st.booleans())
    def wallet_changes(self, wallet: float, as_task: bool) -> None:
        """Somebody spends in the web product, or tops up."""
        self.service.wallet, self.service.empty_as_task = wallet, as_task

    @precondition(lambda self: not self.service.dear and self.service.tasks)
    @rule()
    def prices_rise(self) -> None:
        """What was seen is not what is charged from now on."""
        self.service.dear = True

    @precondition(lambda self: self.dates)
    @rule(seconds=st.sampled_from([300.0, 4000.0, 90_000.0]))
    def host_sleeps(self, seconds: float) -> None:
        """All our clocks stand still, the service's goes on."""
        self.was_wrong = True
        self.lag_s += seconds
        self.time_passes(seconds, ours=False)

    @rule(seconds=st.sampled_from([1.0, 300.0, 1800.0, 4000.0, 90_000.0]))
    def time_passes(self, seconds: float, *, ours: bool = True) -> None:
        """Awake or asleep."""
        if ours:
            self.clock.pass_s(seconds)
        self.service.now_s += seconds
        # No request is on its way for longer than that; one that were might outlive any memory of its key.
        self.ghosts = [ghost for ghost in self.ghosts if self.service.now_s - ghost.left_s <= 900.0]
        self.flights = [flight for flight in self.flights if not self.too_late(flight)]

    def too_late(self, flight: Flight) -> bool:
        """Let a request that has been on its way for too long time out."""
        if self.service.now_s - flight.left_s <= 900.0:
            return False
        flight.answer.set_result(Reply(detail="no answer in time"))
        assert flight.step is not None
        self.wait(flight.step)
        return True

    @precondition(lambda self: self.rows(State.SUBMITTING))
    @rule(back=st.sampled_from([0.0, -1000.0, -1000.0, -5000.0]))
    def a_night_in_doubt(self, back: float) -> None:
        """Longer than the window; somebody may have set the clock meanwhile."""
        self.time_passes(4000.0)
        if back:
            self.clock_is_set(back)

    @rule(seconds=st.sampled_from([-7200.0, -5.0, 5.0, 7200.0]))
    def clock_is_set(self, seconds: float) -> None:
        """By hand, or by a server of time."""
        if seconds > 0 or (seconds and self.may_set_back):
            self.clock.wall += seconds
            self.was_wrong = True

    @precondition(lambda self: not self.may_set_back)
    @rule()
    def reboot(self) -> None:
        self.crash()
        self.clock.reboot()

    # --- a person ---

    def person(self, found: Job) -> Person:
        person = Person(
            file=self.file,
            job=found,
            reserved=ledger.amount_of(self.file.conn, found),
            service=SERVICE,
            sandbox=False,
        )
        person.clock, person.sees = self.clock, self.service
        return person

    @precondition(lambda self: self.rows(State.UNCERTAIN))
    @rule(data=st.data(), choice=st.sampled_from(["resend", "attach", "abandon"]))
    def resolve(self, data: st.DataObject, choice: str) -> None:
        """A person decides about an uncertain job, and knows the truth when attaching."""
        self.decide(self.pick(data, self.rows(State.UNCERTAIN)), choice)

    def decide(self, found: Job, choice: str) -> None:
        self.crash()
        assert found.key is not None
        charged = self.service.charged(found.key)
        match choice:
            case "resend":
                known = self.service.keys.get(found.key)
                # The send may come as late as the clock lets it: only a service that never forgets is safe.
                if known is not None and self.service.retention_s < 1e12:
                    self.risked.add((found.row, found.round))
                self.person(found).resend()
            case "attach" if charged:
                held = jobs.holder_of_task(self.file.conn, SERVICE, charged[0].id)
                try:
                    self.person(found).attach(charged[0].id)
                except UsageError:
                    # Right to refuse only where clocks disagree, or another has it.
                    assert self.was_wrong or (held and held != (found.row, found.round))
            case _:
                self.person(found).abandon()

    @precondition(lambda self: any(found.listed for found in self.rows(State.FAILED)))
    @rule()
    def retry(self) -> None:
        """Pay for another round of all that failed."""
        self.crash()
        self.begin_again([found for found in self.rows(State.FAILED) if found.listed])

    def begin_again(self, meant: list[Job]) -> None:
        self.ordered.update((found.row, found.round + 1) for found in meant)
        self.given_up.update((found.row, found.round) for found in meant)
        self.closed(meant)
        with self.file.transaction() as conn:
            begin_rounds(
                conn,
                Rounds(
                    name=NAME, database=Path("in memory"), rows={it.row: (it.state, it.round) for it in meant}
                ),
            )

    @precondition(lambda self: self.rows(State.WAITING, State.DOWNLOADING))
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        """A person closes a job whose task was accepted, whatever its task comes to."""
        self.crash()
        found = self.pick(data, self.rows(State.WAITING, State.DOWNLOADING))
        self.given_up.add((found.row, found.round))
        self.closed([found])
        self.person(found).abandon()

    def closed(self, closed: list[Job]) -> None:
        """Note the tasks that nobody asks about any more before the service has named their price."""
        tasks = [self.service.tasks[found.task_id] for found in closed if found.task_id is not None]
        self.never_told.update(task.id for task in tasks if not (task.final or task.reserved))

    @precondition(lambda self: self.to_begin_again())
    @rule(data=st.data())
    def retry_named(self, data: st.DataObject) -> None:
        """Pay for another round of one that was given up, does not come home, or is to be made again."""
        self.crash()
        self.begin_again([self.pick(data, self.to_begin_again())])

    def to_begin_again(self) -> list[Job]:
        return [
            found for found in self.rows() if found.listed and may_begin_again(found, named=True, done=True)
        ]

    # --- what always holds ---

    @invariant()
    def one_charge_for_each_job_and_round(self) -> None:
        paid: dict[tuple[int, int], list[str]] = defaultdict(list)
        for task in self.service.tasks.values():
            if task.charged:
                paid[self.owner[task.key][:2]].append(task.id)
        twice = {who: ids for who, ids in paid.items() if len(ids) > 1 and who not in self.risked}
        assert not twice

    @invariant()
    def nothing_is_paid_again_without_a_word(self) -> None:
        """By the manifest's word after a failure, or by a person's."""
        for task in self.service.tasks.values():
            row, round_, _ = self.owner[task.key]
            if task.charged and round_ > 1 and (row, round_) not in self.ordered:
                before = self.round_before(row, round_)
                assert round_ <= 1 + self.settings.failed_rounds.generation
                # Of one that a person had sent again, what was made twice is known by one task only.
                failed = [other.status == "failed" for other in before]
                assert all(failed) or ((row, round_ - 1) in self.risked and any(failed))

    def round_before(self, row: int, round_: int) -> list[Task]:
        return [task for task in self.service.tasks.values() if self.owner[task.key][:2] == (row, round_ - 1)]

    @invariant()
    def a_key_stands_for_its_bytes(self) -> None:
        assert all(len(bodies) == 1 for bodies in self.service.bodies.values())
        assert len(set(self.owner.values())) == len(self.owner)

    @invariant()
    def nothing_paid_is_forgotten(self) -> None:
        """Every charged task is held by its row, or its row is one that may still find it or was decided about."""
        for task in self.service.tasks.values():
            if not task.charged:
                continue
            row, round_, revision = self.owner[task.key]
            found = jobs.get(self.file.conn, row)  # a row that was sent is never dropped
            held = jobs.holder_of_task(self.file.conn, SERVICE, task.id)
            if (row, round_) in self.given_up:
                continue
            if held == (row, round_):
                if task.status == "succeeded":
                    assert found.round == round_
                    assert found.state in (State.WAITING, State.DOWNLOADING, State.DONE)
                elif task.status != "failed":
                    assert found.state is State.WAITING
                continue
            if (row, round_) in self.risked:
                continue
            assert found.state in (State.SUBMITTING, State.UNCERTAIN, State.ABANDONED)
            assert (found.round, found.revision, found.key) == (round_, revision, task.key)
            assert found.state is not State.SUBMITTING or found.in_doubt > 0

    @invariant()
    def what_may_be_charged_is_counted(self) -> None:
        """A payment that is open, or that nobody can know, keeps its credits."""
        for found in self.rows(State.SUBMITTING, State.UNCERTAIN, State.WAITING, State.ABANDONED):
            if found.state is State.WAITING or found.in_doubt:
                assert ledger.amount_of(self.file.conn, found) > 0

    @invariant()
    def nothing_else_is_counted(self) -> None:
        """Credits are set aside for no job that is certainly not being paid for."""
        for row in self.file.conn.execute(
            "SELECT j.state, j.round, l.round AS paid FROM ledger l JOIN jobs j ON j.id = l.job WHERE l.state = 'reserved'"
        ):
            assert State(row["state"]) in (State.SUBMITTING, State.UNCERTAIN, State.WAITING, State.ABANDONED)
            assert row["round"] == row["paid"]

    @invariant()
    def one_price_is_tried_at_a_time(self) -> None:
        caps = getattr(self, "settings", Settings(path=Path(), name=NAME, output_dir=Path())).budget
        if caps.max_credits is None and caps.max_credits_per_day is None:
            return
        if ledger.names_no_amounts(self.file.conn, SERVICE):
            return
        seen = {row["shape"] for row in self.file.conn.execute("SELECT shape FROM prices")}
        out = [
            row["shape"]
            for row in self.file.conn.execute(
                "SELECT l.shape FROM ledger l JOIN jobs j ON j.id = l.job AND j.round = l.round"
                " WHERE l.state = 'reserved' AND l.reserved IS NULL AND j.state <> 'abandoned'"
            )
            if row["shape"] not in seen
        ]
        assert len(out) <= 1

    @invariant()
    def the_cap_is_passed_by_one_surprise_at_most(self) -> None:
        cap = self.settings.budget.max_credits if hasattr(self, "settings") else None
        if cap is None or self.risked:
            return
        if ledger.names_no_amounts(self.file.conn, SERVICE):
            return  # what it charges is its own secret: the estimate is all there is
        spent = sum(self.cost(task) for task in self.service.tasks.values() if task.charged)
        assert spent <= cap + DEAREST + 1e-6

    def cost(self, task: Task) -> float:
        """What a task costs, as far as anybody can know: one closed before its price is named keeps its estimate."""
        row, round_, _ = self.owner[task.key]
        found = jobs.get(self.file.conn, row)
        held = jobs.holder_of_task(self.file.conn, SERVICE, task.id)
        closed = found.state is State.ABANDONED or (row, round_) in self.given_up
        if closed and (held is None or task.id in self.never_told):
            return min(task.price, ledger.amount_of(self.file.conn, replace(found, round=round_)))
        if task.status not in ("succeeded", "failed"):
            return task.price
        if not task.cost_is_told:
            return min(task.price, ledger.amount_of(self.file.conn, replace(found, round=round_)))
        return task.final or (0.0 if task.status == "failed" and task.final == 0 else task.price)

    @invariant()
    def totals_equal_their_rows(self) -> None:
        conn = self.file.conn
        for kind in ("charged", "reserved"):
            (rows,) = conn.execute(
                "SELECT coalesce(sum(amount), 0) FROM ledger WHERE manifest = ? AND state = ?", (NAME, kind)
            ).fetchone()
            assert (
                abs(rows - dict(zip(("charged", "reserved"), ledger.totals(conn, NAME), strict=True))[kind])
                < 1e-6
            )
        by_minute = {
            row["minute"]: row["amount"]
            for row in conn.execute("SELECT minute, sum(amount) AS amount FROM ledger GROUP BY minute")
        }
        kept = {
            row["minute"]: row["amount"] for row in conn.execute("SELECT minute, amount FROM credit_minutes")
        }
        for minute in by_minute | kept:
            assert abs(by_minute.get(minute, 0.0) - kept.get(minute, 0.0)) < 1e-6

    def teardown(self) -> None:
        for flight in self.flights:
            assert flight.step is not None
            flight.step.cancel()
            with suppress(asyncio.CancelledError):
                self.wait(flight.step)
        self.leave()
        self.loop.close()
        if self.before is None:
            os.environ.pop("RIVYA_API_KEY", None)
        else:
            os.environ["RIVYA_API_KEY"] = self.before


def _settings(examples: int, steps: int, **more: Any) -> settings:
    # Shrinking takes minutes here: `MONEY_SHRINK=1` asks for it.
    phases = [Phase.generate, Phase.shrink] if os.environ.get("MONEY_SHRINK") else [Phase.generate]
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=phases,
        report_multiple_bugs=False,
        database=None,
        **more,
    )


TestMoney = Money.TestCase
TestMoney.settings = _settings(
    EXAMPLES or 50, 60 if EXAMPLES else 50, derandomize=not EXAMPLES, print_blob=True
)


class MoneyAtServer(Money):
    """The same, with PostgreSQL."""

    def new_file(self) -> StateDatabase:
        with of_kind("postgresql"):
            file = empty_state()
        bind(file, key12=Account(SERVICE, KEYS[0]).key12)
        return file

    def after_a_kill(self) -> StateDatabase:
        if self.file.conn.in_transaction:
            self.file.conn.execute("ROLLBACK")
        return self.file

    def leave(self) -> None:
        pass


TestMoneyAtServer = pytest.mark.extra(MoneyAtServer.TestCase)
TestMoneyAtServer.settings = _settings(EXAMPLES or 30, 50, derandomize=not EXAMPLES, print_blob=True)


# --- a machine that cannot fail proves nothing ----------------------------------------------------------------


def _proven(answer: Answer, *, earlier_unclear: int, **more: Any) -> SubmitOutcome:
    return after_submit(answer, earlier_unclear=0, **more)


def _wall_only(**clocks: Any) -> float:
    return max(clocks["now_wall_s"] - (clocks["sent_wall_s"] or 0.0), 0.0)


def _ours_only(**clocks: Any) -> float:
    return send_age_s(**{**clocks, "now_service_s": None})


WRONG: dict[str, tuple[object, str, Any, tuple[str, ...]]] = {
    "sent again after any time": (submitting, "may_send", lambda **_: True, ("lost", "night", "answered")),
    "a refusal after a lost answer believed": (submitting, "after_submit", _proven, ("lost", "refused")),
    "a clock that can be set": (
        submitting,
        "send_age_s",
        _wall_only,
        ("lost", "night, clock set back", "answered"),
    ),
    "a host that sleeps": (submitting, "send_age_s", _ours_only, ("lost", "night of the host", "answered")),
    "no caps": (run_context, "judge", lambda **_: Verdict.YES, ("answered", "next", "answered")),
}


class Steady:
    """Draws what comes first."""

    def draw(self, strategy: st.SearchStrategy[Any], label: str = "") -> Any:
        return 0


def tell(*verbs: str) -> None:
    """Let these things happen, one after another, under a cap that takes one job only."""
    machine = Money()
    machine.begin(
        cap=15.0, day=None, rounds=0, retention_s=WINDOW_S, set_back=True, listed={0, 7}, dates=True
    )
    try:
        for chapter in " ".join(f"({verb})" for verb in verbs).split("(next)"):
            machine.story(cast("Any", Steady()), chapter.strip(" ()").split(") ("))
    finally:
        machine.teardown()


@pytest.mark.parametrize("wrong", WRONG)
def test_a_runner_that_is_wrong_is_caught(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, instead, verbs = WRONG[wrong]
    tell(*verbs)
    monkeypatch.setattr(module, name, instead)

    with pytest.raises(AssertionError):
        tell(*verbs)


def rise() -> None:
    """Let one price be seen, and then a wave go out on the day it has risen."""
    machine = Money()
    machine.begin(cap=60.0, day=None, rounds=0, retention_s=WINDOW_S, set_back=True, listed={0, 2, 8, 9, 10})
    try:
        machine.story(cast("Any", Steady()), ["answered"])
        machine.wave(dear=True)
        machine.the_cap_is_passed_by_one_surprise_at_most()
    finally:
        machine.teardown()


def test_a_wave_that_trusts_the_price_it_has_seen_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    rise()
    for factor in ("UNTRIED", "RISE", "KEPT"):
        monkeypatch.setattr(budget, factor, 1.0)

    with pytest.raises(AssertionError):
        rise()
