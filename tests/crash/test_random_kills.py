"""Killed at random moments, with every fault on, until all is done: nothing paid twice, nothing lost.

`make crash` runs many rounds and prints the table of README; `--crash-rounds=N` is the number of kills.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.crash.wrong import wrong_package
from tests.imitation.faults import error_answer, page
from tests.imitation.fixtures import Bench, StartService, said
from tests.imitation.personality import PERSONALITIES, Personality
from tests.support import Command

pytestmark = pytest.mark.crash

KILLS = 6  # of each short night
NIGHT_KILLS = 25  # of each long one
KINDS = ("upload", "submit", "submit", "submit", "poll", "result")
WHENS = ("kill_before", "kill_after", "kill_answered")
HEAD: dict[str, Any] = {"retry": {"failed_rounds": 0}, "idempotency": {"resend_within": "1h"}}


@dataclass(slots=True, kw_only=True)
class Night:
    """What a night of kills came to."""

    jobs: int
    kills: int
    runs: int
    twice: int
    lost: int
    parts: int
    broken: int


def let_everything_go_wrong(bench: Bench, dice: random.Random) -> None:
    """One request in eight or so is lost, cut, refused or answered with nonsense, before or after it took effect."""
    wrong = (
        ("drop_before", None),
        ("drop_after", None),
        ("reset_after", None),
        ("cut", None),
        ("answer_before", error_answer(503, "busy")),
        ("answer_after", page(502)),
        ("answer_before", error_answer(429, "rate_limited", "slow down", ("Retry-After", "0"))),
    )
    for kind in ("upload", "submit", "poll", "result"):
        for do, answer in wrong:
            if do == "answer_after" and kind in ("result", "poll"):
                continue  # a page with 502 is what `answer_before` says already
            bench.service.rule(kind, do, answer=answer, times=10**9, where=lambda _: dice.random() < 0.02)


def arm(bench: Bench, dice: random.Random, most: int) -> None:
    """Let the next run be killed at some request or other."""
    bench.service.rules = [rule for rule in bench.service.rules if not rule.do.startswith("kill")]
    rule = bench.service.rule(dice.choice(KINDS), dice.choice(WHENS), skip=dice.randrange(most))
    bench.service.rules.insert(0, bench.service.rules.pop())
    assert rule in bench.service.rules


def night(bench: Bench, dice: random.Random, *, jobs: int, kills: int) -> Night:
    """Kill so many times, then let it end in peace, and count."""
    for number in range(4):
        bench.picture(f"{number}.png", str(number))
    rows: list[dict[str, Any]] = [
        {"id": f"j{n}", "references": [f"{n % 4}.png"]} if n % 3 == 0 else {"id": f"j{n}"}
        for n in range(jobs)
    ]
    prompts = bench.write(rows, **HEAD)
    let_everything_go_wrong(bench, dice)
    runs = 0
    while bench.service.kills < kills and runs < 3 * kills:
        arm(bench, dice, max(2, jobs // 4))
        runs += 1
        outcome = bench.run()
        assert outcome.code in (-9, 0, 3, 5), said(outcome)
    bench.service.rules.clear()
    for _ in range(2):
        runs += 1
        outcome = bench.run()
    contents = bench.service.contents
    found = Counter(contents.get(sha, "?") for sha in bench.results().values())
    return Night(
        jobs=jobs,
        kills=bench.service.kills,
        runs=runs,
        twice=sum(count - 1 for count in bench.service.ledger.paid.values()),
        lost=sum(found[prompt] == 0 for prompt in prompts),
        parts=len(bench.parts()),
        broken=found["?"],
    )


def test_random_kills_with_every_fault_on(
    command: Command, start_service: StartService, pytestconfig: pytest.Config
) -> None:
    rounds: int = pytestconfig.getoption("--crash-rounds")
    seeds = range(max(1, rounds // NIGHT_KILLS)) if rounds else range(1)
    whole = Night(jobs=0, kills=0, runs=0, twice=0, lost=0, parts=0, broken=0)
    for seed in seeds:
        dice = random.Random(seed)
        personality = list(PERSONALITIES.values())[seed % len(PERSONALITIES)]
        folder = Path(tempfile.mkdtemp(dir=command.workspace))
        (folder / "state").mkdir()
        own = Command(workspace=folder, warm=command.warm)
        bench = Bench(own, start_service(personality))
        one = night(bench, dice, jobs=50 if rounds else 16, kills=NIGHT_KILLS if rounds else KILLS)
        own.close()
        bench.service.close()
        assert (one.twice, one.lost, one.parts, one.broken) == (0, 0, 0, 0), f"seed {seed}: {one}"
        for name in Night.__slots__:
            setattr(whole, name, getattr(whole, name) + getattr(one, name))
    print(
        f"\n| jobs | kills | runs | paid twice | lost | left half | broken |\n"
        f"| --- | --- | --- | --- | --- | --- | --- |\n"
        f"| {whole.jobs} | {whole.kills} | {whole.runs} | {whole.twice} | {whole.lost} | {whole.parts} | {whole.broken} |"
    )
    assert whole.kills >= (rounds or KILLS) // 2


def test_a_runner_that_commits_after_the_answer_is_caught(
    command: Command, start_service: StartService, tmp_path: Path
) -> None:
    bench = Bench(command, start_service(Personality()))
    package = wrong_package(tmp_path / "wrong")
    bench.write(2)
    bench.service.rule("submit", "kill_after")
    env = {"PYTHONPATH": str(package)}

    killed = bench.run(env=env)
    again = bench.run(env=env)

    assert (killed.code, again.code) == (-9, 0), said(killed) + said(again)
    assert len(bench.service.ledger.paid_twice) == 1
    with pytest.raises(AssertionError):
        bench.assert_whole(["prompt of job-1", "prompt of job-2"])
