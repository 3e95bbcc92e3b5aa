"""Download: bring the results of a succeeded task home, and say so in the ledger.

A succeeded task never becomes failed here: what cannot be fetched now stays `downloading`, and what can be had of
several results is delivered meanwhile. What came whole but is odd is fetched a second time before it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import anyio
import anyio.to_thread

from runner.errors import RunnerError, UsageError
from runner.lifecycle.ways import Trouble
from runner.model import Artifact, Job, Kind, ResultPath, State
from runner.results import sidecar
from runner.results.bucket_errors import BucketTrouble
from runner.results.fetch import Meter, ResultFetcher
from runner.results.fetch_errors import (
    ResultDoubtful,
    ResultRefused,
    ResultTooLarge,
    ResultTrouble,
    ResultUnacceptable,
    ResultUnavailable,
    without_query,
)
from runner.results.files import OutputFolder
from runner.results.parts import PlaceTrouble, Result
from runner.results.sidecar import Sidecar
from runner.service.retry_after import parse_retry_after
from runner.service.transports import ResultTransport
from runner.steps import trouble
from runner.steps.context import RunContext
from runner.store import jobs, ledger, moves, result_hosts
from runner.store.connection import Connection

Settled = tuple[Job, ledger.Paid]


class Fetched(StrEnum):
    """What became of a download."""

    DONE = "done"  # whole, on the disk, recorded
    RENEW = "renew"  # the urls are missing or refused: ask for the task once more
    LATER = "later"  # the host does not work now
    NEVER = "never"  # asking again changes nothing: a person has to change something first
    GONE = "gone"  # the job does not want this any more
    STOPPED = "stopped"  # it was told to let go; what has come is kept where that can be gone on with


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadResult:
    """What a download step has done."""

    job: Job
    fetched: Fetched
    why: str = ""
    odd: bool = False  # all came whole, and is only to be fetched once more
    retry_after_s: float | None = None  # what the host asked for
    from_api: bool = False  # a result is under the API's own address, so to fetch it is a request to the API
    too_fast: bool = False  # the API's own host said 429
    came: tuple[ResultPath, ...] = ()  # in this step
    files: tuple[ResultPath, ...] = ()  # all of the job
    warnings: tuple[str, ...] = ()
    hosts: frozenset[str] = frozenset()  # that delivered
    out_of_reach: str = ""  # a host that could not be got to
    not_kept: bool = False  # it came, and cannot be put where results are kept


@dataclass(slots=True, kw_only=True)
class DownloadHandle:
    """A hold on one download from outside: how much came, and a way to make it let go."""

    meter: Meter = field(default_factory=Meter)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


@dataclass(slots=True)
class _AtHome:
    """What has its name already, and what is recorded of it."""

    result: Result | None = None
    artifacts: tuple[Artifact, ...] | None = None


@dataclass(slots=True)
class Downloads:
    """Where results come from and where they go.

    By (row, number): `odd` holds results that came whole but odd, until a second fetch has brought the same bytes;
    `too_large` those that need not be asked for again in this run.
    """

    folder: OutputFolder
    fetcher: ResultFetcher
    slow_places: int = 0  # connections beyond `limits.downloads`
    odd: dict[tuple[int, int], Result] = field(default_factory=dict)
    too_large: dict[tuple[int, int], ResultTooLarge] = field(default_factory=dict)
    came: dict[int, Mapping[int, Result]] = field(default_factory=dict)  # by row: what only lacks its place
    hosts: set[str] = field(default_factory=set)  # remembered in this run

    @classmethod
    def create(
        cls, context: RunContext, folder: OutputFolder, way: ResultTransport, *, slow_places: int = 0
    ) -> Downloads:
        """Make one for a run."""
        fetcher = ResultFetcher(
            way.http,
            allow_loopback=context.account.loopback,
            max_bytes=context.settings.limits.max_result_bytes,
            clock=context.clock,
            proxied=way.proxied,
            gives_away=context.account.gives_away,
            continues=context.seen.has_ranges,
        )
        return cls(folder, fetcher, slow_places)

    async def fetch(
        self,
        context: RunContext,
        row: int,
        settled: Settled | None = None,
        *,
        last: bool = False,
        handle: DownloadHandle | None = None,
    ) -> DownloadResult:
        """Fetch what is missing of one job's results, give it its names, write the sidecar, and be done with the last.

        Args:
            context: The run.
            row: Which job.
            settled: The job and what was paid for it, where that is known: as read with the task's end.
            last: There will be no other try in this run: what came whole is kept, however odd it is.
            handle: Who watches.

        Raises:
            TemporaryTrouble: The disk is full or fails.
        """
        handle = handle or DownloadHandle()
        there: list[Artifact] = []
        if settled is None:
            found, there = await context.writer.write(lambda conn: _begin(conn, row))
            settled = found
        job, paid = settled
        if job.state is not State.DOWNLOADING:
            return DownloadResult(job=job, fetched=Fetched.GONE)
        if not job.urls:
            return DownloadResult(job=job, fetched=Fetched.RENEW, why="the service names no result yet")
        if there:
            there = await anyio.to_thread.run_sync(self._still_there, there)
        try:
            return await self._bring_home(context, job, paid, there, handle, last=last)
        except BucketTrouble as exc:  # a run waits for it as for a host of results
            why = context.account.hider.text(exc.message)
            return DownloadResult(
                job=job,
                fetched=Fetched.LATER,
                why=why,
                not_kept=True,
            )
        except (PlaceTrouble, UsageError) as exc:  # the place of this one job: all others have theirs
            why = context.account.hider.text(f"{exc.message}; {exc.hint}")
            return DownloadResult(job=job, fetched=Fetched.NEVER, why=why)

    async def _bring_home(
        self,
        context: RunContext,
        job: Job,
        paid: ledger.Paid,
        there: Sequence[Artifact],
        handle: DownloadHandle,
        *,
        last: bool,
    ) -> DownloadResult:
        urls = {number: context.account.to_ask(url) for number, url in enumerate(job.urls, start=1)}
        came = await self._came_before(job.row)
        wanted = sorted(urls.keys() - {item.number for item in there})
        missing: dict[int, ResultTrouble] = {}
        at_home = _AtHome()
        # The only result of a job gets its name in the same trip to a thread in which the last of it is written. To a
        # bucket that may take long, and would keep the connection it came by.
        alone = len(urls) == 1 and not there and not came and isinstance(self.folder.root, Path)
        at_once = self._at_once(context, job, paid, at_home) if alone else None
        with handle.scope:
            for number in [each for each in wanted if each not in came]:
                try:
                    came[number] = await self._fetch_one(
                        job, number, urls[number], handle, last=last, at_once=at_once
                    )
                except ResultTrouble as exc:
                    missing[number] = exc
                    if _too_fast(context, urls[number], exc):
                        break
        if at_home.result is not None:  # also where it was told to let go a moment later
            came[1] = at_home.result
        whole = len(came) == len(wanted)
        artifacts = tuple(there)
        if came or whole:
            self.came[job.row] = came
            job, artifacts = await self._keep(
                context, job, paid, there, came, whole=whole, named=at_home.artifacts
            )
            del self.came[job.row]
        result = DownloadResult(
            job=job,
            fetched=Fetched.STOPPED if handle.scope.cancelled_caught and not whole else Fetched.DONE,
            from_api=context.service.counts(urls[1]),
            came=tuple(item.path for item in artifacts if item.number in came),
            files=tuple(item.path for item in artifacts),
            warnings=tuple(
                f"{item.path.name}: {item.warning}"
                for item in artifacts
                if item.warning and item.number in came
            ),
            hosts=frozenset(each.host for each in came.values()),
        )
        goes_on = whole or handle.scope.cancelled_caught
        return result if goes_on else _not_fetched(context, result, urls, missing)

    async def _came_before(self, row: int) -> dict[int, Result]:
        """Return what an earlier try has fetched and could not put in its place; it need not come once more."""
        came = self.came.pop(row, {})
        if not came:
            return {}
        return await anyio.to_thread.run_sync(
            lambda: {number: each for number, each in came.items() if each.part.size() == each.size_bytes}
        )

    def _at_once(
        self, context: RunContext, job: Job, paid: ledger.Paid, at_home: _AtHome
    ) -> Callable[[Result], None]:
        """Return what gives the only result of a job its name at once, on a thread, unless it is odd."""

        def name(result: Result) -> None:
            if result.looks > 1 or (job.row, 1) in self.odd:
                return
            # What fails is tried once more in `_keep`, which tells of it.
            with suppress(RunnerError, OSError):
                came = {1: _of_its_kind(context, job, 1, result)}
                at_home.artifacts = self._publish(context, job, paid, (), came, whole=True)
                at_home.result = result

        return name

    async def _fetch_one(
        self,
        job: Job,
        number: int,
        url: str,
        handle: DownloadHandle,
        *,
        last: bool,
        at_once: Callable[[Result], None] | None = None,
    ) -> Result:
        """Fetch one result; what is odd is believed once a second fetch has brought the same.

        Raises:
            ResultDoubtful: It is to be fetched once more.
        """
        place = job.row, number
        if place in self.too_large:
            raise self.too_large[place]
        before = self.odd.get(place)
        part = self.folder.part(stem_of(job), number)
        if before is not None and before.part.path == part.path:
            part = self.folder.part(stem_of(job), number, second=True)
        try:
            now = await self.fetcher.fetch(url, part, handle.meter, at_once=at_once)
        except ResultTooLarge as exc:
            self.too_large[place] = exc
            raise
        except ResultTrouble:
            if before is None or not last or not before.framed or before.looks != 2:
                raise
            return self._believed(place, before, "; it could not be fetched again to compare")
        if now.looks <= 1:
            if before is not None:
                await anyio.to_thread.run_sync(before.part.discard)
            return self._believed(place, now)
        same = before is not None and before.sha256 == now.sha256
        if before is not None:
            await anyio.to_thread.run_sync(before.part.discard)
        if same and (last or now.looks == 2):
            return self._believed(place, now)
        if last and now.framed and now.looks == 2:
            return self._believed(place, now, "; it was not the same each time it was fetched")
        self.odd[place] = now
        odd = now.warning or "nothing shows that it is complete"
        raise ResultDoubtful(
            f"{without_query(url)}: {odd}; it is fetched once more", renew=now.file.kind is None
        )

    def _believed(self, place: tuple[int, int], result: Result, more: str = "") -> Result:
        self.odd.pop(place, None)
        return replace(result, warning=result.warning + more) if result.warning else result

    async def _keep(
        self,
        context: RunContext,
        job: Job,
        paid: ledger.Paid,
        there: Sequence[Artifact],
        came: Mapping[int, Result],
        *,
        whole: bool,
        named: tuple[Artifact, ...] | None = None,
    ) -> tuple[Job, tuple[Artifact, ...]]:
        """Name what came unless it is `named`, and record it; with the `whole` of it there, the job is done."""
        hosts = {result.host for result in came.values()} - self.hosts
        if named is None:
            came = {number: _of_its_kind(context, job, number, result) for number, result in came.items()}
            named = await anyio.to_thread.run_sync(
                lambda: self._publish(context, job, paid, there, came, whole=whole)
            )
        artifacts = named
        after = await context.writer.write(
            lambda conn: _record(conn, context, job, artifacts, hosts, whole=whole),
            can_wait=True,
            repeatable=True,
        )
        self.hosts |= hosts
        return after, artifacts

    def _still_there(self, artifacts: Sequence[Artifact]) -> list[Artifact]:
        """Return those of a job's results that are where they were put; an empty file is what a crash leaves of one."""
        storage = self.folder.storage
        return [item for item in artifacts if item.path.name and storage.size(item.path)]

    def _publish(
        self,
        context: RunContext,
        job: Job,
        paid: ledger.Paid,
        there: Sequence[Artifact],
        came: Mapping[int, Result],
        *,
        whole: bool,
    ) -> tuple[Artifact, ...]:
        """Name the results and write the sidecar, on a thread; files only."""
        stem = stem_of(job)
        earlier = sidecar.read(self.folder.sidecar_path(stem))
        artifacts = self.folder.publish(
            stem,
            came,
            there=there,
            earlier=[item.path for item in earlier.artifacts] if earlier else (),
            again=job.round > 1 or job.edition > 0,
        )
        beside = Sidecar(
            manifest=job.manifest,
            job=job.id,
            fingerprint=job.fingerprint,
            round=job.round,
            edition=job.edition,
            key=job.key,
            base_url=context.account.service,
            sandbox=context.sandbox,
            model=job.model,
            prompt=job.prompt,
            params=job.params,
            references=sidecar.references_of(job.references),
            task_id=job.task_id,
            reserved_credits=paid[0],
            final_credits=paid[1],
            artifacts=artifacts,
            missing=() if whole else _numbers_missing(job, artifacts),
            submitted_at=job.submitted_at,
            finished_at=context.now(),
        )
        sidecar.write(self.folder, stem, beside)
        return artifacts


