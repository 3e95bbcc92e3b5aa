"""What was paid tells what other jobs of the model will cost."""

from __future__ import annotations

import math

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
"""


def charged(duration: int, resolution: str) -> int:
    """Return what the service takes: by the second, twice as much at 720p, rounded up. Nobody was told."""
    return math.ceil(1.67 * duration * (2 if resolution == "720p" else 1))


def prices() -> str:
    return " ".join(
        f"--price grok-imagine-video[duration={duration},resolution={resolution}]={charged(duration, resolution)}"
        for duration in range(6, 16)
        for resolution in ("480p", "720p")
    )


def test_a_small_run_tells_what_a_large_one_will_cost(command: Command) -> None:
    small = command.write("small.yaml", MANIFEST.format(name="small", durations="6, 10, 15"))
    large = command.write("large.yaml", MANIFEST.format(name="large", durations="7, 8, 9, 11, 12, 13, 14"))
    options = ("--sandbox-options", f"{HURRIED_TASKS[1]} {prices()}")

    listed = command("plan", large, "--sandbox", "--json").json["credits"]
    assert command("run", small, "--sandbox", *options, env=HURRIED).code == 0
    plan = command("plan", large, "--sandbox", "--json").json
    words = command("plan", large, "--sandbox").stdout
    assert command("run", large, "--sandbox", *options, env=HURRIED).code == 0
    after = command("plan", large, "--sandbox", "--json").json

    spent = after["credits"]["spent"]
    assert (listed["basis"], listed["up_to"], listed["to_spend"]) == ("listed", None, 140)
    assert plan["credits"]["basis"] == "fitted"
    assert plan["credits"]["to_spend"] == pytest.approx(spent, rel=0.05)
    assert spent <= plan["credits"]["up_to"] <= 1.05 * spent
    assert "price      1.68 a second, rounded up, at 480p, from 6 payments of 3 durations" in words
    assert all(len(line) <= 80 for line in words.splitlines())
