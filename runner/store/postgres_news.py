"""News of a database at a server: who waits here is woken when somebody has committed something."""

from __future__ import annotations

import contextlib

import psycopg

from runner.store.handovers import WORK
from runner.store.postgres import connect, news_of
from runner.store.postgres_errors import as_ours
from runner.store.server_address import ServerAddress


class News:
    """Listens at a server, on a connection of its own. One thread at a time may wait.

    Args:
        address: Where.
        work: Only for what is handed over, not for all that is committed.

    Raises:
        TemporaryTrouble: The server cannot be reached; also by `wait`.
    """

    def __init__(self, address: ServerAddress, *, work: bool) -> None:
        self._address = address
        self._conn = connect(address)
        self._conn.say(f"LISTEN {WORK if work else news_of(self._conn)}")

    def wait(self, most_s: float) -> bool:
        """Wait until something was committed, or for so long; return whether something was."""
        try:
            return bool(list(self._conn.raw.notifies(timeout=most_s, stop_after=1)))
        except psycopg.Error as exc:
            raise as_ours(exc, self._address, "waiting for news of the state database") from exc

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(psycopg.Error):
            self._conn.raw.close()
