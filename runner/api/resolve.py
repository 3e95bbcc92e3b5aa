"""`resolve`: a person's word about a job that no program can bring to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from runner.api.manifests.opened import read_known
from runner.api.question import ask
from runner.errors import KeyRefused, RunnerError, TemporaryTrouble, UsageError
from runner.host.clock import epoch, rfc3339
from runner.host.environment import base_url, get_key
from runner.lifecycle.ways import SO_FAR, Trouble, lasts_s
from runner.model import Artifact, Job, State, TaskId
from runner.progress.figures import credits_in_words, moment, near
from runner.results import sidecar
from runner.results.storage import storage_of
from runner.service.account import Account, same_service
from runner.service.protocol import Answer, Meaning, Service, TaskView
from runner.store import events, jobs, ledger, manifests, moves
from runner.store.connection import Connection
from runner.store.database import StateDatabase, open_database

# A laptop that is a minute fast must not lose its own task: the service's `Date` tells by how much the
# clocks differ. Both it and `created_at` may be cut to the second.
CLOCK_SLACK_S = 1.0
SKEW_WORTH_S = 3.0

# What a person may say of a job in a state; of one in any other there is nothing to say.
CHOICES: Mapping[State, tuple[str, ...]] = {
    State.UNCERTAIN: ("resend", "attach", "abandon"),
    State.WAITING: ("attach", "abandon"),
    State.DOWNLOADING: ("accept", "abandon"),
}
Choice: TypeAlias = Literal["resend", "attach", "accept", "abandon"]
_NOTHING: Mapping[State, str] = {
    State.SUBMITTING: "its submit is unclear: `rivya-batch run` sends it again, or says that it cannot know",
    State.DONE: "its files are on disk",
    State.FAILED: "`rivya-batch retry` starts it again; it shows the price first",
    State.ABANDONED: "`rivya-batch retry --only ID` starts it again; it shows the price first",
}


@dataclass(slots=True)
class Answering:
    """One job that waits for a person's word, with its manifest locked."""

    file: StateDatabase
    job: Job
    reserved: float
    service: str
    sandbox: bool

    @classmethod
    @contextmanager
    def open(
        cls, manifest: Path, job_id: str, choice: str, *, state: str | None, sandbox: bool
    ) -> Iterator[Answering]:
        """Lock the manifest and find the job.

        Raises:
            RunLocked: A run is going.
            UsageError: The job is not there, or this cannot be said of it.
        """
        opened = read_known(manifest, state=state, sandbox=sandbox)
        with closing(open_database(opened.workspace.database)) as file:
            lock = file.lock(opened.settings.name)
            lock.acquire(time.time(), command=f"rivya-batch resolve {manifest}")
            try:
                yield cls._find(file, opened.settings.name, job_id, choice, sandbox=sandbox)
            finally:
                lock.release()

    @classmethod
    def _find(cls, file: StateDatabase, name: str, job_id: str, choice: str, *, sandbox: bool) -> Answering:
        rows = jobs.find(file.conn, name, job_id)
        if not rows:
            raise UsageError(
                f"{name} has no job {job_id!r}",
                hint="`rivya-batch status` lists the jobs that need attention",
            )
        # An earlier text of the job may be what it is about: the row that can do with the answer comes first.
        waiting = [row for row in rows if choice in CHOICES.get(row.state, ())]
        if not waiting:
            raise _nothing_to_say(rows[0], choice)
        job = min(waiting, key=lambda row: (row.state is not State.UNCERTAIN, not row.is_stuck))
        bound = manifests.binding(file.conn, name)
        return cls(
            file=file,
            job=job,
            reserved=ledger.amount_of(file.conn, job),
            service=bound.base_url if bound else "",
            sandbox=sandbox,
        )

    def explain(self, choice: str, *, sign: str = "--") -> str:
        """Return what a choice does and may cost; `sign` is put before its name."""
        amount = credits_in_words(self.reserved)
        match choice, self.job.state:
            case "resend", _:
                words = (
                    "sends the same key and the same bytes again. If the service still knows the key, it"
                    f" answers with the first task and nothing more is paid; if it accepted the first send and has forgotten"
                    f" the key, about {amount} credits are paid twice."
                )
            case "attach", _:
                words = (
                    "takes a task over as this job's. Costs nothing more. Its prompt cannot be checked:"
                    " the service does not return it."
                )
            case "accept", _:
                words = (
                    f"marks the job done with the files on disk: {self._files_in_words()}. The rest is not"
                    f" fetched any more. {self._money_in_words()}"
                )
            case _, State.UNCERTAIN:
                words = (
                    f"gives the job up. About {amount} credits stay counted against the caps, since they"
                    " may have been charged; if the service did accept it, its result is lost."
                )
            case _:
                words = (
                    f"gives the job up: it is not polled any more. {self._money_in_words()} If its result"
                    " still comes, it is lost."
                )
        return f"{self._about()}\n{sign}{choice} {words}"

    def _about(self) -> str:
        job = self.job
        unlisted = "" if job.listed else ", no longer in the manifest as it is"
        if job.state is State.UNCERTAIN:
            return f"job {job.id}{unlisted}, first sent {job.first_sent_at or 'at an unknown time'}, key {job.key}"
        return f"job {job.id}{unlisted}, task {job.task_id}: {self._standing()}"

    def _standing(self) -> str:
        job = self.job
        if job.is_stuck:
            since = f" (since {moment(job.trouble_since)})" if job.trouble_since else ""
            return f"{job.error_message or 'it runs longer than limits.job_deadline'}{since}"
        if job.trouble is not None and job.trouble_since is not None:
            trouble = Trouble(job.trouble)
            until = rfc3339((epoch(job.trouble_since) or 0.0) + lasts_s(trouble))
            since = moment(job.trouble_since)
            return f"{SO_FAR[trouble]} since {since}, which may still pass: it counts as settled from {moment(until)}"
        if job.state is State.WAITING:
            return f"it seems to be running ({job.task_status!r}), and `rivya-batch run` collects it"
        return "it succeeded, and `rivya-batch run` fetches its result"

    def _money_in_words(self) -> str:
        charged = ledger.paid(self.file.conn, self.job)[1]
        if charged == 0:
            return "Nothing was charged for it."
        amount = credits_in_words(self.reserved if charged is None else charged)
        return f"Its {amount} credits stay {'reserved' if charged is None else 'charged'}, and count against the caps."

    def _there(self) -> list[Artifact]:
        return [item for item in jobs.artifacts_of_round(self.file.conn, self.job) if _is_there(item)]

    def _files_in_words(self) -> str:
        return ", ".join(near(str(item.path)) for item in self._there()) or "no file"

    def apply(self, choice: str, task_id: str | None = None) -> None:
        """Do what was chosen; `task_id` is the one to attach.

        Raises:
            UsageError: It cannot be done with this job.
            KeyRefused: The service refuses our key.
            TemporaryTrouble: The service has no proper answer.
        """
        match choice:
            case "resend":
                self.resend()
            case "accept":
                self.accept()
            case "abandon":
                self.abandon()
            case _:
                assert task_id is not None
                self.attach(task_id)

    def resend(self) -> None:
        """Open a new window for the same key and bytes; it begins with the next send, under the key of today."""
        now = self._now()
        with self.file.transaction() as conn:
            # It may be charged today, whenever it was first sent: the rolling day has to know.
            ledger.move_to(conn, self.job, now=now)
            if self.job.body is None or self.job.key is None:
                raise UsageError(
                    f"job {self.job.id} has no committed body to send again", hint="use --attach or --abandon"
                )
            moves.reopen(conn, self.job, now)
            self._event(conn, "resend")

    def abandon(self) -> None:
        """Give the job up; its credits stay counted, and nobody asks for its task again: so it is asked for once more."""
        told = self._told()
        with self.file.transaction() as conn:
            if told:
                ledger.note_reserved(conn, self.job, reserved=told, now=self._now())
            moves.abandon(conn, self.job, self._now())
            ledger.end_probe(conn, self.job)
            self._event(conn, "abandoned")

    def _told(self) -> float | None:
        """Return the credits that the service names for the job's task now; None where it cannot be asked."""
        if self.job.task_id is None:
            return None
        try:
            task, _ = self._task(self.job.task_id)
        except RunnerError:
            return None
        return task.final or task.reserved

    def accept(self) -> None:
        """Take the job as done with those of its results that are there.

        Raises:
            UsageError: None is.
        """
        there = self._there()
        if not there:
            raise UsageError(
                f"job {self.job.id} has no result on disk to accept",
                hint="--abandon closes it; `rivya-batch retry --only ID` starts it again and shows the price first",
            )
        missing = len(self.job.urls) - len(there)
        odd = f"accepted without {missing} of its {len(self.job.urls)} results"
        with self.file.transaction() as conn:
            now = self._now()
            if missing > 0:
                first = there[0]
                words = f"{first.warning}; {odd}" if first.warning else odd
                there = [replace(first, warning=words), *there[1:]]
            jobs.save_artifacts(conn, self.job, there)
            moves.done(conn, self.job, now)
            sidecar.close_gap(there[0], there)
            self._event(conn, "accepted_as_it_is", files=[str(item.path) for item in there], missing=missing)

    def attach(self, task_id: str) -> None:
        """Take a task over as this job's.

        Raises:
            UsageError: There is no such task, or it cannot be this job's.
            KeyRefused: The service refuses our key.
            TemporaryTrouble: There is no proper answer.
        """
        self._refuse_known(task_id)
        holder = jobs.holder_of_task(self.file.conn, self.service, task_id)
        if holder is not None and holder != (self.job.row, self.job.round):
            other = jobs.get(self.file.conn, holder[0])
            raise UsageError(
                f"task {task_id} belongs to job {other.id} already", hint="look for another task"
            )
        task, skew_s = self._task(task_id)
        if task.model is not None and task.model != self.job.model:
            raise UsageError(
                f"task {task_id} is of model {task.model}, job {self.job.id} of {self.job.model}"
            )
        # Not `first_sent_at`: an earlier --resend has opened a new window there.
        began = ledger.opened_at(self.file.conn, self.job)
        created, sent = epoch(task.created_at), epoch(began)
        if created is not None and sent is not None and created < sent + skew_s - CLOCK_SLACK_S:
            raise UsageError(
                f"task {task_id} was created {task.created_at}, before this job was first sent ({began})"
            )
        now = self._now()
        with self.file.transaction() as conn:
            ledger.accept(conn, self.job, task_id=TaskId(task_id), reserved=task.reserved, now=now)
            moves.attach(
                conn,
                self.job,
                now,
                task_id=TaskId(task_id),
                word=task.word,
                created_at=task.created_at,
                key12=Account(self.service, get_key()).key12,
            )
            self._event(conn, "attached", task_id=task_id)

    def _refuse_known(self, task_id: str) -> None:
        job = self.job
        if job.state is State.WAITING and (job.trouble is None or job.task_id == task_id):
            raise UsageError(
                f"job {job.id} has a task already ({job.task_id}), and the service knows it",
                hint="`rivya-batch run` collects it",
            )

    def _task(self, task_id: str) -> tuple[TaskView, float]:
        """Return the task, and by how much the service's clock is ahead of ours where that is worth a word."""
        if self.sandbox:
            raise UsageError("the sandbox is not running between runs, so no task of it can be attached")
        if not same_service(base_url(), self.service):
            raise UsageError(
                f"this manifest belongs to {self.service}", hint=f"set RIVYA_BASE_URL={self.service}"
            )

        async def question(service: Service) -> Answer:
            return await service.poll(task_id)

        answer = ask(question)
        if answer.meaning is Meaning.KEY_REFUSED:
            raise KeyRefused(f"the service rejects the API key: {answer.words()}")
        if answer.not_found:
            raise UsageError(f"the service knows no task {task_id} of this account")
        task = answer.task
        if task is None or task.id != task_id:
            raise TemporaryTrouble(
                f"task {task_id} cannot be read: {answer.words() or 'no proper answer'}", hint=answer.hint
            )
        skew_s = answer.skew_s or 0.0
        return task, skew_s if abs(skew_s) >= SKEW_WORTH_S else 0.0

    def _event(self, conn: Connection, kind: str, **data: object) -> None:
        events.outside_runs(conn, self.job, self._now(), kind, **data)

    def _now(self) -> str:
        return rfc3339(time.time())


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What may be said of one job, and what it does and may cost; nothing is done before `apply`."""

    manifest: Path
    job: str
    choice: Choice
    task_id: str | None  # the task to attach
    credits: float  # what is counted for the job now: `resend` may pay as much again
    words: str  # the job, what the choice does, and its price; for people
    sandbox: bool
    state: str | None
    told_of: tuple[int, int]  # the row and its version

    @classmethod
    def look(
        cls,
        manifest: Path,
        job: str,
        choice: Choice,
        *,
        task_id: str | None,
        state: str | None,
        sandbox: bool,
    ) -> Resolution:
        """Find the job, and tell what a choice would do.

        Raises:
            RunLocked: A run is going.
            UsageError: The job is not there, or this cannot be said of it.
        """
        with Answering.open(manifest, job, choice, state=state, sandbox=sandbox) as answering:
            return cls(
                manifest=manifest,
                job=job,
                choice=choice,
                task_id=task_id,
                credits=answering.reserved,
                words=answering.explain(choice, sign=""),
                sandbox=sandbox,
                state=state,
                told_of=(answering.job.row, answering.job.version),
            )

    def apply(self) -> None:
        """Do it. To attach a task asks the service: in a thread without an event loop.

        Raises:
            RunLocked: A run is going.
            UsageError: It cannot be done, or the job has changed since.
            KeyRefused: The service refuses our key.
            TemporaryTrouble: The service has no proper answer.
        """
        with Answering.open(
            self.manifest, self.job, self.choice, state=self.state, sandbox=self.sandbox
        ) as answering:
            if (answering.job.row, answering.job.version) != self.told_of:
                raise UsageError(
                    f"job {self.job} has changed since; nothing was done", hint="look at it again"
                )
            answering.apply(self.choice, self.task_id)


def _nothing_to_say(job: Job, choice: str) -> UsageError:
    may = CHOICES.get(job.state)
    if may is not None:
        return UsageError(
            f"job {job.id} is {job.state.value}: --{choice} does not apply",
            hint=f"use {' or '.join(f'--{each}' for each in may)}",
        )
    return UsageError(
        f"job {job.id} is {job.state.value}: there is nothing to resolve",
        hint=_NOTHING.get(job.state, "it was never sent: remove it from the manifest, or run it"),
    )


def _is_there(item: Artifact) -> bool:
    # A person may have trimmed it.
    return bool(item.path.name and storage_of(item.path).size(item.path))
