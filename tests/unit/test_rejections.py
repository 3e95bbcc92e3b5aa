"""What a 429 means, and that one object says so to both limits."""

from __future__ import annotations

import math

from runner.pace.limits import AccountLimits
from runner.pace.rate import Rate
from runner.pace.rejections import Cause, Response


class AtService:
    """Twenty tasks at the service; what is sent is sent at the pace, and answered at once."""

    def __init__(self, limits: AccountLimits) -> None:
        self.limits = limits
        self.tasks = limits.tasks
        self.now = 0.0

    def send(self) -> None:
        self.now = max(self.now, self.limits.next_at(self.now))
        self.limits.sent(self.now)

    def passes(self, *, submit: bool, running: float = 20.0) -> None:
        self.send()
        self.limits.answered(Response(now=self.now, sent_at=self.now, submit=submit, running=running))

    def refuses(self, *, submit: bool, retry_after_s: float | None = None) -> Cause | None:
        self.send()
        return self.limits.answered(
            Response(
                now=self.now,
                sent_at=self.now,
                rejected=True,
                submit=submit,
                in_flight=20,
                running=20.0,
                retry_after_s=retry_after_s,
            )
        )


def test_a_submit_refused_again_after_a_long_wait_while_polls_pass_is_too_many() -> None:
    at = AtService(AccountLimits(rate=Rate.known(20.0)))
    before_per_s = at.limits.rate_per_s

    first = at.refuses(submit=True, retry_after_s=10.0)
    wants_polls = at.limits.wants_polls
    at.passes(submit=False)
    at.passes(submit=False)
    second = at.refuses(submit=True, retry_after_s=10.0)

    assert (first, wants_polls, second) == (Cause.UNCLEAR, True, Cause.TOO_MANY)
    assert at.tasks.size == 20
    assert at.limits.rate_per_s == before_per_s
    assert at.limits.next_at(at.now) < at.now + 1.0, "polls go on"


def test_a_refused_poll_is_too_fast_and_takes_back_what_was_thought_of_tasks() -> None:
    at = AtService(AccountLimits(rate=Rate.known(20.0)))
    at.refuses(submit=True, retry_after_s=10.0)
    at.passes(submit=False)
    at.passes(submit=False)
    at.refuses(submit=True, retry_after_s=1.0)
    for _ in range(40):
        at.passes(submit=False)
    met, before_per_s = at.tasks.size, at.limits.rate_per_s

    cause = at.refuses(submit=False)

    assert cause is Cause.TOO_FAST
    assert (met, at.tasks.size) == (20, math.inf)
    assert at.limits.rate_per_s < before_per_s


def test_a_submit_that_passes_to_as_many_tasks_makes_the_next_refusal_one_of_the_rate() -> None:
    at = AtService(AccountLimits(rate=Rate.known(20.0)))
    for _ in range(40):
        at.passes(submit=True)

    first = at.refuses(submit=True, retry_after_s=1.0)
    for _ in range(40):
        at.passes(submit=True, running=21.0)
    second = at.refuses(submit=True, retry_after_s=1.0)

    assert (first, second) == (Cause.UNCLEAR, Cause.TOO_FAST)


def test_refusals_of_what_was_sent_before_the_last_are_no_evidence() -> None:
    at = AtService(AccountLimits(given_per_s=100.0))
    at.refuses(submit=True, retry_after_s=5.0)

    cause = at.limits.answered(
        Response(
            now=at.now + 0.1,
            sent_at=at.now,
            rejected=True,
            submit=True,
            in_flight=19,
            running=19.0,
            retry_after_s=5.0,
        )
    )

    assert cause is Cause.KNOWN


def test_what_is_refused_without_any_task_is_the_rate() -> None:
    limits = AccountLimits(given_per_s=10.0)

    cause = limits.answered(Response(now=1.0, sent_at=0.9, rejected=True, submit=True))

    assert cause is Cause.TOO_FAST
