"""A plan in a file: what was looked at, and agreed to by somebody, is what `run` then does, or it does nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runner.api.plans.groups import range_of
from runner.errors import UsageError
from runner.model import Estimate
from runner.money.budget import EPSILON
from runner.progress.figures import counted, credits_in_words, near
from runner.results.parts import write_text
from runner.store import plan_groups as store
from runner.store.connection import Connection
from runner.words import json_text

TYPE: Final = "saved-plan"
VERSION: Final = 1
EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedJob:
    """A job that was to be submitted, and what it was thought to cost at most; None where nobody knew."""

    fingerprint: str
    round: int
    credits: float
    up_to: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPlan:
    """A plan as it was saved."""

    file: Path
    path: Path  # the manifest
    manifest: str
    sandbox: bool
    state: str | None
    only: str | None
    skip_invalid: bool
    jobs: Mapping[str, SavedJob]

    def refuse_changes(self, conn: Connection, prices: Mapping[str, Estimate]) -> None:
        """Refuse what is staged where it is not what was saved.

        What was submitted since is no change: the same file goes on with the rest.

        Raises:
            UsageError: With what has changed.
        """
        changes = list(self._changes(conn, prices))
        if changes:
            raise UsageError(
                f"{self.file} is not what a run would do now; nothing was sent: {'; '.join(changes)}",
                hint=f"make a new one: rivya-batch plan {near(self.path)} --out {self.file}",
            )

    def _changes(self, conn: Connection, prices: Mapping[str, Estimate]) -> Iterator[str]:
        staged = {job.job: job for job in store.staged(conn)}
        new, other, again, dearer, off = list[str](), list[str](), list[str](), list[str](), list[str]()
        for id_, job in staged.items():
            saved = self.jobs.get(id_)
            if job.off:
                if saved is not None:
                    off.append(id_)
            elif not job.sends:
                if saved is not None and saved.fingerprint != job.fingerprint:
                    other.append(id_)
            elif saved is None:
                new.append(id_)
            elif saved.fingerprint != job.fingerprint:
                other.append(id_)
            elif saved.round != job.round:
                again.append(id_)
            elif saved.up_to is not None and range_of(prices[job.shape]).expected > saved.up_to + EPSILON:
                now = credits_in_words(range_of(prices[job.shape]).expected)
                dearer.append(f"{id_} ({credits_in_words(saved.up_to)} then, {now} now)")
        gone = [id_ for id_ in self.jobs if id_ not in staged]
        yield from _told(new, "not in it")
        yield from _told(other, "changed since")
        yield from _told(gone, "no longer in the manifest")
        yield from _told(again, "to be paid for again")
        yield from _told(dearer, "dearer than it says")
        yield from _told(off, "switched off since")


def _told(ids: Sequence[str], what: str) -> Iterator[str]:
    if ids:
        some = ", ".join(ids[:EXAMPLES]) + (", …" if len(ids) > EXAMPLES else "")
        yield f"{counted(len(ids), 'job')} {what}: {some}"


def save_plan(plan: SavedPlan) -> None:
    """Write a plan to its file.

    Raises:
        UsageError: There is another file by that name, or the folder cannot be written to.
    """
    if plan.file.exists() and read_saved_plan(plan.file) is None:
        raise UsageError(f"{plan.file} is there and is no saved plan", hint="name another file for --out")
    write_text(plan.file, _text(plan))


def saved_jobs(conn: Connection, prices: Mapping[str, Estimate]) -> dict[str, SavedJob]:
    """Return what is staged to be submitted, as it is saved."""
    found = {}
    for job in store.staged(conn):
        if job.sends:
            price = range_of(prices[job.shape])
            found[job.job] = SavedJob(
                fingerprint=job.fingerprint, round=job.round, credits=price.expected, up_to=price.high
            )
    return found


def _text(plan: SavedPlan) -> Iterator[str]:
    head = {
        "v": VERSION,
        "type": TYPE,
        "manifest": plan.manifest,
        "path": str(plan.path),
        "sandbox": plan.sandbox,
        "state": plan.state,
        "only": plan.only,
        "skip_invalid": plan.skip_invalid,
        "credits": sum(job.credits for job in plan.jobs.values()),
    }
    yield json_text(head)[:-1] + ', "jobs": ['
    for number, (id_, job) in enumerate(plan.jobs.items()):
        line = {
            "id": id_,
            "fingerprint": job.fingerprint,
            "round": job.round,
            "credits": job.credits,
            "up_to": job.up_to,
        }
        yield ("," if number else "") + "\n" + json_text(line)
    yield "\n]}\n"


def read_saved_plan(file: Path) -> SavedPlan | None:
    """Return a plan from its file; None where that is no saved plan: a manifest may be JSON too.

    Raises:
        UsageError: It was saved by a newer version, or somebody has edited it.
    """
    try:
        found: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("type") != TYPE:
        return None
    try:
        if found["v"] != VERSION:
            raise UsageError(f"{file} was saved by a newer version of this program")
        return SavedPlan(
            file=file,
            path=Path(found["path"]),
            manifest=found["manifest"],
            sandbox=found["sandbox"],
            state=found["state"],
            only=found["only"],
            skip_invalid=found["skip_invalid"],
            jobs={
                job["id"]: SavedJob(
                    fingerprint=job["fingerprint"],
                    round=job["round"],
                    credits=job["credits"],
                    up_to=job["up_to"],
                )
                for job in found["jobs"]
            },
        )
    except (KeyError, TypeError) as exc:
        raise UsageError(f"{file} is a saved plan that somebody has edited: {exc} is missing") from exc
