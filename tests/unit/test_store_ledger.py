"""Every credit is counted once: the running sums, the day, the view, and a plain addition agree at any moment."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from runner.errors import RunnerError
from runner.host.clock import rfc3339
from runner.model import Basis, Budget, Estimate, TaskId
from runner.money.budget import RISE, Committed, Verdict, judge
from runner.money.pricing import Seen
from runner.store import jobs, ledger
from runner.store.database import StateDatabase
from runner.store.error_words import Contradiction
from runner.store.sqlite import StateFile
from tests import payments
from tests.payments import (
    DAY_S,
    NOW,
    URL,
    accept,
    committed,
    next_round,
    release,
    reserve,
    row,
    seen,
    settle,
    the,
)
from tests.staged import changed
from tests.world import BEGINNING, NAME, apply, bind, job, rows

file = payments.file


# --- one payment ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reserved", "final", "state", "amount"),
    [
        (10, 10, "charged", 10),
        (10, 7, "charged", 7),
        # Absent or null is charged in full, of the largest amount that was named.
        (10, None, "charged", 10),
        (40, None, "charged", 40),
        # One that is a small part of what was expected is a placeholder.
        (1, None, "charged", 20),
        (None, None, "charged", 20),
        (0, None, "charged", 20),
        # More than reserved, more than estimated: the truth is written down.
        (40, 55, "charged", 55),
        (None, 33, "charged", 33),
        # A result for nothing, of which something was reserved or expected, is a number nobody has filled in.
        (10, 0, "charged", 10),
        (None, 0, "charged", 20),
    ],
)
def test_a_payment_from_its_estimate_to_its_last_word(
    file: StateDatabase, reserved: float | None, final: float | None, state: str, amount: float
) -> None:
    reserve(file, "a", 20)
    assert ledger.totals(file.conn, NAME) == (0, 20)

    accept(file, "a", reserved)
    assert ledger.totals(file.conn, NAME) == (0, max(reserved or 0, 20)), "what counts only grows"
    assert row(file, "a")["task_id"] == "t-a"

    settle(file, "a", final)
    assert (row(file, "a")["state"], row(file, "a")["amount"]) == (state, amount)
    assert ledger.totals(file.conn, NAME) == (amount, 0)
    assert committed(file).total == committed(file).job == committed(file).day == amount


@pytest.mark.parametrize(("final", "amount"), [(0, 0), (3, 3), (None, 10)])
def test_a_task_that_failed_is_believed_when_it_says_what_it_cost(
    file: StateDatabase, final: float | None, amount: float
) -> None:
    reserve(file, "a", 5)
    accept(file, "a", 10)

    settle(file, "a", final, succeeded=False)

    assert row(file, "a")["amount"] == amount
    assert seen(file) == Seen(named=10), "what became of a failed task is no price"


def test_a_free_result_is_believed_where_nothing_was_ever_to_be_paid(file: StateDatabase) -> None:
    reserve(file, "a", 0)
    accept(file, "a", 0)

    settle(file, "a", 0)

    assert (row(file, "a")["state"], row(file, "a")["amount"]) == ("released", 0)


def test_a_reservation_never_falls_below_what_is_known(file: StateDatabase) -> None:
    """Observed as 40, reserved as 1 on the next night: each of those on their way counted as 1."""
    apply(file, *(job(name, params={"duration": 6}) for name in "abc"))
    reserve(file, "a", 10)
    accept(file, "a", 1)
    assert committed(file, "b").total == 10
    settle(file, "a", 40)

    reserve(file, "b", 40)
    accept(file, "b", 1)
    assert row(file, "b")["amount"] == 40
    # What had been sent before that was known counts with it as well.
    reserve(file, "c", 10)
    accept(file, "c", 1)
    now = committed(file, "c")
    assert (now.total, now.total + now.beyond) == (90, 40 + RISE * 80)

    settle(file, "b", None)
    assert row(file, "b")["amount"] == 40, "no word at the end means in full: never less than its like"


def test_a_settled_payment_is_not_settled_released_or_corrected_again(file: StateDatabase) -> None:
    reserve(file, "a")
    accept(file, "a", 10)
    settle(file, "a", 8)
    before = row(file, "a")

    settle(file, "a", 0)
    settle(file, "a", 99)
    release(file, "a")
    with file.transaction() as conn:
        ledger.note_reserved(conn, the(file, "a"), reserved=500, now=NOW)
        ledger.move_to(conn, the(file, "a"), now=rfc3339(BEGINNING + DAY_S))

    assert row(file, "a") == before


def test_a_reservation_named_late_is_corrected_while_the_task_runs(file: StateDatabase) -> None:
    reserve(file, "a", 10)
    accept(file, "a", 0)
    assert (row(file, "a")["probe"], row(file, "a")["amount"]) == (1, 10)

    with file.transaction() as conn:
        assert ledger.note_reserved(conn, the(file, "a"), reserved=40, now=NOW)
        assert not ledger.note_reserved(conn, the(file, "a"), reserved=40, now=NOW)

    assert (row(file, "a")["probe"], row(file, "a")["amount"]) == (1, 40)
    assert ledger.totals(file.conn, NAME) == (0, 40)


def test_a_released_round_can_be_opened_anew_on_another_day(file: StateDatabase) -> None:
    reserve(file, "a", 10)
    accept(file, "a", 10, "t-1")
    settle(file, "a", 0, succeeded=False)
    assert committed(file) == Committed(total=0, day=0, job=0)

    reserve(file, "a", 12, at_s=BEGINNING + 5 * DAY_S)

    assert rows(file, "SELECT count(*) FROM ledger") == [(1,)]
    found = row(file, "a")
    assert (found["state"], found["amount"], found["task_id"], found["charged"]) == (
        "reserved",
        12,
        None,
        None,
    )
    assert committed(file, at_s=BEGINNING + 5 * DAY_S).day == 12
    assert committed(file, at_s=BEGINNING + 6.1 * DAY_S).day == 0


@pytest.mark.parametrize("final", [None, 10, 3])
def test_a_charged_round_is_never_opened_anew(file: StateDatabase, final: float | None) -> None:
    reserve(file, "a", 10)
    settle(file, "a", final)
    before = row(file, "a")

    with pytest.raises(RunnerError, match="paid for already"):
        reserve(file, "a", 10)

    assert row(file, "a") == before


def test_a_round_that_is_still_out_is_not_opened_anew(file: StateDatabase) -> None:
    reserve(file, "a", 10)

    with pytest.raises(RunnerError, match="paid for already"):
        reserve(file, "a", 99)

    assert ledger.totals(file.conn, NAME) == (0, 10)


def test_each_round_is_a_payment_of_its_own(file: StateDatabase) -> None:
    reserve(file, "a", 10)
    settle(file, "a", 10, succeeded=False)
    next_round(file, "a")
    reserve(file, "a", 12)

    assert ledger.totals(file.conn, NAME) == (10, 12)
    assert committed(file).job == 22
    assert ledger.amount_of(file.conn, the(file, "a")) == 12


def test_the_ledger_only_grows(file: StateDatabase) -> None:
    reserve(file, "a")

    with pytest.raises(Contradiction, match="only grows"), file.transaction() as conn:
        conn.execute("DELETE FROM ledger")
    with pytest.raises(Contradiction), file.transaction() as conn:
        conn.execute("DELETE FROM jobs")
    assert ledger.totals(file.conn, NAME) == (0, 10)


def test_two_payments_cannot_hold_one_task(file: StateDatabase) -> None:
    reserve(file, "a")
    reserve(file, "b")
    accept(file, "a", 10, "t")

    with pytest.raises(RunnerError):
        accept(file, "b", 10, "t")

    assert jobs.holder_of_task(file.conn, URL, "t") == (the(file, "a").row, 1)
    assert jobs.holder_of_task(file.conn, "https://other", "t") is None


# --- the rolling day ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("later_s", "counts"),
    [
        (0, True),
        (DAY_S - 61, True),
        (DAY_S, True),  # at most a minute too long, never too short
        (DAY_S + 61, False),
        (30 * DAY_S, False),
        (-3600, True),  # a clock set back does not forgive what was spent
    ],
)
def test_a_payment_counts_for_24_hours(file: StateDatabase, later_s: float, counts: bool) -> None:
    reserve(file, "a", 10)
    settle(file, "a", 10)

    assert committed(file, at_s=BEGINNING + later_s).day == (10 if counts else 0)
    assert ledger.day_total(file.conn, BEGINNING + later_s) == (10 if counts else 0)
    assert committed(file, at_s=BEGINNING + later_s).total == 10


def test_no_24_hours_hold_more_than_the_daily_cap(file: StateDatabase) -> None:
    """Greedy, for five days: as much as the budget allows, the moment it allows it."""
    cap, spent = 25.0, []
    budget = Budget(max_credits_per_day=cap)
    at_s = BEGINNING
    while at_s < BEGINNING + 5 * DAY_S:
        while (
            judge(budget=budget, estimate=10, price_seen=True, committed=committed(file, at_s=at_s))
            is Verdict.YES
        ):
            reserve(file, "a", 10, at_s=at_s)
            settle(file, "a", 10)
            next_round(file, "a")
            spent.append(at_s)
        at_s += 1800.0

    assert 8 <= len(spent) <= 12
    for start in spent:
        assert 10 * sum(start <= moment < start + DAY_S for moment in spent) <= cap


def test_a_send_of_another_day_counts_on_that_day(file: StateDatabase) -> None:
    reserve(file, "a", 10)
    later = BEGINNING + 3 * DAY_S
    assert committed(file, at_s=later).day == 0

    with file.transaction() as conn:
        ledger.move_to(conn, the(file, "a"), now=rfc3339(later))

    assert committed(file, at_s=later).day == 10
    assert committed(file, at_s=BEGINNING + 4.5 * DAY_S).day == 0


# --- sums -----------------------------------------------------------------------------------------


def check_sums(file: StateDatabase, at_s: float) -> None:
    """Compare every running sum with a plain addition of the ledger's rows."""
    payments = [dict(item) for item in file.conn.execute("SELECT * FROM ledger")]
    for manifest in {NAME, "winter"}:
        own = [item for item in payments if item["manifest"] == manifest]
        charged = sum(item["amount"] for item in own if item["state"] == "charged")
        reserved = sum(item["amount"] for item in own if item["state"] == "reserved")
        assert ledger.totals(file.conn, manifest) == pytest.approx((charged, reserved), abs=1e-9)
    edge = int(at_s // 60) - 24 * 60
    day = sum(item["amount"] for item in payments if item["minute"] >= edge)
    assert ledger.day_total(file.conn, at_s) == pytest.approx(day, abs=1e-9)
    assert all(item["amount"] >= 0 for item in payments)
    out: dict[tuple[Any, ...], list[float]] = {}
    for item in payments:
        if item["probe"]:
            where = tuple(item[name] for name in ("base_url", "shape", "manifest", "minute"))
            there = out.setdefault(where, [0, 0.0, 0.0])
            there[0] += 1
            there[1] += item["amount"]
            there[2] += item["amount"] if item["reserved"] is not None else 0.0
    kept = {tuple(line)[:4]: list(line)[5:] for line in file.conn.execute("SELECT * FROM credits_out")}
    assert kept.keys() == out.keys()
    assert all(kept[where] == pytest.approx(out[where], abs=1e-9) for where in out)
    assert all(item["amount"] == 0 for item in payments if item["state"] == "released")
    view = ledger.by_manifest_model_day(file.conn)
    assert sum(item["payments"] for item in view) == len(payments)
    for name in ("charged", "reserved"):
        expected = sum(item["amount"] for item in payments if item["state"] == name)
        assert sum(item[name] for item in view) == pytest.approx(expected, abs=1e-9)
    assert sum(item["estimated"] for item in view) == pytest.approx(
        sum(item["estimated"] for item in payments)
    )
    given_back = sum(
        max((item["reserved"] if item["reserved"] is not None else item["estimated"]) - item["amount"], 0)
        for item in payments
    )
    assert sum(item["released"] for item in view) == pytest.approx(given_back, abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_running_sums_equal_a_plain_addition_after_any_history(file: StateDatabase, seed: int) -> None:
    draw = random.Random(seed)
    bind(file, "winter")
    apply(file, *[job(name) for name in "abc"], name="winter")
    at_s, task = BEGINNING, 0
    for _ in range(120):
        at_s += draw.choice([0, 1, 59, 3600, 40_000])
        manifest, names = draw.choice([(NAME, "abcdef"), ("winter", "abc")])
        name = draw.choice(names)
        found = the(file, name, manifest)
        now = rfc3339(at_s)
        state = rows(file, "SELECT state FROM ledger WHERE job = ? AND round = ?", found.row, found.round)
        with file.transaction() as conn:
            if state in ([], [("released",)]):
                credits = draw.choice([0, 0.1, 1, 7.35, 20])
                estimate = Estimate(credits=credits, reserve=credits, basis=Basis.LISTED)
                ledger.reserve(conn, found, estimate=estimate, base_url=URL, now=now)
            elif state == [("charged",)]:
                changed(conn, found, now, round=found.round + 1)
            else:
                match draw.randrange(5):
                    case 0:
                        task += 1
                        reserved = draw.choice([None, 0, 0.1, 9])
                        told = ledger.accept(
                            conn, found, task_id=TaskId(f"t{task}"), reserved=reserved, now=now
                        )
                        assert told == ledger.surprise_of(conn, found)
                    case 1:
                        ledger.note_reserved(conn, found, reserved=draw.choice([0.2, 31]), now=now)
                    case 2:
                        end = ledger.settle(
                            conn,
                            found,
                            final=draw.choice([None, 0, 0.3, 12, 900]),
                            succeeded=draw.random() < 0.5,
                            now=now,
                            reserved=draw.choice([None, 0, 9, 31, 500]),
                        )
                        assert end.paid == ledger.paid(conn, found)
                        assert end.surprise == ledger.surprise_of(conn, found)
                    case 3:
                        ledger.release(conn, found, now=now)
                    case _:
                        ledger.move_to(conn, found, now=now)
        check_sums(file, at_s)


def test_a_transaction_that_fails_takes_its_sums_back(file: StateDatabase) -> None:
    reserve(file, "a", 10)

    with pytest.raises(ZeroDivisionError), file.transaction() as conn:
        ledger.settle(conn, the(file, "a"), final=3, succeeded=True, now=NOW)
        raise ZeroDivisionError

    assert ledger.totals(file.conn, NAME) == (0, 10)
    check_sums(file, BEGINNING)


def test_the_view_of_jobs_shows_the_money_of_the_present_round(file: StateDatabase) -> None:
    reserve(file, "a", 10)
    accept(file, "a", 12)
    settle(file, "a", 11)
    next_round(file, "a")
    reserve(file, "a", 10)

    found = rows(file, "SELECT round, estimated, reserved, charged FROM v_jobs WHERE job = 'a'")

    assert found == [(2, 10, None, None)]


def test_estimated_is_what_the_plan_showed_and_not_what_is_set_aside(file: StateDatabase) -> None:
    estimate = Estimate(credits=10, reserve=12, basis=Basis.OBSERVED)
    with file.transaction() as conn:
        ledger.reserve(conn, the(file, "a"), estimate=estimate, base_url="https://rivya.ai", now=NOW)

    assert rows(file, "SELECT estimated, amount FROM ledger") == [(10, 12)]
    assert rows(file, "SELECT estimated FROM v_jobs WHERE job = 'a'") == [(10,)]
    assert ledger.totals(file.conn, NAME) == (0, 12)


def test_nothing_is_known_of_a_manifest_that_never_paid(file: StateDatabase) -> None:
    assert ledger.totals(file.conn, "unheard-of") == (0.0, 0.0)
    assert committed(file) == Committed(total=0, day=0, job=0)
    assert ledger.amount_of(file.conn, the(file, "a")) == 0.0


def test_two_connections_never_reserve_the_same_room(tmp_path: Path) -> None:
    """What one has reserved the other sees: judged and reserved in one transaction, never from memory."""
    one = StateFile.open(tmp_path / "s.db")
    other = StateFile.open(tmp_path / "s.db")
    bind(one)
    apply(one, *[job(f"j{number}") for number in range(10)])
    budget = Budget(max_credits=45)
    for number in range(10):
        file = (one, other)[number % 2]
        with file.transaction() as conn:
            found = jobs.find(conn, NAME, f"j{number}")[0]
            counted = ledger.grounds(conn, found, base_url=URL, now_s=BEGINNING).committed
            if judge(budget=budget, estimate=10, price_seen=True, committed=counted) is Verdict.YES:
                estimate = Estimate(credits=10, reserve=10, basis=Basis.LISTED)
                ledger.reserve(conn, found, estimate=estimate, base_url=URL, now=NOW)
                ledger.accept(conn, found, task_id=TaskId(f"t{number}"), reserved=10, now=NOW)
                ledger.settle(conn, found, final=10, succeeded=True, now=NOW)

    assert ledger.totals(one.conn, NAME) == (40, 0)
    one.close()
    other.close()
