"""AccountLimits that a person changes while a run goes on."""

from __future__ import annotations

import math

import pytest

from runner.pace.concurrency import ConcurrencyLimit
from runner.pace.limits import AccountLimits
from runner.pace.rate import Rate
from runner.pace.rejections import Response


def sent_in(rate: AccountLimits, since: float, seconds: float) -> int:
    """Send whenever that is allowed; return how often."""
    now, number = since, 0
    while (now := max(now, rate.next_at(now))) < since + seconds:
        rate.sent(now)
        rate.answered(Response(now=now, sent_at=now))
        number += 1
    return number


@pytest.mark.parametrize("rate", [AccountLimits(given_per_s=50.0), AccountLimits(rate=Rate.known(50.0))])
def test_a_rate_is_lowered_shared_and_given_back(rate: AccountLimits) -> None:
    assert sent_in(rate, 0.0, 10.0) > 400

    rate.set(5.0)
    assert 45 <= sent_in(rate, 10.0, 10.0) <= 51
    assert rate.rate_per_s <= 5.0
    rate.share_with(5)
    assert 8 <= sent_in(rate, 20.0, 10.0) <= 11

    rate.share_with(1)
    rate.set(None)
    assert sent_in(rate, 40.0, 10.0) > 400


def test_a_number_of_the_manifest_is_replaced_and_a_found_one_is_not_exceeded() -> None:
    given, found = AccountLimits(given_per_s=5.0), AccountLimits(rate=Rate.known(5.0))
    for rate in (given, found):
        rate.set(100.0)

    assert sent_in(given, 0.0, 1.0) > 90
    assert sent_in(found, 0.0, 1.0) < 10
    assert found.found_per_s == 5.0, "what is kept for later runs"


def test_tasks_at_once_are_lowered_and_given_back_and_what_was_found_stays() -> None:
    tasks = ConcurrencyLimit()
    assert tasks.room(0.0, 1000)

    tasks.set(3)
    assert (tasks.room(0.0, 2), tasks.room(0.0, 3)) == (True, False)
    assert tasks.opens_at(3) == math.inf
    assert tasks.size == math.inf, "no limit of the service is known"

    tasks.set(None)
    assert tasks.room(0.0, 1000)


def test_tasks_of_the_manifest_are_replaced() -> None:
    tasks = ConcurrencyLimit(2)
    tasks.set(4)
    assert tasks.room(0.0, 3)
    tasks.set(None)
    assert not tasks.room(0.0, 3)


def test_what_the_service_asked_to_wait_for_holds_whatever_a_person_sets() -> None:
    rate, tasks = AccountLimits(given_per_s=5.0), ConcurrencyLimit(2)
    rate.sent(0.0)
    rate.answered(Response(now=0.1, sent_at=0.0, rejected=True, retry_after_s=30.0))
    tasks.refused(0.1, 2, retry_after_s=30.0)

    rate.set(50.0)
    tasks.set(10)

    assert rate.next_at(1.0) >= 30.0
    assert not tasks.room(1.0, 0)
    assert tasks.room(31.0, 9)
