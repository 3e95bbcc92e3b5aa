"""Interruptions: a drain that records all it has begun, a second one that leaves at once, and streams that close."""

from __future__ import annotations

import signal
import threading
import time
from typing import IO

import pytest

from tests.imitation.faults import On
from tests.imitation.fixtures import Bench, ended, said
from tests.imitation.tasks import Fate
from tests.imitation.wire import Request
from tests.support import Process


def wait_for(stream: IO[str] | None, word: str) -> None:
    """Read what a process says up to a line with this word."""
    assert stream is not None
    while line := stream.readline():
        if word in line:
            return
    raise AssertionError(f"it ended before it said {word}")


def test_each_signal_drains_and_the_next_run_goes_on(bench: Bench) -> None:
    """A request that is open when the signal comes is finished and recorded, and nothing new is begun."""
    service = bench.service
    service.become(latency_s=0.25)
    prompts = bench.write([{"id": f"j{n}"} for n in range(40)], limits={"requests_per_second": 5})
    service.fates["prompt of j0"] = Fate(status="failed", times=1)
    codes, sent, recorded = [], [], []

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process = bench.start("--json")
        wait_for(process.stdout, '"submitted"')
        process.send_signal(number)
        codes.append(ended(process).code)
        sent.append(len(service.ledger.payments))
        recorded.append(bench.rows("count(*)", where="task_id IS NOT NULL")[0][0])
    service.become(latency_s=0.0)
    bench.write([{"id": f"j{n}"} for n in range(40)])
    last = bench.run()

    assert codes == [130, 143, 143], "130 although a job has failed"
    assert sent == recorded, "what was accepted during the drain is known"
    assert 0 < sent[0] < sent[1] < sent[2] < 40
    assert last.code == 3, said(last)
    assert bench.states() == {"failed": 1, "done": 39}
    assert len(service.ledger.posts) == 40, "nothing had to be sent again"
    assert service.ledger.paid_twice == {}
    assert len(bench.results()) == len(prompts) - 1


def test_the_second_signal_leaves_at_once_and_nothing_is_paid_twice(bench: Bench) -> None:
    """The service is slow to answer; the drain would last as long as it is."""
    service = bench.service
    prompts = bench.write(3)
    service.become(head_pause_s=8.0)
    paid = threading.Event()
    service.observer = lambda on, _: paid.set() if len(service.ledger.posts) == 3 else None
    process = bench.start()
    assert paid.wait(60)
    process.send_signal(signal.SIGINT)
    wait_for(process.stderr, "stopping")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    second = ended(process)
    took_s = time.monotonic() - began
    service.become(head_pause_s=0.0)
    after = bench.run()

    assert second.code == 130, said(second)
    assert took_s < 5, "a drain takes eight seconds here"
    assert after.code == 0, said(after)
    bench.assert_whole(prompts)


def test_nobody_reading_the_output_stops_nothing(bench: Bench) -> None:
    """`rivya-batch run … | head -1`, and a terminal that goes away."""
    prompts = bench.write(6)
    started: list[Process] = []

    def close_both(on: On, _: Request) -> None:
        for pipe in (started[0].stdout, started[0].stderr):
            if on is On.SUBMIT and pipe is not None and not pipe.closed:
                pipe.close()

    bench.service.observer = close_both
    started.append(bench.start("--json", "-v"))
    code = started[0].wait(timeout=60)

    assert code == 0
    assert bench.states() == {"done": 6}
    bench.assert_whole(prompts)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_a_run_that_waits_to_start_ends_in_good_order(
    bench: Bench, number: signal.Signals, code: int
) -> None:
    """Its row said for ever that it had been killed."""
    bench.write(2)
    process = bench.start("--start-at", "23:59" if time.localtime().tm_hour < 12 else "11:59")
    wait_for(process.stderr, "waiting until")
    process.send_signal(number)
    outcome = ended(process)

    assert outcome.code == code, said(outcome)
    assert bench.rows("exit_code", table="runs") == [(code,)]
    assert bench.service.ledger.posts == []
    assert bench.run().code == 0


@pytest.mark.slow
def test_a_run_started_to_outlive_its_terminal_does(bench: Bench) -> None:
    """`nohup rivya-batch run … &`, and then the window is closed."""
    prompts = bench.write(4)
    process = bench.command.start("run", bench.manifest, "--yes", wrapper=["nohup"])
    bench.service.observer = lambda on, _: process.send_signal(signal.SIGHUP) if on is On.SUBMIT else None
    outcome = ended(process)

    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)
