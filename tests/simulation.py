"""A service in virtual time, a client that carries out what the scheduler chooses, and an oracle.

Nothing here sleeps: events come from one heap, and an hour passes in milliseconds. The client is as the
engine is: some ten requests at once, timers a little late, and no knowledge but the answers it gets.
"""

from __future__ import annotations

import heapq
import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.model import Polling
from runner.pace.concurrency import ConcurrencyLimit
from runner.pace.durations import Durations
from runner.pace.limits import AccountLimits
from runner.pace.rate import Rate
from runner.pace.scheduler import Call, Offer, Scheduler
from runner.pace.shared import Granted, SharedLimits, grant
from runner.sandbox.limiter import Limiter, make_limiter

CONNECTIONS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the service is like. Times in seconds, rates in requests a second."""

    durations_s: Sequence[float]
    rate: float
    kind: str = "bucket"  # bucket, window, log
    window_s: float = 1.0
    burst: int | None = None
    in_flight: int | None = None
    latency_s: tuple[float, float] = (0.02, 0.06)
    retry_after: str = "seconds"  # seconds (rounded up), exact, none
    upload_s: float | None = None  # each job needs one upload that takes so long
    shapes: Sequence[str] = ("one",)  # of job i: shapes[i % len(shapes)]
    lost: float = 0.0  # part of polls that are answered by a 503

    def limiter(self) -> Limiter | None:
        return make_limiter(self.kind, rate=self.rate, window_s=self.window_s, burst=self.burst)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What happened."""

    makespan_s: float = 0.0
    submits: int = 0
    polls: int = 0
    uploads: int = 0
    rejected: int = 0
    rejected_submits: int = 0
    jobs: int = 0
    lags_s: list[float] = field(default_factory=list)
    passed_at: list[float] = field(default_factory=list)
    gaps_s: dict[int, float] = field(default_factory=dict)  # job -> longest time nobody asked about it
    closest_polls_s: float = math.inf
    earliest_poll_s: float = math.inf
    most_in_flight: int = 0
    found_at: dict[int, float] = field(default_factory=dict)

    @property
    def polls_a_task(self) -> float:
        return self.polls / max(self.jobs, 1)

    @property
    def per_thousand(self) -> float:
        return 1000.0 * self.rejected / max(len(self.passed_at), 1)

    def use(self, rate: float, *, after_s: float = 0.0) -> float:
        """Return the part of the limit that was used from `after_s` to the last request but a few."""
        times = sorted(at for at in self.passed_at if at >= after_s)
        return len(times) / ((times[-1] - after_s) * rate)


class Service:
    """The far side: a rate limit, slots, tasks that end by themselves."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.limiter = world.limiter()
        self.ends: dict[int, float] = {}
        self._running: list[float] = []

    def limited_s(self, now: float) -> float:
        return self.limiter.wait_s(now) if self.limiter is not None else 0.0

    def running(self, now: float) -> int:
        while self._running and self._running[0] <= now:
            heapq.heappop(self._running)
        return len(self._running)

    def full(self, now: float) -> bool:
        return self.world.in_flight is not None and self.running(now) >= self.world.in_flight

    def accept(self, job: int, now: float) -> None:
        self.ends[job] = now + self.world.durations_s[job]
        heapq.heappush(self._running, self.ends[job])

    def first_end(self) -> float:
        return self._running[0] if self._running else math.inf


def oracle_s(world: World) -> float:
    """Return the makespan of one who knows the limits and when each task ends: one poll each, submits first."""
    service = Service(world)
    latency_s = sum(world.latency_s) / 2
    left = len(world.durations_s)
    uploads = left if world.upload_s is not None else 0
    ready = 0 if uploads else left
    coming: list[float] = []  # uploads that end
    ended: list[float] = []
    now = last = 0.0
    submitted = 0
    while left or ended:
        while coming and coming[0] <= now:
            heapq.heappop(coming)
            ready += 1
        submit = ready > 0 and not service.full(now)
        upload = not submit and uploads > 0 and len(coming) + ready < 8 and (len(coming) < 4)
        poll = bool(ended) and ended[0] <= now
        if submit or upload or poll:
            wait_s = service.limited_s(now)
            if wait_s > 0:
                now += max(wait_s, 1e-9)
                continue
            if submit:
                service.accept(submitted, now)
                heapq.heappush(ended, service.ends[submitted])
                submitted, ready, left = submitted + 1, ready - 1, left - 1
            elif upload:
                assert world.upload_s is not None
                heapq.heappush(coming, now + world.upload_s)
                uploads -= 1
            else:
                heapq.heappop(ended)
                last = now
            continue
        now = min(ended[0] if ended else math.inf, coming[0] if coming else math.inf)
        if service.full(now) and ready:
            now = min(now, service.first_end())
    return last + 2 * latency_s


def scheduler(
    *,
    given: float | None = None,
    found: float | None = None,
    window: int | None = None,
    polling: Polling | None = None,
    durations: Durations | None = None,
    limits: AccountLimits | None = None,
) -> Scheduler:
    return Scheduler(
        polling=polling or Polling(first_s=0.2, min_s=0.2, max_s=2.0),
        limits=limits
        or AccountLimits(
            given_per_s=given,
            rate=None if found is None else Rate.known(found),
            tasks=ConcurrencyLimit(window),
        ),
        durations=durations or Durations(),
    )


class Timeline:
    """What is to happen, and when: one for all who live in one world."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def at(self, when: float, then: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, then))

    @property
    def coming(self) -> float:
        return self._events[0][0] if self._events else math.inf

    def happen(self) -> None:
        """Have happen what is due."""
        while self._events and self._events[0][0] <= self.now:
            heapq.heappop(self._events)[2]()


