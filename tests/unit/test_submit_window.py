"""How long an unclear submit is repeated: the window, and clocks that cannot be trusted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from runner.api.resolve import Answering
from runner.host.clock import IN_VAIN, WITNESSES, rfc3339
from runner.model import State
from runner.steps.submit import NotSent, submit, wait_to_resend_s
from runner.store import ledger
from tests.submit_answers import KEY_REVOKED, TOO_FAST, A
from tests.world import BEGINNING, LOST, NO_CONNECTION, Killed, Said, World, accepted, seen

pytestmark = pytest.mark.anyio


async def lost_and_waited(seconds: float, **settings: Any) -> World:
    world = World.of(A, **settings)
    await world.submits("a", LOST)
    world.clock.pass_s(seconds)
    return world


@pytest.mark.parametrize(
    ("seconds", "sends"), [(0.0, 2), (1.0, 2), (3599.0, 2), (3600.0, 2), (3600.5, 1), (1e6, 1)]
)
async def test_the_same_bytes_go_out_again_inside_the_window_only(seconds: float, sends: int) -> None:
    world = await lost_and_waited(seconds)

    if sends == 2:
        await world.submits("a", accepted("t"))
        assert world.state("a") is State.WAITING
    else:
        done = await world.submit("a")
        assert (done.not_sent, done.answer) == (NotSent.UNCERTAIN, None)
        assert world.job("a").error_code == "window_over"
        assert world.credits() == (0, 10)

    assert len(world.sent) == sends
    assert len(set(world.sent)) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            httpx.Response(200, json={"error": {"code": "validation_failed", "message": "too long"}}),
            "HTTP 200 validation_failed too long",
        ),
        (
            httpx.Response(502, html="<title>Bad gateway</title>"),
            'HTTP 502, a web page instead of an answer: "Bad gateway"',
        ),
        (httpx.Response(500, json={"error": {"code": "internal", "message": "oh"}}), "HTTP 500 internal oh"),
    ],
)
async def test_what_stays_unclear_for_too_long_is_told_with_its_last_answer(
    answer: httpx.Response, words: str
) -> None:
    world = World.of(A)
    await world.submits("a", LOST, answer)
    world.clock.pass_s(3700)
    await world.submit("a")

    assert f"unclear for 3700 s (last: {words});" in (world.job("a").error_message or "")


@pytest.mark.parametrize(("value", "sends"), [("another task", 1), ("same task", 2), ("conflict", 2)])
async def test_where_repeats_were_seen_to_be_paid_for_nothing_unclear_goes_out_again(
    value: str, sends: int
) -> None:
    world = World.of(A)
    world.seen = seen("same_key", value)
    await world.submits("a", LOST)
    world.says(accepted("t"))

    await world.submit("a")

    assert len(world.sent) == sends
    assert world.state("a") is (State.WAITING if sends == 2 else State.UNCERTAIN)
    assert sends == 2 or world.job("a").error_code == "repeats_are_paid"
    assert sum(world.credits()) == 10, "it stays counted"


async def test_what_was_certainly_refused_goes_out_again_wherever_repeats_are_paid_for() -> None:
    world = World.of(A)
    world.seen = seen("same_key", "another task")
    await world.submits("a", TOO_FAST, accepted("t"))

    assert world.state("a") is State.WAITING


async def test_the_window_counts_from_the_first_send_not_from_the_last() -> None:
    world = World.of(A)
    for _ in range(7):
        await world.submits("a", LOST)
        world.clock.pass_s(500)
    assert world.job("a").first_sent_at == rfc3339(BEGINNING)
    world.clock.pass_s(200)

    assert (await world.submit("a")).not_sent is NotSent.UNCERTAIN


async def test_the_window_does_not_count_refusals_that_were_certain() -> None:
    world = World.of(A)
    for _ in range(5):
        await world.submits("a", TOO_FAST)
        world.clock.pass_s(1500)
    await world.submits("a", LOST)
    sent_at = world.job("a").first_sent_at
    world.clock.pass_s(3000)
    await world.submits("a", accepted("t"))

    assert sent_at == rfc3339(BEGINNING + 7500)
    assert world.state("a") is State.WAITING


@pytest.mark.parametrize(("slept_s", "sends"), [(0.0, 2), (3599.0, 2), (3601.0, 1)])
async def test_a_laptop_that_falls_asleep_while_it_connects_sends_nothing_too_late(
    slept_s: float, sends: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World.of(A)
    await world.submits("a", LOST)
    connect = httpx.MockTransport.handle_async_request

    async def slowly(self: httpx.MockTransport, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            world.clock.pass_s(slept_s)
        return await connect(self, request)

    monkeypatch.setattr(httpx.MockTransport, "handle_async_request", slowly)
    world.says(accepted("t"))
    await world.submit("a")
    if sends == 1:
        assert world.state("a") is State.SUBMITTING
        await world.submit("a")

    assert world.state("a") is (State.WAITING if sends == 2 else State.UNCERTAIN)
    assert len(world.sent) == sends
    assert world.credits() == (0, 10)


def set_back(world: World) -> None:
    world.clock.wall -= 10 * 3600


def set_back_a_little(world: World) -> None:
    # 70 minutes have passed; the wall says 10.
    world.clock.pass_s(70 * 60)
    world.clock.wall -= 60 * 60


def set_forward(world: World) -> None:
    world.clock.wall += 10 * 3600


def rebooted_and_set_back(world: World) -> None:
    world.clock.reboot()
    world.clock.wall -= 60


def boot_clock_ran_backwards(world: World) -> None:
    assert world.clock.boot is not None
    world.clock.boot -= 100


@pytest.mark.parametrize(
    "happens", [set_back, set_back_a_little, set_forward, rebooted_and_set_back, boot_clock_ran_backwards]
)
async def test_a_clock_that_cannot_be_trusted_ends_the_window(happens: Callable[[World], None]) -> None:
    world = await lost_and_waited(10)

    happens(world)

    assert (await world.submit("a")).not_sent is NotSent.UNCERTAIN
    assert len(world.sent) == 1


async def test_a_reboot_inside_the_window_does_not_end_it() -> None:
    world = await lost_and_waited(600)
    world.clock.reboot()
    world.clock.pass_s(60)

    await world.submits("a", accepted("t"))

    assert world.state("a") is State.WAITING


async def test_a_system_without_a_boot_clock_goes_by_the_wall() -> None:
    world = World.of(A)
    world.clock.boot, world.clock.boot_name = None, None
    await world.submits("a", LOST)
    world.clock.pass_s(3000)
    await world.submits("a", LOST)
    world.clock.pass_s(700)

    assert (await world.submit("a")).not_sent is NotSent.UNCERTAIN


UNCLEAR: tuple[Said, ...] = (LOST, httpx.Response(504, text="<h1>"), httpx.Response(403, html="<h1>no</h1>"))


@pytest.mark.parametrize("answer", UNCLEAR)
async def test_the_same_bytes_wait_for_an_unclear_send_to_end_counted_from_when_it_was_given_up(
    answer: Said,
) -> None:
    """The wait is in the row: a run that begins at once after a kill keeps to it as well."""
    world = World.of(A)

    def slowly(request: httpx.Request) -> httpx.Response:
        assert world.job("a").last_unclear_at == rfc3339(BEGINNING), "committed before the first byte leaves"
        world.clock.pass_s(30)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, httpx.Response)
        return answer

    done = await world.submits("a", slowly)
    world.clock.pass_s(4)

    assert done.open_s == 20.0
    assert done.delay_s is not None
    assert world.job("a").last_unclear_at == rfc3339(BEGINNING + 30)
    async with world.context() as context:
        assert wait_to_resend_s(context, world.job("a")) == 16.0


async def test_a_send_that_was_killed_is_waited_for_from_its_beginning() -> None:
    world = World.of(A)
    await world.submits("a", LOST)
    world.clock.pass_s(100)
    with pytest.raises(Killed):
        await world.submits("a", killed)
    world.clock.pass_s(5)

    async with world.context() as context:
        assert wait_to_resend_s(context, world.job("a")) == 15.0
        world.clock.pass_s(7200)
        assert wait_to_resend_s(context, world.job("a")) == 0.0, (
            "it becomes uncertain: there is nothing to wait for"
        )


def killed(request: httpx.Request) -> httpx.Response:
    raise Killed


@pytest.mark.parametrize(
    "answer", [TOO_FAST, httpx.Response(429, html="<h1>slow down</h1>"), KEY_REVOKED, NO_CONNECTION]
)
async def test_what_was_turned_away_at_once_is_not_waited_for(answer: Said) -> None:
    world = World.of(A)

    done = await world.submits("a", LOST, answer)

    assert (done.state, done.open_s) == (State.SUBMITTING, 0.0)


async def test_nothing_is_waited_for_when_every_send_was_refused() -> None:
    world = World.of(A)

    await world.submits("a", TOO_FAST)

    assert world.job("a").last_unclear_at is None


# --- the service's clock ---


@pytest.mark.parametrize("ahead_s", [0.0, -3600.0, 5 * 3600.0])
@pytest.mark.parametrize(("slept_s", "sends"), [(0.0, 2), (3000.0, 2), (3700.0, 1), (36_000.0, 1)])
async def test_a_machine_that_stood_still_with_all_its_clocks_asks_the_service_how_long(
    slept_s: float, sends: int, ahead_s: float
) -> None:
    """A virtual machine whose host slept: to the wall clock and the boot clock it was a minute."""
    world = World.of(A)
    world.ahead_s = ahead_s
    await world.submits("a", LOST)
    world.slept_s += slept_s
    world.clock.pass_s(60)

    world.says(accepted("t"))
    done = await world.submit("a")

    assert len(world.sent) == sends
    assert done.state is (State.WAITING if sends == 2 else State.UNCERTAIN)
    assert world.job("a").first_sent_service_at == rfc3339(BEGINNING + ahead_s)
    if sends == 1:
        assert world.job("a").error_code == "window_over"


async def test_before_an_unclear_send_is_repeated_the_service_is_asked_for_its_time() -> None:
    """What it said before that send ended says nothing of what came after; nor does what it said a while ago."""
    world = World.of(A)
    world.ahead_s = 0.0
    async with world.context() as context:
        row = world.job("a").row
        await context.service.credits()
        world.says(LOST)
        assert (await submit(context, row)).not_sent is None
        world.clock.pass_s(1)
        assert (await submit(context, row)).not_sent is NotSent.TIME, "it has not answered since"
        await context.service.credits()
        world.clock.pass_s(30)
        assert (await submit(context, row)).not_sent is NotSent.TIME, "that was half a minute ago"
        await context.service.credits()
        assert (await submit(context, row)).not_sent is NotSent.TIME, "two answers may be one machine's"
        await context.service.credits()
        world.says(accepted("t"))
        assert (await submit(context, row)).state is State.WAITING

    assert world.job("a").attempts == 2


async def test_a_service_that_tells_no_time_is_asked_once_and_our_own_clocks_decide() -> None:
    world = await lost_and_waited(3000)

    await world.submits("a", accepted("t"))

    assert world.asked == 1
    assert world.job("a").first_sent_service_at is None
    assert world.state("a") is State.WAITING


@pytest.mark.parametrize(
    ("ahead_s", "slept_s", "state"),
    [
        (0.0, 0.0, State.WAITING),
        (600.0, 0.0, State.WAITING),
        (-30.0, 0.0, State.WAITING),
        (-600.0, 0.0, State.UNCERTAIN),
        (0.0, 600.0, State.WAITING),
        (0.0, 36_000.0, State.UNCERTAIN),
        # Nobody can tell these two from each other, nor from the one before.
        (36_000.0, 0.0, State.UNCERTAIN),
        (-36_000.0, 0.0, State.UNCERTAIN),
        (-18_000.0, 36_000.0, State.UNCERTAIN),
    ],
)
async def test_a_time_that_was_not_told_before_the_first_send_is_held_against_our_own(
    ahead_s: float, slept_s: float, state: State
) -> None:
    world = World.of(A)
    await world.submits("a", LOST)
    world.slept_s, world.ahead_s = slept_s, ahead_s
    world.clock.pass_s(60)

    for _ in range(2):
        world.says(LOST)
        await world.submit("a")
    world.says(accepted("t"))
    await world.submit("a")

    assert world.job("a").first_sent_service_at is None
    assert world.state("a") is state
    assert len(world.sent) == (4 if state is State.WAITING else 1)


@pytest.mark.parametrize("answered", [0, 1])
@pytest.mark.parametrize(
    ("before_s", "after_s", "slept_s", "sends"),
    [
        ((0.0,), (0.0, 36_000.0), 36_000.0, 1),  # the clock of the second has stood still as well
        ((0.0, 36_000.0), (0.0, 36_000.0), 36_000.0, 1),  # the second's is wrong all the time
        ((36_000.0, 0.0), (36_000.0, 0.0), 36_000.0, 1),
        ((0.0, -36_000.0), (0.0, -36_000.0), 36_000.0, 1),
        ((0.0, 36_000.0), (0.0,), 36_000.0, 1),
        ((0.0,), (0.0, 30.0), 0.0, 2),
        ((0.0, 60.0), (60.0,), 0.0, 2),
        ((0.0,), (0.0, 36_000.0), 0.0, 2),  # a clock that is behind hides nothing: another is right
    ],
)
async def test_of_several_clocks_that_a_service_answers_with_the_one_counts_that_says_most(
    before_s: tuple[float, ...], after_s: tuple[float, ...], slept_s: float, sends: int, answered: int
) -> None:
    world = World.of(A)
    world.ahead_s, world.lags_s, world.answered = 0.0, before_s, answered
    async with world.context() as context:
        row = world.job("a").row
        for _ in range(4):
            await context.service.credits()
        world.says(LOST)
        await submit(context, row)
        world.slept_s += slept_s
        world.clock.pass_s(60)
        world.lags_s = after_s
        done = await submit(context, row)
        while done.not_sent is NotSent.TIME:
            await context.service.credits()
            world.says(accepted("t"))
            done = await submit(context, row)

    assert len(world.sent) == sends
    assert done.state is (State.WAITING if sends == 2 else State.UNCERTAIN)


async def test_a_service_that_tells_its_time_no_more_leaves_it_to_a_person() -> None:
    """It may have told the time before all clocks here stood still, and not since."""
    world = World.of(A)
    world.ahead_s = 0.0
    async with world.context() as context:
        row, clock = world.job("a").row, context.service_clock
        await context.service.credits()
        world.says(LOST)
        await submit(context, row)
        world.ahead_s = None
        for _ in range(IN_VAIN):
            await context.service.credits()
            assert (await submit(context, row)).not_sent is NotSent.TIME
            clock.asked_in_vain()
        assert (await submit(context, row)).not_sent is NotSent.UNCERTAIN

    assert len(world.sent) == 1
    assert "for an unknown time" in (world.job("a").error_message or "")


async def test_a_service_that_told_its_time_to_an_earlier_run_is_asked_for_it_again() -> None:
    world = World.of(A)
    world.ahead_s = 0.0
    await world.submits("a", LOST)
    world.ahead_s = None
    async with world.context() as context:
        row, clock = world.job("a").row, context.service_clock
        for _ in range(IN_VAIN):
            await context.service.credits()
            assert (await submit(context, row)).not_sent is NotSent.TIME
            clock.asked_in_vain()
        assert (await submit(context, row)).not_sent is NotSent.UNCERTAIN

    assert len(world.sent) == 1


async def test_a_service_that_tells_its_time_again_is_believed_again() -> None:
    world = World.of(A)
    world.ahead_s = 0.0
    async with world.context() as context:
        row, clock = world.job("a").row, context.service_clock
        await context.service.credits()
        world.says(LOST)
        await submit(context, row)
        for _ in range(IN_VAIN):
            clock.asked_in_vain()
        for _ in range(WITNESSES):
            await context.service.credits()
        world.says(accepted("t"))
        assert (await submit(context, row)).state is State.WAITING


async def test_the_manifest_may_allow_a_shorter_window() -> None:
    world = await lost_and_waited(61, resend_within_s=60.0)

    assert (await world.submit("a")).not_sent is NotSent.UNCERTAIN


async def test_what_a_person_sends_again_counts_on_the_day_it_goes_out() -> None:
    """It may be charged then, whenever it was first sent, and whenever they said so."""
    world = await lost_and_waited(7200)
    assert (await world.submit("a")).not_sent is NotSent.UNCERTAIN
    Answering(
        file=world.file, job=world.job("a"), reserved=10, service="https://rivya.ai", sandbox=False
    ).resend()
    said_s = time.time()
    assert ledger.day_total(world.file.conn, said_s) == 10
    world.clock.wall = said_s + 90_000
    assert ledger.day_total(world.file.conn, world.clock.wall) == 0

    await world.submits("a", LOST)

    assert ledger.day_total(world.file.conn, world.clock.wall) == 10
