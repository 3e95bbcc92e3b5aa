"""What payments teach about prices: what was seen, what a person has to see, and which prices are tried one at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.model import State
from runner.money.budget import KEPT, RISE, UNTRIED
from runner.money.pricing import RECENT, Seen
from runner.store import ledger
from runner.store.database import StateDatabase
from tests import payments
from tests.payments import NOW, URL, accept, committed, next_round, release, reserve, row, seen, settle, the
from tests.world import BEGINNING, NAME, apply, bind, job, rows

file = payments.file


# --- what was seen --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reserved", "final", "succeeded", "expected"),
    [
        (10, 8, True, Seen(named=10, ends=(8,), kept=8)),
        (10, 12, True, Seen(named=10, ends=(12,))),
        (10, None, True, Seen(named=10, ends=(10,), kept=10)),
        (None, 8, True, Seen(ends=(8,))),
        # A task that failed says what was reserved; what it was refunded to is no price.
        (10, 0, False, Seen(named=10)),
        (10, 4, False, Seen(named=10)),
        # Nothing was named: nothing was seen.
        (None, None, True, None),
        (0, 0, True, None),
        (None, 4, False, None),
    ],
)
def test_what_a_payment_teaches_about_its_price(
    file: StateDatabase, reserved: float | None, final: float | None, succeeded: bool, expected: Seen | None
) -> None:
    reserve(file, "a", 3)
    accept(file, "a", reserved)
    settle(file, "a", final, succeeded=succeeded)

    assert seen(file) == expected
    assert seen(file, "b") is None, "another shape is another price"


def test_an_estimate_alone_is_no_price_that_was_seen(file: StateDatabase) -> None:
    reserve(file, "a", 3)

    assert seen(file) is None
    assert ledger.price_seen(file.conn, "https://other", the(file, "a").shape) is None


def pay(file: StateDatabase, name: str, reserved: float | None, final: float | None) -> None:
    """Pay for another round of a job."""
    reserve(file, name)
    accept(file, name, reserved, f"t-{name}-{the(file, name).round}")
    settle(file, name, final)
    next_round(file, name)


def test_the_last_charges_of_a_price_are_kept(file: StateDatabase) -> None:
    for number in range(RECENT + 5):
        pay(file, "a", 100, 10 + number)

    found = seen(file)
    assert found is not None
    assert found.ends == tuple(15 + number for number in range(RECENT))


def test_reservations_are_kept_to_until_one_is_exceeded(file: StateDatabase) -> None:
    def kept() -> float:
        found = seen(file)
        assert found is not None
        return found.kept

    pay(file, "a", 10, 10)
    pay(file, "a", 10, 7)
    assert kept() == 17
    pay(file, "a", 10, 10.5)
    assert kept() == 0
    pay(file, "a", 12, 12)
    assert kept() == 12
    # One that grows while its task runs was exceeded as soon as it does.
    reserve(file, "a")
    accept(file, "a", 1, "t-grows")
    assert kept() == 12
    with file.transaction() as conn:
        ledger.note_reserved(conn, the(file, "a"), reserved=5, now=NOW)
    assert kept() == 0
    assert row(file, "a")["named"] == 1
    settle(file, "a", 5)
    assert kept() == 0
    # A service that names none neither keeps to one nor exceeds it.
    next_round(file, "a")
    pay(file, "a", 12, 12)
    pay(file, "a", None, 50)
    assert kept() == 12


# --- charges that a person has to see ---


def surprises(file: StateDatabase) -> list[tuple[str, float]]:
    return [(each.job, each.credits) for each in ledger.surprises(file.conn, NAME)]


def test_a_charge_many_times_its_estimate_is_marked_until_a_person_was_told(file: StateDatabase) -> None:
    reserve(file, "a", 10, most=100)
    accept(file, "a", 12)
    reserve(file, "b", 10, most=100)
    settle(file, "a", 40_500)
    assert surprises(file) == [("a", 40_500)]
    assert str(ledger.surprises(file.conn, NAME)[0]) == "job a: 40,500 credits where 12 were reserved"
    assert ledger.surprise_of(file.conn, the(file, "a")) is not None
    assert ledger.surprise_of(file.conn, the(file, "b")) is None

    with file.transaction() as conn:
        ledger.surprises_told(conn, NAME, NOW)

    assert surprises(file) == []
    settle(file, "b", 300)
    assert surprises(file) == [], "the model was seen to cost so much, and a person has gone on"


def test_a_reservation_many_times_its_estimate_is_marked_before_it_is_charged(file: StateDatabase) -> None:
    reserve(file, "a", 10, most=100)
    accept(file, "a", 700)

    assert str(ledger.surprises(file.conn, NAME)[0]) == "job a: 700 credits where about 10 were expected"

    with file.transaction() as conn:
        ledger.surprises_told(conn, NAME, NOW)
    settle(file, "a", 700)
    assert surprises(file) == [], "it was told already"


def test_what_was_charged_for_others_of_its_like_is_no_surprise(file: StateDatabase) -> None:
    """All were sent at the listed price; each would have been told, one by one, night after night."""
    apply(file, *(job(name, params={"duration": 6}) for name in "abc"))
    for name in "abc":
        reserve(file, name, 10, most=100)
        accept(file, name, None)
    for name in "abc":
        settle(file, name, 150)

    assert surprises(file) == [("a", 150)]


def test_another_manifest_has_surprises_of_its_own(file: StateDatabase) -> None:
    bind(file, "winter")
    apply(file, job("a"), name="winter")
    reserve(file, "a", 10, manifest="winter", most=100)
    with file.transaction() as conn:
        ledger.settle(conn, the(file, "a", "winter"), final=5000, succeeded=False, now=NOW)

    assert surprises(file) == []
    assert len(ledger.surprises(file.conn, "winter")) == 1


# --- probes ---------------------------------------------------------------------------------------


def test_a_probe_is_out_until_its_price_is_named(file: StateDatabase) -> None:
    reserve(file, "a")
    assert committed(file).probes_out == 1

    accept(file, "a", 10)

    assert committed(file).probes_out == 0
    assert committed(file).first_out == 1, "but not until its end is known"
    settle(file, "a", 10)
    assert committed(file).first_out == 0


@pytest.mark.parametrize("end", ["settle", "release", "person"])
def test_a_probe_whose_price_was_never_named_is_out_until_its_end(file: StateDatabase, end: str) -> None:
    reserve(file, "a")
    accept(file, "a", None)
    assert committed(file).probes_out == 1

    if end == "settle":
        settle(file, "a", 5)
    elif end == "release":
        release(file, "a")
    else:
        with file.transaction() as conn:
            ledger.end_probe(conn, the(file, "a"))

    assert committed(file).probes_out == 0
    assert committed(file).beyond == 0
    assert rows(file, "SELECT count(*) FROM credits_out") == [(0,)]


def test_a_payment_whose_price_was_seen_meanwhile_is_no_probe_any_more(file: StateDatabase) -> None:
    """Sent while there was no cap, its answer lost; another of its shape has named the price since."""
    apply(file, job("a", params={"duration": 6}), job("b", params={"duration": 6}), job("c"))
    reserve(file, "a")
    reserve(file, "b")
    assert committed(file).probes_out == 2

    accept(file, "b", 40)

    assert committed(file).probes_out == 0


@pytest.mark.parametrize("final", [0, None])
def test_a_task_that_failed_for_nothing_is_no_end_of_its_price(
    file: StateDatabase, final: float | None
) -> None:
    reserve(file, "a")
    accept(file, "a", 10)
    settle(file, "a", final, succeeded=False)

    found = seen(file)
    assert found is not None
    assert found.ends == ()


def test_a_service_names_no_amounts_once_three_tasks_have_succeeded_in_silence(file: StateDatabase) -> None:
    def end(name: str, state: State, reserved: float | None = None) -> bool:
        reserve(file, name)
        accept(file, name, reserved)
        settle(file, name, None)
        with file.transaction() as conn:
            conn.execute("UPDATE jobs SET state = ? WHERE id = ?", (state.value, the(file, name).row))
        return ledger.names_no_amounts(file.conn, URL)

    assert not end("a", State.DONE)
    assert not end("b", State.DOWNLOADING)
    assert not end("c", State.FAILED), "one that failed proves nothing"
    assert end("d", State.DONE)
    assert not ledger.names_no_amounts(file.conn, "https://other")
    assert not end("e", State.DONE, reserved=12), "it does name them"


def test_probes_of_another_manifest_do_not_hold_this_one_back(file: StateDatabase) -> None:
    bind(file, "winter")
    apply(file, job("a"), name="winter")
    reserve(file, "a", manifest="winter")

    assert committed(file).probes_out == 0
    assert committed(file).total == 0
    assert committed(file).day == 10, "the day is the workspace's"


def test_what_is_on_its_way_may_come_to_more_until_its_end(file: StateDatabase) -> None:
    bind(file, "winter")
    apply(file, job("a"), name="winter")
    reserve(file, "a", 5, at_s=BEGINNING - 90_000)
    reserve(file, "b", 7)
    reserve(file, "a", 11, manifest="winter")
    more = UNTRIED - 1
    now = committed(file)
    assert (now.beyond, now.beyond_day, now.beyond_own) == (12 * more, 18 * more, 7 * more)

    accept(file, "b", 7)
    accept(file, "a", 0)
    assert committed(file) == replace(now, probes_out=1)

    # One end of the model tells that it is no other price altogether; a reservation that was kept to tells more.
    settle(file, "b", 7)
    now = committed(file)
    assert (now.beyond, now.beyond_day, now.beyond_own) == (5 * (RISE - 1), 11 * (RISE - 1), 0)
    next_round(file, "b")
    reserve(file, "b", 7)
    accept(file, "b", 7, "t-b2")
    assert committed(file).beyond_own == 7 * (KEPT - 1)
    release(file, "b")
    assert committed(file).beyond_own == 0


def test_what_is_on_its_way_to_a_service_that_names_nothing_comes_to_what_it_counts_with(
    file: StateDatabase,
) -> None:
    for name in "abc":
        reserve(file, name)
        accept(file, name, None)
        settle(file, name, None)
        with file.transaction() as conn:
            conn.execute("UPDATE jobs SET state = 'done' WHERE id = ?", (the(file, name).row,))

    reserve(file, "d")

    assert committed(file).beyond == 0
