"""Waiting for what others commit, whichever kind of database it is."""

from __future__ import annotations

import threading
from typing import Protocol

from runner.host.workspace import DatabasePlace
from runner.store.server_address import ServerAddress


class WaitsForNews(Protocol):
    """Somebody who waits for others to commit something."""

    def wait(self, most_s: float) -> bool:
        """Wait until something was committed, or for so long; return whether something was, as far as is known."""

    def close(self) -> None:
        """Wait no more."""


class _Nap:
    """A file tells nobody: one looks at it again after a while."""

    def __init__(self) -> None:
        self._over = threading.Event()

    def wait(self, most_s: float) -> bool:
        self._over.wait(most_s)
        return False

    def close(self) -> None:
        self._over.set()


def waits_for(place: DatabasePlace, *, work: bool = False) -> WaitsForNews:
    """Return who waits for what is committed in a database, or only for what is handed over there.

    Raises:
        TemporaryTrouble: Its server cannot be reached.
    """
    if isinstance(place, ServerAddress):
        from runner.store.postgres_news import News

        return News(place, work=work)
    return _Nap()
