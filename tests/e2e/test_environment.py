"""What README promises of the environment, of `--json`, and of the files beside the database."""

from __future__ import annotations

import re
from pathlib import Path

from tests.imitation.fixtures import Bench, said
from tests.support import HURRIED, HURRIED_TASKS, ROOT


def keys_of(command: str) -> set[str]:
    """Return the keys that schemas/README.md promises for a command."""
    text = (ROOT / "schemas" / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| {re.escape(command)} \| ([^:(\n]*?[`:(].*) \|$", text, re.M)
    assert row, command
    return {"v", *re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)|: .*", "", row[1]))}


def test_the_key_may_be_in_a_file(bench: Bench, tmp_path: Path) -> None:
    bench.write(1)
    (tmp_path / "key").write_text(f"{bench.command.environment.pop('RIVYA_API_KEY')}\n", encoding="utf-8")

    without = bench.run()
    unreadable = bench.run(env={"RIVYA_API_KEY_FILE": str(tmp_path / "nothing")})
    outcome = bench.run(env={"RIVYA_API_KEY_FILE": str(tmp_path / "key")})

    assert [without.code, unreadable.code, outcome.code] == [2, 2, 0], said(outcome)
    assert "RIVYA_API_KEY_FILE" in without.stderr
    assert "cannot read the key file" in unreadable.stderr
    assert len(bench.service.ledger.payments) == 1


def test_the_database_may_be_elsewhere_but_a_rehearsal_never_touches_it(bench: Bench, tmp_path: Path) -> None:
    bench.write(1)
    elsewhere = {"RIVYA_STATE": str(tmp_path / "mine.db")}

    rehearsed = bench.run("--sandbox", *HURRIED_TASKS, env={**HURRIED, **elsewhere})
    assert rehearsed.code == 0, said(rehearsed)
    assert not (tmp_path / "mine.db").exists()
    outcome = bench.run(env=elsewhere)

    assert outcome.code == 0, said(outcome)
    assert (tmp_path / "mine.db").exists()
    assert not bench.database.exists()
    assert bench.command("status", bench.manifest, env=elsewhere).code == 0


def test_every_command_prints_the_keys_that_are_documented(bench: Bench) -> None:
    bench.write(1)
    assert bench.run().code == 0
    bench.write([{"id": "job-1", "promt": "x"}])
    wrong = bench.command("plan", bench.manifest, "--json")
    bench.write(1)

    told = {
        "`validate`": bench.command("validate", bench.manifest, "--json"),
        "`status`": bench.command("status", bench.manifest, "--json"),
        "`report`": bench.command("report", bench.manifest, "--json"),
        "`credits`": bench.command("credits", "--json"),
        "`models`": bench.command("models", "--json"),
        "an error": wrong,
    }

    assert {name: set(outcome.json) for name, outcome in told.items()} == {
        name: keys_of(name) for name in told
    }
    assert wrong.json["exit_code"] == wrong.code == 2
    (standing,) = told["`status`"].json["manifests"]
    assert {"name", "counts", "charged", "reserved", "running", "last_run", "errors", "eta_s"} <= set(
        standing
    )
    for command in (("export", bench.manifest), ("models", "z-image")):
        assert bench.command(*command, "--json").json


def test_every_file_beside_the_database_is_explained(bench: Bench) -> None:
    bench.write(1)
    assert bench.run().code == 0
    assert bench.run("--sandbox", *HURRIED_TASKS, env=HURRIED).code == 0
    text = (ROOT / "state" / "README.md").read_text(encoding="utf-8")
    told = re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| (`.*?) \|", text.partition("\n\n**")[0], re.M)))

    files = {path.name for path in bench.database.parent.iterdir()}

    assert {"runner.db", "runner.log", "sandbox.log", "sandbox-service.db"} <= files
    patterns = [pattern.replace("<name>", "*") for pattern in told]
    assert not {name for name in files if not any(Path(name).match(pattern) for pattern in patterns)}
