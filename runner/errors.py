"""Every error this package raises on purpose, and the exit code each one ends a run with.

People read the tree; scripts read the codes. An error says what was being done, to which job,
what it costs, and what to type next; the last part goes in `hint`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class Exit(IntEnum):
    """Exit codes of the command, a promise to scripts (README, "Exit codes")."""

    OK = 0
    FAULT = 1  # a bug of ours
    USAGE = 2  # bad usage, invalid input, newer database, read-only folder; nothing was sent
    INCOMPLETE = 3  # some jobs are failed, uncertain, or left out for their mistakes
    REFUSED = 4  # the service refuses our key or its scope
    TEMPORARY = 5  # temporary trouble; run again to continue
    CREDITS = 8  # stopped at a credit limit
    TIME = 10  # stopped at the time limit
    LOCKED = 11  # another run holds this manifest
    INTERRUPTED = 130
    TERMINATED = 143


# When several apply to one run, the first of these that applies is the code of the process. A run that has
# begun ends with one of these: see `of_a_run`.
EXIT_PRECEDENCE: tuple[Exit, ...] = (
    Exit.FAULT,
    Exit.INTERRUPTED,
    Exit.TERMINATED,
    Exit.REFUSED,
    Exit.CREDITS,
    Exit.TIME,
    Exit.TEMPORARY,
    Exit.INCOMPLETE,
    Exit.OK,
)


def of_a_run(code: Exit) -> Exit:
    """Return the code that an error gives a run that has begun.

    "Nothing was sent" is no longer true then: a folder, a file or a database that can no longer be used is
    temporary trouble, to be mended before the run goes on.
    """
    return code if code in EXIT_PRECEDENCE else Exit.TEMPORARY


class RunnerError(Exception):
    """Base of all errors we raise on purpose.

    Args:
        message: What happened, to what, in one or two sentences.
        hint: What the reader can do or type next; may be empty.
    """

    exit_code: ClassVar[Exit] = Exit.FAULT

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(RunnerError):
    """The command, its environment or its input is wrong; nothing was sent."""

    exit_code = Exit.USAGE


class StateError(UsageError):
    """The state database cannot be used as it is (newer, read-only, bound to something else)."""


class KeyRefused(RunnerError):
    """The service refuses our key or its scope."""

    exit_code = Exit.REFUSED


class TemporaryTrouble(RunnerError):
    """Something outside us does not work now; running again goes on where we stopped."""

    exit_code = Exit.TEMPORARY


class Fenced(TemporaryTrouble):
    """Another process has taken over the work of this one: nothing that it writes is kept any more."""


class RunLocked(RunnerError):
    """Another run holds this manifest."""

    exit_code = Exit.LOCKED


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP while nothing has to be drained: leaves as Ctrl-C does, with its own exit code."""
