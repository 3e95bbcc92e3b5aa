"""Upload: bring the references of a job to the service, just before they are needed.

An upload is not idempotent at the service and costs nothing that is known, so an
unclear one is simply made again; a fresh remote copy is used for every job that needs the file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import anyio.to_thread

from runner.host.clock import rfc3339
from runner.lifecycle.rules import Failure
from runner.manifest.reference_files import ReferenceChanged, ReferenceMissing, open_verified
from runner.model import NEVER_SENT, Job, Reference, Upload
from runner.results.media import name_for
from runner.service.protocol import Answer, Meaning
from runner.steps.context import RunContext
from runner.steps.rounds import fail
from runner.store import jobs, uploads
from runner.store.connection import Connection

# A remote copy this young serves whatever `reuse_within` says: one that is too old before its job can be
# submitted would be uploaded anew for ever.
ALWAYS_FRESH_S = 60.0
REFERENCE_ERRORS = (ReferenceChanged, ReferenceMissing)


@dataclass(frozen=True, slots=True)
class Needed:
    """One file that has to be uploaded for one model; jobs that share it share the upload."""

    sha256: str
    kind: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """What an upload step has done; `copy` is None when the file is not at the service."""

    copy: Upload | None
    answer: Answer
    failure: Failure | None = None  # the file can never be uploaded as it is


def needed(reference: Reference, job: Job) -> Needed:
    """Return what has to be uploaded for a reference of a job."""
    return Needed(reference.sha256, reference.kind.value, job.model)


def fresh_copies(conn: Connection, context: RunContext, job: Job) -> tuple[Upload, ...] | None:
    """Return the remote copies of all references of a job, or None when one is missing or too old."""
    found = [_copy(conn, context, needed(reference, job)) for reference in job.references]
    return None if None in found else tuple(copy for copy in found if copy is not None)


def missing(conn: Connection, context: RunContext, job: Job) -> list[Reference]:
    """Return the references of a job that have no fresh remote copy."""
    return [reference for reference in job.references if _copy(conn, context, needed(reference, job)) is None]


def _copy(conn: Connection, context: RunContext, wanted: Needed) -> Upload | None:
    now_s = context.clock.wall_s()
    copy = uploads.find(
        conn,
        sha256=wanted.sha256,
        kind=wanted.kind,
        model=wanted.model,
        account=context.account.name,
        since=rfc3339(now_s - max(context.settings.reuse_uploads_within_s, ALWAYS_FRESH_S)),
    )
    # A time in the future means that the clock was set back: its age is unknown.
    return copy if copy is not None and copy.uploaded_at <= rfc3339(now_s + 1.0) else None


async def upload(context: RunContext, reference: Reference, wanted: Needed) -> Uploaded:
    """Upload one file once.

    Raises:
        ReferenceChanged, ReferenceMissing: The file is no longer what was planned.
        DriveAway: The drive it is on does not answer.
    """
    content = await anyio.to_thread.run_sync(open_verified, reference, context.shared_references)
    try:
        answer = await context.service.upload(
            content,
            name=name_for(reference.name, reference.mime),
            kind=reference.kind,
            mime=reference.mime,
            size_bytes=reference.size_bytes,
            model=wanted.model,
            sha256=reference.sha256,
        )
    finally:
        content.close()
    if (copy := answer.copy) is not None:
        raw = json.dumps(answer.data, ensure_ascii=False)
        await context.writer.write(
            lambda conn: uploads.save(
                conn,
                sha256=wanted.sha256,
                kind=wanted.kind,
                model=wanted.model,
                account=context.account.name,
                copy=copy,
                raw=raw,
            )
        )
        return Uploaded(copy=copy, answer=answer)
    # A file is too large or of the wrong type whoever says so, also a proxy in front of the service;
    # and nothing is paid for an upload, so there is nothing to be in doubt of.
    if answer.meaning is Meaning.REFUSED or (answer.meaning is Meaning.UNCLEAR and answer.file_refused):
        failure = Failure(
            cls=answer.cls,
            code=answer.code or "upload_refused",
            message=f"{reference.path} was refused at upload: {answer.words()}",
        )
        return Uploaded(copy=None, answer=answer, failure=failure)
    return Uploaded(copy=None, answer=answer)


def fail_for_reference(conn: Connection, context: RunContext, row: int, failure: Failure) -> Job:
    """End a job whose reference cannot be uploaded; nothing was sent of the job, nothing is owed.

    A job of which something may have been sent needs its reference no more: it is left as it is.
    """
    job = jobs.get(conn, row)
    if job.state not in NEVER_SENT:
        return job
    return fail(conn, context, job, failure, task_failed=False)
