"""The state database, whichever kind it is: what everybody but the modules of one kind knows of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from runner.errors import TemporaryTrouble
from runner.host.clock import Clock
from runner.host.workspace import DatabasePlace, Holder, RunLock
from runner.store.connection import Connection
from runner.store.server_address import ServerAddress, need_driver
from runner.store.sqlite import StateFile


class StateDatabase(Protocol):
    """An open state database. Not thread-safe: one thread at a time may use it (see `store.writer`)."""

    @property
    def conn(self) -> Connection:
        """The connection; who writes asks for a `transaction`."""

    @property
    def path(self) -> Path | None:
        """Its file; None where it has none."""

    @property
    def place(self) -> DatabasePlace | None:
        """Where it is; None for one in memory."""

    @property
    def created(self) -> bool:
        """Whether it was made as it was opened."""

    @property
    def is_replaced(self) -> bool:
        """Whether another database has come into its place while it was open: what is written is found by nobody."""

    @property
    def rescued_copy(self) -> Path | None:
        """Where what this process knows is kept whole, after it was replaced."""

    def transaction(self) -> AbstractContextManager[Connection]:
        """Begin a write, alone among all who write; commit at the end, roll back on any error."""

    def error_if_replaced(self) -> TemporaryTrouble | None:
        """Return why nothing may be sent on the strength of what is written here; None while it may."""

    def checkpoint(self, *, force: bool = False) -> None:
        """Put in order what was committed, where that is wanted; never waits."""

    def number_on(self, tables: Sequence[str]) -> None:
        """Have the next row of these tables numbered on from the last, after rows came with numbers of their own."""

    def data_version(self) -> int:
        """Return a number that changes whenever somebody else has committed something."""

    def clock_of(self, clock: Clock) -> Clock:
        """Return the clock that all who write here go by, made of this machine's clocks."""

    def lock(self, manifest: str) -> RunLock:
        """Return the lock that guards the runs of a manifest, not yet taken."""

    def holder_of(self, manifest: str) -> Holder | None:
        """Return who holds a manifest now. Any thread may ask."""

    def without_connection(self, workers: Sequence[int]) -> list[int]:
        """Return which of these workers of `store.workers` have lost the connection that they write with."""

    def close(self) -> None:
        """Close it; never raises for what a later opening repairs."""


def open_database(place: DatabasePlace) -> StateDatabase:
    """Open for writing; create and migrate as needed.

    Raises:
        StateError: It cannot be used: no right to write, a newer version, damaged, not ours.
        TemporaryTrouble: A later try may work: the disk is full, another program keeps it locked.
    """
    if isinstance(place, ServerAddress):
        need_driver()
        from runner.store.postgres import ServerDatabase

        return ServerDatabase.open(place)
    return StateFile.open(place)


def open_to_read(place: DatabasePlace) -> StateDatabase:
    """Open to read only; it must exist and be of this version.

    Raises:
        StateError: It cannot be read, is newer or older than this program, or is not ours.
        TemporaryTrouble: Its server cannot be reached.
    """
    if isinstance(place, ServerAddress):
        need_driver()
        from runner.store.postgres import ServerDatabase

        return ServerDatabase.open_to_read(place)
    return StateFile.open_readonly(place)


def empty_database() -> StateDatabase:
    """Open an empty database that is gone when closed (for a plan where none exists yet)."""
    return StateFile.in_memory()
