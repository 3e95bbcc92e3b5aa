"""Killed at random moments, with every fault on, until all is done: nothing paid twice, nothing lost.

`make crash` kills 500 times over 1,000 jobs and prints the table of README; `--crash-rounds=N` is the number of
kills. All draws come from a seed, which a failure names; what the machine does in between is its own.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest

from tests.crash.wrong import wrong_package
from tests.imitation.faults import error_answer, page
from tests.imitation.fixtures import Bench, StartService, ended, said
from tests.imitation.personality import PERSONALITIES, Personality
from tests.imitation.wire import Answer
from tests.support import Command

pytestmark = pytest.mark.crash

KILLS = 6  # in `make test`
JOBS = 14
NIGHT_JOBS = 50  # of each night of `make crash`
NIGHT_KILLS = 25
EFFECTS = ("upload", "submit", "submit", "submit", "poll", "result")
WHENS = ("kill_before", "kill_after", "kill_answered")
LOST_ONE_IN = 30  # requests, for each of the faults below


@dataclass(slots=True, kw_only=True)
class Night:
    """What a night of kills came to. All but the first four must be zero."""

    jobs: int = 0
    kills: int = 0
    runs: int = 0
    faults: int = 0
    paid_twice: int = 0
    lost: int = 0
    left_half: int = 0
    not_whole: int = 0
    unexplained: list[str] = field(default_factory=list)  # what a run ended with that nobody expects

    def __iadd__(self, other: Night) -> Night:
        for name in (item.name for item in fields(self)):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    @property
    def perfect(self) -> bool:
        return not (self.paid_twice or self.lost or self.left_half or self.not_whole or self.unexplained)


def let_everything_go_wrong(bench: Bench, dice: random.Random) -> None:
    """One request in eight or so is lost, cut, refused or answered with nonsense, before or after it took effect."""
    wrong: tuple[tuple[str, Answer | None], ...] = (
        ("drop_before", None),
        ("drop_after", None),
        ("reset_before", None),
        ("reset_after", None),
        ("cut", None),
        ("answer_before", error_answer(503, "busy")),
        ("answer_before", error_answer(429, "rate_limited", "slow down", ("Retry-After", "0"))),
    )
    for kind in ("upload", "submit", "poll", "result"):
        for do, answer in wrong:
            chance(bench, dice, kind, do, answer)
    for status in (401, 429, 502):
        chance(bench, dice, "submit", "answer_after", page(status))
    chance(bench, dice, "submit", "answer_after", error_answer(409, "idempotency_conflict"))
    chance(bench, dice, "upload", "answer_after", page(200))
    chance(bench, dice, "poll", "answer_before", error_answer(404, "not_found"))
    chance(bench, dice, "poll", "answer_before", page(200))
    chance(bench, dice, "result", "answer_before", page(200))
    chance(bench, dice, "result", "answer_before", Answer(status=403))
    chance(bench, dice, "result", "answer_before", Answer())


def chance(bench: Bench, dice: random.Random, kind: str, do: str, answer: Answer | None) -> None:
    bench.service.rule(kind, do, answer=answer, times=10**9, where=lambda _: dice.randrange(LOST_ONE_IN) == 0)


def kill_at_an_effect(bench: Bench, dice: random.Random, among: int) -> None:
    """Let the run that starts now be killed from the service's side: before, after or as it answers."""
    rule = bench.service.rule(dice.choice(EFFECTS), dice.choice(WHENS), skip=dice.randrange(among))
    bench.service.rules.remove(rule)
    bench.service.rules.insert(0, rule)


def run_and_kill(bench: Bench, dice: random.Random, among: int) -> int:
    """Run once; kill it at an effect or, one time in three, at any moment at all. Return how it ended."""
    service = bench.service
    service.rules = [rule for rule in service.rules if not rule.do.startswith("kill")]
    any_moment = dice.randrange(3) == 0
    if not any_moment:
        kill_at_an_effect(bench, dice, among)
    process = service.doom(lambda: bench.start("--patience", "20s"))
    if any_moment:
        after_s = dice.uniform(0.1, 1.6)
        timer = threading.Timer(after_s, process.kill)
        timer.start()
        outcome = ended(process, timeout_s=120)
        timer.cancel()
        service.kills += outcome.code == -9
    else:
        outcome = ended(process, timeout_s=120)
    service.victim = None
    # 5: patience was over, or a result could not be had six times in a row. Nothing else is expected here.
    assert outcome.code in (-9, 0, 5), said(outcome)
    return outcome.code