class Client:
    """Carries out what the scheduler chooses, as the engine does.

    Several may live on one `timeline` and use one `service`, each with its own part of the `jobs`.
    """

    def __init__(
        self,
        world: World,
        scheduler: Scheduler,
        *,
        seed: int = 0,
        timeline: Timeline | None = None,
        service: Service | None = None,
        jobs: Sequence[int] | None = None,
        begins_at: float = 0.0,
    ) -> None:
        self.world = world
        self.service = service or Service(world)
        self.scheduler = scheduler
        self.random = random.Random(seed)
        self.timeline = timeline or Timeline()
        self.dies_at = math.inf
        self._begins_at = begins_at
        jobs = range(len(world.durations_s)) if jobs is None else jobs
        self.outcome = Outcome(jobs=len(jobs))
        self._open = 0
        self._uploading = 0
        self._ready: list[int] = [] if world.upload_s is not None else list(reversed(jobs))
        self._to_upload: list[int] = list(reversed(jobs)) if world.upload_s is not None else []
        self._to_find = len(jobs)
        self._asked: dict[int, float] = {}
        self._accepted_at: dict[int, float] = {}

    def resume(self, ages_s: Sequence[float]) -> None:
        """Begin with jobs that an earlier run has submitted."""
        for age_s in ages_s:
            job = self._ready.pop()
            self.service.accept(job, -age_s)
            self.scheduler.waiting.add(job, shape=self._shape(job), age_s=age_s, now=0.0)

    @property
    def now(self) -> float:
        return self.timeline.now

    def run(self, *, until_s: float = math.inf) -> Outcome:
        run_all([self], until_s=until_s)
        return self.outcome

    @property
    def over(self) -> bool:
        return not self._to_find or self.now >= self.dies_at

    def step(self) -> float:
        """Send what may be sent; return when to look again, if nothing happens before."""
        if self.now < self._begins_at:
            return self._begins_at
        while self._open < CONNECTIONS and not self.over:
            self.scheduler.offer(
                self.now,
                Offer(
                    submits=len(self._ready),
                    uploads=min(len(self._to_upload), 4 - self._uploading),
                    uploads_in_flight=self._uploading,
                ),
            )
            choice = self.scheduler.choose(self.now)
            if choice.call is None:
                assert choice.at > self.now
                # A timer is never early, and a busy loop makes it a little late.
                return choice.at + self.random.uniform(0.0, 0.002)
            assert choice.at <= self.now
            if not self.scheduler.limits.has_permit(self.now):
                return math.inf
            self._send(choice.call, choice.job)
        return math.inf

    def _send(self, call: Call, job: int | None) -> None:
        sent_at = self.now
        if call is Call.SUBMIT:
            job = self._ready.pop()
        elif call is Call.UPLOAD:
            job = self._to_upload.pop()
            self._uploading += 1
        assert job is not None
        self._open += 1
        self.scheduler.sent(sent_at, call, job)
        if call is Call.POLL:
            self._manners(job)
        there_s = self.random.uniform(*self.world.latency_s) / 2
        self._at(sent_at + there_s, lambda: self._arrive(call, job, sent_at))

    def _manners(self, job: int) -> None:
        if job in self._asked:
            self.outcome.closest_polls_s = min(self.outcome.closest_polls_s, self.now - self._asked[job])
        elif job in self._accepted_at:
            age_s = self.now - self._accepted_at[job]
            self.outcome.earliest_poll_s = min(self.outcome.earliest_poll_s, age_s)
        before = self._asked.get(job, self._accepted_at.get(job, 0.0))
        self.outcome.gaps_s[job] = max(self.outcome.gaps_s.get(job, 0.0), self.now - before)
        self._asked[job] = self.now

    def _arrive(self, call: Call, job: int, sent_at: float) -> None:
        wait_s = self.service.limited_s(self.now)
        rejected, ended = wait_s > 0, False
        takes_s = self.random.uniform(*self.world.latency_s) / 2
        if not rejected and call is Call.SUBMIT:
            if self.service.full(self.now):
                rejected, wait_s = True, max(self.service.first_end() - self.now, 0.001)
            else:
                self.service.accept(job, self.now)
                self.outcome.most_in_flight = max(self.outcome.most_in_flight, self.service.running(self.now))
        if not rejected and call is Call.POLL:
            ended = self.service.ends[job] <= self.now
        if not rejected and call is Call.UPLOAD and self.world.upload_s is not None:
            takes_s += self.world.upload_s
        self._at(self.now + takes_s, lambda: self._answer(call, job, sent_at, rejected, wait_s, ended))

    def _answer(
        self, call: Call, job: int, sent_at: float, rejected: bool, wait_s: float, ended: bool
    ) -> None:
        self._open -= 1
        now, plan, outcome = self.now, self.scheduler, self.outcome
        lost = call is Call.POLL and not rejected and self.random.random() < self.world.lost
        retry_after_s = None
        if rejected:
            outcome.rejected += 1
            outcome.rejected_submits += call is Call.SUBMIT
            retry_after_s = {"seconds": float(math.ceil(wait_s)), "exact": wait_s, "none": None}[
                self.world.retry_after
            ]
        else:
            outcome.passed_at.append(now)
        plan.answered(
            now,
            call,
            sent_at=sent_at,
            rejected=rejected,
            retry_after_s=retry_after_s,
            ok=not rejected and not lost,
            draw=self.random.random(),
        )
        match call:
            case Call.UPLOAD:
                self._uploading -= 1
                outcome.uploads += 1
                (self._to_upload if rejected else self._ready).append(job)
            case Call.SUBMIT:
                outcome.submits += 1
                if rejected:
                    self._ready.append(job)
                else:
                    self._accepted_at[job] = now
                    plan.waiting.add(job, shape=self._shape(job), age_s=0.0, now=now)
            case _:
                outcome.polls += 1
                if rejected or lost:
                    plan.waiting.unclear(job, now, 0.2)
                elif ended:
                    plan.waiting.ended(job, now)
                    outcome.lags_s.append(now - self.service.ends[job])
                    outcome.found_at[job] = now
                    self._to_find -= 1
                else:
                    plan.waiting.still_running(job, now)

    def _shape(self, job: int) -> str:
        return self.world.shapes[job % len(self.world.shapes)]

    def _at(self, when: float, then: Callable[[], None]) -> None:
        self.timeline.at(when, lambda: then() if self.now < self.dies_at else None)


