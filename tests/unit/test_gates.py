"""What may be begun at one moment, as a table: the condition, and what it closes, asks or leaves open."""

from __future__ import annotations

import math
from typing import Any

import pytest

from runner.engine.gates import (
    Conditions,
    FreePlaces,
    Gate,
    Gates,
    Held,
    Holds,
    KeyState,
    ServiceState,
    TimeState,
    gates,
)

NOW = 100.0
LATER = 130.0
OPEN, WAITS, CLOSED = Gate(now=True, ever=True), Gate(now=False, ever=True), Gate(now=False, ever=False)


_PARTS: dict[str, Any] = {
    "holds": Holds,
    "places": FreePlaces,
    "service": ServiceState,
    "key": KeyState,
    "time": TimeState,
}


def judged(**conditions: Any) -> Gates:
    """Return the gates under some conditions: `key_ask_at` is the field `ask_at` of the condition `key`."""
    parts: dict[str, dict[str, Any]] = {}
    for name in list(conditions):
        part, _, field = name.partition("_")
        if part in _PARTS:
            parts.setdefault(part, {})[field] = conditions.pop(name)
    made = {part: _PARTS[part](**fields) for part, fields in parts.items()}
    return gates(Conditions(NOW, **made, **conditions))


def test_nothing_is_closed_while_all_is_well() -> None:
    found = judged()

    assert (found.new, found.refused, found.unclear, found.uploads, found.polls) == (OPEN,) * 5
    assert (found.ask, found.closed_until <= NOW, found.opens_at) == (False, True, math.inf)


@pytest.mark.parametrize(
    ("conditions", "new", "refused"),
    [
        ({"stopped": True}, CLOSED, CLOSED),
        ({"nothing_new": True}, CLOSED, CLOSED),
        ({"hosts_away": True}, CLOSED, CLOSED),
        ({"paused": True}, CLOSED, CLOSED),
        ({"room": False}, CLOSED, OPEN),  # one whose every send was refused is counted already
        ({"holds_submits": Held(LATER)}, WAITS, WAITS),
        ({"holds_submits": Held(LATER, beyond=True)}, CLOSED, CLOSED),
        ({"service_submits_are_lost": True}, OPEN, OPEN),
        ({"service_submits_are_lost": True, "submits_open": 1}, WAITS, WAITS),
        ({"service_submits_are_lost": True, "service_submits_paused_until": LATER}, WAITS, WAITS),
        ({"service_has_answered": False}, OPEN, OPEN),
        ({"service_has_answered": False, "submits_open": 1}, WAITS, WAITS),
        ({"service_has_answered": False, "unclear": 1}, WAITS, WAITS),
        ({"service_has_answered": False, "service_submit_is_lost": True}, WAITS, WAITS),
        ({"service_question_failed": True}, OPEN, OPEN),
        ({"service_question_failed": True, "tasks": 1}, WAITS, WAITS),
        ({"service_question_failed": True, "unclear": 1}, WAITS, WAITS),
    ],
)
def test_what_keeps_submits_back_keeps_nothing_else_back(
    conditions: dict[str, Any], new: Gate, refused: Gate
) -> None:
    found = judged(**conditions)

    assert (found.new, found.refused) == (new, refused)
    assert (found.uploads, found.polls, found.closed_until <= NOW) == (OPEN, OPEN, True)


@pytest.mark.parametrize(
    ("conditions", "gate", "closed"),
    [
        ({"holds_repeats": Held(LATER)}, "unclear", WAITS),
        ({"holds_repeats": Held(LATER, beyond=True)}, "unclear", CLOSED),
        ({"time_known": False}, "unclear", WAITS),
        ({"service_submits_are_lost": True, "submits_open": 1}, "unclear", WAITS),
        ({"holds_uploads": Held(LATER)}, "uploads", WAITS),
        ({"holds_uploads": Held(LATER, beyond=True)}, "uploads", CLOSED),
        ({"holds_polls": Held(LATER)}, "polls", WAITS),
        ({"holds_polls": Held(LATER, beyond=True)}, "polls", CLOSED),
        ({"places_room_for_polls": False}, "polls", WAITS),
    ],
)
def test_each_kind_waits_for_itself(conditions: dict[str, Any], gate: str, closed: Gate) -> None:
    found = judged(**conditions)

    assert getattr(found, gate) == closed._replace(now=False)


def test_what_may_have_been_accepted_goes_out_although_nothing_new_does() -> None:
    for name in ("nothing_new", "paused", "hosts_away"):
        assert judged(**{name: True}).unclear == OPEN


@pytest.mark.parametrize(
    ("conditions", "until"),
    [
        ({"places_full": True, "places_change_at": LATER}, LATER),
        ({"places_full": True}, math.inf),
        ({"service_ill": True, "places_any_open": True}, math.inf),
        ({"service_away_until": LATER}, LATER),
        ({"key_until": LATER}, LATER),
        ({"key_in_doubt": True, "key_ask_at": LATER}, LATER),
        ({"key_in_doubt": True, "key_ask_at": NOW, "question_open": True}, math.inf),
    ],
)
def test_what_closes_everything(conditions: dict[str, Any], until: float) -> None:
    found = judged(**conditions)

    assert (found.closed_until, found.ask) == (until, False)


@pytest.mark.parametrize(
    ("conditions", "asks"),
    [
        ({"service_question_first": True, "service_ill": True}, True),
        ({"service_question_first": True, "service_ill": True, "places_any_open": True}, False),
        ({"service_question_first": True, "service_ill": True, "service_away_until": LATER}, False),
        ({"key_ask_at": NOW}, True),
        ({"key_ask_at": NOW, "service_away_until": LATER}, True),
        ({"key_ask_at": NOW, "question_open": True}, False),
        ({"key_ask_at": LATER}, False),
        ({"time_ask_at": -math.inf, "time_known": False}, True),
        ({"time_ask_at": LATER, "time_known": False}, False),
        ({"time_ask_at": -math.inf, "question_open": True}, False),
        ({"time_ask_at": -math.inf, "holds_repeats": Held(LATER)}, False),
        ({"time_ask_at": -math.inf, "closed_until": LATER}, False),
    ],
)
def test_when_the_question_is_asked_that_is_no_jobs(conditions: dict[str, Any], asks: bool) -> None:
    assert judged(**conditions).ask is asks


def test_it_opens_at_the_first_of_the_times_to_come() -> None:
    held = {f"holds_{name}": Held(LATER + n) for n, name in enumerate(Holds._fields)}

    assert judged(**held).opens_at == LATER
    assert judged(**held, closed_until=LATER - 2).opens_at == LATER - 2
    assert judged(**held, places_change_at=LATER - 5).opens_at == LATER - 5
    assert judged(holds_submits=Held(NOW - 5)).opens_at == math.inf
