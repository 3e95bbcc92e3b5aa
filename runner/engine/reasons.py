"""Why a run ends, and how: all reasons are kept, the first in precedence is the exit code."""

from __future__ import annotations

from runner.errors import EXIT_PRECEDENCE, Exit, of_a_run

MOST = 3  # reasons of one code that are told; a thousand results that cannot be had are one trouble


class Reasons:
    """Collects reasons to stop.

    `halted`: nothing more is begun at all. `no_new`: nothing new is submitted, but what is paid is
    brought home.
    """

    def __init__(self) -> None:
        self.halted = False
        self.no_new = False
        self.to_see = ""  # what was charged is for a person to look at: what another run does then, in words
        self._found: dict[Exit, dict[str, None]] = {}  # each reason once, in the order they came

    def note(self, code: Exit, why: str) -> None:
        """Remember a reason."""
        self._found.setdefault(of_a_run(code), {})[why] = None

    def halt(self, code: Exit, why: str) -> None:
        """Begin nothing more at all."""
        self.note(code, why)
        self.halted = True

    def stop_submitting(self, code: Exit, why: str) -> None:
        """Submit nothing new; bring home what is paid."""
        self.note(code, why)
        self.no_new = True

    def code(self) -> Exit:
        """Return the exit code."""
        return next((code for code in EXIT_PRECEDENCE if code in self._found), Exit.OK)

    def words(self) -> tuple[str, ...]:
        """Return all reasons, those that give the exit code first."""
        told: list[str] = []
        for code in EXIT_PRECEDENCE:
            found = list(self._found.get(code, ()))
            told += found[:MOST]
            if len(found) > MOST:
                told.append(f"and {len(found) - MOST:,} more reasons like these")
        return tuple(told)
