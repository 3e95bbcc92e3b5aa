"""Results that come and cannot be put where they are kept: nothing new is paid for meanwhile, and then it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from runner.engine import results
from runner.errors import Exit
from runner.model import Limits
from runner.steps.context import RunContext
from runner.steps.download import DownloadResult, Fetched, Settled
from runner.store import jobs
from tests.live_engine import Home, live

pytestmark = pytest.mark.anyio
WHY = "s3://films cannot be reached: nothing answers there"


@dataclass
class Away(Home):
    """A bucket that takes nothing for some tries."""

    tries: int = 0
    refused: int = 0
    open: int = 0
    at_once: int = 0
    rows: list[int] = field(default_factory=list)
    sent_when_refused: list[int] = field(default_factory=list)
    world: Any = None

    async def fetch(
        self, context: RunContext, row: int, settled: Settled | None = None, **more: Any
    ) -> DownloadResult:
        if self.refused >= self.tries:
            return await super().fetch(context, row, settled, **more)
        if self.refused:
            self.open += 1
            self.at_once = max(self.at_once, self.open)
        job = await context.writer.write(lambda conn: jobs.get(conn, row))
        self.refused += 1
        self.rows.append(row)
        self.sent_when_refused.append(len(self.world.sent))
        self.open = max(self.open - 1, 0)
        return DownloadResult(job=job, fetched=Fetched.LATER, why=WHY, not_kept=True)


async def test_new_submits_wait_for_a_bucket_and_go_on_when_it_is_back() -> None:
    world = live(8, limits=Limits(requests_per_second=1000.0, in_flight=2, downloads=2))
    world.home = away = Away(tries=4, world=world)

    ended = await world.run()

    assert ended.code is Exit.OK
    assert len(world.sent) == 8
    told = [data["message"] for kind, data in world.shown.events if kind == "warning"]
    assert told == [
        f"no new jobs are submitted while results cannot be kept: {WHY}",
        "results can be kept again: submits continue",
    ]
    # What was on its way when it went away may still be sent; nothing is from then on.
    assert away.sent_when_refused[-1] <= 4
    assert away.at_once <= 1
    assert len(set(away.rows[2:])) == 1  # the same one tries for all


async def test_a_bucket_that_stays_away_ends_the_run_with_5_and_no_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(results, "BUCKET_PATIENCE_S", 0.2)
    world = live(8, limits=Limits(requests_per_second=1000.0, in_flight=2, downloads=2))
    world.home = Away(tries=10**6, world=world)

    ended = await world.run()

    assert ended.code is Exit.TEMPORARY
    assert any(WHY in words for words in ended.reasons)
    assert len(world.sent) <= 4
