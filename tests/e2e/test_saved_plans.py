"""A plan in a file: `run` does exactly that, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import HURRIED, HURRIED_TASKS, Command

MANIFEST = """version: 1
name: night
model: grok-imagine-video
params: {duration: 6}
jobs:
  - {id: "cup-${look}", prompt: "a cup, ${look}", matrix: {look: [red, blue, green]}}
"""
OPTIONS = ("--sandbox-options", HURRIED_TASKS[1])


@pytest.fixture
def manifest(command: Command) -> Path:
    return command.write("night.yaml", MANIFEST)


def save(command: Command, manifest: Path, *options: str) -> None:
    found = command("plan", manifest, "--sandbox", "--out", "plan.json", *options)
    assert found.code == 0, found.stderr
    words = " ".join(found.stdout.split())
    assert "saved plan.json; `rivya-batch run plan.json --sandbox` does exactly this, or nothing" in words


@pytest.mark.slow
def test_what_was_saved_is_run_and_run_again(command: Command, manifest: Path) -> None:
    save(command, manifest)

    first = command("run", "plan.json", "--sandbox", "--limit", "1", *OPTIONS, env=HURRIED)
    then = command("run", "plan.json", env=HURRIED)
    again = command("run", "plan.json", env=HURRIED)

    assert (first.code, then.code, again.code) == (0, 0, 0), then.stderr
    assert "night: 1 of 3 jobs done" in first.stdout
    assert "night: all 3 jobs are done" in then.stdout, "what was done since is no change"
    assert "nothing to send" in again.stdout


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[red, blue", "[red, pink, blue", "1 job not in it: cup-pink"),
        ("a cup, ", "a mug, ", "3 jobs changed since: cup-red, cup-blue, cup-green"),
        ("[red, blue, green]", "[red]", "2 jobs no longer in the manifest: cup-blue, cup-green"),
    ],
)
def test_what_has_changed_since_is_told_and_nothing_is_sent(
    command: Command, manifest: Path, old: str, new: str, told: str
) -> None:
    save(command, manifest)
    manifest.write_text(MANIFEST.replace(old, new), "utf-8")

    refused = command("run", "plan.json")

    assert refused.code == 2
    assert f"nothing was sent: {told}" in refused.stderr
    assert not (command.workspace / "state" / "sandbox.db").exists()


@pytest.mark.slow
def test_a_price_that_has_risen_since_is_a_change(command: Command, manifest: Path) -> None:
    manifest.write_text(MANIFEST + "prices: {grok-imagine-video: 12}\n", "utf-8")
    save(command, manifest)
    manifest.write_text(MANIFEST + "prices: {grok-imagine-video: 13}\n", "utf-8")
    dearer = command("run", "plan.json")
    manifest.write_text(MANIFEST + "prices: {grok-imagine-video: 11}\n", "utf-8")

    assert (dearer.code, command("run", "plan.json", env=HURRIED).code) == (2, 0)
    assert "3 jobs dearer than it says: cup-red (12 then, 13 now)" in dearer.stderr


def test_only_what_was_asked_for_is_in_it(command: Command, manifest: Path) -> None:
    save(command, manifest, "--only", "*-red")

    assert "1 of 3 jobs done" in command("run", "plan.json", env=HURRIED).stdout
    assert command("run", "plan.json", "--only", "*-blue").code == 2


def test_it_is_no_rehearsal_of_what_is_meant_to_be_paid(command: Command, manifest: Path) -> None:
    assert command("plan", manifest, "--out", "real.json").code == 0
    refused = command("run", "real.json", "--sandbox")
    beside = command("plan", manifest, "--sandbox", "--out", "night.yaml")
    what_if = command("plan", manifest, "--sandbox", "--out", "x.json", "--set", "params.duration=8")
    bare = command("plan", manifest, "--sandbox", "--set", "resolution=720p")

    assert (refused.code, beside.code, what_if.code, bare.code) == (2, 2, 2, 2)
    assert "has no key resolution\nhint: of a param write --set params.resolution=720p\n" in bare.stderr
    assert "was made without --sandbox" in refused.stderr
    assert manifest.read_text("utf-8") == MANIFEST, "no manifest is overwritten"
