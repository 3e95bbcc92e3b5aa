"""`export`: the jobs of a manifest as rows for other programs, or its results as a playlist."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runner.api.manifests.opened import read_known
from runner.errors import UsageError
from runner.lifecycle.selection import Only
from runner.reports.job_rows import Format, export_rows, rows
from runner.results.parts import disk_errors
from runner.store import manifests
from runner.store.database import StateDatabase, open_to_read

BYTE_ORDER_MARK: Final = "\ufeff"


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
            for source in map(Path, row["artifacts"] if row["listed"] else ()):
                if not source.is_file():
                    missing.append(row["job"])
                    continue
                target = folder / _name_in(source, opened.settings.output_dir)
                with disk_errors(folder):
                    known += _link(source, target)
                files.append(target)
    return CopiedResults(files=tuple(files), known=known, missing=tuple(missing))


def _name_in(source: Path, output_dir: Path) -> Path:
    """Return where a result goes: as it lies in the output folder, so that no two have one name."""
    return source.relative_to(output_dir) if source.is_relative_to(output_dir) else Path(source.name)


def _link(source: Path, target: Path) -> bool:
    """Have a file at another place too; say whether it was there already."""
    if target.exists():
        if target.samefile(source) or filecmp.cmp(source, target, shallow=False):
            return True
        raise UsageError(f"{target} is another file; it was left as it is", hint="name an empty folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        new = target.with_name(f".{target.name}.new")
        try:
            shutil.copy2(source, new)
            new.replace(target)
        finally:
            new.unlink(missing_ok=True)
    return False


def _refuse_unknown(file: StateDatabase, name: str) -> None:
    if manifests.binding(file.conn, name) is None:
        raise UsageError(
            f"{name} has never been run with {file.place}",
            hint="`rivya-batch plan` shows what a run would do",
        )


def write_text(path: Path, pieces: Iterable[str], *, marked: bool = False) -> None:
    """Write a file whole or not at all.

    Args:
        path: The file.
        pieces: Its text.
        marked: Begin it with a byte order mark, without which Excel takes UTF-8 for the code page of its country.

    Raises:
        UsageError: The folder cannot be written to.
    """
    new = path.with_name(path.name + ".new")
    with disk_errors(path.parent):
        try:
            with new.open("w", encoding="utf-8", errors="backslashreplace", newline="") as out:
                if marked:
                    out.write(BYTE_ORDER_MARK)
                out.writelines(pieces)
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
