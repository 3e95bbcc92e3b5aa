"""Download: bring the results of a succeeded task home, whole, and say so in the ledger.

A succeeded task never becomes failed here: what cannot be fetched now stays `downloading`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import anyio.to_thread

from runner import sidecar
from runner.backoff import parse_retry_after
from runner.fetch import (
    ResultFetcher,
    ResultTooLarge,
    ResultTrouble,
    ResultUnacceptable,
    ResultUnavailable,
)
from runner.files import OutputFolder
from runner.model import Artifact, Job, Kind, State
from runner.parts import Result
from runner.sidecar import Sidecar
from runner.steps.desk import Desk
from runner.store import jobs, ledger
from runner.transports import ResultTransport

Settled = tuple[Job, ledger.Paid]


class Fetched(StrEnum):
    """What became of a download."""

    DONE = "done"  # whole, on the disk, recorded
    RENEW = "renew"  # the urls are missing or refused: ask for the task once more
    LATER = "later"  # the host does not work now
    NEVER = "never"  # asking again changes nothing: a person has to change something first
    GONE = "gone"  # the job does not want this any more


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadResult:
    """What a download step has done."""

    job: Job
    fetched: Fetched
    why: str = ""
    retry_after_s: float | None = None  # what the host asked for
    from_api: bool = False  # a result is under the API's own address, so to fetch it is a request to the API
    too_fast: bool = False  # the API's own host said 429
    files: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Downloads:
    """Where results come from and where they go."""

    folder: OutputFolder
    fetcher: ResultFetcher

    @classmethod
    def create(cls, desk: Desk, folder: OutputFolder, way: ResultTransport) -> Downloads:
        """Make one for a run."""
        fetcher = ResultFetcher(
            way.http,
            allow_loopback=desk.account.loopback,
            max_bytes=desk.settings.limits.max_result_bytes,
            clock=desk.clock,
            proxied=way.proxied,
            gives_away=desk.account.gives_away,
        )
        return cls(folder, fetcher)

    async def fetch(self, desk: Desk, row: int, settled: Settled | None = None) -> DownloadResult:
        """Fetch all results of one job, give them their names, write the sidecar, and be done.

        Args:
            desk: The run.
            row: Which job.
            settled: The job and what was paid for it, where that is known: as read with the task's end.

        Raises:
            TemporaryTrouble: The disk is full or fails.
        """
        if settled is None:
            settled = await desk.writer.write(lambda conn: _begin(conn, row))
        job, paid = settled
        if job.state is not State.DOWNLOADING:
            return DownloadResult(job=job, fetched=Fetched.GONE)
        if not job.urls:
            return DownloadResult(job=job, fetched=Fetched.RENEW, why="the service names no result yet")
        results: list[Result] = []
        stem = stem_of(job)
        urls = [desk.account.to_ask(url) for url in job.urls]
        for number, url in enumerate(urls, start=1):
            try:
                results.append(await self.fetcher.fetch(url, self.folder.part(stem, number)))
            except ResultTrouble as exc:
                return _not_fetched(desk, job, url, exc)
        artifacts = await anyio.to_thread.run_sync(self._keep, desk, job, paid, stem, results)
        after = await desk.writer.write(lambda conn: _done(conn, desk, job, artifacts))
        return DownloadResult(
            job=after,
            fetched=Fetched.DONE,
            files=tuple(item.path for item in artifacts),
            warnings=_odd(desk, job, results),
            from_api=desk.account.counts(urls[0]),
        )

    def _keep(
        self, desk: Desk, job: Job, paid: ledger.Paid, stem: str, results: Sequence[Result]
    ) -> tuple[Artifact, ...]:
        """Name the results and write the sidecar, on a thread; files only."""
        artifacts = self.folder.publish(stem, results)
        beside = Sidecar(
            manifest=job.manifest,
            job=job.id,
            fingerprint=job.fingerprint,
            round=job.round,
            key=job.key,
            base_url=desk.account.service,
            sandbox=desk.sandbox,
            model=job.model,
            prompt=job.prompt,
            params=job.params,
            references=sidecar.references_of(job.references),
            task_id=job.task_id,
            reserved_credits=paid[0],
            final_credits=paid[1],
            artifacts=artifacts,
            submitted_at=job.submitted_at,
            finished_at=desk.now(),
        )
        sidecar.write(self.folder, stem, beside)
        return artifacts


def stem_of(job: Job) -> str:
    """Return where a job's result belongs: one no longer listed must not take a listed job's place."""
    if job.listed:
        return job.output
    return f"orphaned/{job.output}-{job.fingerprint.rpartition(':')[2][:8]}"


def _not_fetched(desk: Desk, job: Job, url: str, exc: ResultTrouble) -> DownloadResult:
    # Only what a person can do: that we ask again, we do anyhow.
    hint = f"; {exc.hint}" if exc.hint and isinstance(exc, ResultUnacceptable) else ""
    if isinstance(exc, ResultTooLarge):
        fetched = Fetched.NEVER
    else:
        fetched = Fetched.RENEW if exc.renew else Fetched.LATER
    status = asked = said_at = None
    if isinstance(exc, ResultUnavailable):
        status, asked, said_at = exc.status, exc.retry_after, exc.date
    return DownloadResult(
        job=job,
        fetched=fetched,
        why=desk.account.hider.text(f"{exc.message}{hint}"),
        retry_after_s=parse_retry_after(asked, now_epoch_s=desk.clock.wall_s(), date=said_at),
        from_api=desk.account.counts(url),
        too_fast=status == 429 and desk.account.serves(url),
    )


def _begin(conn: sqlite3.Connection, row: int) -> Settled:
    # The task has ended, so what was paid for it is settled: it will not change while files come.
    job = jobs.get(conn, row)
    return job, ledger.paid(conn, job)


def _done(conn: sqlite3.Connection, desk: Desk, seen: Job, artifacts: Sequence[Artifact]) -> Job:
    job = jobs.get(conn, seen.row)
    now = desk.now()
    jobs.save_artifacts(conn, job.row, artifacts)
    after = jobs.advance(conn, job, now, state=State.DONE.value, finished_at=now)
    desk.event(conn, "done", job, files=[str(item.path) for item in artifacts])
    return after


def _odd(desk: Desk, job: Job, results: Sequence[Result]) -> tuple[str, ...]:
    """Return a word of warning where the first result is not of the kind the model makes."""
    contract = desk.contracts.get(job.model)
    wanted = {kind.value for kind in Kind}
    if contract is None or not results or contract.category not in wanted:
        return ()
    kind = results[0].media.kind
    if kind.value == contract.category:
        return ()
    return (f"the result is {kind.value}, although {job.model} makes {contract.category}",)
