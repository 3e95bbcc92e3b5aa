"""Reference files: what is refused and why, and that what was hashed is what is sent."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import Exit, TemporaryTrouble
from runner.manifest.reference_files import (
    MEMORY_BYTES,
    DiskReferences,
    ReferenceChanged,
    ReferenceMissing,
    open_verified,
)
from runner.manifest.references import ReferenceProblem
from runner.model import Kind, Reference

MEDIA = Path(__file__).resolve().parents[1] / "fixtures" / "media"


class Now:
    """A clock that stands: at the year 2100, so that no file was changed just now."""

    def __init__(self, wall_s: float = 4_102_444_800.0) -> None:
        self._wall_s = wall_s

    def wall_s(self) -> float:
        return self._wall_s

    def mono_s(self) -> float:
        return 0.0

    def boot_s(self) -> float | None:
        return None

    def boot_id(self) -> str | None:
        return None


class Cache:
    def __init__(self) -> None:
        self.known: dict[tuple[str, int, int, int], str] = {}
        self.asked = 0

    def get(self, path: str, size: int, mtime_ns: int, inode: int) -> str | None:
        self.asked += 1
        return self.known.get((path, size, mtime_ns, inode))

    def put(self, path: str, size: int, mtime_ns: int, inode: int, sha256: str) -> None:
        self.known[path, size, mtime_ns, inode] = sha256


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("still.png", "clip.mp4", "tone.mp3"):
        shutil.copy(MEDIA / name, tmp_path / name)
    return tmp_path


def read(root: Path, text: str) -> Reference:
    found = DiskReferences().read(root, text)
    assert isinstance(found, Reference), found
    return found


def refused(root: Path, text: str, **limits: int) -> ReferenceProblem:
    found = DiskReferences(**limits).read(root, text)
    assert isinstance(found, ReferenceProblem), found
    return found


def large_movie(path: Path, size: int) -> Path:
    """Write a whole MP4 of a given size: the clip and a box of padding."""
    data = (MEDIA / "clip.mp4").read_bytes()
    padding = size - len(data)
    path.write_bytes(data + padding.to_bytes(4, "big") + b"free" + b"\7" * (padding - 8))
    return path


def test_a_file_is_what_its_content_says(root: Path) -> None:
    (root / "clip.mp4").rename(root / "holiday.jpg")

    found = read(root, "holiday.jpg")

    assert found.kind is Kind.VIDEO
    assert found.mime == "video/mp4"
    assert found.path == "holiday.jpg"
    assert found.file == root / "holiday.jpg"
    assert found.size_bytes == (MEDIA / "clip.mp4").stat().st_size
    assert found.sha256 == hashlib.sha256((MEDIA / "clip.mp4").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "data", "mime"),
    [
        ("take.mp4", (MEDIA / "tone.m4a").read_bytes().replace(b"M4A ", b"isom"), "audio/mp4"),
        ("take.mp3", b"ID3\3" + bytes(6) + (MEDIA / "tone.flac").read_bytes(), "audio/flac"),
        ("take.mp3", b"\xff\xfb\x90\0" + bytes(range(1, 200)) * 9, "audio/mpeg"),
        ("take.m4a", (MEDIA / "tone.m4a").read_bytes() + b"\x01\x02notes of a player", "audio/mp4"),
        ("take.pcm", b"\xff\xfb\x90\0" + bytes(range(1, 200)) * 9, None),
    ],
)
def test_sound_is_told_by_more_than_its_first_bytes(
    tmp_path: Path, name: str, data: bytes, mime: str | None
) -> None:
    (tmp_path / name).write_bytes(data)

    found = DiskReferences().read(tmp_path, name)

    if mime is None:
        assert isinstance(found, ReferenceProblem)
        assert found.code == "reference-type"
    else:
        assert isinstance(found, Reference)
        assert (found.mime, found.kind) == (mime, Kind.AUDIO)


def test_paths_are_relative_to_the_manifest_or_absolute(root: Path) -> None:
    (root / "sub").mkdir()

    assert read(root / "sub", "../still.png").file == root / "still.png"
    assert read(root / "sub", str(root / "still.png")).file == root / "still.png"


def test_a_symlink_out_of_the_folder_is_followed(root: Path, tmp_path: Path) -> None:
    (root / "inside").mkdir()
    (root / "inside" / "link.png").symlink_to(root / "still.png")

    found = read(root / "inside", "link.png")

    assert found.mime == "image/png"
    assert found.file == root / "inside" / "link.png"


@pytest.mark.parametrize(
    ("make", "code", "what"),
    [
        (lambda path: None, "reference-missing", "does not exist"),
        (lambda path: path.mkdir(), "reference-not-a-file", "is a folder"),
        (lambda path: os.mkfifo(path), "reference-not-a-file", "is a named pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "reference-not-a-file", "is a device"),
        (lambda path: path.symlink_to(path), "reference-missing", "symlink to nowhere"),
        (lambda path: path.symlink_to("gone"), "reference-missing", "does not exist"),
        (lambda path: path.write_bytes(b""), "reference-empty", "is empty"),
        (lambda path: path.write_text("hello"), "reference-type", "looks like text"),
        (
            lambda path: path.write_text("<!DOCTYPE html><html>404"),
            "reference-type",
            "download the file again",
        ),
        (
            lambda path: path.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>'),
            "reference-type",
            "export it as PNG",
        ),
        (lambda path: path.write_text("<html><body>404"), "reference-type", "an HTML page"),
        (lambda path: path.write_bytes(b"%PDF-1.4\n%\xe2\xe3"), "reference-type", "a PDF"),
        (
            lambda path: path.write_bytes((MEDIA / "still.png").read_bytes()[:-1]),
            "reference-cut",
            "not a whole image/png",
        ),
        (
            lambda path: path.write_bytes((MEDIA / "clip.mp4").read_bytes()[:32]),
            "reference-cut",
            "not a whole video/mp4",
        ),
    ],
)
def test_what_is_no_whole_media_file_is_refused(
    root: Path, make: Callable[[Path], object], code: str, what: str
) -> None:
    make(root / "odd.png")

    problem = refused(root, "odd.png")

    assert problem.code == code
    assert what in f"{problem.what}; {problem.hint}"
    assert problem.what.startswith("odd.png ")


def test_a_socket_is_refused(root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "s"))

        assert refused(root, "s").code == "reference-not-a-file"


def test_a_file_nobody_may_read_is_refused(root: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (root / "still.png").chmod(0)

    assert refused(root, "still.png").code == "reference-unreadable"


@pytest.mark.parametrize("text", ["", "a\0b.png", "x" * 300, "still.png/more.png"])
def test_what_is_no_path_is_refused(root: Path, text: str) -> None:
    assert refused(root, text).code in ("reference-path", "reference-missing")


def test_a_huge_file_is_refused_unread(root: Path) -> None:
    with (root / "huge.mp4").open("wb") as file:
        file.truncate(5_000_000_000)  # sparse

    problem = refused(root, "huge.mp4")

    assert problem.code == "reference-too-large"
    assert "5,000 MB" in problem.what


def test_a_file_is_hashed_once_while_it_looks_the_same(root: Path) -> None:
    cache = Cache()
    references = DiskReferences(cache, clock=Now())
    first = references.read(root, "still.png")
    (looks,) = cache.known
    cache.known[looks] = "f" * 64

    second = references.read(root, "still.png")

    assert isinstance(first, Reference)
    assert isinstance(second, Reference)
    assert first.sha256 != "f" * 64
    assert second.sha256 == "f" * 64


def test_a_file_that_changed_is_hashed_again(root: Path) -> None:
    references = DiskReferences(Cache(), clock=Now())
    first = references.read(root, "still.png")
    shutil.copy(MEDIA / "still.jpg", root / "still.png")

    second = references.read(root, "still.png")

    assert isinstance(first, Reference)
    assert isinstance(second, Reference)
    assert first.sha256 != second.sha256


def test_the_times_of_a_file_written_just_now_prove_nothing(root: Path) -> None:
    cache = Cache()

    DiskReferences(cache, clock=Now((root / "still.png").stat().st_mtime + 0.5)).read(root, "still.png")

    assert cache.asked == 1
    assert cache.known == {}


def test_what_was_hashed_is_what_is_sent(root: Path) -> None:
    reference = read(root, "still.png")

    with open_verified(reference) as content:
        (root / "still.png").write_bytes(b"something else now")
        assert hashlib.sha256(content.read()).hexdigest() == reference.sha256


def test_a_large_file_is_sent_as_it_was_hashed_too(root: Path) -> None:
    large_movie(root / "large.mp4", MEMORY_BYTES + 1_000_000)
    reference = read(root, "large.mp4")

    with open_verified(reference) as content:
        with (root / "large.mp4").open("r+b") as file:
            file.seek(2_000_000)
            file.write(b"changed")
        data = content.read()

    assert len(data) == reference.size_bytes
    assert hashlib.sha256(data).hexdigest() == reference.sha256


@pytest.mark.parametrize("change", ["other", "longer", "shorter", "folder"])
def test_a_file_that_changed_since_it_was_planned_is_not_sent(root: Path, change: str) -> None:
    reference = read(root, "still.png")
    data = (root / "still.png").read_bytes()
    match change:
        case "other":
            (root / "still.png").write_bytes(data[:-1] + b"x")
        case "longer":
            (root / "still.png").write_bytes(data + b"x")
        case "shorter":
            (root / "still.png").write_bytes(data[:-1])
        case "folder":
            (root / "still.png").unlink()
            (root / "still.png").mkdir()

    with pytest.raises(ReferenceChanged) as caught:
        open_verified(reference)

    assert "still.png" in caught.value.message
    assert caught.value.exit_code is Exit.USAGE


def test_a_file_that_vanished_is_said_to_be_missing(root: Path) -> None:
    reference = read(root, "still.png")
    (root / "still.png").unlink()

    with pytest.raises(ReferenceMissing, match=r"still\.png does not exist"):
        open_verified(reference)


def test_no_room_for_a_copy_is_temporary_trouble(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large_movie(root / "large.mp4", MEMORY_BYTES + 1000)
    reference = read(root, "large.mp4")
    monkeypatch.setattr("tempfile.tempdir", str(root / "no such folder"))

    with pytest.raises(TemporaryTrouble, match="cannot keep a copy"):
        open_verified(reference)