def night(bench: Bench, dice: random.Random, *, jobs: int, kills: int) -> Night:
    """Kill so many times while work is done, then let it end in peace, and count."""
    service = bench.service
    rows: list[dict[str, Any]] = [{"id": f"j{n}"} for n in range(jobs)]
    for number in range(0, jobs, 3):
        rows[number]["references"] = [bench.picture(f"{number}.png", str(number))]
    found = Night(jobs=jobs)
    let_everything_go_wrong(bench, dice)
    # New jobs come when the old ones are done, so that there is always something to be killed at.
    step = max(2, round(1.6 * jobs / kills))
    listed = step
    while service.kills < kills:
        bench.write(rows[:listed])
        found.runs += 1
        if run_and_kill(bench, dice, among=step) == 0:
            if listed == jobs:
                break
            listed = min(jobs, listed + step)
    service.rules = [rule for rule in service.rules if not rule.do.startswith("kill")]
    found.faults = int(sum(rule.done for rule in service.rules))
    service.rules.clear()
    prompts = bench.write(rows)
    last = bench.run()
    again = bench.run()
    found.runs += 2
    found.kills = service.kills
    if (last.code, again.code) != (0, 0):
        found.unexplained += [said(last), said(again)]
    count(bench, prompts, found)
    return found


def count(bench: Bench, prompts: list[str], found: Night) -> None:
    """Hold our disk and database against the service's own book and bytes."""
    ledger, contents = bench.service.ledger, bench.service.contents
    # All results of a job's task, and nothing else, byte for byte as the service made them.
    there = Counter(contents.get(sha, "?") for sha in bench.results().values())
    found.paid_twice = sum(number - 1 for number in ledger.paid.values())
    found.lost = sum(there[prompt] == 0 or ledger.paid[prompt] == 0 for prompt in prompts)
    found.left_half = len(bench.parts())
    found.not_whole = there["?"] + sum(there[prompt] != bench.service.be.results for prompt in prompts)
    if bench.states() != {"done": len(prompts)}:
        found.unexplained.append(f"states {bench.states()}")
    if any(len(bodies) > 1 for bodies in ledger.bodies_by_key().values()):
        found.unexplained.append("a key was sent with two bodies")
    recorded = bench.rows("sum(charged)", "ledger")[0][0]
    if recorded != ledger.charged:
        found.unexplained.append(f"{recorded} credits in our ledger, {ledger.charged} in the service's")


def table(whole: Night) -> str:
    """The table of README."""
    names = {
        "jobs": whole.jobs,
        "kills -9": whole.kills,
        "runs": whole.runs,
        "faults": whole.faults,
        "paid twice": whole.paid_twice,
        "lost": whole.lost,
        "`.part` left": whole.left_half,
        "artifacts not whole": whole.not_whole,
    }
    return "\n".join(
        f"| {' | '.join(cells)} |"
        for cells in (names, ["---:"] * len(names), [f"{n:,}" for n in names.values()])
    )


def test_random_kills_with_every_fault_on(
    command: Command, start_service: StartService, pytestconfig: pytest.Config
) -> None:
    rounds: int = pytestconfig.getoption("--crash-rounds")
    whole, seed, began = Night(), -1, time.monotonic()
    while whole.kills < (rounds or 1):
        seed += 1
        personality = list(PERSONALITIES.values())[seed % len(PERSONALITIES)]
        folder = Path(tempfile.mkdtemp(dir=command.workspace))
        (folder / "state").mkdir()
        own = Command(workspace=folder, warm=command.warm)
        bench = Bench(own, start_service(personality))
        size = {"jobs": NIGHT_JOBS, "kills": NIGHT_KILLS} if rounds else {"jobs": JOBS, "kills": KILLS}
        one = night(bench, random.Random(seed), **size)
        own.close()
        bench.service.close()
        assert one.perfect, f"seed {seed}: {one}"
        whole += one
        if rounds:
            took_s = time.monotonic() - began
            print(f"night {seed + 1}: {whole.kills} of {rounds} kills, {took_s:.0f} s", flush=True)
    print(f"\n{table(whole)}")


def test_a_runner_that_commits_after_the_answer_is_caught(
    command: Command, start_service: StartService, tmp_path: Path
) -> None:
    bench = Bench(command, start_service(Personality()))
    package = wrong_package(tmp_path / "wrong")
    prompts = bench.write(1)
    bench.service.rule("submit", "kill_after")
    env = {"PYTHONPATH": str(package)}

    killed = bench.run(env=env)
    again = bench.run(env=env)

    assert (killed.code, again.code) == (-9, 0), said(killed) + said(again)
    assert len(bench.service.ledger.paid_twice) == 1
    found = Night()
    count(bench, prompts, found)
    assert found.paid_twice == 1
    assert not found.perfect
    with pytest.raises(AssertionError):
        bench.assert_whole(prompts)
