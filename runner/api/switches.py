"""`switch`, and the switches of the page: which jobs are not to be submitted until they are switched on again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.api.plan import planned
from runner.errors import UsageError
from runner.host.clock import rfc3339
from runner.host.workspace import DatabasePlace, find_workspace
from runner.lifecycle.selection import fits
from runner.store import diff, switches
from runner.store.database import open_database
from runner.store.switches import Switchable

MOST_ROWS = 100_000

Find = Callable[[int], Switchable | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchesMoved:
    """What became of it: the ids that were moved, those sent already, and all that a run would leave out now."""

    manifest: str
    changed: tuple[str, ...]
    sent: tuple[str, ...]
    off: tuple[str, ...]


def switch_ids(
    path: Path, patterns: Sequence[str], *, off: bool, state: str | None, sandbox: bool
) -> SwitchesMoved:
    """Switch jobs of a manifest off, or on again; nothing is changed where one of the ids is unknown.

    Args:
        path: The manifest. It need not have been run yet.
        patterns: Ids, or patterns of ids; without any, nothing is changed.
        off: Whether they are not to be submitted.
        state: Another database.
        sandbox: The database of rehearsals.

    Raises:
        InvalidManifest: It has mistakes.
        UsageError: An id is unknown.
    """
    with planned(path, state=state, sandbox=sandbox) as (plan, file):
        name = plan.name
        jobs = {job.id: job for job in diff.switchable(file.conn)}
        known = switches.off_ids(file.conn, name)
    wanted: dict[str, Switchable] = {}
    for pattern in patterns:
        found = [pattern] if pattern in jobs else [id_ for id_ in jobs if fits(pattern, id_)]
        if not found:
            raise UsageError(f"{name} has no job {pattern}", hint="`rivya-batch plan --all` shows its ids")
        wanted.update({id_: jobs[id_] for id_ in found})
    moved = switches.Switched(changed=(), sent=())
    if wanted:
        place = find_workspace(path, state=state, sandbox=sandbox).database
        with closing(open_database(place)) as writing, writing.transaction() as conn:
            moved = switches.put(conn, name, wanted.values(), off=off, now=rfc3339(time.time()))
            known = switches.off_ids(conn, name)
    return SwitchesMoved(
        manifest=name,
        changed=moved.changed,
        sent=moved.sent,
        off=tuple(id_ for id_ in jobs if id_ in known),
    )


def keep_switches(
    place: DatabasePlace, manifest: str, said: Mapping[str, Any], *, find: Find = lambda _: None
) -> tuple[str, ...]:
    """Do what was said on a page, `{"rows": [1, 2], "off": true}`; return the ids that were sent already.

    Args:
        place: The database; it is made where there is none.
        manifest: The manifest's name.
        said: What the page sent.
        find: Knows jobs that have no row yet, or another id in it, by the number that the page has for them.

    Raises:
        ValueError: It means nothing.
        RunnerError: The database cannot be written now.
    """
    rows, off = said.get("rows"), said.get("off")
    if not (isinstance(rows, list) and len(rows) <= MOST_ROWS and isinstance(off, bool)):
        raise ValueError('say {"rows": [1, 2], "off": true}')
    if not all(type(row) is int and 0 <= row < 2**63 for row in rows):
        raise ValueError("each row is a number")
    found = [job for row in rows if (job := find(row)) is not None]
    known = {job.row for job in found}
    with closing(open_database(place)) as file, file.transaction() as conn:
        found += switches.listed(conn, manifest, [row for row in rows if row not in known])
        return switches.put(conn, manifest, found, off=off, now=rfc3339(time.time())).sent
