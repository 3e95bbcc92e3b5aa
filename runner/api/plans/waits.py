"""Which staged jobs wait for others: what a run makes after what, and what it cannot make yet, with the reason."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from runner.lifecycle.chains import HeldBack, Need, Stand, depth, held, stand_of
from runner.model import State
from runner.progress.figures import counted
from runner.store import needs, staging
from runner.store.connection import Connection
from runner.store.needs import StagedStand

EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainedJobs:
    """The order among the jobs of a plan; all of it is empty where none takes another one's result.

    `after` are jobs that a run submits once others of it are done, `choices` those that wait for a person's choice,
    `behind` those that need one of these. `held` are those that need a job that does not come: by the reason, which
    that is. `depth` is how many have to be made one after the other.
    """

    after: tuple[tuple[str, str], ...] = ()  # (job, a job it needs)
    choices: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    credits: float = 0.0  # what those of the two are expected to cost, which this run does not pay
    held: Mapping[str, tuple[tuple[str, str], ...]] = field(
        default_factory=dict
    )  # (job, the one that does not come)
    depth: int = 1

    def by_job(self) -> dict[str, str]:
        """Return what each of them waits for: `result`, `choice` or `held`."""
        return {
            **{job: "result" for job, _ in self.after},
            **dict.fromkeys((*self.choices, *self.behind), "choice"),
            **{job: "held" for each in self.held.values() for job, _ in each},
        }

    def words(self) -> Iterator[tuple[str, str]]:
        """Yield (what it is about, what to tell)."""
        if self.after:
            some = ", ".join(f"{job} after {source}" for job, source in self.after[:EXAMPLES])
            yield (
                "order",
                f"{counted(len(self.after), 'job')} wait{_s(self.after)} for others' results:"
                f" {some}{', …' if len(self.after) > EXAMPLES else ''}",
            )
        if self.choices:
            behind = f", and {counted(len(self.behind), 'job')} after that" if self.behind else ""
            yield (
                "choice",
                f"{counted(len(self.choices), 'job')} wait{_s(self.choices)} for your choice among takes"
                f" ({_some(self.choices)}){behind}: not part of this run",
            )
        for why, each in self.held.items():
            roots = list(dict.fromkeys(root for _, root in each))
            yield (
                "held",
                f"{counted(len(each), 'job')} need{_s(each)} jobs that {why} ({_some(roots)}): not part of this run",
            )


NO_CHAINS = ChainedJobs()


def hold(conn: Connection) -> ChainedJobs:
    """Find out which staged jobs a run cannot submit yet for want of others, and count them as not submitted."""
    wanted: dict[int, list[Need[int]]] = {}
    for each in needs.staged(conn):
        wanted.setdefault(each.position, []).append(each.need)
    if not wanted:
        return NO_CHAINS
    stands = needs.stands(conn)
    kept = held(wanted, lambda position: _stand(stands[position]))
    kept = {position: why for position, why in kept.items() if stands[position].sends}
    if kept:
        ids = {stands[position].job for position in kept}
        staging.narrow(conn, lambda id_: id_ not in ids)
    sent = {
        position: each for position, each in wanted.items() if stands[position].sends and position not in kept
    }
    after = {
        position: [need.source for need in each if _stand(stands[need.source]) is Stand.COMES]
        for position, each in sent.items()
    }
    choices = [position for position, why in kept.items() if why.choice]
    return ChainedJobs(
        after=tuple(
            (stands[position].job, stands[sources[0]].job) for position, sources in after.items() if sources
        ),
        choices=tuple(stands[each].job for each in choices if kept[each].root == each),
        behind=tuple(stands[each].job for each in choices if kept[each].root != each),
        credits=sum(stands[each].estimate for each in choices),
        held=_held(kept, stands, staging.switched(conn)),
        depth=depth({position: sources for position, sources in after.items() if sources}),
    )


def with_sources(conn: Connection, ids: Collection[str]) -> frozenset[str]:
    """Return jobs with all that a run has to submit for them."""
    found = set(ids)
    of = needs.staged(conn)
    stands = needs.stands(conn) if of else {}
    while True:
        more = {
            stands[each.need.source].job
            for each in of
            if stands[each.position].job in found and stands[each.need.source].sends
        }
        if more <= found:
            return frozenset(found)
        found |= more


def _held(
    kept: Mapping[int, HeldBack[int]], stands: Mapping[int, StagedStand], off: Collection[str]
) -> dict[str, tuple[tuple[str, str], ...]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for position, why in kept.items():
        if not why.choice:
            root = stands[why.root]
            unsent = "are switched off" if root.job in off else "are not asked for"
            found.setdefault(_WHY.get(root.state, unsent), []).append((stands[position].job, root.job))
    return {why: tuple(each) for why, each in found.items()}


_WHY = {State.FAILED: "failed", State.UNCERTAIN: "are uncertain", State.ABANDONED: "were given up"}


def _stand(each: StagedStand) -> Stand:
    return Stand.THERE if each.change == "done" else stand_of(each.state, made=each.sends)


def _some(ids: Collection[str]) -> str:
    return ", ".join([*ids][:EXAMPLES]) + (", …" if len(ids) > EXAMPLES else "")


def _s(ids: Collection[object]) -> str:
    return "s" if len(ids) == 1 else ""
