"""Payments that an earlier run has made and that the database does not know: it is an older one, or a new one."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from runner.errors import StateError
from runner.host.workspace import DatabasePlace
from runner.progress.figures import counted
from runner.results.sidecar import Sidecar
from runner.service.account import same_service
from runner.store import ledger
from runner.store.copies import beside, knows
from runner.store.database import StateDatabase
from runner.store.marks import Mark, Marks


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """So many payments are unknown here; what lies on the disk whole is not among them."""

    number: int
    known: int
    mark: Mark
    database: DatabasePlace
    lost: bool  # there is no older database either

    def in_words(self) -> str:
        """Return what is missing, and since when."""
        if self.lost:
            return (
                f"{self.mark.manifest} was run before: {counted(self.mark.begun.number, 'payment')} until {self.mark.at},"
                f" and the database that recorded them ({self.mark.database}) is gone; {self.number:,} of them cannot be"
                " found on disk either"
            )
        return (
            f"{self.database} is older than the last run of {self.mark.manifest}: that run, until {self.mark.at}, knew"
            f" {counted(self.mark.begun.number, 'payment')}, this database knows {self.known:,}; {self.number:,} cannot be"
            " found on disk either"
        )

    def way_out(self) -> str:
        """Return how to put it right, and how to continue without."""
        copies = beside(self.database) if isinstance(self.database, Path) else []
        whole = [copy for copy in copies if knows(copy, self.mark.begun)]
        if whole:
            move = f"mv {shlex.quote(str(whole[0]))} {shlex.quote(str(self.database))}"
            put_back = f"a complete copy is beside it: `{move}`"
        elif self.mark.database != str(self.database):
            put_back = f"name the right one with --state (it was {self.mark.database})"
        else:
            put_back = "put the right database back"
        return f"{put_back}; or continue without it with --may-pay-twice, which may pay for some again"

    def error(self) -> StateError:
        """Return it as an error: nothing was sent."""
        return StateError(self.in_words(), hint=self.way_out())


def find_missing(
    marks: Marks,
    found: Collection[Mark],
    file: StateDatabase,
    *,
    database: DatabasePlace,
    manifest: str,
    base_url: str,
    adopted: Collection[Sidecar],
) -> Missing | None:
    """Hold what an earlier run has written down against what is known now.

    Args:
        marks: Remembers up to where all is known.
        found: What was written down; read before the database was.
        file: The database, or an empty one where there is none.
        database: Where it is or would be.
        manifest: The manifest's name.
        base_url: The service; another one's payments are another matter.
        adopted: What is on disk although the database does not know it.
    """
    on_disk = {sidecar.task_id for sidecar in adopted}
    missing: list[Missing] = []
    for mark in found:
        if not same_service(mark.base_url, base_url):
            continue
        begun = mark.begun
        has_task = begun.task_id is None or ledger.has_task(file.conn, mark.base_url, begun.task_id)
        if has_task and ledger.last_row(file.conn) >= begun.row:
            marks.last = begun
            continue
        known = ledger.count(file.conn, manifest)
        number = begun.number - known - len(adopted)
        if number > 0 or not (has_task or begun.task_id in on_disk):
            missing.append(
                Missing(
                    number=max(number, 1),
                    known=known,
                    mark=mark,
                    database=database,
                    lost=file.created,
                )
            )
    return max(missing, key=lambda one: one.number, default=None)
