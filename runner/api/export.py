"""`export`: the jobs of a manifest as rows for other programs, or its results as a playlist."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePath

from runner.api.manifests.opened import read_known
from runner.errors import UsageError
from runner.lifecycle.selection import Only
from runner.model import ResultPath, path_of
from runner.reports.job_rows import Format, export_rows, rows
from runner.results.parts import disk_errors
from runner.results.parts import write_text as write_text
from runner.results.storage import DISK, storage_of
from runner.store import manifests
from runner.store.database import StateDatabase, open_to_read


def exported(
    manifest: Path, *, format_name: str, state: str | None, sandbox: bool, only: Only | None = None
) -> Iterator[str]:
    """Yield an export of a manifest's jobs, or of those that are meant, piece by piece.

    Raises:
        UsageError: Nothing was ever run here.
    """
    opened = read_known(manifest, state=state, sandbox=sandbox)
    name, database = opened.settings.name, opened.workspace.database
    with closing(open_to_read(database)) as file:
        _refuse_unknown(file, name)
        yield from export_rows(file.conn, name, Format(format_name), only)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedResults:
    """What `copy_results` did: files that are in the folder now, those among them that were there, and what is away."""

    files: tuple[Path, ...]
    known: int
    missing: tuple[str, ...]


def copy_results(
    manifest: Path, folder: Path, *, state: str | None, sandbox: bool, only: Only | None
) -> CopiedResults:
    """Put the results of jobs into a folder: as hard links, or as copies where links fail.

    Raises:
        UsageError: Nothing was ever run here, or another file is in the place of one.
        DiskTrouble: The disk is full or fails.
    """
    opened = read_known(manifest, state=state, sandbox=sandbox)
    name = opened.settings.name
    files, known, missing = list[Path](), 0, list[str]()
    with closing(open_to_read(opened.workspace.database)) as file:
        _refuse_unknown(file, name)
        for row in rows(file.conn, name, only):
            for source in map(path_of, row["artifacts"] if row["listed"] else ()):
                if storage_of(source).size(source) is None:
                    missing.append(row["job"])
                    continue
                target = folder / _name_in(source, opened.settings.output_dir)
                with disk_errors(folder):
                    known += _link(source, target)
                files.append(target)
    return CopiedResults(files=tuple(files), known=known, missing=tuple(missing))


def _name_in(source: ResultPath, output_dir: ResultPath) -> PurePath:
    """Return where a result goes: as it lies in the output folder, so that no two have one name."""
    inside = source.is_relative_to(output_dir)
    return PurePath(*source.relative_to(output_dir).parts) if inside else PurePath(source.name)


def _link(source: ResultPath, target: Path) -> bool:
    """Have a file at another place too; say whether it was there already."""
    storage = storage_of(source)
    if target.exists():
        if _is_same(source, target):
            return True
        raise UsageError(f"{target} is another file; it was left as it is", hint="name an empty folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if isinstance(source, Path):
            target.hardlink_to(source)
            return False
    except OSError:
        pass
    new = target.with_name(f".{target.name}.new")
    try:
        storage.copy_out(source, new)
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)
    return False


def _is_same(source: ResultPath, target: Path) -> bool:
    if isinstance(source, Path):
        return target.samefile(source) or filecmp.cmp(source, target, shallow=False)
    storage = storage_of(source)
    return storage.size(source) == target.stat().st_size and storage.sha256(source) == DISK.sha256(target)


def _refuse_unknown(file: StateDatabase, name: str) -> None:
    if manifests.binding(file.conn, name) is None:
        raise UsageError(
            f"{name} has never been run with {file.place}",
            hint="`rivya-batch plan` shows what a run would do",
        )
