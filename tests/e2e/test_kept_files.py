"""Finished files belong to a person: what was made of them is kept, and nothing takes their places unasked."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.imitation.fixtures import Bench, said


def test_what_a_person_has_made_of_finished_files_is_kept_and_only_what_is_gone_is_fetched_again(
    bench: Bench, tmp_path: Path
) -> None:
    """Trimmed in place, moved to an archive behind a link, named anew, touched; deleted, emptied by a crash."""
    names = ("trimmed", "linked", "renamed", "touched", "deleted", "emptied", "dangling")
    jobs = [{"id": name} for name in names]
    bench.write(jobs)
    assert bench.run().code == 0
    before, out = bench.results(), bench.out
    (out / "trimmed.mp4").write_bytes((out / "trimmed.mp4").read_bytes()[:100])
    archive = tmp_path / "archive.mp4"
    (out / "linked.mp4").rename(archive)
    (out / "linked.mp4").symlink_to(archive)
    (out / "renamed.mp4").rename(out / "renamed.m4v")
    os.utime(out / "touched.mp4", (1, 1))
    (out / "deleted.mp4").unlink()
    (out / "emptied.mp4").write_bytes(b"")
    (out / "dangling.mp4").unlink()
    (out / "dangling.mp4").symlink_to(tmp_path / "nothing.mp4")
    edited, fetched = bench.results()["trimmed.mp4"], len(bench.service.ledger.results)

    after = bench.run()
    again = bench.run()
    bench.write([{"id": "trimmed-anew", "prompt": "prompt of trimmed"}, *jobs[1:]])
    moved = bench.run()

    assert (after.code, again.code, moved.code) == (0, 0, 0), said(after) + said(again) + said(moved)
    assert "kept as they are: files of 1 job (trimmed)" in after.stderr
    assert "missing on disk: the files of 3 finished jobs" in after.stderr
    assert "missing" not in again.stderr + moved.stderr
    assert len(bench.service.ledger.results) == fetched + 3
    assert len(bench.service.ledger.payments) == len(names)
    there = bench.results()
    assert there["trimmed-anew.mp4"] == edited
    assert '"trimmed-anew.mp4"' in (out / "report.html").read_text(encoding="utf-8")
    assert there["renamed.m4v"] == before["renamed.mp4"]
    assert "renamed.mp4" not in there
    assert (out / "linked.mp4").is_symlink()
    for name in ("touched", "deleted", "emptied", "dangling"):
        assert there[f"{name}.mp4"] == before[f"{name}.mp4"]


def test_two_manifests_with_the_same_places_are_told_and_do_not_take_them_unasked(bench: Bench) -> None:
    bench.write([{"id": "hero"}, {"id": "cat"}], output={"dir": "films"})
    twin = bench.manifest.with_name("twin.yaml")
    text = bench.manifest.read_text(encoding="utf-8").replace('"night"', '"twin"')
    text = text.replace("prompt of", "twin of")
    twin.write_text(text.replace("hero", "dog").replace("cat", "bird"), encoding="utf-8")
    films, command = bench.manifest.parent / "films", bench.command
    assert bench.run().code == command("run", twin, "--yes").code == 0, "one folder, other names"
    paid = len(bench.service.ledger.payments)
    twin.write_text(text.replace("hero", "Hero"), encoding="utf-8")

    plan = command("plan", twin)
    refused = command("run", twin, "--yes")
    elsewhere = command("run", twin, "--yes", "--state", "other.db", "--may-pay-twice")
    standing = sorted(path.name for path in films.glob("*.mp4"))
    replaced = command("run", twin, "--yes", "--replace")
    first_again = bench.run()
    twin_again = command("run", twin, "--yes")

    for outcome in (refused, elsewhere):
        assert outcome.code == 2, said(outcome)
        assert "night" in outcome.stderr
        assert "twin" in outcome.stderr
        assert "--replace" in outcome.stderr
    assert plan.code == 0
    assert "the manifests twin and night both write to" in said(plan)
    assert standing == ["bird.mp4", "cat.mp4", "dog.mp4", "hero.mp4"]
    assert replaced.code == 0, said(replaced)
    assert len(bench.service.ledger.payments) == paid + 2
    assert first_again.code == 2, "it would bring its own back"
    assert twin_again.code == 0, "all of it is in its place"
    assert (films / ".old" / "cat.1.mp4").exists()


@pytest.fixture
def drive(bench: Bench, tmp_path: Path) -> Iterator[Path]:
    """A small drive of its own at `drive/` beside the manifest; `umount` takes it away."""
    place, disk = bench.manifest.parent / "drive", tmp_path / "disk"
    place.mkdir()
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "none", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("only root may mount")
    subprocess.run(["mount", "--bind", disk, place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], capture_output=True, check=False)
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_drive_that_is_not_mounted_is_not_taken_for_one_whose_files_are_gone(
    bench: Bench, drive: Path
) -> None:
    """Its mount point is an empty folder then: nothing is fetched onto the wrong disk."""
    disk = drive.stat().st_dev
    prompts = bench.write(2, output={"dir": "drive/films"})
    assert bench.run().code == 0
    requests = bench.service.ledger.requests
    subprocess.run(["umount", "-l", drive], check=True)

    away = [bench.command(name, bench.manifest, *more) for name, *more in (("run", "--yes"), ("report",))]
    left = list(drive.iterdir())
    asked = bench.service.ledger.requests
    (drive / "films").mkdir()
    meant = bench.run()

    assert drive.stat().st_dev != disk
    for outcome in away:
        assert outcome.code == 5, said(outcome)
        assert "the drive with" in outcome.stderr
        assert outcome.stderr.count("error:") == 1
    assert left == []
    assert asked == requests
    assert meant.code == 0, said(meant)
    assert len(list((drive / "films").glob("*.mp4"))) == len(prompts)
    assert len(bench.service.ledger.payments) == len(prompts)
