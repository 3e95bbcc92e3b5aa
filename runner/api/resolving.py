"""`resolve`: a person's answer to what no program can know."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.api.account import ask
from runner.api.opening import read_manifest
from runner.client import Account, Api, same_service
from runner.clock import epoch, rfc3339
from runner.environment import base_url, get_key
from runner.errors import KeyRefused, TemporaryTrouble, UsageError
from runner.machine import Answer, Meaning, TaskView, read_task, understand
from runner.model import Job, State, TaskId
from runner.progress.words import credits_in_words
from runner.store import catalogue, jobs, ledger
from runner.store.database import StateFile
from runner.workspace import ManifestLock, no_database

# A laptop that is a minute fast must not lose its own task: the service's `Date` tells by how much the
# clocks differ. Both it and `created_at` may be cut to the second.
CLOCK_SLACK_S = 1.0
SKEW_WORTH_S = 3.0


@dataclass(slots=True)
class Answering:
    """One uncertain job, with its manifest locked."""

    file: StateFile
    job: Job
    reserved: float
    service: str
    sandbox: bool

    @classmethod
    @contextmanager
    def open(cls, manifest: Path, job_id: str, *, state: str | None, sandbox: bool) -> Iterator[Answering]:
        """Lock the manifest and find the job.

        Raises:
            RunLocked: A run is going.
            UsageError: The job is not there, or not uncertain.
        """
        opened = read_manifest(manifest, state=state, sandbox=sandbox)
        settings = opened.manifest.settings
        assert settings is not None
        database = opened.workspace.database
        if not opened.workspace.has_database:
            raise no_database(opened.workspace, sandbox=sandbox)
        lock = ManifestLock(database, settings.name)
        lock.acquire(time.time(), command=f"rivya-batch resolve {manifest}")
        try:
            file = StateFile.open(database)
            try:
                yield cls._find(file, settings.name, job_id, sandbox=sandbox)
            finally:
                file.close()
        finally:
            lock.release()

    @classmethod
    def _find(cls, file: StateFile, name: str, job_id: str, *, sandbox: bool) -> Answering:
        rows = jobs.find(file.conn, name, job_id)
        if not rows:
            raise UsageError(
                f"{name} has no job {job_id!r}", hint="`rivya-batch status` lists uncertain jobs"
            )
        uncertain = [row for row in rows if row.state is State.UNCERTAIN]
        if not uncertain:
            raise UsageError(
                f"job {job_id} is {rows[0].state.value}, not uncertain: there is nothing to resolve",
                hint="failed jobs are paid for anew with `rivya-batch retry`"
                if rows[0].state is State.FAILED
                else "",
            )
        bound = catalogue.binding(file.conn, name)
        job = uncertain[0]
        amount = ledger.amount_of(file.conn, job)
        return cls(
            file=file, job=job, reserved=amount, service=bound["base_url"] if bound else "", sandbox=sandbox
        )

    def explain(self, choice: str) -> str:
        """Return what a choice does and may cost."""
        about = f"job {self.job.id}, first sent {self.job.first_sent_at or 'at an unknown time'}, key {self.job.key}"
        amount = credits_in_words(self.reserved)
        match choice:
            case "resend":
                return (
                    f"{about}\n--resend sends the same key and the same bytes again, in a new window. If the service still"
                    f" knows the key it answers with the first task and nothing more is paid; if it has forgotten the key"
                    f" and had accepted the first send, about {amount} credits are paid twice."
                )
            case "abandon":
                return (
                    f"{about}\n--abandon gives the job up. About {amount} credits stay counted against the caps, since they"
                    " may have been charged; if the service did accept it, its result is lost."
                )
            case _:
                return (
                    f"{about}\n--attach takes a task over as this job's. Costs nothing more. Its prompt cannot be checked:"
                    " the service does not tell it."
                )

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
            jobs.advance(
                conn,
                self.job,
                now,
                state=State.SUBMITTING.value,
                # The window begins with the next send, under whatever key the next run has.
                reopened=1,
                conflicts=0,
                conflict_since=None,
                error_class=None,
                error_code=None,
                error_message=None,
            )
            self._event(conn, "resend")

    def abandon(self) -> None:
        """Give the job up; its credits stay counted."""
        with self.file.transaction() as conn:
            jobs.advance(conn, self.job, self._now(), state=State.ABANDONED.value)
            ledger.end_probe(conn, self.job)
            self._event(conn, "abandoned")

    def attach(self, task_id: str) -> None:
        """Take a task over as this job's.

        Raises:
            UsageError: There is no such task, or it cannot be this job's.
            KeyRefused: The service refuses our key.
            TemporaryTrouble: There is no proper answer.
        """
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
            jobs.advance(
                conn,
                self.job,
                now,
                state=State.WAITING.value,
                task_id=task_id,
                task_status=task.word,
                # The key that could see the task just now: a 404 to it is no sign of another account.
                key12=Account(self.service, get_key()).key12,
                submitted_at=task.created_at or now,
                error_class=None,
                error_code=None,
                error_message=None,
            )
            self._event(conn, "attached", task_id=task_id)

    def _task(self, task_id: str) -> tuple[TaskView, float]:
        """Return the task, and by how much the service's clock is ahead of ours where that is worth a word."""
        if self.sandbox:
            raise UsageError("the sandbox is not running between runs, so no task of it can be attached")
        if not same_service(base_url(), self.service):
            raise UsageError(
                f"this manifest belongs to {self.service}", hint=f"set RIVYA_BASE_URL={self.service}"
            )

        async def question(api: Api) -> Answer:
            return understand(await api.poll(task_id))

        answer = ask(question)
        if answer.meaning is Meaning.KEY_REFUSED:
            raise KeyRefused(f"the service refuses our key: {answer.words()}")
        if answer.status == 404:
            raise UsageError(f"the service knows no task {task_id} of this account")
        task = read_task(answer.data) if answer.meaning is Meaning.OK else None
        if task is None or task.id != task_id:
            raise TemporaryTrouble(f"task {task_id} cannot be read: {answer.words() or 'no proper answer'}")
        skew_s = answer.skew_s or 0.0
        return task, skew_s if abs(skew_s) >= SKEW_WORTH_S else 0.0

    def _event(self, conn: object, kind: str, **data: object) -> None:
        import sqlite3

        assert isinstance(conn, sqlite3.Connection)
        catalogue.event(
            conn, at=self._now(), run=None, manifest=self.job.manifest, job=self.job.id, kind=kind, data=data
        )

    def _now(self) -> str:
        return rfc3339(time.time())
