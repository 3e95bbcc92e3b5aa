"""Parts whose body came at once: on the disk before anything else, and described by no older notes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.results.files import OutputFolder
from runner.results.parts import PartFile, PartOrigin, write_text

NOTES = PartOrigin(source="a", validator='"e"', total_bytes=9, boot="b")


@pytest.fixture
def folder(tmp_path: Path) -> OutputFolder:
    return OutputFolder(tmp_path / "out", owner="autumn")


@pytest.fixture
def part(folder: OutputFolder) -> PartFile:
    return folder.part("hero")


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def files(folder: OutputFolder) -> dict[str, bytes]:
    root = folder.root
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_a_body_that_came_at_once_replaces_what_an_earlier_attempt_left_and_noted(
    folder: OutputFolder,
) -> None:
    part = folder.part("hero")
    part.begin(0, NOTES)
    part.write(b"more than comes now")
    part.close()
    folder.prepare()  # the next run
    part = folder.part("hero")

    content = part.take_whole(b"film")

    assert (content.size_bytes, content.sha256) == (4, sha(b"film"))
    assert files(folder) == {".parts/autumn/hero.part": b"film"}
    assert (part.noted, part.progress()) == (False, None)


def test_notes_of_an_earlier_run_are_gone_before_the_part_is_another(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = folder.part("hero")
    part.begin(0, NOTES)
    part.write(b"abcdef")
    part.close()
    folder.prepare()

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "open", killed)
    with pytest.raises(KeyboardInterrupt):
        folder.part("hero").take_whole(b"film")
    monkeypatch.undo()

    assert files(folder) == {".parts/autumn/hero.part": b"abcdef"}


def test_a_body_is_on_the_disk_before_it_may_get_its_name(
    part: PartFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bytes] = []
    fsync = os.fsync

    def remember(descriptor: int) -> None:
        synced.append(part.path.read_bytes())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", remember)

    part.take_whole(b"film")

    assert synced == [b"film"]


@pytest.mark.parametrize("name", ["nowhere/plan.json", "a-file/plan.json", "a-folder", "x" * 300])
def test_a_file_that_there_cannot_be_is_named_and_nothing_else_is_left(tmp_path: Path, name: str) -> None:
    (tmp_path / "a-file").write_text("mine")
    (tmp_path / "a-folder").mkdir()

    with pytest.raises(UsageError, match="cannot write") as found:
        write_text(tmp_path / name, ["text"])

    assert str(tmp_path / name) in found.value.message
    assert found.value.hint == "name another file"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-file", "a-folder"]
