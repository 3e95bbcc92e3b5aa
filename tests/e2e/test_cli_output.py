"""What people read: problems in order, the end of a run, what to type next; and streams that are not there."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import Command, clean_environment, programme

MANIFEST = """\
version: 1
name: words
model: grok-imagine-video
polling: {first_s: 0.05, min_s: 0.05, max_s: 0.3}
jobs:
  - id: "${colour} 猫"
    prompt: a ${colour} kite
    matrix: {colour: [red, blue]}
"""
ONE_FAILS = (
    """--duration 0.05 --faults '[{"on": "task", "do": "task_fails", "match": {"prompt_contains": "red"}}]'"""
)


@pytest.fixture
def manifest(command: Command) -> Path:
    return command.write("my manifests/words.yaml", MANIFEST)


def test_problems_are_told_from_top_to_bottom_and_warnings_say_that_they_are(command: Command) -> None:
    path = command.write(
        "bad.yaml",
        MANIFEST.replace("polling:", "buget: {}\npolling:")
        + "  - {id: a, prompt: x}\n  - {id: b, prompt: x}\n  - {id: c, params: {duration: 99}}\n",
    )

    lines = command("validate", path).stderr.splitlines()
    problems = command("validate", path, "--json").json["manifests"][0]["problems"]

    assert [line.split(":")[1] for line in lines[:-1]] == ["4", "12", "12", "11"]
    assert [":11:10: warning: " in line for line in lines[:-1]] == [False, False, False, True]
    assert [problem["line"] for problem in problems] == [4, 12, 12, 11]
    assert lines[-1].endswith(": 3 errors")


def test_the_end_of_a_run_says_what_failed_where_things_are_and_what_to_type(
    command: Command, manifest: Path
) -> None:
    relative = manifest.relative_to(command.workspace)

    run = command("run", relative, "--sandbox", "--sandbox-options", ONE_FAILS)
    plan = command("plan", relative, "--sandbox", "--all")

    assert run.code == 3
    assert "words: 1 of 2 jobs done, 1 failed\n" in run.stdout
    assert f"{Path('out', 'words', 'sandbox')}\n" in run.stdout
    assert "failed     red 猫  generation:" in run.stdout
    assert "next: rivya-batch retry 'my manifests/words.yaml' --sandbox " in run.stderr
    assert str(command.workspace / "out") not in run.stderr, "results are named as they are seen from here"
    assert "✗ failed     red 猫   grok-imagine-video  generation:" in plan.stdout
    assert all(line == line.rstrip() for line in plan.stdout.splitlines())


def test_what_is_left_to_do_is_said_even_when_nothing_went_wrong(command: Command, manifest: Path) -> None:
    first = command("run", manifest, "--sandbox", "--limit", "1", "--sandbox-options", "--duration 0.05")
    rest = command("run", manifest, "--sandbox", "--sandbox-options", "--duration 0.05")
    again = command("run", manifest, "--sandbox")

    assert (first.code, rest.code, again.code) == (0, 0, 0)
    assert "1 of 2 jobs done, 1 planned" in first.stdout
    assert "next: rivya-batch run " in first.stderr
    assert "all 2 jobs are done" in rest.stdout
    assert "next:" not in rest.stderr
    assert "this run   nothing to send" in again.stdout


def test_options_of_the_sandbox_never_turn_into_a_paid_run(command: Command, manifest: Path) -> None:
    for flags, word in (
        (["--sandbox-options", "--faults flaky"], "--sandbox"),
        (["--sandbox", "--sandbox-options", "'"], "quot"),
        (["--sandbox", "--sandbox-options", "--faults nonsense"], "not a preset"),
    ):
        outcome = command("run", manifest, "--yes", *flags, env={"RIVYA_API_KEY": "rvya_sk_never_used"})

        assert outcome.code == 2, flags
        assert word in outcome.stderr
        assert "Traceback" not in outcome.stderr


def test_a_rehearsal_is_not_mistaken_for_nothing(command: Command, manifest: Path) -> None:
    command("run", manifest, "--sandbox", "--limit", "0")

    told = [command(name, manifest) for name in ("status", "report", "export", "retry", "serve")]
    told.append(command("resolve", manifest, "red 猫", "--abandon"))

    assert [outcome.code for outcome in told] == [2] * 6
    assert all("only rehearsals so far: add --sandbox" in outcome.stderr for outcome in told)
    asked = command("workers")  # has no rehearsals
    assert asked.code == 2
    assert "--sandbox" not in asked.stderr
    typed = f"'{manifest}'"
    unknown = command("pick", manifest, "nobody", "--sandbox")
    assert f"hint: `rivya-batch plan {typed} --all --sandbox` and the page show its ids\n" in unknown.stderr
    rejected = command("retry", manifest, "--rejected", "--sandbox")
    assert f"`rivya-batch pick {typed} ID… --reject --sandbox`\n" in rejected.stderr


def test_a_pattern_that_no_id_is_like_is_told(command: Command, manifest: Path) -> None:
    """A slip of the finger at 23:00 is told then, not found out in the morning."""
    slipped = command("run", manifest, "--sandbox", "--only", "rde*")
    right = command("run", manifest, "--sandbox", "--only", "red*", "--limit", "0")

    assert slipped.code == 0
    assert "--only rde*: no job id matches" in slipped.stderr
    assert "--only" not in right.stderr


def test_more_mistakes_than_fit_are_counted_all_and_said_to_be_more(command: Command) -> None:
    """Of three hundred there were said to be 201, and one more."""
    command.write("rows.csv", "n\n" + "".join(f"{n}/x\n" for n in range(300)))
    path = command.write(
        "many.yaml", MANIFEST.partition("jobs:")[0] + "jobs: [{id: '${row.n}', prompt: x, rows: rows.csv}]\n"
    )

    told = command("validate", path)
    planned = command("plan", path, "--json")

    *_, last, sum_ = told.stderr.splitlines()
    assert "100 more problems not shown" in last
    assert sum_.endswith(": 300 errors")
    assert planned.json["problems_in_all"] == 300
    assert "has 300 problems" in planned.json["message"]


def test_a_manifest_that_is_not_there_is_told_with_the_one_that_is(command: Command, manifest: Path) -> None:
    for name in ("plan", "run", "validate"):
        outcome = command(name, "my manifests/words.yml")
        assert outcome.code == 2
        assert "did you mean my manifests/words.yaml?" in outcome.stderr, name


def test_a_dry_run_plans_with_the_cap_it_is_given(command: Command, manifest: Path) -> None:
    outcome = command("run", manifest, "--dry-run", "--sandbox", "--max-credits", "15", "--json")

    assert outcome.json["credits"]["max_credits"] == 15


def test_a_mistake_in_the_command_line_is_an_object_too(command: Command, manifest: Path) -> None:
    outcome = command("plan", manifest, "--bogus", "--json")

    assert (outcome.code, outcome.json["type"], outcome.json["exit_code"]) == (2, "error", 2)


@pytest.mark.parametrize("arguments", [["models"], ["schema"], ["plan", "words.yaml", "--all"]])
def test_a_reader_that_goes_away_is_no_error(command: Command, arguments: list[str]) -> None:
    command.write("words.yaml", MANIFEST.replace("[red, blue]", str([f"c{n}" for n in range(3000)])))
    process = command.start(*arguments)
    assert process.stdout is not None

    process.stdout.read(1)
    process.stdout.close()

    assert process.stderr is not None
    assert (process.wait(timeout=30), process.stderr.read()) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_behind_stdout_is_told_in_words(command: Command) -> None:
    with Path("/dev/full").open("w") as full:
        outcome = subprocess.run(
            [*programme(), "models"], stdout=full, stderr=subprocess.PIPE, text=True, env=clean_environment()
        )

    assert outcome.returncode == 5
    assert "No space left" in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_without_any_standard_stream_the_run_still_ends_well(command: Command, manifest: Path) -> None:
    closer = "import os, sys; [os.close(n) for n in (0, 1, 2)]; os.execv(sys.argv[1], sys.argv[1:])"
    run = [*programme(), "run", str(manifest), "--sandbox", "--sandbox-options", "--duration 0.05"]

    code = subprocess.call([sys.executable, "-c", closer, *run], env=clean_environment())

    assert code == 0
    assert "2 done" in command("status", manifest, "--sandbox").stdout


def test_an_old_alphabet_is_no_fault(command: Command, manifest: Path) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii"}

    words = command("plan", manifest, env=ascii_only)
    objects = command("plan", manifest, "--json", env=ascii_only)

    assert words.code == objects.code == 0
    assert os.linesep.join(words.stdout.splitlines()[:1]).isascii()
    assert [job["id"] for job in json.loads(objects.stdout)["jobs"]] == ["red 猫", "blue 猫"]


def test_the_file_that_was_probably_meant_is_named(command: Command) -> None:
    command.write("assets/hero.png", "not looked at")
    path = command.write(
        "m.yaml",
        MANIFEST + "  - {id: a, prompt: x, references: [assets/hero.jpg]}\n"
        "  - {id: b, prompt: '${row.text}'}\n  - {id: c, prompt: 'take ${take}'}\n",
    )

    problems = command("validate", path, "--json").json["manifests"][0]["problems"]

    hints = {problem["job"]: problem["hint"] for problem in problems}
    assert hints["a"] == "did you mean assets/hero.png?"
    assert "`rows: file.csv`" in hints["b"]
    assert "`repeat: 3`" in hints["c"]


@pytest.mark.parametrize("colours", [True, False], ids=["in colours", "without"])
def test_on_a_terminal_a_mistake_is_a_picture(command: Command, colours: bool) -> None:
    command.write(
        "m.yaml", "version: 1\nname: test\nmodel: z-image\nprompt: a cat\nbudgt: 1\njobs: [{id: a}]\n"
    )

    terminal, end = pty.openpty()
    environment = clean_environment(TERM="xterm", **({} if colours else {"NO_COLOR": "1"}))
    child = subprocess.Popen(
        [*programme(), "validate", "m.yaml"], cwd=command.workspace, stdout=end, stderr=end, env=environment
    )
    os.close(end)
    shown = b""
    with suppress(OSError):  # nobody has the other end any more
        while piece := os.read(terminal, 4096):
            shown += piece
    os.close(terminal)
    code = child.wait()

    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
    assert code == 2
    assert (b"\x1b[" in shown) == colours
    assert lines[:6] == [
        'error: the top level has no key "budgt"',
        " --> m.yaml:5:1",
        "  |",
        "5 | budgt: 1",
        "  | ^^^^^",
        "  = hint: did you mean `budget`?",
    ]


def test_without_a_terminal_a_mistake_is_a_line(command: Command) -> None:
    command.write(
        "m.yaml", "version: 1\nname: test\nmodel: z-image\nprompt: a cat\nbudgt: 1\njobs: [{id: a}]\n"
    )

    told = command("validate", "m.yaml", env={"FORCE_COLOR": "1"})

    assert told.stderr.splitlines()[0] == (
        'm.yaml:5:1: the top level has no key "budgt"; did you mean `budget`?'
    )


def test_a_rehearsal_of_an_empty_account_says_that_there_is_one_already(command: Command) -> None:
    manifest = command.write(
        "night.yaml",
        "version: 1\nname: night\nmodel: grok-imagine-video\n"
        "params: {duration: 6, resolution: 480p, aspect_ratio: 16:9}\njobs: [{id: a, prompt: x}]\n",
    )
    short = ["--sandbox", "--sandbox-options", "--duration 0.1:0.2 --credits 95"]
    first = command("run", manifest, *short)
    again = command("run", manifest, *short)

    assert "account exists already" not in first.stderr
    assert "account exists already" in again.stderr
    assert "sandbox-service.db" in again.stderr


def test_a_manifest_that_is_not_there_is_likened_by_its_name_alone(command: Command) -> None:
    command.write("11-quote.yaml", "version: 1\n")
    command.write("night.yaml", "version: 1\n")

    assert "did you mean" not in command("run", "nope.yaml", "--yes").stderr
    assert "did you mean" in command("run", "nigth.yaml", "--yes").stderr
