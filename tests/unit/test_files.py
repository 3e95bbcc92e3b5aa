"""The output folder: nothing finished is overwritten, nothing leaves the folder, nothing is lost by a crash."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from runner.errors import Exit, RunnerError, UsageError
from runner.model import Artifact, Sha256
from runner.results.files import Move, OutputFolder, free_room
from runner.results.media import MP4, PNG, FileType
from runner.results.parts import (
    DiskTrouble,
    FolderUnusable,
    PartFile,
    PartOrigin,
    PlaceTrouble,
    Result,
    disk_error,
)

MEDIA = Path(__file__).resolve().parents[1] / "fixtures" / "media"
NOTES = PartOrigin(source="a", validator='"e"', total_bytes=9, boot="b")


@pytest.fixture
def folder(tmp_path: Path) -> OutputFolder:
    return OutputFolder(tmp_path / "out", owner="autumn")


def sha(data: bytes) -> Sha256:
    return Sha256(hashlib.sha256(data).hexdigest())


def ready(folder: OutputFolder, stem: str, data: bytes, *, number: int = 1, media: FileType = MP4) -> Result:
    part = folder.part(stem, number)
    part.begin()
    part.write(data)
    content = part.finish()
    return Result(part=part, file=media, sha256=content.sha256, size_bytes=content.size_bytes, host="h")


def publish(folder: OutputFolder, stem: str, *results: Result, **more: Any) -> tuple[Artifact, ...]:
    """Publish results 1, 2, 3, …"""
    return folder.publish(stem, dict(enumerate(results, start=1)), **more)


def tree(folder: OutputFolder) -> dict[str, bytes]:
    root = folder.root
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


# --- publishing --------------------------------------------------------------------------------


def test_results_get_their_names_and_no_part_is_left(folder: OutputFolder) -> None:
    results = [
        ready(folder, "shots/hero", b"film"),
        ready(folder, "shots/hero", b"frame", number=2, media=PNG),
    ]

    artifacts = publish(folder, "shots/hero", *results)
    folder.clean_parts()

    assert tree(folder) == {"shots/hero.mp4": b"film", "shots/hero+2.png": b"frame"}
    assert [(item.number, item.path, item.mime) for item in artifacts] == [
        (1, folder.root / "shots/hero.mp4", "video/mp4"),
        (2, folder.root / "shots/hero+2.png", "image/png"),
    ]
    assert artifacts[0].sha256 == sha(b"film")
    assert artifacts[0].size_bytes == 4
    assert not (folder.root / ".parts").exists()


def test_a_finished_file_is_moved_not_overwritten(folder: OutputFolder) -> None:
    for data in (b"first", b"second", b"third"):
        publish(folder, "hero", ready(folder, "hero", data))
        folder.sidecar_path("hero").write_bytes(b"about " + data)

    assert tree(folder) == {
        "hero.mp4": b"third",
        "hero.json": b"about third",
        ".old/hero.1.mp4": b"first",
        ".old/hero.1.json": b"about first",
        ".old/hero.2.mp4": b"second",
        ".old/hero.2.json": b"about second",
    }


def test_all_of_a_superseded_result_goes_together(folder: OutputFolder) -> None:
    """Also what the new result has no counterpart of: other extensions, further urls."""
    publish(folder, "hero", ready(folder, "hero", b"old"), ready(folder, "hero", b"more", number=2))
    folder.sidecar_path("hero").write_bytes(b"{}")

    publish(folder, "hero", ready(folder, "hero", b"new", media=PNG))

    assert tree(folder) == {
        "hero.png": b"new",
        ".old/hero.1.mp4": b"old",
        ".old/hero.1+2.mp4": b"more",
        ".old/hero.1.json": b"{}",
    }


def test_files_of_jobs_with_similar_names_stay(folder: OutputFolder) -> None:
    for stem in ("hero.2", "hero.mp4", "heroine", "hero/x"):
        publish(folder, stem, ready(folder, stem, stem.encode()))
    folder.root.joinpath("hero.txt").write_bytes(b"mine")
    before = tree(folder)

    publish(folder, "hero", ready(folder, "hero", b"new"))
    publish(folder, "hero", ready(folder, "hero", b"newer"))

    assert {name: data for name, data in tree(folder).items() if name in before} == before


def test_what_can_be_had_of_several_results_is_there_before_the_rest(folder: OutputFolder) -> None:
    """And the rest gets the names of its own numbers when it comes."""
    some = folder.publish(
        "hero", {1: ready(folder, "hero", b"one"), 4: ready(folder, "hero", b"four", number=4)}
    )
    before = tree(folder)

    whole = folder.publish("hero", {2: ready(folder, "hero", b"two", number=2, media=PNG)}, there=some)

    assert before == {"hero.mp4": b"one", "hero+4.mp4": b"four"}
    assert tree(folder) == {**before, "hero+2.png": b"two"}
    assert [item.number for item in whole] == [1, 2, 4]


def test_files_of_any_type_are_superseded_and_none_takes_the_sidecars_name(folder: OutputFolder) -> None:
    archive = FileType(mime="application/zip", extension="zip")
    publish(folder, "hero", ready(folder, "hero", b"packed", media=archive))
    earlier = [folder.root / "hero.zip", folder.root / "hero.txt", folder.root / "elsewhere.zip"]

    publish(folder, "hero", ready(folder, "hero", b"again", media=archive))
    publish(
        folder,
        "hero",
        ready(folder, "hero", b"{}", media=FileType(mime="application/json", extension="json")),
        earlier=earlier,
    )

    assert tree(folder) == {
        "hero+1.json": b"{}",
        ".old/hero.1.zip": b"packed",
        ".old/hero.2.zip": b"again",
    }


def test_publishing_the_same_content_again_moves_nothing(folder: OutputFolder) -> None:
    """A crash came between the rename and the ledger, so the result was fetched once more."""
    publish(folder, "hero", ready(folder, "hero", b"film"))
    folder.sidecar_path("hero").write_bytes(b"{}")

    publish(folder, "hero", ready(folder, "hero", b"film"))

    assert tree(folder) == {"hero.mp4": b"film", "hero.json": b"{}"}


def test_publishing_goes_on_where_a_crash_stopped_it(folder: OutputFolder) -> None:
    first = ready(folder, "hero", b"one")
    publish(folder, "hero", first)  # and then the power went, before the second

    publish(folder, "hero", ready(folder, "hero", b"one"), ready(folder, "hero", b"two", number=2))

    assert tree(folder) == {"hero.mp4": b"one", "hero+2.mp4": b"two"}


def test_a_symlink_in_the_way_is_moved_and_its_target_stays(folder: OutputFolder, tmp_path: Path) -> None:
    precious = tmp_path / "precious.mp4"
    precious.write_bytes(b"precious")
    folder.root.mkdir()
    (folder.root / "hero.mp4").symlink_to(precious)

    publish(folder, "hero", ready(folder, "hero", b"film"))

    assert precious.read_bytes() == b"precious"
    assert (folder.root / ".old/hero.1.mp4").is_symlink()
    assert not (folder.root / "hero.mp4").is_symlink()


def test_a_folder_in_the_way_is_said_and_the_part_is_kept(folder: OutputFolder) -> None:
    (folder.root / "hero.mp4" / "inside").mkdir(parents=True)
    result = ready(folder, "hero", b"film")

    with pytest.raises(DiskTrouble, match=r"hero\.mp4"):
        publish(folder, "hero", result)

    assert result.part.path.read_bytes() == b"film"


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stem",
    [
        "",
        "/etc/passwd",
        "/x",
        "../x",
        "a/../../x",
        "a//b",
        "a/./b",
        "a/",
        "a\0b",
        ".parts/x",
        ".OLD/x",
        ".moving",
    ],
)
def test_a_name_that_leaves_the_folder_or_is_ours_is_refused(folder: OutputFolder, stem: str) -> None:
    folder.part("another")  # what is remembered of its folder makes no other name good
    folder.part("a/another")
    for act in (folder.part, folder.sidecar_path, lambda stem: folder.path_of(stem, 1, "mp4")):
        with pytest.raises(UsageError):
            act(stem)


def test_a_symlink_out_of_the_output_folder_is_refused(folder: OutputFolder, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder.root / "within").mkdir(parents=True)
    (folder.root / "out").symlink_to(tmp_path / "elsewhere")
    (folder.root / "in").symlink_to(folder.root / "within")

    with pytest.raises(UsageError, match="symlink"):
        folder.path_of("out/hero", 1, "mp4")
    with pytest.raises(UsageError, match="symlink"):
        folder.part("out/deep/hero")
    publish(folder, "in/hero", ready(folder, "in/hero", b"film"))

    assert (folder.root / "within/hero.mp4").read_bytes() == b"film"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_output_folder_may_itself_be_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    folder = OutputFolder(tmp_path / "out")

    publish(folder, "a/b", ready(folder, "a/b", b"film"))

    assert (tmp_path / "disk/a/b.mp4").read_bytes() == b"film"


def test_names_in_any_script_are_ordinary(folder: OutputFolder) -> None:
    stem = "подарок/ギフト 🎁"

    publish(folder, stem, ready(folder, stem, b"film"))

    assert tree(folder) == {f"{stem}.mp4": b"film"}


# --- before a run, and after -----------------------------------------------------------------


def test_a_usable_folder_is_made(folder: OutputFolder) -> None:
    folder.prepare()

    assert folder.root.is_dir()
    assert list(folder.root.iterdir()) == []


def test_a_file_in_the_folders_place_is_bad_usage(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")

    for root in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(FolderUnusable, match="not a folder") as caught:
            OutputFolder(root).prepare()
        assert caught.value.exit_code is Exit.USAGE


def test_a_read_only_folder_is_bad_usage(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "out").mkdir(mode=0o555)

    with pytest.raises(FolderUnusable):
        OutputFolder(tmp_path / "out").prepare()


@pytest.mark.parametrize(
    ("number", "cls", "says"),
    [
        (errno.ENOSPC, DiskTrouble, "the disk is full"),
        (errno.EDQUOT, DiskTrouble, "the disk is full"),
        (errno.EACCES, DiskTrouble, "cannot be written"),  # in mid-run; `prepare` ends with 2
        (errno.EROFS, DiskTrouble, "cannot be written"),
        (errno.EIO, DiskTrouble, "is missing"),
        (errno.ENOTCONN, DiskTrouble, "is missing"),
        (errno.ENODEV, DiskTrouble, "is missing"),
        (errno.EBUSY, DiskTrouble, "cannot write"),
        (errno.EEXIST, PlaceTrouble, "something else is where"),
        (errno.ENAMETOOLONG, PlaceTrouble, "something else is where"),
        (errno.EMFILE, DiskTrouble, "too many files"),
    ],
)
def test_errors_of_the_disk_say_what_to_do(
    tmp_path: Path, number: int, cls: type[RunnerError], says: str
) -> None:
    error = disk_error(OSError(number, os.strerror(number), str(tmp_path)), tmp_path)

    assert type(error) is cls
    assert says in error.message
    assert str(tmp_path) in error.message
    assert error.hint
    assert ("MB free" in error.message) == (number in (errno.ENOSPC, errno.EDQUOT))


def test_a_full_disk_is_temporary_trouble(folder: OutputFolder) -> None:
    """/dev/full takes nothing, as a full disk does."""
    part = folder.part("hero")
    part.begin()
    number = os.open("/dev/full", os.O_WRONLY)
    os.dup2(number, part._file.fileno())  # type: ignore[union-attr]
    os.close(number)

    with pytest.raises(DiskTrouble, match="the disk is full"):
        part.write(b"x")

    part.close()


def test_free_space_is_that_of_a_folder_yet_to_be_made(folder: OutputFolder) -> None:
    _, free = free_room(folder.root)

    assert free > 0
    assert not folder.root.exists()


def test_stale_parts_go_and_those_of_others_stay(tmp_path: Path) -> None:
    mine, other = OutputFolder(tmp_path, owner="mine"), OutputFolder(tmp_path, owner="other")
    for folder, stem, number in (
        (mine, "a", 1),
        (mine, "deep/b", 1),
        (mine, "deep/b", 2),
        (mine, "c.part", 1),
        (other, "a", 1),
    ):
        part = folder.part(stem, number)
        part.begin(0, NOTES)
        part.write(b"half")
        part.close()
    kept = mine.part("deep/b", 2).path, mine.part("deep/b", 1).path

    removed = mine.clean_parts(keep={"deep/b"})

    assert removed == 2
    assert all(path.exists() for path in kept)
    assert mine.part("deep/b").progress() == NOTES
    assert other.part("a").size() == 4
    assert mine.clean_parts() == 2
    assert other.clean_parts() == 1
    assert list(tmp_path.iterdir()) == []
    assert mine.clean_parts() == 0


# --- parts -----------------------------------------------------------------------------------


@pytest.fixture
def part(folder: OutputFolder) -> PartFile:
    return folder.part("hero")


def test_a_part_goes_on_behind_what_it_has(part: PartFile) -> None:
    part.begin(0, NOTES)
    part.write(b"abcdef")
    part.close()

    assert (part.size(), part.progress()) == (6, NOTES)
    part.begin(4)
    part.write(b"XY")

    assert part.finish().sha256 == sha(b"abcdXY")
    assert part.progress() == NOTES


def test_a_part_begun_anew_forgets_what_was_noted(part: PartFile) -> None:
    part.begin(0, NOTES)
    part.write(b"abcdef")
    part.close()

    part.begin()

    assert (part.size(), part.progress()) == (0, None)
    part.close()


@pytest.mark.parametrize(
    "notes",
    ["", "[]", "null", "{", '{"source": 1}', "\0", "[" * 100_000,
     '{"source": "a", "validator": 1, "total_bytes": 1, "boot": "b"}',
     '{"source": "a", "validator": "e", "total_bytes": -1, "boot": "b"}',
     '{"source": "a", "validator": "e", "total_bytes": true, "boot": "b"}'],
)  # fmt: skip
def test_broken_notes_mean_starting_over(part: PartFile, notes: str) -> None:
    part.begin()
    part.close()
    part.path.with_name("hero.part.json").write_text(notes)

    assert part.progress() is None


def test_a_finished_part_is_tried(part: PartFile) -> None:
    data = (MEDIA / "clip.mp4").read_bytes()
    part.begin()
    part.write(data)
    whole = part.finish()
    part.begin()
    part.write(data[:-5])
    cut = part.finish()

    assert (whole.media, whole.cut, whole.size_bytes, whole.sha256) == (MP4, None, len(data), sha(data))
    assert cut.cut is not None


def test_a_part_is_never_written_through_a_symlink(part: PartFile, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    part.path.parent.mkdir(parents=True)
    part.path.symlink_to(precious)

    with pytest.raises(RunnerError):
        part.begin()
    with pytest.raises(RunnerError):
        part.take_whole(b"film")

    assert precious.read_bytes() == b"precious"


# --- renamed jobs ----------------------------------------------------------------------------


def put(folder: OutputFolder, **files: bytes) -> None:
    folder.root.mkdir(exist_ok=True)
    for stem, data in files.items():
        folder.path_of(stem, 1, "mp4").write_bytes(data)


def moves(folder: OutputFolder, *pairs: tuple[str, str, bytes]) -> list[Move]:
    return [
        Move(
            source=folder.path_of(source, 1, "mp4"),
            target=folder.path_of(target, 1, "mp4"),
            sha256=sha(data),
            size_bytes=len(data),
        )
        for source, target, data in pairs
    ]


CASES = {
    "one": ((("a", "b", b"A"),), {"a": b"A"}, {"b": b"A"}),
    "swap": ((("a", "b", b"A"), ("b", "a", b"B")), {"a": b"A", "b": b"B"}, {"a": b"B", "b": b"A"}),
    "chain": ((("a", "b", b"A"), ("b", "c", b"B")), {"a": b"A", "b": b"B"}, {"b": b"A", "c": b"B"}),
    "ring": (
        (("a", "b", b"A"), ("b", "c", b"B"), ("c", "a", b"C")),
        {"a": b"A", "b": b"B", "c": b"C"},
        {"a": b"C", "b": b"A", "c": b"B"},
    ),
    "equal contents in a chain": (
        (("a", "b", b"S"), ("b", "c", b"S")),
        {"a": b"S", "b": b"S"},
        {"b": b"S", "c": b"S"},
    ),
    "equal contents swapped": (
        (("a", "b", b"S"), ("b", "a", b"S")),
        {"a": b"S", "b": b"S"},
        {"a": b"S", "b": b"S"},
    ),
    "case only": ((("hero", "Hero", b"A"),), {"hero": b"A"}, {"Hero": b"A"}),
}


@pytest.mark.parametrize("case", CASES)
def test_files_follow_their_jobs_names(folder: OutputFolder, case: str) -> None:
    pairs, before, after = CASES[case]
    put(folder, **before)

    lost = folder.relocate(moves(folder, *pairs))
    again = folder.relocate(moves(folder, *pairs))

    assert (lost, again) == ((), ())
    assert tree(folder) == {f"{stem}.mp4": data for stem, data in after.items()}
    assert not (folder.root / ".moving").exists()


class Crash(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("case", CASES)
def test_moving_goes_on_after_a_crash_at_any_rename(
    folder: OutputFolder, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, before, after = CASES[case]
    real = Path.rename
    for survived in range(8):
        for path in list(tree(folder)) if folder.root.exists() else []:
            (folder.root / path).unlink()
        put(folder, **before)
        left = [survived]

        def dies(self: Path, target: Path, left: list[int] = left) -> Path:
            if left[0] == 0:
                raise Crash
            left[0] -= 1
            return real(self, target)

        monkeypatch.setattr(Path, "rename", dies)
        crashed = False
        try:
            folder.relocate(moves(folder, *pairs))
        except Crash:
            crashed = True
        monkeypatch.undo()

        assert folder.relocate(moves(folder, *pairs)) == ()
        assert tree(folder) == {f"{stem}.mp4": data for stem, data in after.items()}, survived
        if not crashed:
            return
    pytest.fail("it never got through")


def test_what_stands_at_a_new_name_is_kept_in_old(folder: OutputFolder) -> None:
    put(folder, a=b"A", b=b"somebody's")

    folder.relocate(moves(folder, ("a", "b", b"A")))

    assert tree(folder) == {"b.mp4": b"A", ".old/b.1.mp4": b"somebody's"}


def test_a_file_found_nowhere_is_said(folder: OutputFolder) -> None:
    put(folder, a=b"changed by hand", c=b"C")
    wanted = moves(folder, ("a", "b", b"A"), ("c", "d", b"C"), ("e", "e", b"E"))

    assert folder.relocate(wanted) == (wanted[0], wanted[2])
    assert tree(folder) == {"a.mp4": b"changed by hand", "d.mp4": b"C"}
