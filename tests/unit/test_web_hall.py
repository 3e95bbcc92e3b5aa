"""Who may stay with the live page: anybody on this machine can connect, and only who knows the secret is a guest."""

from __future__ import annotations

import math

import pytest

from runner.web.server import DESCRIPTORS_EACH, PATIENT_S, SECRET_WITHIN_S, Hall, descriptors_for


class Somebody:
    """A connection."""

    def __init__(self) -> None:
        self.gone = False

    def send_away(self) -> None:
        self.gone = True


def gone(visits: list[Somebody]) -> list[int]:
    return [number for number, visit in enumerate(visits) if visit.gone]


class Night:
    """A hall for so many, and its clock."""

    def __init__(self, most: int) -> None:
        self.now = 0.0
        self.hall = Hall(most, clock=lambda: self.now)

    def come(self, many: int = 1) -> list[Somebody]:
        """So many come one after another, each as soon as there is room."""
        visits = [Somebody() for _ in range(many)]
        for visit in visits:
            while (wait_s := self.hall.make_room()) > 0:
                assert wait_s < 2 * PATIENT_S
                self.now += wait_s
            self.hall.enter(visit)
        return visits


def test_the_oldest_of_the_idle_strangers_goes_for_the_next_who_comes() -> None:
    night = Night(40)

    visits = night.come(300)

    assert gone(visits) == list(range(290))
    assert len(night.hall) == 10
    assert night.now == pytest.approx(29 * PATIENT_S), "ten at a time have their moment"


def test_who_has_shown_the_secret_stays_whoever_comes() -> None:
    night = Night(40)
    guests = []
    for _ in range(30):
        guests += night.come()
        night.hall.recognise(guests[-1])
    strangers = night.come(500)

    assert gone(guests) == []
    assert len(night.hall) == 40
    assert gone(strangers) == list(range(490))


def test_a_hall_full_of_guests_lets_nobody_in_until_somebody_leaves() -> None:
    night = Night(4)
    guests = []
    for _ in range(4):
        guests += night.come()
        night.hall.recognise(guests[-1])

    assert night.hall.make_room() == math.inf
    left = night.hall.left
    night.hall.leave(guests[0])

    assert left.is_set()
    assert night.hall.make_room() == 0
    assert gone(guests) == []


def test_strangers_have_so_long_and_no_longer() -> None:
    night = Night(400)
    strangers = []
    for _ in range(3):
        strangers += night.come()
        night.now += 1.0
    night.hall.recognise(strangers[1])
    night.now = SECRET_WITHIN_S
    night.hall.clear_out()
    assert gone(strangers) == [0]

    night.now += 60.0
    night.hall.clear_out()

    assert gone(strangers) == [0, 2]
    assert len(night.hall) == 1


def test_one_that_was_sent_away_cannot_be_recognised_any_more() -> None:
    night = Night(4)
    strangers = night.come(2)

    night.hall.recognise(strangers[0])

    assert gone(strangers) == [0]
    assert len(night.hall) == 1


@pytest.mark.parametrize(
    ("left", "descriptors"), [(None, 400), (100_000, 400), (1000, 250), (240, 60), (50, 12), (20, 8), (0, 8)]
)
def test_a_page_takes_a_part_of_what_its_process_may_open(left: int | None, descriptors: int) -> None:
    assert descriptors_for(left) == descriptors
    assert descriptors % DESCRIPTORS_EACH == 0