def stem_of(job: Job) -> str:
    """Return where a job's result belongs: one no longer listed must not take a listed job's place."""
    if job.listed:
        return job.output
    return f"orphaned/{job.output}-{job.fingerprint.rpartition(':')[2][:8]}"


def note_missing(conn: Connection, context: RunContext, row: int, why: str) -> None:
    """Record in a job's row that its results, or some of them, could not be had in this run."""
    job = jobs.get(conn, row)
    if job.state is State.DOWNLOADING and job.urls:
        trouble.note(conn, context, job, Trouble.NOT_FETCHED, why)


def _not_fetched(
    context: RunContext, found: DownloadResult, urls: Mapping[int, str], missing: Mapping[int, ResultTrouble]
) -> DownloadResult:
    # What another try may help decides when there is one.
    order = (ResultTooLarge, ResultUnavailable, ResultDoubtful, ResultUnacceptable, ResultRefused)
    worst = max(missing, key=lambda number: (missing[number].renew, order.index(type(missing[number]))))
    exc = missing[worst]
    if all(isinstance(each, ResultTooLarge) for each in missing.values()):
        fetched = Fetched.NEVER
    else:
        fetched = Fetched.RENEW if exc.renew else Fetched.LATER
    waits = [wait for each in missing.values() if (wait := _asked_to_wait_s(context, each)) is not None]
    return replace(
        found,
        fetched=fetched,
        why=_why(context, missing, len(urls)),
        odd=all(isinstance(each, ResultDoubtful) for each in missing.values()),
        retry_after_s=max(waits, default=None),
        from_api=any(context.service.counts(urls[number]) for number in missing),
        too_fast=any(_too_fast(context, urls[number], each) for number, each in missing.items()),
        out_of_reach=next((each.out_of_reach for each in missing.values() if each.out_of_reach), ""),
    )


