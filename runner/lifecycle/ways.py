"""The ways on: what keeps paid work from coming home, when that counts as settled, and which commands lead on.

Pure rules. A job whose task was accepted never becomes `failed` by what happens here: it stays `waiting` or
`downloading`, its trouble is written into its row, and a person closes it or begins it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from runner.model import State

STUCK = "stuck"  # the `error_class` of such a job, beside the classes of failures


class Trouble(StrEnum):
    """Why the result of an accepted job does not come."""

    UNKNOWN_TASK = "unknown_task"  # the service does not know the task any more
    ODD_END = "odd_end"  # it seems to have ended in a way nobody has documented, and names no result
    NO_RESULT = "no_result"  # it succeeded, and names no result
    NOT_FETCHED = "not_fetched"  # its results are named, and some cannot be had


# The same in words, while it may pass still.
SO_FAR: Mapping[Trouble, str] = {
    Trouble.UNKNOWN_TASK: "the service has not known its task",
    Trouble.ODD_END: "its task seems to have ended without a result",
    Trouble.NO_RESULT: "the service has named no result for it",
    Trouble.NOT_FETCHED: "its results could not be fetched",
}
# How long it has to have lasted, without one better answer, before a person is told that it will not pass: then the
# job can be begun again. A task that was just made may not be seen everywhere yet, and whole services lose sight of
# their tasks for hours: a day. An error may be tried again by the service itself: an hour. A result that is being
# stored is there within seconds: five minutes.
_LASTS_S: Mapping[Trouble, float] = {
    Trouble.UNKNOWN_TASK: 86_400.0,
    Trouble.ODD_END: 3_600.0,
    Trouble.NO_RESULT: 300.0,
    Trouble.NOT_FETCHED: 0.0,
}
# For so long one run waits for it to pass; a later run asks a few times and goes on.
PATIENCE_S = 300.0
FEW_TRIES = 3


def lasts_s(trouble: Trouble) -> float:
    """Return for how many seconds a trouble has to last before it counts as settled."""
    return _LASTS_S[trouble]


def is_settled(trouble: Trouble, *, age_s: float) -> bool:
    """Say whether a trouble that has lasted for `age_s` seconds is likely to stay."""
    return age_s >= _LASTS_S[trouble]


def is_given_up(trouble: Trouble, *, age_s: float, tries: int) -> bool:
    """Say whether this run should wait no longer for a trouble to pass.

    Args:
        trouble: What it is.
        age_s: For how long it has lasted, earlier runs included, in seconds.
        tries: How often this run has asked.
    """
    return tries >= FEW_TRIES and age_s >= min(PATIENCE_S, _LASTS_S[trouble])


# What the next `run` does for such a job, and for nothing: the first way on, always.
FREE: Mapping[Trouble, str] = {
    Trouble.UNKNOWN_TASK: "asks again, free",
    Trouble.ODD_END: "asks again, free",
    Trouble.NO_RESULT: "asks again, free",
    Trouble.NOT_FETCHED: "fetches what is paid for, free; first mend or move away what keeps it, if you can",
}


# What to type, by state, the first way first: those that cost nothing come first. `README.md` shows the same table.
WAYS: Mapping[State, tuple[str, ...]] = {
    State.PLANNED: ("run",),
    State.UPLOADING: ("run",),
    State.SUBMITTING: ("run",),
    State.UNCERTAIN: ("resolve",),
    State.WAITING: ("run", "resolve", "retry"),
    State.DOWNLOADING: ("run", "resolve", "retry"),
    State.DONE: ("run", "retry"),
    State.FAILED: ("retry",),
    State.ABANDONED: ("retry",),
}