def run_all(clients: Sequence[Client], *, until_s: float = math.inf) -> None:
    """Let clients on one timeline do all they have to do."""
    timeline, guard = clients[0].timeline, 0
    while timeline.now < until_s:
        guard += 1
        assert guard < 5_000_000, "the client runs in circles"
        timeline.happen()
        left = [each for each in clients if not each.over]
        if not left:
            break
        wake = min(each.step() for each in left)
        timeline.now = min(wake, timeline.coming)
        assert timeline.now < math.inf, "nothing will ever happen again"
        for each in left:
            each.outcome.makespan_s = timeline.now


def shared_by(
    number: int,
    *,
    given: float | None,
    timeline: Timeline,
    tasks: int | None = None,
    seed: int = 0,
    trip_s: tuple[float, float] = (0.001, 0.006),
) -> list[SharedLimits]:
    """Return the limits of so many runs of one account, which share them by permits over a way that takes so long."""
    kept: dict[str, Any] = {}
    dice = random.Random(seed)

    def one(run: str) -> SharedLimits:
        limits = SharedLimits(run=run, given_per_s=given, tasks=ConcurrencyLimit(tasks))
        limits.share_with(number)
        on_its_way = False

        def ask() -> None:
            nonlocal on_its_way
            if on_its_way or (asks := limits.asks()) is None:
                return
            on_its_way, asked_at = True, timeline.now

            def there() -> None:
                server_s = timeline.now + 1000.0  # another clock
                state, told = grant(json.loads(kept["row"]) if kept else None, asks, now=server_s)
                kept["row"] = json.dumps(state)
                timeline.at(timeline.now + dice.uniform(*trip_s) / 2, lambda: back(told, server_s))

            def back(told: Granted, server_s: float) -> None:
                nonlocal on_its_way
                on_its_way = False
                limits.granted(told, server_s=server_s, asked_at=asked_at, answered_at=timeline.now)
                ask()

            timeline.at(timeline.now + dice.uniform(*trip_s) / 2, there)

        limits.wake = ask
        return limits

    return [one(f"run {at}") for at in range(number)]