def _why(context: RunContext, missing: Mapping[int, ResultTrouble], urls: int) -> str:
    """Return in words what is missing and why; of several results by number."""
    reasons: dict[str, list[int]] = {}
    for number, exc in missing.items():
        # Only what a person can do: that we ask again, we do anyhow.
        hint = (
            f"; {exc.hint}" if exc.hint and (isinstance(exc, ResultUnacceptable) or exc.out_of_reach) else ""
        )
        reasons.setdefault(context.account.hider.text(f"{exc.message}{hint}"), []).append(number)
    if urls == 1:
        return next(iter(reasons))
    return "; ".join(
        f"result {' and '.join(map(str, numbers))} of {urls}: {words}" for words, numbers in reasons.items()
    )


def _asked_to_wait_s(context: RunContext, exc: ResultTrouble) -> float | None:
    if not isinstance(exc, ResultUnavailable):
        return None
    return parse_retry_after(
        exc.headers.get("retry-after"), now_epoch_s=context.clock.wall_s(), date=exc.headers.get("date")
    )


def _too_fast(context: RunContext, url: str, exc: ResultTrouble) -> bool:
    """Say whether the API itself, which these results are under, says 429."""
    return isinstance(exc, ResultUnavailable) and exc.status == 429 and context.account.serves(url)


