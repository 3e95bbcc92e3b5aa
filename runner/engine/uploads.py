"""What follows from an upload: jobs that lack nothing else are ready, or cannot be sent at all."""

from __future__ import annotations

from runner.engine.floor import Floor
from runner.errors import Exit, RunnerError
from runner.host.drives import DriveAway
from runner.lifecycle.rules import Failure
from runner.pace.scheduler import Call
from runner.service.protocol import Meaning
from runner.steps import upload as uploading

DRIVE_TRIES = 4  # of half a minute each
DRIVE_AGAIN_S = 10.0


async def send(floor: Floor, wanted: uploading.Needed, sent_at: float) -> None:
    """Upload one file, and see to the jobs that wait for it."""
    backlog = floor.backlog
    reference, _ = backlog.uploads[wanted]
    try:
        done = await uploading.upload(floor.desk, reference, wanted)
    except uploading.REFERENCE_ERRORS as exc:
        _changed(floor, wanted, exc)
        return
    except DriveAway as exc:
        _away(floor, wanted, exc)
        return
    finally:
        floor.uploads_open -= 1
    floor.tally.uploads += 1
    floor.answered(Call.UPLOAD, done.answer, sent_at)
    if done.answer.meaning is Meaning.NO_CREDITS:
        floor.heed(Exit.CREDITS, done.answer)
    if done.copy is not None:
        backlog.tries.pop(("upload", wanted), None)
        backlog.uploaded(wanted)
    elif done.failure is not None:
        await _unusable(floor, wanted, done.failure)
    else:
        delay_s = 0.0
        if done.answer.meaning is not Meaning.RATE_LIMITED:
            backlog.tries["upload", wanted] += 1
            delay_s = floor.draw_back_off(backlog.tries["upload", wanted], base_s=1.0, cap_s=60.0)
        backlog.after(delay_s, backlog.to_upload, wanted)


def _changed(floor: Floor, wanted: uploading.Needed, exc: RunnerError) -> None:
    """A file is not what was planned: nothing of its jobs was sent, and the next run plans them as it is then."""
    waiting = floor.backlog.unusable(wanted)
    floor.told.update(waiting)
    floor.progress.event("warning", message=exc.message)
    floor.reasons.note(
        Exit.INCOMPLETE,
        f"{exc.message}; of the jobs that need it {len(waiting)} were not sent: `rivya-batch run` plans them anew",
    )


def _away(floor: Floor, wanted: uploading.Needed, exc: DriveAway) -> None:
    """A drive is no part of the service: what lies elsewhere goes on, and this file is tried a few times."""
    backlog = floor.backlog
    floor.progress.event("trouble", call="upload", what=exc.message)
    backlog.tries["drive", wanted] += 1
    if backlog.tries["drive", wanted] < DRIVE_TRIES:
        backlog.after(DRIVE_AGAIN_S, backlog.to_upload, wanted)
        return
    waiting = backlog.unusable(wanted)
    floor.told.update(waiting)
    floor.reasons.note(
        Exit.TEMPORARY, f"{exc.message}; of the jobs that need it {len(waiting)} were not sent"
    )


async def _unusable(floor: Floor, wanted: uploading.Needed, failure: Failure) -> None:
    desk = floor.desk
    for row in floor.backlog.unusable(wanted):
        job = await desk.writer.write(
            lambda conn, row=row: uploading.fail_for_reference(conn, desk, row, failure)  # type: ignore[misc]  # bound now
        )
        floor.failed(job, failure)
