"""What follows where jobs take others' results: which are free, what becomes of one that cannot be bound, who waits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from runner.engine.run_state import NAMED, RunState
from runner.errors import Exit
from runner.lifecycle.chains import HeldBack, Need, Stand, held, stand_of
from runner.lifecycle.rules import MODERATION_LIKE
from runner.model import NEVER_SENT, Job, Reference, State
from runner.steps.bind import Bound
from runner.steps.context import RunContext
from runner.store import needs, switches
from runner.store.connection import Connection


def begin(context: RunContext, conn: Connection) -> bool:
    """Count what each job waits for as a run begins; return whether any needs another."""
    name = context.settings.name
    if not needs.any_of(conn, name):
        return False
    needs.count(conn, name)
    return True


def follow(run_state: RunState, found: Bound) -> None:
    """See to jobs that cannot be sent with the results that they need."""
    for job, failure in found.unusable:
        run_state.failed(job, failure)
    lost: dict[Reference, list[Job]] = {}
    for job, reference in found.changed:
        run_state.told.add(job.row)
        lost.setdefault(reference, []).append(job)
    for reference, waiting in lost.items():
        not_as_made(run_state, reference, len(waiting))


def not_as_made(run_state: RunState, reference: Reference, waiting: int) -> None:
    """Tell that a job's result is no longer the file that it was: those that wait to be sent with it are not sent."""
    assert reference.result_of is not None
    what = f"{reference.file}, the result of {reference.result_of.jobs[0]}, was changed or removed since it was fetched"
    run_state.progress.event("warning", message=what)
    run_state.reasons.note(
        Exit.INCOMPLETE,
        f"{what}; {_counted(waiting, 'job')} that {'takes' if waiting == 1 else 'take'} it"
        f" {'was' if waiting == 1 else 'were'} not sent: put the old file back, or remove this one: `rivya-batch run` then"
        " fetches it again, free",
    )


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldJobs:
    """The jobs that were not sent, since one that they need does not come, or a person has to choose.

    `names` and `states` are of all that are spoken of, by row. `off` are the ids that a person has switched off.
    """

    rows: Mapping[int, HeldBack[int]] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    states: Mapping[int, State] = field(default_factory=dict)
    refused: Collection[int] = (
        frozenset()
    )  # rows that failed for what they are: trying them again will not help
    off: Collection[str] = frozenset()

    @property
    def choices(self) -> list[int]:
        """The rows that wait for a person's choice themselves."""
        return [row for row, why in self.rows.items() if why.choice and why.root == row]

    def words(self) -> Iterator[str]:
        """Yield what to tell: one line for each kind, with what to do about it."""
        chosen = self.choices
        behind = sum(why.choice and why.root != row for row, why in self.rows.items())
        if chosen:
            more = (
                f" ({_counted(behind, 'more job')} after {'it' if len(chosen) == 1 else 'them'})"
                if behind
                else ""
            )
            yield (
                f"{_counted(len(chosen), 'job')} wait{'s' if len(chosen) == 1 else ''} for your choice: "
                f"{self._some(chosen)}{more}; pick one take for each, on the page or with `rivya-batch pick`, then run again"
            )
        roots = [why.root for why in self.rows.values() if not why.choice]
        for states, special, what, remedy in (
            ((State.FAILED,), False, "failed", "`rivya-batch retry` pays for these again and sets them free"),
            ((State.FAILED,), True, "failed for what they are", "mend these in the manifest, then run again"),
            ((State.UNCERTAIN,), False, "are uncertain", "`rivya-batch resolve` settles these"),
            ((State.ABANDONED,), False, "were given up", "`rivya-batch retry --only ID` begins one again"),
            (NEVER_SENT, True, "are switched off", "`rivya-batch switch --on` switches them on"),
            (NEVER_SENT, False, "were not asked for", "run them too"),
        ):
            waiting = [
                root for root in roots if self.states[root] in states and self._is_special(root) is special
            ]
            if waiting:
                number = len(waiting)
                yield (
                    f"{_counted(number, 'job')} {'was' if number == 1 else 'were'} not sent, since jobs that"
                    f" {'it needs' if number == 1 else 'they need'} {what} ({self._some(dict.fromkeys(waiting))}): {remedy}"
                )

    def _is_special(self, row: int) -> bool:
        if self.states[row] in NEVER_SENT:
            return self.names[row] in self.off
        return row in self.refused

    def _some(self, rows: Sequence[int] | Mapping[int, None]) -> str:
        names = [self.names[row] for row in rows]
        return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


def held_jobs(conn: Connection, run_state: RunState) -> HeldJobs:
    """Return which of the jobs that were asked for were not sent for want of others."""
    if not run_state.chained:
        return HeldJobs()
    return held_of(conn, run_state.context.settings.name, run_state.options.asks_for)


def held_of(
    conn: Connection, manifest: str, asks_for: Callable[[int, str], bool] = lambda row, id_: True
) -> HeldJobs:
    """Return which jobs of a manifest are not sent for want of others, of those that are asked for."""
    found, off = needs.waiting(conn, manifest), switches.off_ids(conn, manifest)
    wanted: dict[int, list[Need[int]]] = {}
    names: dict[int, str] = {}
    states: dict[int, State] = {}
    refused: set[int] = set()
    for each in found:
        if each.state is State.FAILED and each.error_class in MODERATION_LIKE:
            refused.add(each.need.source)
        wanted.setdefault(each.row, []).append(each.need)
        names[each.row] = each.job
        names[each.need.source], states[each.need.source] = each.source, each.state

    def made(row: int) -> bool:
        return asks_for(row, names[row]) and names[row] not in off

    def stand(row: int) -> Stand:
        return stand_of(states.get(row, State.PLANNED), made=made(row))

    return HeldJobs(
        rows={row: why for row, why in held(wanted, stand).items() if made(row)},
        names=names,
        states=states,
        refused=refused,
        off=off,
    )
