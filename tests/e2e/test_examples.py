"""Each example runs as its first comment says, against the sandbox, and what it makes can be looked at."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from runner.manifest.yaml12 import read_yaml
from tests.support import HURRIED, HURRIED_TASKS, ROOT, Command

EXAMPLES = sorted((ROOT / "manifests").glob("*.yaml"))
JOBS = {
    "01-first-steps": 7,
    "02-matrix": 11,
    "03-csv-rows": 8,
    "04-several-models": 5,
    "05-overnight": 60,
    "06-text-file": 4,
    "07-excel": 5,
    "08-phone-pictures": 4,
}
AT_LENGTH = {"04-several-models", "05-overnight", "07-excel"}
SIGNATURES = {".mp4": b"ftyp", ".png": b"\x89PNG", ".jpg": b"\xff\xd8\xff", ".mp3": b"", ".wav": b"RIFF"}


def marked(path: Path) -> ParameterSet:
    return pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in AT_LENGTH else [])


@pytest.mark.parametrize("path", [marked(each) for each in EXAMPLES if each.stem in JOBS])
def test_an_example_runs_to_its_end_and_then_has_nothing_to_do(
    path: Path, command: Command, examples: Path
) -> None:
    manifest = examples / path.name
    expected = re.search(r"^#\s+exit:\s+(\d+)", manifest.read_text(encoding="utf-8"), re.M)
    assert expected
    name = read_yaml(manifest.read_text(encoding="utf-8"), file=path.name).value["name"]

    first = command("run", manifest, "--sandbox", *HURRIED_TASKS, env=HURRIED)
    again = command("run", manifest, "--sandbox", *HURRIED_TASKS, env=HURRIED)

    assert (first.code, again.code) == (int(expected[1]), int(expected[1])), first.stderr + again.stderr
    with closing(sqlite3.connect(command.workspace / "state" / "sandbox.db")) as state:
        rows = state.execute("SELECT state, round, artifact FROM v_jobs WHERE listed").fetchall()
        payments = state.execute("SELECT sum(payments) FROM v_credits").fetchone()[0]
    assert len(rows) == JOBS[path.stem]
    assert {(row[0], row[1]) for row in rows} == {("done", 1)}
    assert payments == JOBS[path.stem]

    out = command.workspace / "out" / name / "sandbox"
    files = [file for file in out.rglob("*") if file.suffix in SIGNATURES]
    assert len(files) >= JOBS[path.stem]
    assert all(SIGNATURES[file.suffix] in file.read_bytes()[:16] for file in files)
    assert not list(out.rglob("*.part"))


def test_stills_are_made_one_of_each_is_chosen_and_becomes_a_film(command: Command, examples: Path) -> None:
    """As the first comment of the example has it, the line that chooses included."""
    manifest = examples / "09-stills-choose-films.yaml"
    text = manifest.read_text(encoding="utf-8")
    (choice,) = re.findall(r"^#\s+rivya-batch (pick .*)$", text, re.M)

    plan = command("plan", manifest, "--sandbox", "--json")
    stills = command("run", manifest, "--sandbox", *HURRIED_TASKS, env=HURRIED)
    picked = command(*(manifest if part.endswith(".yaml") else part for part in choice.split()))
    films = command("run", manifest, "--sandbox", *HURRIED_TASKS, env=HURRIED)
    again = command("run", manifest, "--sandbox", *HURRIED_TASKS, env=HURRIED)

    assert (plan.json["submits"], plan.json["waits"]["for_choice"]) == (6, ["film-cup", "film-lamp"])
    assert [each.code for each in (stills, picked, films, again)] == [3, 0, 0, 0], (
        stills.stderr + films.stderr
    )
    assert "2 jobs wait for your choice: film-cup, film-lamp" in stills.stderr
    with closing(sqlite3.connect(command.workspace / "state" / "sandbox.db")) as state:
        assert state.execute("SELECT count(*) FROM ledger").fetchone()[0] == 8
        sent = dict(state.execute("SELECT job, refs FROM jobs WHERE job LIKE 'film-%'").fetchall())
    out = command.workspace / "out" / "stills-choose-films" / "sandbox"
    for film, take in (("film-cup", "still-cup-2"), ("film-lamp", "still-lamp-1")):
        (reference,) = json.loads(sent[film])
        assert reference["sha256"] == hashlib.sha256((out / f"{take}.png").read_bytes()).hexdigest()
        assert (out / f"{film}.mp4").read_bytes()[4:8] == b"ftyp"


def test_an_unquoted_aspect_ratio_arrives_as_text(command: Command, examples: Path) -> None:
    """`16:9` is 969 to a YAML 1.1 reader."""
    assert (
        command("run", examples / "01-first-steps.yaml", "--sandbox", *HURRIED_TASKS, env=HURRIED).code == 0
    )

    with closing(sqlite3.connect(command.workspace / "state" / "sandbox.db")) as state:
        bodies = dict(state.execute("SELECT job, body FROM jobs").fetchall())
    ratios = {job: json.loads(body)["params"].get("aspect_ratio") for job, body in bodies.items()}

    assert ratios == {
        "hero": "9:16",
        "cat-cinematic": "16:9",
        "cat-anime": "16:9",
        "dog-cinematic": "16:9",
        "shot-cup-01": "1:1",
        "shot-lamp-02": "2:3",
        "shot-dunes-03": "16:9",
    }


def test_pictures_of_a_phone_are_all_mended(command: Command, examples: Path) -> None:
    manifest = examples / "08-phone-pictures.yaml"

    plan = command("plan", manifest, "--sandbox", "--json")
    text = manifest.read_text(encoding="utf-8").replace("mend: true", "mend: false")
    manifest.write_text(text, encoding="utf-8")
    without = command("plan", manifest, "--sandbox", "--json", "--skip-invalid")

    assert plan.code == 0, plan.stderr
    copies = {Path(item["path"]).name: item["mime"] for item in plan.json["mended"]}
    assert copies == dict.fromkeys(
        ["IMG_0412.jpg", "IMG_0413.heic", "IMG_0414.jpg", "IMG_0415.jpg"], "image/jpeg"
    )
    assert [problem["code"] for problem in plan.json["warnings"]] == ["picture-repaired"]
    assert without.code == 3, without.stderr
    assert without.json["left_out"]["jobs"] == ["IMG_0413", "IMG_0414"]
    warnings = [problem["code"] for problem in without.json["warnings"] if problem["severity"] == "warning"]
    assert warnings == ["picture-turned", "picture-mpo"]
