"""`export`: the jobs of a manifest as rows for other programs, or its results as a playlist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from runner.api.manifests.opened import read_known
from runner.errors import UsageError
from runner.reports.job_rows import Format, export_rows
from runner.results.parts import disk_errors
from runner.store import manifests
from runner.store.database import open_to_read

BYTE_ORDER_MARK: Final = "\ufeff"


def exported(manifest: Path, *, format_name: str, state: str | None, sandbox: bool) -> Iterator[str]:
    """Yield an export of a manifest's jobs piece by piece.

    Raises:
        UsageError: Nothing was ever run here.
    """
    opened = read_known(manifest, state=state, sandbox=sandbox)
    name, database = opened.settings.name, opened.workspace.database
    with closing(open_to_read(database)) as file:
        if manifests.binding(file.conn, name) is None:
            raise UsageError(
                f"{name} has never been run with {database}",
                hint="`rivya-batch plan` shows what a run would do",
            )
        yield from export_rows(file.conn, name, Format(format_name))


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
