"""The output folder: where results land, and what stands there already. It may be in a bucket.

Layout below `root`, for a job whose output name is `shots/hero`:

    shots/hero.mp4  shots/hero+2.png  shots/hero.json      results, and the job's sidecar
    .parts/<owner>/shots/hero.part                         results on their way; of a bucket, on a disk of this machine
    .old/shots/hero.1.mp4  .old/shots/hero.1.json          what a newer result superseded
    .moving/<sha256>.1                                     files between two names, during `relocate`
    .references/<sha256>                                   see `runner.results.shared_references`

A finished file is never overwritten. Everything here blocks on the disk; from async code call it in
a worker thread.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import UsageError
from runner.model import Artifact, ObjectPath, ResultPath, Sha256
from runner.results.parts import (
    DiskTrouble,
    PartFile,
    Result,
    disk_error,
    disk_errors,
)
from runner.results.shared_references import REFERENCES
from runner.results.standing import StandingNames
from runner.results.storage import DISK, HALF, WhatStands, storage_of, suffix_of

PARTS, OLD, MOVING = ".parts", ".old", ".moving"
HANDED = "handed-"  # begins the name of a file that says that this is the folder of a manifest handed over
MARKS = ".marks"  # see `runner.store.marks`
RESERVED = frozenset({PARTS, OLD, MOVING, MARKS, REFERENCES})
"""Names at the top of an output folder that no job may use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A finished file that belongs at another place now. Both paths are absolute."""

    source: ResultPath
    target: ResultPath
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
        root: Absolute; it need not exist yet.
        owner: The manifest's name: several manifests may share a folder, but not their parts.
        scratch: Where results on their way are instead; needed where `root` is in a bucket.

    Raises:
        UsageError: It is in a bucket, and what is needed for that is not installed.
    """

    def __init__(self, root: ResultPath, *, owner: str = "run", scratch: Path | None = None) -> None:
        self.root = root
        self.storage = storage_of(root)
        if scratch is None:
            assert isinstance(root, Path), "results on their way need a disk"
            scratch = root
        self.scratch = scratch
        self._parts = scratch / PARTS / owner
        self._folders: dict[str, ResultPath] = {}  # those of jobs that were looked at, by their names
        # A bucket is never asked which names it has: the sidecar tells of earlier results.
        self._standing = StandingNames(root) if isinstance(root, Path) else None
        self._noted: set[Path] | None = None  # parts with notes on how to go on; None: not looked for yet

    def prepare(self) -> None:
        """Make the folder and prove that it can be written to, before anything is paid for.

        Raises:
            FolderUnusable: It cannot (exit 2).
            DiskTrouble: Not even an empty file fits (exit 5).
        """
        self.storage.prepare(self.root)
        if self.scratch != self.root:
            DISK.prepare(self.scratch)
        with disk_errors(self.scratch):
            self._noted = {notes.with_suffix("") for notes in self._parts.rglob("*.part.json")}

    def mount(self) -> Path | None:
        """Return where the drive begins that the folder is on, or would be on; None where it is on none."""
        if isinstance(self.root, ObjectPath):
            return None
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
        if not mount or isinstance(self.root, ObjectPath) or Path(mount).is_mount():
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

    def path_of(self, stem: str, number: int, extension: str) -> ResultPath:
        """Return where a result belongs: `<stem>.<ext>`, then `<stem>+2.<ext>`.

        Raises:
            UsageError: The name leaves the folder, or is kept for our own use.
        """
        return self._inside(stem, suffix_of(number, extension))

    def sidecar_path(self, stem: str) -> ResultPath:
        """Return where a job's sidecar belongs."""
        return self._inside(stem, ".json")

    def part(self, stem: str, number: int = 1, *, second: bool = False) -> PartFile:
        """Return the part file of a job's result, or one to fetch it `second` times; nothing is made on the disk yet."""
        self._split_inside(stem)
        name = f"{stem}+{number}.part" if number > 1 else f"{stem}.part"
        if second:
            name = f"{stem}+{number}+.part"
        return PartFile(self._parts / name, self.scratch, self._noted)

    def publish(
        self,
        stem: str,
        results: Mapping[int, Result],
        *,
        there: Sequence[Artifact] = (),
        earlier: Sequence[ResultPath] = (),
        again: bool = False,
    ) -> tuple[Artifact, ...]:
        """Give results of a job their final names; what other content stood there goes to `.old/`.

        So does what stood under their names with other endings when this run first looked at the folder, and what it
        has put there itself. What others put there since under other endings stays, unless `again` or `earlier` says
        that the job had results before: another machine may have brought them.

        Safe to repeat after a crash at any instruction: a file that has the right content stays. The names are sure to
        be on the disk once the sidecar beside them is written (`sidecar.write`), which syncs their folder for all.

        Args:
            stem: The job's output name.
            results: What has come, by the number of its url.
            there: Other results of the same task, which came before and stay.
            earlier: Files of the job that an earlier sidecar names, whatever their extensions.
            again: Whether an earlier round of it may have brought results.

        Returns:
            All results of the job that are there now, by number.

        Raises:
            DiskTrouble: The disk or the bucket fails; the parts are kept.
        """
        storage = self.storage
        placed = {
            number: self.path_of(stem, number, result.file.extension) for number, result in results.items()
        }
        with self._disk_errors():
            # May read a large folder, so before a look at the very names: between that and the rename is no time to lose.
            by_name = again or bool(there) or bool(earlier) or self._may_stand(stem)
            new = [(placed[number], result) for number, result in results.items()]
            found = {path: storage.look(path, result.sha256, result.size_bytes) for path, result in new}
            right = {path for path, standing in found.items() if standing is WhatStands.SAME}
            stay = right | {item.path for item in there}
            count = max([*results, *(item.number for item in there)])
            taken = [path for path, standing in found.items() if standing is WhatStands.OTHER]
            also = [*taken, *(path for path in earlier if path not in found)]
            if by_name or also:
                self._retire(stem, stay, count if by_name else None, also)
            if self._standing is not None:
                self._standing.add(stem)
            for path, result in new:
                if path in right:
                    result.part.discard()
                else:
                    storage.take(result.part, path, result)
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
        with self._disk_errors():
            if self.storage.exists(path):
                self._to_old([(path, stem, ".json")])

    def remove(self, path: ResultPath) -> None:
        """Remove a file of ours."""
        with self._disk_errors():
            self.storage.remove(path)

    def of_worker(self, worker: int) -> OutputFolder:
        """Return the same folder with parts of a worker's own: one that was shut out may still write to its."""
        return OutputFolder(self.root, owner=f"{self._parts.name}/{worker}", scratch=self.scratch)

    def leave_sign_until_removed(self) -> str:
        """Leave such a file that stays when parts are cleaned away; return its name."""
        sign = f"{HANDED}{secrets.token_hex(8)}"
        self.leave_sign(sign)
        return sign

    def leave_sign(self, sign: str) -> None:
        """Leave a file among the parts by which others see that they have the same folder."""
        with self._disk_errors():
            self.storage.write(self._sign(sign), b"", mime="text/plain")

    def has_sign(self, sign: str) -> bool:
        """Say whether the file of another is here."""
        return self.storage.exists(self._sign(sign))

    def remove_sign(self, sign: str) -> None:
        """Remove the file; one that cannot be removed does no harm."""
        with contextlib.suppress(OSError, DiskTrouble):
            self.storage.remove(self._sign(sign))

    def _sign(self, sign: str) -> ResultPath:
        return self.root / PARTS / self._parts.name / sign

    def clean_parts(self, keep: Collection[str] = ()) -> int:
        """Remove what earlier runs left half-fetched; return how many parts that were.

        Args:
            keep: Output names of jobs that may still go on with theirs.
        """
        removed = 0
        with disk_errors(self.scratch):
            for folder, _, names in os.walk(self._parts, topdown=False):
                for name in names:
                    path = Path(folder, name)
                    if not (
                        name.startswith(HANDED) or _is_kept(path.relative_to(self._parts).as_posix(), keep)
                    ):
                        path.unlink(missing_ok=True)
                        removed += path.suffix == ".part"
                _remove_if_empty(Path(folder))
            _remove_if_empty(self.scratch / PARTS)
            for half in self.scratch.joinpath(REFERENCES).glob(f".*{HALF}"):
                half.unlink(missing_ok=True)
        if isinstance(self.root, ObjectPath):
            signs = self.root / PARTS / self._parts.name  # of runs that were killed
            for name in self.storage.names_in(signs):
                self.storage.remove(signs / name)
        return removed

    def relocate(self, moves: Sequence[Move]) -> tuple[Move, ...]:
        """Bring finished files to their jobs' new names, also where jobs have swapped names.

        Judged by content, not by name, so that it can be repeated after a crash: a target that holds
        the wanted content is left alone, and what is wanted is looked for at every source and in
        `.moving/`. What else stands at a target goes to `.old/`.

        Returns:
            The moves whose content was found nowhere.
        """
        storage = self.storage
        with self._disk_errors():
            pending = [move for move in moves if not storage.holds(move.target, move.sha256, move.size_bytes)]
            if not pending:
                return ()
            staged = self._stage(moves, pending)
            for move, path in staged:
                name = move.target.relative_to(self.root).as_posix()
                self._inside(name, "")
                stem, suffix = _split(name)
                if self._standing is not None:
                    self._standing.add(stem)
                if storage.exists(move.target):
                    self._to_old([(move.target, stem, suffix), *self._sidecar(stem)])
                storage.rename(path, move.target)
            storage.settle({move.target.parent for move, _ in staged})
            if isinstance(self.root, Path):
                _remove_if_empty(self.root / MOVING)
        found = {id(move) for move, _ in staged}
        return tuple(move for move in pending if id(move) not in found)

    def _stage(self, moves: Sequence[Move], pending: Sequence[Move]) -> list[tuple[Move, ResultPath]]:
        """Take what is wanted out of its present place, into `.moving/`."""
        staging = self.root / MOVING
        waiting: dict[str, list[ResultPath]] = {}
        for name in self.storage.names_in(staging):
            waiting.setdefault(name.partition(".")[0], []).append(staging / name)
        wanted = {move.target: move.sha256 for move in moves}
        sources: dict[str, list[ResultPath]] = {}
        for move in moves:
            sources.setdefault(move.sha256, []).append(move.source)
        staged: list[tuple[Move, ResultPath]] = []
        for move in pending:
            if waiting.get(move.sha256):
                staged.append((move, waiting[move.sha256].pop()))
                continue
            # Its own source first; a file that is itself wanted where it is stays there.
            for source in (move.source, *sources[move.sha256]):
                if wanted.get(source) == move.sha256:
                    continue
                if not storage_of(source).holds(source, move.sha256, move.size_bytes):
                    continue
                path = self._free_name(staging, move.sha256)
                self.storage.rename(source, path)
                staged.append((move, path))
                break
        return staged

    def _may_stand(self, stem: str) -> bool:
        return self._standing is None or self._standing.may_stand(stem)

    def _retire(
        self, stem: str, stay: Collection[ResultPath], count: int | None, also: Sequence[ResultPath]
    ) -> None:
        """Move a job's earlier files to `.old/`, but for those that stay; the sidecar they had goes with them.

        Args:
            stem: The job's output name.
            stay: Files that stay.
            count: How many numbers to look for with every ending; None: those of `also` only.
            also: Other files of it.
        """
        place = self._inside(stem, "")
        found = () if count is None else self.storage.standing(place, count)
        moving = {path: suffix for path, suffix in found if path not in stay}
        bare = str(place)
        for path in also:
            if path in stay or path in moving or not str(path).startswith(bare):
                continue
            if self.storage.exists(path) and not _is_folder(path):
                moving[path] = str(path).removeprefix(bare)
        if moving:
            self._to_old([*((path, stem, suffix) for path, suffix in moving.items()), *self._sidecar(stem)])

    def _sidecar(self, stem: str) -> list[tuple[ResultPath, str, str]]:
        """Return the sidecar of a job, if there is one: it goes with the files it describes."""
        path = self.sidecar_path(stem)
        return [(path, stem, ".json")] if self.storage.exists(path) else []

    def _to_old(self, items: Sequence[tuple[ResultPath, str, str]]) -> None:
        """Move files of one job to `.old/<stem>.<n><suffix>`, all with the same number."""
        old = self.root / OLD
        number = 1
        while any(self.storage.exists(old / f"{stem}.{number}{suffix}") for _, stem, suffix in items):
            number += 1
        for path, stem, suffix in items:
            self.storage.rename(path, old / f"{stem}.{number}{suffix}")
        self.storage.settle({(old / stem).parent for _, stem, _ in items})

    def _free_name(self, folder: ResultPath, stem: str) -> ResultPath:
        number = 1
        while self.storage.exists(folder / f"{stem}.{number}"):
            number += 1
        return folder / f"{stem}.{number}"

    def _disk_errors(self) -> contextlib.AbstractContextManager[None]:
        """Turn errors of the disk into ours; a bucket's are ours already."""
        return disk_errors(self.root if isinstance(self.root, Path) else self.scratch)

    def _inside(self, stem: str, suffix: str) -> ResultPath:
        """Return `<root>/<stem><suffix>` after making sure that it is inside, symlinks included."""
        place, name = self._split_inside(stem)
        return place / (name + suffix)

    def _split_inside(self, stem: str) -> tuple[ResultPath, str]:
        """Return the folder of an output name, and the name in it, after making sure of that."""
        folder, slash, name = stem.rpartition("/")
        if not _is_name(name) or (not folder and (slash or name.casefold() in RESERVED)):
            raise _no_name(stem)
        place = self._folders.get(folder)
        if place is None:
            parts = folder.split("/") if folder else []
            if not all(map(_is_name, parts)) or (parts and parts[0].casefold() in RESERVED):
                raise _no_name(stem)
            place = self.root.joinpath(*parts)
            if isinstance(place, Path):
                self._refuse_way_out(place)
            self._folders[folder] = place
        return place, name

    def _refuse_way_out(self, folder: Path) -> None:
        assert isinstance(self.root, Path)
        place = self.root
        for part in folder.relative_to(self.root).parts:
            place = place / part
            if place.is_symlink() and not place.resolve().is_relative_to(self.root.resolve()):
                raise UsageError(
                    f"{place} is a symlink that leads out of the output folder",
                    hint="remove it, or set output.dir",
                )


def _is_name(part: str) -> bool:
    return part not in ("", ".", "..") and "\0" not in part


def _no_name(stem: str) -> UsageError:
    return UsageError(f"{stem!r} cannot be the name of a result", hint="change output.name")


def _split(name: str) -> tuple[str, str]:
    """Split `shots/hero+2.mp4` into `shots/hero` and `+2.mp4`."""
    stem, dot, extension = name.rpartition(".")
    stem, plus, number = stem.rpartition("+") if "+" in stem.rpartition("/")[2] else (stem, "", "")
    return stem, f"{plus}{number}{dot}{extension}"


def _is_folder(path: ResultPath) -> bool:
    return isinstance(path, Path) and path.is_dir() and not path.is_symlink()


def _is_kept(name: str, keep: Collection[str]) -> bool:
    """Say whether `shots/hero+2.part` or its `.part.json` belongs to one of the output names to keep."""
    base = name.removesuffix(".json").removesuffix(".part")
    return base != name and (base in keep or _split(base + ".part")[0] in keep)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return
