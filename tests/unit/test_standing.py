"""What stands in an output folder is asked once, and still nothing of anybody's is overwritten or lost."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.model import Artifact, Fingerprint, JobId, ModelId
from runner.results import sidecar as sidecars
from runner.results import standing
from runner.results.files import Move, OutputFolder
from runner.results.media import MP4, PNG, FileType
from runner.results.parts import Result
from runner.results.sidecar import Sidecar
from runner.results.standing import StandingNames


@pytest.fixture
def folder(tmp_path: Path) -> OutputFolder:
    made = OutputFolder(tmp_path / "out", owner="autumn")
    made.prepare()
    return made


def publish(
    folder: OutputFolder, stem: str, data: bytes, media: FileType = MP4, **more: Any
) -> tuple[Artifact, ...]:
    """Bring the only result of a job home, as a step does."""
    part = folder.part(stem)
    content = part.take_whole(data)
    result = Result(part=part, file=media, sha256=content.sha256, size_bytes=content.size_bytes, host="h")
    earlier = sidecars.read(folder.sidecar_path(stem))
    artifacts = folder.publish(
        stem, {1: result}, earlier=[item.path for item in earlier.artifacts] if earlier else (), **more
    )
    sidecars.write(folder, stem, about(stem, artifacts))
    return artifacts


def about(stem: str, artifacts: tuple[Artifact, ...]) -> Sidecar:
    return Sidecar(
        manifest="autumn",
        job=JobId(stem),
        fingerprint=Fingerprint("fp1:aa"),
        round=1,
        key="rb1-key",
        base_url="https://rivya.ai",
        sandbox=False,
        model=ModelId("m"),
        prompt=None,
        params={},
        references=(),
        task_id=None,
        reserved_credits=None,
        final_credits=None,
        artifacts=artifacts,
        submitted_at=None,
        finished_at=None,
    )


def media(folder: OutputFolder) -> dict[str, bytes]:
    """Return all files that are no sidecars."""
    root = folder.root
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".json"
    }


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return the names after which the disk is asked, as they are asked; of a folder that is read, `all in` it."""
    names: list[str] = []
    lstat, stat, scandir = os.lstat, os.stat, os.scandir

    def of_a_file(ask: Any, path: Any, **options: Any) -> Any:
        names.append(str(path).rpartition("/")[2])
        return ask(path, **options)

    def of_a_folder(path: Any) -> Any:
        names.append(f"all in {Path(path).name}")
        return scandir(path)

    monkeypatch.setattr(os, "lstat", lambda path, **options: of_a_file(lstat, path, **options))
    monkeypatch.setattr(os, "stat", lambda path, **options: of_a_file(stat, path, **options))
    monkeypatch.setattr(os, "scandir", of_a_folder)
    yield names
    monkeypatch.undo()


# --- what is asked ---------------------------------------------------------------------------


def test_a_new_result_asks_for_its_own_names_alone(folder: OutputFolder, asked: list[str]) -> None:
    publish(folder, "a", b"first")  # reads the folder
    asked.clear()

    publish(folder, "b", b"second")

    assert asked == ["b.mp4", "b.json"]


def test_a_folder_is_read_once(folder: OutputFolder, asked: list[str]) -> None:
    for stem in ("shots/a", "shots/b", "shots/c"):
        publish(folder, stem, b"film")

    assert [name for name in asked if name.startswith("all in")] == ["all in shots"]
    assert not [name for name in asked if name.endswith(".png")]


def test_each_folder_that_a_job_has_alone_asks_for_no_other_endings(
    folder: OutputFolder, asked: list[str]
) -> None:
    for stem in ("a/film", "b/film"):
        publish(folder, stem, b"film")

    assert not [name for name in asked if name.endswith((".png", ".webm"))]


# --- what stood there before -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["hero.png", "hero+2.mp4", "hero.webm"])
def test_what_stood_under_a_jobs_names_before_the_run_goes_aside(folder: OutputFolder, name: str) -> None:
    publish(folder, "other", b"another job's")
    (folder.root / name).write_bytes(b"earlier")

    run = OutputFolder(folder.root, owner="autumn")
    publish(run, "hero", b"film")

    assert media(run) == {
        "hero.mp4": b"film",
        "other.mp4": b"another job's",
        f".old/hero.1{name.removeprefix('hero')}": b"earlier",
    }


def test_a_later_run_retires_what_an_earlier_one_brought_with_another_ending(folder: OutputFolder) -> None:
    publish(folder, "hero", b"still", PNG)

    publish(OutputFolder(folder.root, owner="autumn"), "hero", b"film")

    assert media(folder) == {"hero.mp4": b"film", ".old/hero.1.png": b"still"}


def test_so_does_the_same_run_also_where_the_sidecar_was_never_written(folder: OutputFolder) -> None:
    publish(folder, "hero", b"still", PNG)
    folder.sidecar_path("hero").unlink()

    publish(folder, "hero", b"film")

    assert media(folder) == {"hero.mp4": b"film", ".old/hero.1.png": b"still"}


def test_a_file_that_was_moved_to_a_jobs_name_in_this_run_is_known(folder: OutputFolder) -> None:
    (moved,) = publish(folder, "before", b"still", PNG)
    target = folder.path_of("after", 1, "png")
    move = Move(source=moved.path, target=target, sha256=moved.sha256, size_bytes=moved.size_bytes)
    assert folder.relocate([move]) == ()

    publish(folder, "after", b"film")

    assert media(folder) == {"after.mp4": b"film", ".old/after.1.png": b"still"}


