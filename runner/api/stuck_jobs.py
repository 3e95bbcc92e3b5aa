"""Paid work whose results do not arrive, grouped by reason: what it is, what it cost, what to type."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace

from runner.lifecycle.ways import FREE, SO_FAR, Trouble
from runner.progress.figures import credits_in_words, moment
from runner.store import jobs
from runner.store.connection import Connection
from runner.words import harmless

SHOWN = 3  # ids of jobs in a line
OVERDUE = "overdue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """Jobs that wait for one and the same reason. `settled` says that it is not expected to pass."""

    state: str
    code: str
    listed: bool
    settled: bool
    message: str
    since: str | None
    jobs: tuple[str, ...] = ()  # the first of them
    count: int = 0
    charged: float = 0.0
    reserved: float = 0.0


def stuck(conn: Connection, manifest: str) -> list[Stuck]:
    """Return what keeps accepted jobs of a manifest from coming home, the most frequent reason first."""
    found: dict[tuple[str, str, bool, bool], Stuck] = {}
    for each in jobs.not_coming(conn, manifest):
        key = (each.state, each.code, each.listed, each.settled)
        group = found.get(key)
        if group is None:
            group = Stuck(
                state=each.state,
                code=each.code,
                listed=each.listed,
                settled=each.settled,
                message=each.message or "",
                since=each.since,
            )
        found[key] = replace(
            group,
            jobs=(*group.jobs, each.job)[:SHOWN],
            count=group.count + 1,
            since=min(filter(None, (group.since, each.since)), default=None),
            charged=group.charged + each.charged,
            reserved=group.reserved + each.reserved,
        )
    return sorted(found.values(), key=lambda group: (not group.listed, -group.count))


def in_words(group: Stuck) -> str:
    """Return one line about a group: `a, b, c and 7 more (100 credits charged): its task succeeded, …`."""
    more = f" and {group.count - len(group.jobs):,} more" if group.count > len(group.jobs) else ""
    unlisted = "" if group.listed else ", no longer in the manifest"
    return f"{', '.join(map(harmless, group.jobs))}{more}{unlisted} ({_money(group)}): {_what(group)}"


def _what(group: Stuck) -> str:
    if group.code == OVERDUE:
        return "its task runs longer than limits.job_deadline"
    since = moment(group.since) if group.since else ""
    if not group.settled:
        return f"{SO_FAR[Trouble(group.code)]}{since and f' since {since}'}, which may still pass"
    return f"{harmless(group.message)}{since and f' (since {since})'}"


def _money(group: Stuck) -> str:
    amounts = {"charged": group.charged, "reserved": group.reserved}
    named = [f"{credits_in_words(amount)} credits {name}" for name, amount in amounts.items() if amount]
    return ", ".join(named) or "nothing was charged"


def free_way(groups: list[Stuck]) -> str:
    """Return in words what the next `run` does for such jobs at no cost; empty where there are none."""
    codes = {group.code for group in groups}
    if Trouble.NOT_FETCHED in codes:
        return FREE[Trouble.NOT_FETCHED]
    return next(
        (FREE[trouble] for trouble in Trouble if trouble in codes), "asks again, free" if groups else ""
    )


def other_ways(groups: list[Stuck], manifest: str, flag: str = "") -> list[str]:
    """Return what else to type about such jobs: what costs nothing first, and never what pays for one alone.

    Args:
        groups: They.
        manifest: Its path as one word of a command line.
        flag: Further words, with a space before them.
    """
    if not groups:
        return []
    first = min(groups, key=lambda group: not (group.settled and group.listed))
    job = shlex.quote(first.jobs[0])
    lines = [
        f"rivya-batch resolve {manifest} {job}{flag} --abandon    (gives one up; its credits stay counted)"
    ]
    if first.settled and first.listed:
        lines.append(
            f"rivya-batch retry {manifest} --only {job}{flag}"
            "    (pays again to start a stuck job again: shows the price and asks)"
        )
    return lines
