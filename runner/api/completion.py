"""Completion of ids in the shell: which jobs a person may mean, read from the state database."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

from runner.host.workspace import find_workspace
from runner.store import reporting
from runner.store.database import open_to_read

MOST_IDS = 200
_NAME = re.compile(r"^name:\s*[\"']?([A-Za-z0-9._-]+)", re.M)
_HEAD_CHARS = 20_000


def job_ids(manifest: Path, prefix: str, *, state: str | None, sandbox: bool) -> list[tuple[str, str]]:
    """Return (id, state) of jobs of a manifest that need a person; of all that are listed when none does.

    Args:
        manifest: Its path, as it was typed; it is not checked, and need not be there.
        prefix: How the ids begin.
        state: The database's path, if it was named.
        sandbox: Whether it is a rehearsal.

    Raises:
        UsageError: Nothing was ever run here.
        OSError: The manifest was never run from this path, and cannot be read.
    """
    workspace = find_workspace(manifest, state=state, sandbox=sandbox)
    with closing(open_to_read(workspace.database)) as file:
        name = reporting.name_at(file.conn, str(manifest.resolve())) or _name_in(manifest)
        for needed in (True, False):
            found = reporting.job_ids(file.conn, name, prefix=prefix, for_a_person=needed, limit=MOST_IDS)
            if found:
                return found
    return []


def _name_in(manifest: Path) -> str:
    with manifest.open(encoding="utf-8", errors="replace") as file:
        found = _NAME.search(file.read(_HEAD_CHARS))
    return found[1] if found else ""