@pytest.mark.parametrize("spelled", ["HÉRO.PNG", unicodedata.normalize("NFD", "héro.png"), "Héro+2.PNG"])
def test_a_name_that_a_disk_may_take_for_the_same_is_asked_for(
    folder: OutputFolder, asked: list[str], spelled: str
) -> None:
    """Only the disk knows whether it tells them apart; here it does, so both stay."""
    (folder.root / spelled).write_bytes(b"a person's")

    publish(folder, "héro", b"film")

    assert "héro.png" in asked
    assert media(folder) == {"héro.mp4": b"film", spelled: b"a person's"}


# --- what comes while a run goes on ----------------------------------------------------------


def test_what_a_person_puts_at_the_very_name_goes_aside_and_is_never_overwritten(
    folder: OutputFolder,
) -> None:
    publish(folder, "other", b"another job's")
    (folder.root / "hero.mp4").write_bytes(b"a person's")
    (folder.root / "hero.json").write_bytes(b"notes of a person")

    publish(folder, "hero", b"film")

    assert media(folder)["hero.mp4"] == b"film"
    assert media(folder)[".old/hero.1.mp4"] == b"a person's"
    assert (folder.root / ".old/hero.1.json").read_bytes() == b"notes of a person"


def test_what_a_person_puts_at_the_very_name_while_the_folder_is_read_is_kept(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def slow(path: Any) -> Any:
        (folder.root / "hero.mp4").write_bytes(b"a person's")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", slow)

    publish(folder, "hero", b"film")

    monkeypatch.undo()
    assert media(folder) == {"hero.mp4": b"film", ".old/hero.1.mp4": b"a person's"}


def test_what_a_person_puts_at_the_sidecars_name_while_it_is_written_is_kept(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def meanwhile(descriptor: int) -> None:
        if (folder.root / "hero.json.new").exists() and not (folder.root / ".old").exists():
            (folder.root / "hero.json").write_bytes(b"notes of a person")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)

    publish(folder, "hero", b"film")

    monkeypatch.undo()
    assert (folder.root / ".old/hero.1.json").read_bytes() == b"notes of a person"
    assert sidecars.read(folder.root / "hero.json") is not None
    assert not (folder.root / "hero.json.new").exists()


def test_what_a_person_puts_beside_it_under_another_ending_stays(folder: OutputFolder) -> None:
    publish(folder, "other", b"another job's")
    (folder.root / "hero.png").write_bytes(b"a person's")

    publish(folder, "hero", b"film")
    first = media(folder)
    publish(folder, "hero", b"a newer still", PNG)

    assert first["hero.png"] == b"a person's"
    assert media(folder) == {
        "hero.png": b"a newer still",
        "other.mp4": b"another job's",
        ".old/hero.1.png": b"a person's",
        ".old/hero.1.mp4": b"film",
    }


def test_what_another_machine_brought_meanwhile_is_known_by_its_sidecar(folder: OutputFolder) -> None:
    publish(folder, "other", b"another job's")
    publish(OutputFolder(folder.root, owner="autumn/2"), "hero", b"still", PNG)

    publish(folder, "hero", b"film")

    assert media(folder) == {
        "hero.mp4": b"film",
        "other.mp4": b"another job's",
        ".old/hero.1.png": b"still",
    }


def test_what_it_brought_and_did_not_describe_is_found_by_a_later_round(folder: OutputFolder) -> None:
    publish(folder, "other", b"another job's")
    publish(OutputFolder(folder.root, owner="autumn/2"), "hero", b"still", PNG)
    (folder.root / "hero.json").unlink()

    publish(folder, "hero", b"film", again=True)

    assert media(folder)[".old/hero.1.png"] == b"still"


# --- folders that cannot be read, or are large -----------------------------------------------


def test_where_a_folder_cannot_be_read_each_name_is_asked_for(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    (folder.root / "hero.png").write_bytes(b"earlier")
    monkeypatch.setattr(os, "scandir", refused)

    publish(folder, "hero", b"film")

    monkeypatch.undo()
    assert media(folder) == {"hero.mp4": b"film", ".old/hero.1.png": b"earlier"}


def test_a_large_folder_is_read_whole_only_once_that_pays(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "_FIRST_LOOK", 10)
    monkeypatch.setattr(standing, "_WORTH_ALL_OF_IT", 4)
    for number in range(30):
        (tmp_path / f"job-{number}.mp4").touch()
    names = StandingNames(tmp_path)

    before = [names.may_stand(f"new-{number}") for number in range(3)]
    after = [names.may_stand(f"later-{number}") for number in range(3)]

    assert before == [True] * 3
    assert after == [False] * 3
    assert asked == [f"all in {tmp_path.name}"] * 2
    assert all(names.may_stand(f"job-{number}") for number in range(30))


def test_no_name_that_stands_is_ever_denied(tmp_path: Path) -> None:
    stems = [f"{number:x}" for number in range(3_000)]
    names = StandingNames(tmp_path)
    assert not names.may_stand("0")

    for stem in stems:
        names.add(stem)

    assert all(names.may_stand(stem) for stem in stems)
    assert sum(names.may_stand(f"other-{stem}") for stem in stems) < len(stems) / 50
