"""This machine: Python, SQLite, the disks that a run writes to, the database. Nothing is written but a tiny object
to the bucket of the results, where they are in one.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from runner.api.checks.check import Check, fine, of_error, of_finding, stop, warning
from runner.api.runs.room import look_at_room
from runner.errors import Exit, RunnerError
from runner.host.environment import descriptors_left
from runner.host.mounts import mount_of
from runner.host.workspace import Workspace
from runner.model import ObjectPath, ResultPath
from runner.results.storage import storage_of
from runner.store import jobs, manifests
from runner.store.database import open_to_read
from runner.store.place import read_mounts, sqlite_version, synced_by

ENOUGH_DESCRIPTORS = 256


def machine(workspace: Workspace, output_dir: ResultPath) -> Iterator[Check]:
    """Yield what is found of this machine.

    Args:
        workspace: Where the state is.
        output_dir: Where results go; it need not exist.
    """
    version = ".".join(map(str, sys.version_info[:3]))
    yield fine("python", f"Python {version} on {platform.system()} {platform.machine()}", of=sys.executable)
    yield fine("sqlite", f"SQLite {sqlite_version()}")
    left = descriptors_left()
    if left is not None and left < ENOUGH_DESCRIPTORS:
        yield warning(
            "files",
            f"this process may open only {left} more files",
            do=f"`ulimit -n 1024`: below {ENOUGH_DESCRIPTORS}, fewer downloads go side by side",
        )
    yield from _disks(workspace, output_dir)
    yield _database(workspace)


def _disks(workspace: Workspace, output_dir: ResultPath) -> Iterator[Check]:
    place = workspace.database
    if isinstance(place, Path):
        mount = mount_of(str(place), read_mounts())
        program = synced_by(place)
        if mount is not None and not mount.keeps_logs:
            yield stop(
                "mount",
                f"the state database would be on a {mount.kind} mount ({mount.point}), which SQLite cannot be used on",
                code=Exit.USAGE,
                of=str(place),
                do="keep it on a disk of this machine: --state FILE",
            )
        elif program is not None:
            yield warning(
                "mount",
                f"{program} seems to keep {place.parent} in step with other machines",
                of=str(place),
                do="keep the database elsewhere (--state FILE): a copy from another machine may replace it",
            )
        else:
            kind = f"{mount.kind}, mounted at {mount.point}" if mount is not None else "unknown kind of disk"
            yield fine("mount", f"the state database is on a disk of this machine ({kind})", of=str(place))
    yield _writable("state", workspace.folder)
    yield _bucket(output_dir) if isinstance(output_dir, ObjectPath) else _writable("results", output_dir)
    try:
        yield from map(of_finding, look_at_room(output_dir, place))
    except RunnerError as exc:
        yield of_error("room", exc)


def _bucket(place: ObjectPath) -> Check:
    """Try what a run tries before it pays: to write, read and remove a tiny object."""
    try:
        storage_of(place).prepare(place)
    except RunnerError as exc:
        return of_error("bucket", exc)
    return fine("bucket", f"objects can be written, read and removed below {place}", of=str(place))


def _writable(what: str, folder: Path) -> Check:
    there = folder
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if os.access(there, os.W_OK | os.X_OK):
        return fine("folder", f"the {what} folder {folder} can be written", of=str(folder))
    do = "make it writable" + (
        ", or use --state FILE" if what == "state" else ", or name another with output.dir"
    )
    return stop(
        "folder", f"{there} cannot be written: {what} would go there", code=Exit.USAGE, of=str(there), do=do
    )


def _database(workspace: Workspace) -> Check:
    name = str(workspace.database)
    try:
        if not workspace.has_database:
            return fine("database", f"there is no state database yet: the first run makes {name}", of=name)
        with closing(open_to_read(workspace.database)) as file:
            names = manifests.names(file.conn)
            open_ = sum(
                number
                for each in names
                for (state, _), number in jobs.counts(file.conn, each).items()
                if state.value in ("submitting", "uncertain", "waiting", "downloading")
            )
            running = [each for each in names if file.holder_of(each) is not None]
    except RunnerError as exc:
        return of_error("database", exc)
    except OSError as exc:
        return stop("database", f"{name} cannot be read: {exc.strerror or exc}", code=Exit.TEMPORARY, of=name)
    told = f"{name}: {len(names):,} manifest{'' if len(names) == 1 else 's'}, {open_:,} unfinished paid jobs"
    going = f"; running now: {', '.join(running)}" if running else ""
    do = "`rivya-batch status` shows them; `rivya-batch run` continues" if open_ and not running else ""
    return fine("database", told + going, of=name, do=do)
