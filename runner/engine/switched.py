"""Jobs that a person has switched off, as a run comes upon them; and those that are switched on again meanwhile."""

from __future__ import annotations

from runner.store import switches
from runner.store.connection import Connection


class SwitchedOff:
    """What is switched off of one manifest. That no such job is paid for is seen to by the intent of its submit.

    Args:
        manifest: The manifest's name.
    """

    def __init__(self, manifest: str) -> None:
        self._manifest = manifest
        self._serial = 0
        self._ids: frozenset[str] = frozenset()
        self._left: dict[int, str] = {}  # row: id of jobs that this run has come upon
        self._on_again: list[int] = []

    def ids(self, conn: Connection) -> frozenset[str]:
        """Return the ids that are switched off now."""
        if (serial := switches.last(conn, self._manifest)) != self._serial:
            self._ids, self._serial = switches.off_ids(conn, self._manifest), serial
        return self._ids

    def leave(self, row: int, id_: str) -> None:
        """A job is not sent because it is switched off; it is found again once it is switched on."""
        self._left[row] = id_

    def look(self, conn: Connection) -> bool:
        """Return whether a job that was left is switched on again."""
        if not self._left:
            return False
        off = self.ids(conn)
        back = [row for row, id_ in self._left.items() if id_ not in off]
        for row in back:
            del self._left[row]
        self._on_again += back
        return bool(back)

    def take(self, most: int) -> list[int]:
        """Return rows of jobs that are switched on again, each once."""
        taken, self._on_again = self._on_again[:most], self._on_again[most:]
        return taken
