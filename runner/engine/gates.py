"""Which requests may be begun at one moment, and until when the others wait: one pure function over what is known.

Whether a request is worth its permit is the scheduler's word, and whether a payment fits is the budget's, inside the
intent. Here it is decided what may be asked for at all:

```text
 all requests    closed while no place is free, while the service is away, while our key is in doubt
 the question    that is no job's: asked first where the key, the service or its time has to be known
 submits         new | refused: every send of it was refused | unclear: it may have been accepted
 uploads, polls  what the service asked us to wait for
```
"""

from __future__ import annotations

import math
from typing import NamedTuple

OPEN_S = -math.inf  # the time at which something opens that is open already


class Held(NamedTuple):
    """What the service's own words ("come back in an hour") say of one kind of request."""

    until: float = OPEN_S  # when the next one may go
    beyond: bool = False  # that is later than this run waits when nothing else is left to do


NOT_HELD = Held()


class Conditions(NamedTuple):
    """What is known at one moment. The defaults: all is well. Times are readings of the run's clock, in seconds."""

    now: float
    # this run
    stopped: bool = False  # nothing more is begun
    nothing_new: bool = False  # no more submits; what is paid is brought home
    paused: bool = False  # by a person
    room: bool = True  # for one more job: under caps, --limit, the canary
    hosts_away: bool = False  # results could not be fetched if there were any
    # places for open requests
    full: bool = False
    any_open: bool = False
    place_for_polls: bool = True
    places_change_at: float = math.inf
    # the service
    ill: bool = False  # one request at a time asks whether it is back
    away_until: float = OPEN_S
    question_first: bool = False
    question_failed: bool = False
    has_answered: bool = True  # properly, in this run
    submit_is_lost: bool = False  # a submit may be paid for, and nothing ever answered properly
    submits_are_lost: bool = False  # so many in a row that they go one by one
    submits_paused_until: float = OPEN_S
    closed_until: float = OPEN_S  # too many tasks at once: no submit before
    # our key
    key_ask_at: float = math.inf
    key_in_doubt: bool = False  # nothing but the question may be sent
    key_until: float = OPEN_S
    # the service's time, as far as a repeat of an unclear submit needs it
    time_ask_at: float = math.inf
    time_known: bool = True
    question_open: bool = False
    # what it has asked us to wait for
    submits: Held = NOT_HELD
    repeats: Held = NOT_HELD
    uploads: Held = NOT_HELD
    polls: Held = NOT_HELD
    # what is on its way
    submits_open: int = 0
    unclear: int = 0  # submits nobody has answered, and not being asked about now
    tasks: int = 0  # waiting for their end


class Gate(NamedTuple):
    """Whether one kind of request may be begun now, and whether it may in this run, now or after a wait."""

    now: bool
    ever: bool


class Gates(NamedTuple):
    """What may be begun."""

    ask: bool  # the question that is no job's comes before everything
    closed_until: float  # for all requests; in the past: open
    new: Gate
    refused: Gate
    unclear: Gate
    uploads: Gate
    polls: Gate
    opens_at: float  # when the next of those that are closed may open; infinite: when something changes


def gates(at: Conditions) -> Gates:
    """Return what may be begun under these conditions."""
    now = at.now
    ever = not (at.stopped or at.nothing_new or at.hosts_away or at.submits.beyond or at.paused)
    new_at, again_at = _submits_at(at, at.submits), _submits_at(at, at.repeats)
    submit = now >= new_at and not _waits_for_an_answer(at)
    closed_until = _closed_until(at)
    time_at = max(at.time_ask_at, again_at, at.closed_until)
    times = (new_at, again_at, at.uploads.until, at.polls.until, at.time_ask_at, at.closed_until)
    return Gates(
        ask=closed_until <= now and _asks(at, time_at),
        closed_until=closed_until,
        new=Gate(submit and ever and at.room, ever and at.room),
        refused=Gate(submit and ever, ever),
        unclear=Gate(now >= again_at and at.time_known, not at.repeats.beyond),
        uploads=Gate(now >= at.uploads.until, not at.uploads.beyond),
        polls=Gate(now >= at.polls.until and at.place_for_polls, not at.polls.beyond),
        opens_at=min((at.places_change_at, *(time for time in times if time > now))),
    )


def _closed_until(at: Conditions) -> float:
    if at.full or (at.ill and at.any_open):
        return at.places_change_at
    if at.now >= at.key_ask_at and not at.question_open:
        return OPEN_S  # for the question only: it is asked
    if at.key_in_doubt:
        return math.inf if at.question_open else at.key_ask_at
    return max(at.key_until, at.away_until)


def _asks(at: Conditions, time_at: float) -> bool:
    if at.question_first:
        return True
    return not at.question_open and at.now >= min(at.key_ask_at, time_at)


def _submits_at(at: Conditions, held: Held) -> float:
    """Return when the next submit may go: one by one while answers to them are lost."""
    if not at.submits_are_lost:
        return held.until
    return math.inf if at.submits_open else max(held.until, at.submits_paused_until)


def _waits_for_an_answer(at: Conditions) -> bool:
    """Whether a new job might be paid for nothing: what is there already has to be answered first."""
    if not at.has_answered and (at.unclear or at.submits_open or at.submit_is_lost):
        return True
    return at.question_failed and bool(at.unclear or at.tasks)
