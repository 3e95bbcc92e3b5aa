"""What every step needs at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.contract import Contract
from runner.host.clock import Clock, ServiceClock, rfc3339
from runner.model import Budget, Estimate, Job, ModelId, Settings
from runner.money.budget import Verdict, is_capped, judge
from runner.money.pricing import estimate
from runner.results.shared_references import SharedReferences
from runner.service.account import Account
from runner.service.protocol import Service
from runner.service.seen import SeenService
from runner.store import events, ledger
from runner.store.begun_jobs import Quota
from runner.store.connection import Connection
from runner.store.marks import Marks
from runner.store.price_books import PriceBooks
from runner.store.writer import GroupWriter

if TYPE_CHECKING:
    from runner.store.lease import Lease


@dataclass(slots=True)
class Caps:
    """The caps of a run; a person may change them while it goes on. None: those of its manifest."""

    budget: Budget | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """One run's view of the world.

    `draw` returns numbers from [0, 1): the only randomness of a run. `is_run` says whether somebody runs a
    manifest of this database now. `seen` is what was found out
    of the service. In `marks` what is known of payments is written down outside the database. Where others may work at
    the same manifest, `lease` is our right to send, `shared_references` has the input files that are not here, and `quota`
    says how many new jobs all of them may begin.
    """

    run: int
    settings: Settings
    account: Account
    service: Service
    writer: GroupWriter
    clock: Clock
    service_clock: ServiceClock
    contracts: Mapping[ModelId, Contract]
    draw: Callable[[], float]
    sandbox: bool = False
    is_run: Callable[[str], bool] = lambda name: False
    marks: Marks | None = None
    seen: SeenService = field(default_factory=SeenService)
    caps: Caps = field(default_factory=Caps)
    books: PriceBooks = field(default_factory=PriceBooks)
    lease: Lease | None = None
    shared_references: SharedReferences | None = None
    frames: Path | None = None  # where pictures are kept that were taken of films
    quota: Quota | None = None

    @property
    def budget(self) -> Budget:
        """The caps as they are now."""
        return self.caps.budget or self.settings.budget

    def now(self) -> str:
        """Return the wall clock's time as the database holds it."""
        return rfc3339(self.clock.wall_s())

    def judge(self, conn: Connection, job: Job) -> tuple[Estimate, Verdict]:
        """Return what a payment for a job is expected to cost, and whether it fits under the caps now."""
        budget, service, contract = self.budget, self.account.service, self.contracts.get(job.model)
        capped = is_capped(budget)
        known = ledger.grounds(conn, job, base_url=service, now_s=self.clock.wall_s()) if capped else None
        seen = known.price if known is not None else ledger.price_seen(conn, service, job.shape)
        found = estimate(
            job,
            contract=contract,
            rules=self.settings.prices,
            seen=seen,
            book=lambda: self.books.of(conn, service, contract),
        )
        if known is None:
            return found, Verdict.YES
        return found, judge(
            budget=budget,
            estimate=found.reserve,
            price_seen=seen is not None or known.silent,
            committed=known.committed,
        )

    def event(
        self, conn: Connection, kind: str, job: Job | None = None, *, at: str | None = None, **data: Any
    ) -> None:
        """Append to the story of the run; `at` where the time was looked at already."""
        events.append(
            conn,
            at=at or self.now(),
            run=self.run,
            manifest=self.settings.name,
            job=job.id if job else None,
            kind=kind,
            data=data,
        )
