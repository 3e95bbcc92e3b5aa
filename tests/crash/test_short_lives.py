"""Killed again and again, a second or two after each start: each run goes on where the one before it was.

A life here is a start of the command, by whatever ended it. What decides is what each takes over: tasks and keys, and
what was learned of the account's rate, which no life is long enough to find anew.
"""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from contextlib import closing
from sqlite3 import connect
from typing import Any

import pytest

from tests.bench.process import KEY
from tests.bench.service import sandbox
from tests.imitation.fixtures import ended, said
from tests.support import Command

pytestmark = [pytest.mark.crash, pytest.mark.slow]

JOBS = 100
MOST_LIVES = 60
MOST_MOMENTS = 400  # lives in which hardly a request is sent: there has to be progress
LIMIT_PER_S = 20
FAULTS = 0.2  # of the requests


def write(command: Command, jobs: int, **limits: Any) -> str:
    rows = "".join(f"  - {{id: j{number}, prompt: bottle {number}}}\n" for number in range(jobs))
    named = ", ".join(f"{name}: {value}" for name, value in limits.items())
    command.write(
        "lives.yaml",
        "version: 1\nname: lives\nmodel: grok-imagine-video\n"
        "polling: {first_s: 0.2, min_s: 0.2, max_s: 2}\nidempotency: {resend_after: 2s}\n"
        f"limits: {{{named}}}\njobs:\n{rows}",
    )
    return "lives.yaml"


@pytest.mark.parametrize("limits", [{}, {"requests_per_second": LIMIT_PER_S}], ids=["found", "given"])
@pytest.mark.parametrize("life_s", [(1.0, 3.0), (0.3, 1.0)], ids=["seconds", "moments"])
def test_a_hundred_jobs_are_done_in_short_lives(
    command: Command, limits: dict[str, Any], life_s: tuple[float, float]
) -> None:
    dice, lives = random.Random(7), 0
    most = MOST_LIVES if life_s[0] >= 1.0 else MOST_MOMENTS
    manifest = write(command, JOBS, **limits)
    flags = ("--rate", LIMIT_PER_S, "--chaos", FAULTS, "--duration", "0.5:2", "--seed", 7)
    with sandbox(*flags) as service:
        command.environment |= {"RIVYA_BASE_URL": service.base_url, "RIVYA_API_KEY": KEY}
        code = -9
        while code != 0 and lives < most:
            lives += 1
            process = command.start("run", manifest, "--yes")
            try:
                process.wait(timeout=dice.uniform(*life_s))
            except subprocess.TimeoutExpired:
                process.kill()
            outcome = ended(process)
            code = outcome.code
            # 5: a result could not be had six times in a row.
            assert code in (-9, 0, 5), said(outcome)
        seen = service.seen()
    with closing(connect(command.workspace / "state" / "runner.db")) as state:
        states = Counter(name for (name,) in state.execute("SELECT state FROM jobs"))

    print(f"{lives} lives of {life_s[0]:g} to {life_s[1]:g} s, {limits or 'the rate is found'}")
    assert states == {"done": JOBS}
    assert seen.paid_twice == 0
    assert seen.tasks == JOBS
    assert code == 0
