"""How much room is left on the disks that a run writes to."""

from __future__ import annotations

from pathlib import Path

from runner.host import surroundings
from runner.host.surroundings import Finding
from runner.host.workspace import DatabasePlace
from runner.model import ResultPath
from runner.results.files import free_room


def look_at_room(output_dir: ResultPath, database: DatabasePlace) -> list[Finding]:
    """Look at the room that is left for results, and for the database where that is on another disk.

    Nobody can tell how much is left in a bucket.
    """
    disk, found = None, list[Finding]()
    if isinstance(output_dir, Path):
        disk, free = free_room(output_dir)
        found.append(surroundings.room_for_results(free, str(output_dir)))
    if not isinstance(database, Path):
        return found
    other, free = free_room(database.parent)
    if other != disk:
        found.append(surroundings.room_for_state(free, str(database.parent)))
    return found