def _numbers_missing(job: Job, artifacts: Sequence[Artifact]) -> tuple[int, ...]:
    there = {item.number for item in artifacts}
    return tuple(number for number in range(1, len(job.urls) + 1) if number not in there)


def _begin(conn: Connection, row: int) -> tuple[Settled, list[Artifact]]:
    # The task has ended, so what was paid for it is settled: it will not change while files come.
    job = jobs.get(conn, row)
    return (job, ledger.paid(conn, job)), jobs.artifacts_of_round(conn, job)


def _record(
    conn: Connection,
    context: RunContext,
    begun: Job,
    artifacts: Sequence[Artifact],
    hosts: set[str],
    *,
    whole: bool,
) -> Job:
    now = context.now()
    move = moves.done if whole else moves.partly
    job = begun
    try:
        after = move(conn, job, now)
    except jobs.StaleJob:  # a trouble was noted, say: what has come has come all the same
        job = jobs.get(conn, begun.row)
        after = move(conn, job, now)
    jobs.save_artifacts(conn, job, artifacts)
    for host in hosts:
        result_hosts.save(conn, base_url=context.account.service, host=host, now=now)
    files = [str(item.path) for item in artifacts]
    warnings = {item.path.name: item.warning for item in artifacts if item.warning}
    if not whole:
        context.event(conn, "partly", job, files=files, missing=_numbers_missing(job, artifacts))
    else:
        context.event(conn, "done", job, at=now, files=files, **({"warnings": warnings} if warnings else {}))
    return after


def _of_its_kind(context: RunContext, job: Job, number: int, result: Result) -> Result:
    """Return a job's first result with a warning where it may not be what was asked for."""
    if number == 1 and job.oddness:
        return replace(result, warning="; ".join(filter(None, (job.oddness, result.warning))))
    contract = context.contracts.get(job.model)
    wanted = {kind.value for kind in Kind}
    kind = result.file.kind
    if number != 1 or contract is None or contract.category not in wanted or result.warning:
        return result
    if kind is None or kind.value == contract.category:
        return result
    return replace(result, warning=f"it is {kind.value}, although {job.model} makes {contract.category}")
