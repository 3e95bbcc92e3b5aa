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

OPEN_S = -math.inf  # the opening time of what is open already


class Held(NamedTuple):
    """What the service's own words ("come back in an hour") say of one kind of request."""

    until: float = OPEN_S  # when the next one may go
    beyond: bool = False  # that is later than this run waits when nothing else is left to do


class Holds(NamedTuple):
    """What the service has asked us to wait for, by kind of request; `repeats` are of unclear submits."""

    submits: Held = Held()
    repeats: Held = Held()
    uploads: Held = Held()
    polls: Held = Held()


class FreePlaces(NamedTuple):
    """Whether there is a place for one more open request, and when that changes by itself."""

    full: bool = False
    any_open: bool = False
    room_for_polls: bool = True
    change_at: float = math.inf


class ServiceState(NamedTuple):
    """How well the service answers."""

    ill: bool = False  # one request at a time asks whether it is back
    away_until: float = OPEN_S
    question_first: bool = False
    question_failed: bool = False
    has_answered: bool = True  # properly, in this run
    submit_is_lost: bool = False  # a submit may be paid for, and nothing ever answered properly
    submits_are_lost: bool = False  # so many in a row that they go one by one
    submits_paused_until: float = OPEN_S


class KeyState(NamedTuple):
    """Whether our key is in doubt."""

    ask_at: float = math.inf
    in_doubt: bool = False  # nothing but the question may be sent
    until: float = OPEN_S


class TimeState(NamedTuple):
    """Whether the service's time is known, as far as the next repeat of an unclear submit needs it."""

    known: bool = True
    ask_at: float = math.inf


NO_HOLDS, FREE, WELL, SURE, KNOWN = Holds(), FreePlaces(), ServiceState(), KeyState(), TimeState()


class Conditions(NamedTuple):
    """What is known at one moment. The defaults: all is well. Times are readings of the run's clock, in seconds."""

    now: float
    stopped: bool = False  # nothing more is begun
    nothing_new: bool = False  # no more submits; what is paid is brought home
    paused: bool = False  # by a person
    room: bool = True  # for one more job: under caps, --limit, the canary
    balance_wanted: bool = False  # it is to be asked for before anything new is paid
    one_by_one: bool = False  # nothing new is paid while something else has not ended
    hosts_away: bool = False  # results could not be fetched if there were any
    closed_until: float = OPEN_S  # too many tasks at once: no submit before
    question_open: bool = False
    submits_open: int = 0
    unclear: int = 0  # submits nobody has answered, and not being asked about now
    tasks: int = 0  # waiting for their end
    places: FreePlaces = FREE
    service: ServiceState = WELL
    key: KeyState = SURE
    time: TimeState = KNOWN
    holds: Holds = NO_HOLDS


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
    now, holds = at.now, at.holds
    new_at, again_at = _submits_at(at, holds.submits), _submits_at(at, holds.repeats)
    ever = not (at.stopped or at.nothing_new or at.hosts_away or at.paused or holds.submits.beyond)
    out = at.tasks or at.submits_open or at.unclear
    alone = not at.balance_wanted and not (at.one_by_one and out)
    submit = ever and now >= new_at and alone and not _waits_for_an_answer(at)
    closed_until = _closed_until(at)
    opens_at = at.places.change_at
    for time in (new_at, again_at, holds.uploads.until, holds.polls.until, at.time.ask_at, at.closed_until):
        if now < time < opens_at:
            opens_at = time
    return Gates(
        closed_until <= now and _asks(at, again_at),
        closed_until,
        Gate(submit and at.room, ever and at.room),
        Gate(submit, ever),
        Gate(now >= again_at and at.time.known, not holds.repeats.beyond),
        Gate(now >= holds.uploads.until, not holds.uploads.beyond),
        Gate(now >= holds.polls.until and at.places.room_for_polls, not holds.polls.beyond),
        opens_at,
    )


def _closed_until(at: Conditions) -> float:
    if at.places.full or (at.service.ill and at.places.any_open):
        return at.places.change_at
    if at.now >= at.key.ask_at and not at.question_open:
        return OPEN_S  # for the question only: it is asked
    if at.key.in_doubt:
        return math.inf if at.question_open else at.key.ask_at
    return max(at.key.until, at.service.away_until)


def _asks(at: Conditions, again_at: float) -> bool:
    if at.service.question_first:
        return True
    if at.balance_wanted and not at.question_open:
        return True
    time_at = max(at.time.ask_at, again_at, at.closed_until)
    return not at.question_open and at.now >= min(at.key.ask_at, time_at)


def _submits_at(at: Conditions, held: Held) -> float:
    """Return when the next submit may go: one by one while answers to them are lost."""
    if not at.service.submits_are_lost:
        return held.until
    return math.inf if at.submits_open else max(held.until, at.service.submits_paused_until)


def _waits_for_an_answer(at: Conditions) -> bool:
    """Whether a new job might be paid for nothing: what is there already has to be answered first."""
    if not at.service.has_answered and (at.unclear or at.submits_open or at.service.submit_is_lost):
        return True
    return at.service.question_failed and bool(at.unclear or at.tasks)
