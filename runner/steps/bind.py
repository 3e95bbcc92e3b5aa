"""Bind: say which files a job is sent with that takes other jobs' results, just before the first of them is uploaded.

What is bound is in the job's row before anything of it leaves: a kill leaves it bound or not, and a job that was sent
is never bound anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anyio.to_thread

from runner.contract import Contract, check_references
from runner.errors import RunnerError, TemporaryTrouble
from runner.lifecycle.rules import Failure
from runner.manifest.copies import Copies
from runner.manifest.reference_files import open_verified
from runner.model import NEVER_SENT, Artifact, Frame, Job, Kind, Reference, Severity, Sha256
from runner.results.frames import NoFrame, frame_of
from runner.service.protocol import FailureClass
from runner.steps.context import RunContext
from runner.steps.upload import REFERENCE_ERRORS, fail_for_reference
from runner.store import jobs, moves, needs
from runner.store.connection import Connection

PNG = "image/png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What became of jobs that were to be bound: each is in one of these.

    `unusable` can never be sent as they are. `changed` are those a file of which, named beside them, is not what its
    job has made: the next run may find it again.
    """

    jobs: tuple[Job, ...] = ()
    unusable: tuple[tuple[Job, Failure], ...] = ()
    changed: tuple[tuple[Job, Reference], ...] = ()


def needs_binding(job: Job) -> bool:
    """Return whether a job takes another one's result, and may still take another one."""
    return not job.pinned and any(each.result_of is not None for each in job.references)


async def bind(context: RunContext, chosen: Sequence[Job]) -> Bound:
    """Bind jobs to the results that they need, all of which are there."""
    found = await context.writer.write(lambda conn: _results(conn, chosen))
    films = {
        (film.sha256, frame): (film, frame)
        for files in found.values()
        if not isinstance(files, Failure)
        for film, frame in files
        if frame is not None
    }
    frames = await anyio.to_thread.run_sync(_frames, context, films) if films else {}
    return await context.writer.write(lambda conn: _bind(conn, context, chosen, found, frames))


_Wanted = tuple[Reference, Frame | None]  # a file, and which picture of it, if not all
_Frames = Mapping[tuple[Sha256, Frame], Reference | RunnerError]


def _results(conn: Connection, chosen: Sequence[Job]) -> dict[int, list[_Wanted] | Failure]:
    """Return what each job is to be sent with, or why there is no such result."""
    found: dict[int, list[_Wanted] | Failure] = {}
    sources = needs.sources(conn, [job.row for job in chosen])
    made = {source.row: jobs.artifacts(conn, source.row) for source in sources.values()}
    for job in chosen:
        files: list[_Wanted] = []
        for place, reference in enumerate(job.references):
            if (of := reference.result_of) is None:
                files.append((reference, None))
                continue
            source = sources[job.row, place]
            artifact = next((each for each in made[source.row] if each.number == of.result), None)
            if artifact is None:
                number = len(made[source.row])
                message = (
                    f"{source.id} has {number} result{'' if number == 1 else 's'}, and result {of.result} is asked for:"
                    f" change `result: {of.result}` in the manifest"
                )
                found[job.row] = _failure("no_such_result", message)
                break
            files.append((_file_of(reference, artifact), of.frame))
        else:
            found[job.row] = files
    return found


def _file_of(reference: Reference, artifact: Artifact) -> Reference:
    kind = artifact.mime.partition("/")[0]
    return replace(
        reference,
        file=artifact.path,
        kind=Kind(kind) if kind in [each.value for each in Kind] else reference.kind,
        mime=artifact.mime,
        size_bytes=artifact.size_bytes,
        sha256=artifact.sha256,
    )


def _frames(
    context: RunContext, films: Mapping[tuple[Sha256, Frame], _Wanted]
) -> dict[tuple[Sha256, Frame], Reference | RunnerError]:
    """Return the pictures of films, each made once and kept, or why there is none; on a thread.

    Raises:
        TemporaryTrouble: They cannot be kept.
    """
    assert context.frames is not None
    copies = Copies(context.frames)
    found: dict[tuple[Sha256, Frame], Reference | RunnerError] = {}
    for key, (film, frame) in films.items():
        assert frame is not None
        try:
            found[key] = _frame(copies, film, frame)
        except (NoFrame, *REFERENCE_ERRORS) as exc:
            found[key] = exc
        except OSError as exc:
            raise TemporaryTrouble(
                f"a picture of {film.file} cannot be kept in {context.frames}: {exc.strerror or exc}",
                hint="make room there, or see to it that it is a folder that can be written to, and run again",
            ) from exc
    return found


def _frame(copies: Copies, film: Reference, frame: Frame) -> Reference:
    origin = hashlib.sha256(f"{film.sha256} {frame.value}".encode()).hexdigest()
    kept = next(iter(copies.of(origin)), None)
    if kept is None:
        with open_verified(film) as content:
            kept = copies.keep(origin, frame_of(content, film.mime, frame), "png")
    return replace(
        film,
        file=Path(kept.path),
        kind=Kind.IMAGE,
        mime=PNG,
        size_bytes=kept.size_bytes,
        sha256=kept.sha256,
    )


def _bind(
    conn: Connection,
    context: RunContext,
    chosen: Sequence[Job],
    found: Mapping[int, list[_Wanted] | Failure],
    frames: _Frames,
) -> Bound:
    bound: list[Job] = []
    unusable: list[tuple[Job, Failure]] = []
    changed: list[tuple[Job, Reference]] = []
    for known in chosen:
        job = jobs.get(conn, known.row)
        if job.state not in NEVER_SENT or job.version != known.version:
            continue  # another step goes on with it
        files = found[job.row]
        outcome = files if isinstance(files, Failure) else _files(job, files, frames, context)
        if isinstance(outcome, Failure):
            unusable.append((fail_for_reference(conn, context, job.row, outcome), outcome))
        elif isinstance(outcome, Reference):
            changed.append((job, outcome))
        else:
            bound.append(
                job if outcome == list(job.references) else moves.bind(conn, job, context.now(), outcome)
            )
    return Bound(jobs=tuple(bound), unusable=tuple(unusable), changed=tuple(changed))


def _files(
    job: Job, wanted: Sequence[_Wanted], frames: _Frames, context: RunContext
) -> list[Reference] | Failure | Reference:
    """Return the files of a job; or the one that is not what was made; or why there can be none."""
    files: list[Reference] = []
    for film, frame in wanted:
        file = film if frame is None else frames[film.sha256, frame]
        if isinstance(file, NoFrame):
            return _failure("no_frame", f"{film.path}: {file.message}")
        if isinstance(file, RunnerError):
            return film
        files.append(file)
    return _unfit(context.contracts.get(job.model), files) or files


def _unfit(contract: Contract | None, files: Sequence[Reference]) -> Failure | None:
    """Return why a model does not take what other jobs have made."""
    for problem in check_references(contract, files) if contract is not None else ():
        if problem.severity is Severity.ERROR:
            return _failure("result_unfit", problem.what)
    return None


def _failure(code: str, message: str) -> Failure:
    return Failure(cls=FailureClass.VALIDATION, code=code, message=message)
