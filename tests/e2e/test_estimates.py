"""What was paid tells what other jobs of the model will cost."""

from __future__ import annotations

import csv
import io
import math
import re

import pytest

from tests.support import HURRIED, HURRIED_TASKS, Command

MANIFEST = """
version: 1
name: {name}
model: grok-imagine-video
jobs:
  - id: "cup-${{duration}}-${{resolution}}"
    prompt: a cup of tea
    matrix: {{duration: [{durations}], resolution: ["480p", "720p"]}}
    params: {{duration: "${{duration}}", resolution: "${{resolution}}"}}
    repeat: {takes}
"""
PAID, OTHERS = (6, 10, 15), tuple(n for n in range(7, 29) if n not in (10, 15))


def charged(duration: int, resolution: str) -> int:
    """Return what the service takes: by the second, twice as much at 720p, rounded up. Nobody was told."""
    return math.ceil(1.67 * duration * (2 if resolution == "720p" else 1))


def prices() -> str:
    return " ".join(
        f"--price grok-imagine-video[duration={duration},resolution={resolution}]={charged(duration, resolution)}"
        for duration in range(6, 31)
        for resolution in ("480p", "720p")
    )


def listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


@pytest.mark.parametrize("takes", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_a_small_run_tells_what_many_other_jobs_will_cost(command: Command, takes: int) -> None:
    small = command.write("small.yaml", MANIFEST.format(name="small", durations=listed(PAID), takes=1))
    large = command.write("large.yaml", MANIFEST.format(name="large", durations=listed(OTHERS), takes=takes))
    options = ("--sandbox-options", f"{HURRIED_TASKS[1]} {prices()}")

    before = command("plan", large, "--sandbox", "--json").json["credits"]
    first = command("run", small, "--sandbox", *options, env=HURRIED)
    assert first.code == 0
    plan = command("plan", large, "--sandbox", "--json").json
    words = command("plan", large, "--sandbox").stdout
    table = list(csv.DictReader(io.StringIO(command("plan", large, "--sandbox", "--csv").stdout)))
    second = command("run", large, "--sandbox", *options, env=HURRIED)
    assert second.code == 0
    after = command("plan", large, "--sandbox", "--json").json

    spent = after["credits"]["spent"]
    paid = sum(charged(duration, resolution) for duration in PAID for resolution in ("480p", "720p"))
    told = " ".join(first.stdout.split())
    assert f"charged {paid} for 6 jobs, where 60 was expected (+{100 * paid / 60 - 100:.0f}%)" in told
    assert "grok-imagine-video, duration 15, resolution 720p: 51 each, 10 expected (1 job)" in told
    off = re.search(r"was expected \(([+-]\d+)%\)", " ".join(second.stdout.split()))
    assert off is not None
    assert abs(int(off[1])) <= 5
    assert (before["basis"], before["up_to"], before["to_spend"]) == ("listed", None, 400 * takes)
    assert plan["credits"]["basis"] == "fitted"
    assert plan["credits"]["to_spend"] == pytest.approx(spent, rel=0.05)
    assert plan["credits"]["at_least"] <= spent <= plan["credits"]["up_to"]
    assert len(table) == 40 * takes
    for row in table:
        charge = charged(int(row["params.duration"]), row["params.resolution"])
        assert float(row["at_least"]) <= charge <= float(row["up_to"]), row
    assert "fitted: 1.68 a second, rounded up, at 480p, from 6 payments of 3 durations" in " ".join(
        words.split()
    )
    assert "some lie beyond what was paid for (duration 6 to 15)" in " ".join(words.split())
    assert all(len(line) <= 80 for line in words.splitlines())


def test_a_probe_pays_for_one_job_of_each_price_so_that_the_plan_after_it_is_sure(command: Command) -> None:
    large = command.write("large.yaml", MANIFEST.format(name="large", durations="6, 10", takes=3))
    options = ("--sandbox-options", f"{HURRIED_TASKS[1]} {prices()}")

    probed = command("run", large, "--sandbox", "--probe", *options, env=HURRIED)
    plan = command("plan", large, "--sandbox", "--json").json
    again = command("run", large, "--sandbox", "--probe", *options, env=HURRIED)

    paid = sum(charged(duration, resolution) for duration in (6, 10) for resolution in ("480p", "720p"))
    assert (probed.code, again.code) == (0, 0), probed.stderr
    assert "--probe    one job of each of 4 prices never seen\n" in probed.stderr
    assert f"credits    {2 * paid} to spend, {paid} spent before\n" in probed.stdout
    assert plan["summary"]["done"] == 4
    assert (plan["credits"]["basis"], plan["credits"]["to_spend"], plan["credits"]["up_to"]) == (
        "observed",
        2 * paid,
        2 * paid,
    )
    assert "there is nothing to try" in again.stderr
    assert command("plan", large, "--sandbox", "--json").json["summary"]["done"] == 4
