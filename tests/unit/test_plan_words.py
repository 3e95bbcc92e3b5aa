"""What `plan` and the question of `run` say of caps is what a run will judge by."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner.api.plan import CHANGES
from runner.api.plans.groups import NOTHING_TO_PAY, Known, Range, Totals
from runner.cli.plan_words import charged_lines, question, summary_words, wrapped
from runner.model import Basis, Budget
from runner.money.budget import Committed, Verdict, judge
from runner.progress.figures import columns
from runner.store.price_books import Charged

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


def test_a_balance_that_may_not_be_enough_is_told() -> None:
    assert "warning" not in said(balance=30.0, to_spend=28.0, up_to=30.0)
    assert "may cost up to 31, and the balance is lower" in said(balance=30.0, to_spend=28.0, up_to=31.0)
    assert "the balance is lower than this run may cost" in said(balance=30.0, to_spend=31.0, up_to=31.0)


NOW = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()


def known(
    basis: Basis, words: str, *, low: float = 10.0, high: float | None = 10.0, shapes: int = 1
) -> Known:
    at = "2026-11-29T12:00:00Z" if basis is Basis.OBSERVED else None
    each = Range(low=low, expected=low, high=high)
    return Known(basis=basis, words=words, jobs=36, shapes=shapes, each=each, at=at, beyond=())


def asked(*kinds: Known, balance: float | None = 900.0) -> str:
    everything = sum((each.each.times(each.jobs) for each in kinds), Range())
    totals = Totals(all=everything, by_model={}, by_axis={}, known=kinds, parts=())
    return question(SimpleNamespace(totals=totals, now_s=NOW), balance)


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (
            [known(Basis.LISTED, "listed", high=None)],
            "Spend at least 360 of your 900 credits? (lower bound: this price was never\nseen)",
        ),
        (
            [known(Basis.LISTED, "listed", high=None, shapes=3), known(Basis.OBSERVED, "seen twice")],
            "Spend at least 720 of your 900 credits? (lower bound: 3 prices of these were\nnever seen)",
        ),
        (
            [known(Basis.OBSERVED, "seen 14 times")],
            "Spend 360 of your 900 credits? (seen 14 times, last yesterday)",
        ),
        ([known(Basis.GIVEN, "given")], "Spend 360 of your 900 credits? (given)"),
        (
            [known(Basis.FITTED, "1.67 a second, from 6 payments", high=11.0)],
            "Spend 360 to 396 of your 900 credits? (fitted to other charges)",
        ),
    ],
)
def test_the_question_names_the_sum_the_balance_and_how_sure_it_is(kinds: list[Known], words: str) -> None:
    assert asked(*kinds) == words
    assert all(len(line) <= 80 for line in f"{words} [y/N]:".splitlines())


def test_a_balance_that_nobody_knows_is_left_out() -> None:
    assert asked(known(Basis.GIVEN, "given"), balance=None) == "Spend 360 credits? (given)"


@pytest.mark.parametrize(
    "text", ["a word", "one " * 60, "x" * 200 + " and more " * 20, "夕焼けの海岸を歩く犬" * 20]
)
def test_lines_are_broken_between_words_and_lose_nothing(text: str) -> None:
    lines = wrapped(text, indent="    ", first="- ")

    assert "".join("".join(lines).removeprefix("- ").split()) == "".join(text.split())
    assert all(columns(line) <= 80 or " " not in line.strip("- ") for line in lines)


def test_what_a_silent_service_charged_is_not_said_to_be_as_expected() -> None:
    paid = [
        Charged(
            shape="s", model="z-image", params="{}", jobs=3, expected=3.0, charged=3.0, least=1.0, most=1.0
        )
    ]

    assert charged_lines(paid) == ["charged    3 for 3 jobs, just as expected"]
    assert charged_lines(paid, silent=True) == ["counted    3 for 3 jobs: the service names no amounts"]


def test_a_command_of_ours_is_not_broken_and_other_text_in_backticks_is() -> None:
    command = "`rivya-batch retry my-films/autumn.yaml --class generation --sandbox --state other.db`"
    text = f"it may work another time: {command} (it asks first), and `{'x ' * 60}`"

    lines = wrapped(text, indent="  ")

    assert [line.strip() for line in lines[:2]] == ["it may work another time:", command]
    assert " ".join(" ".join(lines).split()) == " ".join(text.split())
    assert all(len(line) <= 80 for line in lines if command not in line)
