"""What `plan` and the question of `run` say of caps is what a run will judge by."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner.api.plan import CHANGES
from runner.api.plans.groups import NOTHING_TO_PAY
from runner.cli.plan_words import summary_words
from runner.model import Budget
from runner.money.budget import Committed, Verdict, judge

NO_MONEY: dict[str, Any] = {
    "to_spend": 0.0, "up_to": 0.0, "margin": 0.0, "spent": 0.0, "reserved": 0.0, "last_day": 0.0,
    "balance": None, "basis": None,
    "max_credits": None, "max_credits_per_job": None, "max_credits_per_day": None, "jobs_above_cap": 0,
}  # fmt: skip
A_FEW_CENTS = 0.1 + 0.2  # a little more than 0.3, as computers count


def said(**credits: Any) -> str:
    plan = SimpleNamespace(
        totals=NOTHING_TO_PAY,
        now_s=0.0,
        sandbox=False,
        name="night",
        summary={"total": 3, **dict.fromkeys(CHANGES, 0), "new": 3},
        submits=3,
        requests=9,
        seconds=60.0,
        uploads=0,
        upload_bytes=0,
        database=Path("state/runner.db"),
        database_exists=True,
    )
    return summary_words(plan, {**NO_MONEY, **credits})


@pytest.mark.parametrize("cap", ["max_credits", "max_credits_per_day"])
@pytest.mark.parametrize(
    ("to_spend", "before", "limit"),
    [(A_FEW_CENTS, 0.0, 0.3), (0.2, 0.1, 0.3), (0.4, 0.0, 0.3), (0.2, 0.2, 0.3), (0.1, 0.0, 0.3)],
)
def test_a_cap_is_said_to_be_too_small_where_a_run_would_stop_at_it(
    cap: str, to_spend: float, before: float, limit: float
) -> None:
    counted = {"max_credits": "spent", "max_credits_per_day": "last_day"}[cap]
    verdict = judge(
        budget=Budget(**{cap: limit}),
        estimate=to_spend,
        price_seen=True,
        committed=Committed(total=before, day=before, job=0.0),
    )

    text = said(**{cap: limit, counted: before, "to_spend": to_spend})

    assert ("warning" in text) is (verdict is not Verdict.YES)


def test_room_for_what_is_set_aside_for_the_last_job_is_asked_for() -> None:
    """Jobs like these came to 12 at most where 10 is usual: 12 is what a run reserves."""
    assert "warning" not in said(max_credits=30.0, to_spend=28.0, margin=2.0)
    assert "warning" in said(max_credits=30.0, to_spend=29.0, margin=2.0)
