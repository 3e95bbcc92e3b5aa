"""The output folder: where results land, and what stands there already.

Layout below `root`, for a job whose output name is `shots/hero`:

    shots/hero.mp4  shots/hero+2.png  shots/hero.json      results, and the job's sidecar
    .parts/<owner>/shots/hero.part                         results on their way
    .old/shots/hero.1.mp4  .old/shots/hero.1.json          what a newer result superseded
    .moving/<sha256>.1                                     files between two names, during `relocate`

A finished file is never overwritten. Everything here blocks on the disk; from async code call it in
a worker thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from runner.errors import UsageError
from runner.model import Artifact, Sha256
from runner.results.media import EXTENSIONS
from runner.results.parts import (
    DiskTrouble,
    FolderUnusable,
    PartFile,
    Result,
    disk_error,
    disk_errors,
    sha256_of,
    sync_folder,
)

PARTS, OLD, MOVING = ".parts", ".old", ".moving"
MARKS = ".marks"  # see `runner.store.marks`
RESERVED = frozenset({PARTS, OLD, MOVING, MARKS})
"""Names at the top of an output folder that no job may use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A finished file that belongs at another place now. Both paths are absolute."""

    source: Path
    target: Path
    sha256: Sha256
    size_bytes: int


def free_room(place: Path) -> tuple[int, int]:
    """Return the number of the disk that a folder is on, or would be, and how many bytes may still be written."""
    with disk_errors(place):
        while not place.exists() and place != place.parent:
            place = place.parent
        return place.stat().st_dev, shutil.disk_usage(place).free


class OutputFolder:
    """One manifest's output folder.

    Args:
        root: Absolute path; it need not exist yet.
        owner: The manifest's name: several manifests may share a folder, but not their parts.
    """

    def __init__(self, root: Path, *, owner: str = "run") -> None:
        self.root = root
        self._parts = root / PARTS / owner
        self._safe: set[Path] = set()
        self._noted: set[Path] | None = None  # parts with notes on how to go on; None: not looked for yet

    def prepare(self) -> None:
        """Make the folder and prove that it can be written to, before anything is paid for.

        Raises:
            FolderUnusable: It cannot (exit 2).
            DiskTrouble: Not even an empty file fits (exit 5).
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
            self._noted = {notes.with_suffix("") for notes in self._parts.rglob("*.part.json")}
        except (FileExistsError, NotADirectoryError) as exc:
            raise FolderUnusable(
                f"{self.root} is not a folder", hint="move it away, or set output.dir"
            ) from exc
        except OSError as exc:
            trouble = disk_error(exc, self.root)
            if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise FolderUnusable(
                    trouble.message, hint="look at its permissions, or set output.dir"
                ) from exc
            raise trouble from exc

    def mount(self) -> Path:
        """Return where the drive begins that the folder is on, or would be on."""
        place = self.root.resolve()
        while not place.exists() and place != place.parent:
            place = place.parent
        while not place.is_mount():
            place = place.parent
        return place

    def refuse_without_drive(self, mount: str | None) -> None:
        """Refuse to go on where the drive of the results is not mounted, and its folder seems to be empty or gone.

        Args:
            mount: Where that drive began when it was last there.

        Raises:
            DiskTrouble: It is away.
        """
        if not mount or Path(mount).is_mount():
            return
        try:
            empty = not any(True for _ in self.root.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            empty = True
        except OSError as exc:
            raise disk_error(exc, self.root) from exc
        is_mount = self.root.resolve() == Path(mount)
        if empty and (is_mount or not self.root.exists()):
            lost = "set output.dir" if is_mount else f"make the folder {self.root}"
            raise DiskTrouble(
                f"the drive with {self.root} is missing: nothing is mounted at {mount}",
                hint=f"connect it, then run again; what is paid is kept. If it is gone for good, {lost}, and what was"
                " on it is fetched again for free",
            )

    def path_of(self, stem: str, number: int, extension: str) -> Path:
        """Return where a result belongs: `<stem>.<ext>`, then `<stem>+2.<ext>`.

        Raises:
            UsageError: The name leaves the folder, or is kept for our own use.
        """
        return self._inside(stem, _suffix(number, extension))

    def sidecar_path(self, stem: str) -> Path:
        """Return where a job's sidecar belongs."""
        return self._inside(stem, ".json")

    def part(self, stem: str, number: int = 1, *, second: bool = False) -> PartFile:
        """Return the part file of a job's result, or one to fetch it `second` times; nothing is made on the disk yet."""
        self._inside(stem, "")
        name = f"{stem}+{number}.part" if number > 1 else f"{stem}.part"
        if second:
            name = f"{stem}+{number}+.part"
        return PartFile(self._parts.joinpath(*PurePosixPath(name).parts), self.root, self._noted)

    def publish(
        self,
        stem: str,
        results: Mapping[int, Result],
        *,
        there: Sequence[Artifact] = (),
        earlier: Sequence[Path] = (),
    ) -> tuple[Artifact, ...]:
        """Give results of a job their final names; what other content stood there goes to `.old/`.

        Safe to repeat after a crash at any instruction: a file that has the right content stays. The names are sure to
        be on the disk once the sidecar beside them is written (`sidecar.write`), which syncs their folder for all.

        Args:
            stem: The job's output name.
            results: What has come, by the number of its url.
            there: Other results of the same task, which came before and stay.
            earlier: Files of the job that an earlier sidecar names, whatever their extensions.

        Returns:
            All results of the job that are there now, by number.

        Raises:
            DiskTrouble: The disk fails; the parts are kept.
        """
        placed = {
            number: self.path_of(stem, number, result.file.extension) for number, result in results.items()
        }
        with disk_errors(self.root):
            new = [(placed[number], result) for number, result in results.items()]
            right = {path for path, result in new if _holds(path, result.sha256, result.size_bytes)}
            stay = right | {item.path for item in there}
            count = max([*results, *(item.number for item in there)])
            self._retire(stem, stay, count, [*placed.values(), *earlier])
            for path, result in new:
                if path in right:
                    result.part.discard()
                    continue
                self._make_folder(path.parent)
                result.part.path.rename(path)
                result.part.forget()
        came = [
            Artifact(
                number=number,
                path=placed[number],
                sha256=result.sha256,
                size_bytes=result.size_bytes,
                mime=result.file.mime,
                warning=result.warning,
            )
            for number, result in results.items()
        ]
        kept = [item for item in there if item.number not in results]
        return tuple(sorted([*kept, *came], key=lambda item: item.number))

    def retire_sidecar(self, stem: str) -> None:
        """Move whatever stands at a job's sidecar path to `.old/`."""
        path = self.sidecar_path(stem)
        with disk_errors(self.root):
            if os.path.lexists(path):
                self._to_old([(path, stem, ".json")])

    def of_worker(self, worker: int) -> OutputFolder:
        """Return the same folder with parts of a worker's own: one that was shut out may still write to its."""
        return OutputFolder(self.root, owner=f"{self._parts.name}/{worker}")

    def leave_sign(self, sign: str) -> None:
        """Leave a file among the parts by which others see that they have the same folder."""
        with disk_errors(self.root):
            self._parts.mkdir(parents=True, exist_ok=True)
            (self._parts / sign).touch()

    def has_sign(self, sign: str) -> bool:
        """Say whether the file of another is here."""
        return (self._parts / sign).exists()

    def remove_sign(self, sign: str) -> None:
        """Remove the file; one that cannot be removed does no harm."""
        with contextlib.suppress(OSError):
            (self._parts / sign).unlink(missing_ok=True)

    def clean_parts(self, keep: Collection[str] = ()) -> int:
        """Remove what earlier runs left half-fetched; return how many parts that were.

        Args:
            keep: Output names of jobs that may still go on with theirs.
        """
        removed = 0
        with disk_errors(self.root):
            for folder, _, names in os.walk(self._parts, topdown=False):
                for name in names:
                    path = Path(folder, name)
                    if not _is_kept(path.relative_to(self._parts).as_posix(), keep):
                        path.unlink(missing_ok=True)
                        removed += path.suffix == ".part"
                _remove_if_empty(Path(folder))
            _remove_if_empty(self.root / PARTS)
        return removed

    def relocate(self, moves: Sequence[Move]) -> tuple[Move, ...]:
        """Bring finished files to their jobs' new names, also where jobs have swapped names.

        Judged by content, not by name, so that it can be repeated after a crash: a target that holds
        the wanted content is left alone, and what is wanted is looked for at every source and in
        `.moving/`. What else stands at a target goes to `.old/`.

        Returns:
            The moves whose content was found nowhere.
        """
        with disk_errors(self.root):
            pending = [move for move in moves if not _holds(move.target, move.sha256, move.size_bytes)]
            if not pending:
                return ()
            staged = self._stage(moves, pending)
            for move, path in staged:
                self._inside(move.target.relative_to(self.root).as_posix(), "")
                if os.path.lexists(move.target):
                    stem, suffix = _split(move.target.relative_to(self.root).as_posix())
                    self._to_old([(move.target, stem, suffix), *self._sidecar(stem)])
                self._make_folder(move.target.parent)
                path.rename(move.target)
            for folder in {move.target.parent for move, _ in staged}:
                sync_folder(folder)
            _remove_if_empty(self.root / MOVING)
        found = {id(move) for move, _ in staged}
        return tuple(move for move in pending if id(move) not in found)

    def _stage(self, moves: Sequence[Move], pending: Sequence[Move]) -> list[tuple[Move, Path]]:
        """Take what is wanted out of its present place, into `.moving/`."""
        staging = self.root / MOVING
        waiting: dict[str, list[Path]] = {}
        if staging.is_dir():
            for path in sorted(staging.iterdir()):
                waiting.setdefault(path.name.partition(".")[0], []).append(path)
        wanted = {move.target: move.sha256 for move in moves}
        sources: dict[str, list[Path]] = {}
        for move in moves:
            sources.setdefault(move.sha256, []).append(move.source)
        staged: list[tuple[Move, Path]] = []
        for move in pending:
            if waiting.get(move.sha256):
                staged.append((move, waiting[move.sha256].pop()))
                continue
            # Its own source first; a file that is itself wanted where it is stays there.
            for source in (move.source, *sources[move.sha256]):
                if wanted.get(source) == move.sha256 or not _holds(source, move.sha256, move.size_bytes):
                    continue
                staging.mkdir(exist_ok=True)
                path = _free_name(staging, move.sha256)
                source.rename(path)
                staged.append((move, path))
                break
        return staged

    def _retire(self, stem: str, stay: Collection[Path], count: int, also: Sequence[Path]) -> None:
        """Move a job's earlier files to `.old/`, but for those that stay; the sidecar they had goes with them."""
        moving = {path: suffix for path, suffix in self._standing(stem, count) if path not in stay}
        bare = str(self._inside(stem, ""))
        for path in also:
            in_the_way = os.path.lexists(path) and (path.is_symlink() or not path.is_dir())
            if in_the_way and path not in stay and str(path).startswith(bare):
                moving[path] = str(path).removeprefix(bare)
        if moving:
            self._to_old([*((path, stem, suffix) for path, suffix in moving.items()), *self._sidecar(stem)])

    def _sidecar(self, stem: str) -> list[tuple[Path, str, str]]:
        """Return the sidecar of a job, if there is one: it goes with the files it describes."""
        path = self.sidecar_path(stem)
        return [(path, stem, ".json")] if os.path.lexists(path) else []

    def _standing(self, stem: str, count: int) -> Iterator[tuple[Path, str]]:
        """Yield (path, suffix) of every file that has the name of a result of this job, as media files have them."""
        # Forty names are looked for and hardly one is there: as text until one is.
        bare = str(self._inside(stem, ""))
        number = 1
        while True:
            found = False
            for extension in _EXTENSIONS:
                suffix = _suffix(number, extension)
                if not os.path.lexists(bare + suffix):
                    continue
                path = Path(bare + suffix)
                if path.is_symlink() or not path.is_dir():
                    found = True
                    yield path, suffix
            if not found and number > count:
                return
            number += 1

    def _to_old(self, items: Sequence[tuple[Path, str, str]]) -> None:
        """Move files of one job to `.old/<stem>.<n><suffix>`, all with the same number."""
        old = self.root / OLD
        number = 1
        while any(os.path.lexists(old / f"{stem}.{number}{suffix}") for _, stem, suffix in items):
            number += 1
        for path, stem, suffix in items:
            target = old / f"{stem}.{number}{suffix}"
            self._make_folder(target.parent)
            path.rename(target)
        for folder in {(old / stem).parent for _, stem, _ in items}:
            sync_folder(folder)

    def _inside(self, stem: str, suffix: str) -> Path:
        """Return `<root>/<stem><suffix>` after making sure that it is inside, symlinks included."""
        parts = stem.split("/")
        bad = any(part in ("", ".", "..") or "\0" in part for part in parts)
        if bad or parts[0].casefold() in RESERVED:
            raise UsageError(f"{stem!r} cannot be the name of a result", hint="change output.name")
        folder = self.root.joinpath(*parts[:-1])
        if folder not in self._safe:
            self._refuse_way_out(folder)
            self._safe.add(folder)
        return folder / (parts[-1] + suffix)

    def _refuse_way_out(self, folder: Path) -> None:
        place = self.root
        for part in folder.relative_to(self.root).parts:
            place = place / part
            if place.is_symlink() and not place.resolve().is_relative_to(self.root.resolve()):
                raise UsageError(
                    f"{place} is a symlink that leads out of the output folder",
                    hint="remove it, or set output.dir",
                )

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        folder.mkdir(parents=True, exist_ok=True)
        # A new folder's own name must survive a power cut too.
        for place in (folder, *folder.parents):
            sync_folder(place.parent)
            if place == self.root or place.parent == self.root:
                break


_EXTENSIONS = sorted(EXTENSIONS)


def _suffix(number: int, extension: str) -> str:
    # `hero.json` is the sidecar's name.
    return f"+{number}.{extension}" if number > 1 or extension == "json" else f".{extension}"


def _split(name: str) -> tuple[str, str]:
    """Split `shots/hero+2.mp4` into `shots/hero` and `+2.mp4`."""
    stem, dot, extension = name.rpartition(".")
    stem, plus, number = stem.rpartition("+") if "+" in stem.rpartition("/")[2] else (stem, "", "")
    return stem, f"{plus}{number}{dot}{extension}"


def _holds(path: Path, sha256: Sha256, size_bytes: int) -> bool:
    """Say whether a regular file with this content stands at a path."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size != size_bytes:
            return False
        with path.open("rb") as file:
            return sha256_of(file) == sha256
    except FileNotFoundError:
        return False


def _free_name(folder: Path, stem: str) -> Path:
    number = 1
    while os.path.lexists(folder / f"{stem}.{number}"):
        number += 1
    return folder / f"{stem}.{number}"


def _is_kept(name: str, keep: Collection[str]) -> bool:
    """Say whether `shots/hero+2.part` or its `.part.json` belongs to one of the output names to keep."""
    base = name.removesuffix(".json").removesuffix(".part")
    return base != name and (base in keep or _split(base + ".part")[0] in keep)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return
