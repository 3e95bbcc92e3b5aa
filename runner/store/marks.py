"""What the last run of a manifest knew of its payments, written down outside the database.

A database that knows less is an older one: restored from a backup, copied from another machine. Beside the
database such a mark survives when only the file is put back, in the output folder also when all of `state/` is.
It is written after what it tells was committed, so it never knows more than the database it was written for.

    {"rivya_batch_mark": 1, "manifest": "night", "base_url": "https://rivya.ai", "database": "/films/state/runner.db",
     "row": 80, "number": 80, "task_id": "gen_…", "at": "2026-01-01T00:00:00.000Z"}
"""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from runner.model import ResultPath
from runner.results.files import MARKS
from runner.results.parts import DiskTrouble
from runner.results.storage import storage_of
from runner.store.server_address import ServerAddress

_VERSION = 1
MOST_BYTES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentsBegun:
    """How many payments were begun.

    `row` is the last row of the whole ledger, which only grows; `number` counts those of one manifest; `task_id` is
    one of the last tasks the service gave for them.
    """

    row: int
    number: int
    task_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What one run has written down."""

    manifest: str
    base_url: str
    database: str
    begun: PaymentsBegun
    at: str


class Marks:
    """The marks of one manifest, in all their places.

    Args:
        database: Absolute, where it is a file.
        output_dir: Where the results go.
        manifest: The manifest's name.
    """

    def __init__(self, database: Path | ServerAddress, output_dir: ResultPath, manifest: str) -> None:
        self._database, self._manifest = database, manifest
        self._places: tuple[ResultPath, ...] = (output_dir / MARKS / f"{manifest}.json",)
        if isinstance(database, Path):
            self._places = (database.with_name(f"{database.name}.{manifest}.mark"), *self._places)
        self._writing = threading.Lock()
        self.last: PaymentsBegun | None = None  # up to where all is known to be written down

    def read(self) -> list[Mark]:
        """Return the marks there are; one that cannot be read is none."""
        return [mark for place in self._places if (mark := _read(place, self._manifest)) is not None]

    def write(self, begun: PaymentsBegun, *, base_url: str, at: str) -> None:
        """Write down what is committed. It only helps: a place that cannot be written is left as it is."""
        if not self._writing.acquire(blocking=False):
            return  # a drive that hangs has the one before
        try:
            told = {
                "rivya_batch_mark": _VERSION,
                "manifest": self._manifest,
                "base_url": base_url,
                "database": str(self._database),
                **asdict(begun),
                "at": at,
            }
            text = json.dumps(told, ensure_ascii=False) + "\n"
            for place in self._places:
                with contextlib.suppress(OSError, DiskTrouble):
                    _write(place, text)
            self.last = begun
        finally:
            self._writing.release()


def _write(place: ResultPath, text: str) -> None:
    if not isinstance(place, Path):
        storage_of(place).write(place, text.encode(), mime="application/json")
        return
    place.parent.mkdir(exist_ok=True)
    new = place.with_name(f"{place.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(place)


def _read(place: ResultPath, manifest: str) -> Mark | None:
    try:
        told = json.loads(storage_of(place).read(place, MOST_BYTES) or b"")
        if told["rivya_batch_mark"] != _VERSION or told["manifest"] != manifest:
            return None
        task_id = told["task_id"]
        return Mark(
            manifest=manifest,
            base_url=str(told["base_url"]),
            database=str(told["database"]),
            begun=PaymentsBegun(
                row=int(told["row"]),
                number=int(told["number"]),
                task_id=None if task_id is None else str(task_id),
            ),
            at=str(told["at"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