def run_several(
    world: World,
    number: int,
    *,
    given: float | None = None,
    window: int | None = None,
    polling: Polling | None = None,
    seed: int = 0,
    begin_apart_s: float = 0.0,
    dies: tuple[int, float] | None = None,
) -> Outcome:
    """Run the jobs of a world by so many clients of one account, each with its part; return what all did together.

    With `dies`, that client is gone at that time, and nobody takes over its jobs.
    """
    timeline, service = Timeline(), Service(world)
    part = None if window is None else window // number
    limits = shared_by(number, given=given, timeline=timeline, tasks=part, seed=seed)
    clients = [
        Client(
            world,
            scheduler(limits=each, polling=polling),
            seed=number * seed + at,
            timeline=timeline,
            service=service,
            jobs=range(at, len(world.durations_s), number),
            begins_at=at * begin_apart_s,
        )
        for at, each in enumerate(limits)
    ]
    if dies is not None:
        clients[dies[0]].dies_at = dies[1]
    run_all(clients)
    whole = Outcome(jobs=len(world.durations_s))
    for one in (each.outcome for each in clients):
        whole.makespan_s = max(whole.makespan_s, one.makespan_s)
        whole.submits += one.submits
        whole.polls += one.polls
        whole.rejected += one.rejected
        whole.rejected_submits += one.rejected_submits
        whole.passed_at += one.passed_at
    whole.passed_at.sort()
    return whole


def draw_durations(kind: str, number: int, typical_s: float, rng: random.Random) -> list[float]:
    """Return durations of a kind, in the order of submission."""
    match kind:
        case "constant":
            return [typical_s] * number
        case "uniform":
            return [rng.uniform(0.67, 1.33) * typical_s for _ in range(number)]
        case "wide":
            return [rng.uniform(0.4, 1.6) * typical_s for _ in range(number)]
        case "lognormal":
            return [typical_s * math.exp(rng.gauss(0.0, 0.35)) for _ in range(number)]
        case "bimodal":
            return [
                typical_s * rng.uniform(0.9, 1.1) * (0.4 if rng.random() < 0.6 else 1.6)
                for _ in range(number)
            ]
        case "heavy":
            return [typical_s * 0.5 * (1.0 - rng.random()) ** (-1 / 2.2) for _ in range(number)]
        case "drifting":
            return [typical_s * (0.8 + 0.4 * at / number) * rng.uniform(0.9, 1.1) for at in range(number)]
        case "speeding":
            return [typical_s * (1.2 - 0.4 * at / number) * rng.uniform(0.9, 1.1) for at in range(number)]
        case "failing":
            return [0.3 if rng.random() < 0.15 else typical_s * rng.uniform(0.8, 1.2) for _ in range(number)]
        case _:
            raise ValueError(kind)


KINDS = (
    "constant", "uniform", "wide", "lognormal", "bimodal", "heavy", "drifting", "speeding", "failing",
)  # fmt: skip
