"""Jobs that are made of other jobs' results: in which order, in no circle, and what keeps one from being sent. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from runner.model import State

K = TypeVar("K", bound=Hashable)


def in_order(needs: Mapping[K, Collection[K]]) -> tuple[list[K], list[K]]:
    """Return jobs with those that they need before them, and those of which that cannot be: circles, and what needs one.

    Args:
        needs: What each job needs; what is no key of it is there already.

    >>> in_order({"c": ["b"], "b": ["a"], "x": ["y"], "y": ["x"]})
    (['b', 'c'], ['x', 'y'])
    """
    missing = {job: len({source for source in sources if source in needs}) for job, sources in needs.items()}
    waiting: dict[K, list[K]] = {}
    for job, sources in needs.items():
        for source in dict.fromkeys(sources):
            if source in needs:
                waiting.setdefault(source, []).append(job)
    ready = deque(job for job, number in missing.items() if not number)
    ordered: list[K] = []
    while ready:
        job = ready.popleft()
        ordered.append(job)
        for other in waiting.get(job, ()):
            missing[other] -= 1
            if not missing[other]:
                ready.append(other)
    return ordered, [job for job, number in missing.items() if number]


def circles(needs: Mapping[K, Collection[K]], stuck: Iterable[K]) -> list[list[K]]:
    """Return the circles among jobs that `in_order` found no order for, each from its first job on.

    >>> circles({"x": ["y"], "y": ["x"], "z": ["y"], "s": ["s"]}, ["x", "y", "z", "s"])
    [['x', 'y'], ['s']]
    """
    left = dict.fromkeys(stuck)
    found: list[list[K]] = []
    seen: set[K] = set()
    for first in left:
        path: dict[K, int] = {}
        job = first
        # Each of them needs at least one that is stuck as well: going on so ends in a circle.
        while job not in seen and job not in path:
            path[job] = len(path)
            job = next(source for source in needs[job] if source in left)
        if job in path:
            found.append([*path][path[job] :])
        seen.update(path)
    return found


def depth(needs: Mapping[K, Collection[K]]) -> int:
    """Return how many jobs have to be made one after the other, at most.

    >>> depth({"c": ["b"], "b": ["a"]}), depth({})
    (3, 1)
    """
    depths: dict[K, int] = {}
    for job in in_order(needs)[0]:
        depths[job] = 1 + max((depths.get(source, 1) for source in needs[job]), default=0)
    return max(depths.values(), default=1)


class Stand(StrEnum):
    """How far a job is that others need, for a run that begins or goes on."""

    THERE = "there"  # its result is on the disk
    COMES = "comes"  # the run makes it, or somebody has it under way
    NOT = "not"  # it does not come by itself


def stand_of(state: State, *, made: bool) -> Stand:
    """Return how far a job in this state is; `made` says whether a run would still submit it.

    >>> [stand_of(state, made=True).value for state in (State.DONE, State.WAITING, State.PLANNED, State.FAILED)]
    ['there', 'comes', 'comes', 'not']
    """
    match state:
        case State.DONE:
            return Stand.THERE
        case State.PLANNED | State.UPLOADING:
            return Stand.COMES if made else Stand.NOT
        case State.SUBMITTING | State.WAITING | State.DOWNLOADING:
            return Stand.COMES
        case _:
            return Stand.NOT


class Need(NamedTuple, Generic[K]):
    """One job that another one needs, at one place of its references; `undecided` where a person picks one of several."""

    source: K
    place: int = 0
    undecided: bool = False


class HeldBack(NamedTuple, Generic[K]):
    """Why a job is not sent in this run.

    `root` is the job behind it all: one that does not come, or the one that waits for a person's choice (`choice`),
    which may be itself.
    """

    root: K
    choice: bool


def held(needs: Mapping[K, Sequence[Need[K]]], stand: Callable[[K], Stand]) -> dict[K, HeldBack[K]]:
    """Return which jobs a run cannot send although all else is well, and why.

    Args:
        needs: What each of them needs.
        stand: How far a job is, whatever it needs itself.
    """
    ordered, stuck = in_order({job: [need.source for need in each] for job, each in needs.items()})
    found: dict[K, HeldBack[K]] = {}
    for job in (*ordered, *stuck):
        if stand(job) is Stand.THERE:
            continue
        why = _why(job, needs[job], stand, found)
        if why is not None:
            found[job] = why
    return found


def _why(
    job: K, needs: Sequence[Need[K]], stand: Callable[[K], Stand], found: Mapping[K, HeldBack[K]]
) -> HeldBack[K] | None:
    for place in dict.fromkeys(need.place for need in needs):
        here = [need for need in needs if need.place == place]
        missing = [why for need in here if (why := _missing(need.source, stand, found)) is not None]
        if len(missing) == len(here):
            return missing[0]
        if here[0].undecided:  # at least one of the takes can be looked at, now or soon
            return HeldBack(root=job, choice=True)
    return None


def _missing(source: K, stand: Callable[[K], Stand], found: Mapping[K, HeldBack[K]]) -> HeldBack[K] | None:
    match stand(source):
        case Stand.THERE:
            return None
        case Stand.NOT:
            return found.get(source, HeldBack(root=source, choice=False))
        case _:
            return found.get(source)
