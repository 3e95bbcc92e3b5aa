"""No dead end: paid work that cannot come home is told of, and a person can close it or begin it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from tests.imitation.fixtures import Bench, StartService, said
from tests.imitation.personality import Personality
from tests.imitation.tasks import Fate
from tests.support import Command

FAST = {"TEST_CLOCK_SPEED": "100"}
DAY_S = 86_400


def says(**other: Any) -> Fate:
    """A task that ends by saying this of itself; what is None is not said."""

    def twist(view: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in {**view, **other}.items() if value is not ABSENT}

    return Fate(says=twist)


ABSENT = object()
ERROR = {"code": "provider_error", "message": "the model is gone"}
# What comes home whatever the service calls it, and whether the file is marked.
HOME: dict[str, tuple[Fate, bool]] = {
    "shouted": (says(status="SUCCESS"), False),
    "completed": (says(status="completed"), False),
    "unheard-of": (says(status="delivered"), False),
    "silent": (says(status=ABSENT), False),
    "elsewhere": (says(status=ABSENT, state="succeeded"), False),
    "canceled": (says(status="canceled"), True),
    "with-error": (says(error=ERROR), True),
    "failed-and-charged": (says(status="failed", error=ERROR), True),
}


def test_what_was_paid_for_and_is_there_comes_home_whatever_its_task_is_called(bench: Bench) -> None:
    prompts = bench.write([{"id": name} for name in HOME], retry={"failed_rounds": 3})
    bench.service.fates = {f"prompt of {name}": fate for name, (fate, _) in HOME.items()}

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)
    marked = {
        job for (job,) in bench.rows("j.job", "jobs j JOIN artifacts a ON a.job = j.id", "a.warning > ''")
    }
    assert marked == {name for name, (_, odd) in HOME.items() if odd}
    assert outcome.stderr.count("'SUCCESS', which is not documented") == 1


def nothing(view: dict[str, Any]) -> dict[str, Any]:
    return {**view, "result": {"primary_url": None, "urls": []}}


def price(data: Mapping[str, Any]) -> float:
    return 0.0 if data["prompt"] == "prompt of free" else 10.0


STUCK: dict[str, Fate] = {
    "no-url": Fate(says=nothing),
    "free": Fate(says=nothing),
    "gone": Fate(gone=True),
    "expired": says(status="expired", result=None),
    "broken": says(status="halted", result=None, error=ERROR),
}


@pytest.mark.slow
def test_what_does_not_come_home_ends_each_run_soon_and_has_ways_on_that_tell_their_price(
    command: Command, start_service: StartService
) -> None:
    """Some minutes at a hundredfold clock; then the next day."""
    service = start_service(Personality(price=price))
    bench = Bench(command, service)
    jobs = [{"id": name} for name in (*STUCK, "fine", "leaves")]
    bench.write(jobs, polling=None)
    service.fates = {f"prompt of {name}": fate for name, fate in STUCK.items()}
    service.fates["prompt of leaves"] = Fate(says=nothing)

    first = bench.run(env=FAST, timeout_s=60)
    polls = asked(bench)
    tomorrow = {**FAST, "TEST_CLOCK_SHIFT_S": str(DAY_S + 700)}
    bench.write([job for job in jobs if job["id"] != "leaves"], polling=None)
    second = bench.run(env=tomorrow, timeout_s=60)
    more = {name: number - polls[name] for name, number in asked(bench).items()}

    # Asked for some minutes, ever less often; and hardly at all the next day.
    assert (first.code, second.code) == (5, 5), said(first) + said(second)
    assert all(polls[name] <= 45 for name in STUCK), polls
    assert all(more[name] <= 6 for name in (*STUCK, "leaves")), more
    assert bench.states() == {"done": 1, "waiting": 3, "downloading": 2}
    codes = dict(bench.rows("job, error_code", where="error_code > ''"))
    expected = {"no-url": "no_result", "free": "no_result", "gone": "unknown_task", "expired": "odd_end"}
    assert codes == {**expected, "broken": "odd_end", "leaves": "no_result"}
    assert (
        "the result of free cannot be fetched now (its task succeeded, and the service names no result, and says"
        in (said(second))
    )
    assert "it is paid" not in said(first) + said(second)
    ways = [line for line in second.stderr.splitlines() if line.startswith("next: ")]
    assert ways[0].startswith(f"next: rivya-batch run {bench.manifest} ")
    assert ways[0].endswith("(asks again, free)")
    assert ways[1].startswith(f"next: rivya-batch resolve {bench.manifest} no-url --abandon")
    assert ways[2].startswith(f"next: rivya-batch retry {bench.manifest} --only no-url")
    assert len(ways) == 3
    status = bench.command("status", bench.manifest)
    assert "gone (10 credits reserved): the service no longer knows its task (HTTP 404" in status.stdout
    assert "leaves, no longer in the manifest (10 credits charged): its task succeeded, and" in status.stdout
    assert service.ledger.paid_twice == {}

    # Nobody pays for them by chance, and nobody does without a yes.
    plain = bench.command("retry", bench.manifest, "--yes")
    unasked = bench.command("retry", bench.manifest, "--only", "*")
    assert (plain.code, unasked.code) == (0, 2), said(plain) + said(unasked)
    assert "about 20 credits; the 20 charged already stay charged" in unasked.stderr
    assert "1 waiting (the service no longer knows its task" in unasked.stderr
    assert service.ledger.paid_twice == {}

    # Closed, begun again, or left alone: then no run ends with 5 any more.
    close = [
        bench.command("resolve", bench.manifest, name, "--abandon", "--yes")
        for name in ("free", "expired", "leaves")
    ]
    assert [outcome.code for outcome in close] == [0, 0, 0], "".join(map(said, close))
    service.fates.clear()
    again = bench.command("retry", bench.manifest, "--only", "*o*", "--yes", env=tomorrow)
    last = bench.run(env=tomorrow)

    assert (again.code, last.code) == (0, 0), said(again) + said(last)
    assert service.ledger.paid_twice == {f"prompt of {name}": 2 for name in ("no-url", "gone", "broken")}
    assert bench.states() == {"done": 4, "abandoned": 2}
    # The 0 of a task that succeeded is not believed: it keeps what was set aside for it.
    assert bench.rows("sum(amount)", "ledger") == [(service.ledger.taken + 10,)]


def asked(bench: Bench) -> Counter[str]:
    """How often each job's task was asked for."""
    tasks = bench.service.tasks
    return Counter(
        tasks[poll.what].data["prompt"].removeprefix("prompt of ") for poll in bench.service.ledger.polls
    )
