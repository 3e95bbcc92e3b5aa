"""What follows from an upload: jobs that lack nothing else are ready, or cannot be sent at all."""

from __future__ import annotations

from runner.engine.chained import not_as_made
from runner.engine.run_state import RunState
from runner.errors import Exit, RunnerError
from runner.host.drives import DriveAway
from runner.lifecycle.rules import Failure
from runner.model import Reference
from runner.pace.scheduler import Call
from runner.service.protocol import Meaning
from runner.steps import upload as upload_step

DRIVE_TRIES = 4  # of half a minute each
DRIVE_AGAIN_S = 10.0


async def send(run_state: RunState, wanted: upload_step.Needed, sent_at: float) -> None:
    """Upload one file, and see to the jobs that wait for it."""
    backlog = run_state.backlog
    reference, _ = backlog.uploads[wanted]
    try:
        done = await upload_step.upload(run_state.context, reference, wanted)
    except upload_step.REFERENCE_ERRORS as exc:
        _changed(run_state, wanted, reference, exc)
        return
    except DriveAway as exc:
        _away(run_state, wanted, exc)
        return
    finally:
        run_state.uploads_open -= 1
    run_state.tally.uploads += 1
    run_state.answered(Call.UPLOAD, done.answer, sent_at)
    if done.answer.meaning is Meaning.NO_CREDITS:
        run_state.handle_stop(Exit.CREDITS, done.answer)
    if done.copy is not None:
        backlog.tries.pop(("upload", wanted), None)
        backlog.uploaded(wanted)
    elif done.failure is not None:
        await _unusable(run_state, wanted, done.failure)
    else:
        delay_s = 0.0
        if done.answer.meaning is not Meaning.RATE_LIMITED:
            backlog.tries["upload", wanted] += 1
            delay_s = run_state.draw_back_off(backlog.tries["upload", wanted], base_s=1.0, cap_s=60.0)
        backlog.after(delay_s, backlog.to_upload, wanted)


def _changed(run_state: RunState, wanted: upload_step.Needed, reference: Reference, exc: RunnerError) -> None:
    """A file is not what was planned: nothing of its jobs was sent, and the next run plans them as it is then."""
    waiting = run_state.backlog.unusable(wanted)
    run_state.told.update(waiting)
    if reference.result_of is not None:
        not_as_made(run_state, reference, len(waiting))
        return
    run_state.progress.event("warning", message=exc.message)
    run_state.reasons.note(
        Exit.INCOMPLETE,
        f"{exc.message}; of the jobs that need it {len(waiting)} were not sent: `rivya-batch run` plans them again",
    )


def _away(run_state: RunState, wanted: upload_step.Needed, exc: DriveAway) -> None:
    """A drive is no part of the service: what lies elsewhere goes on, and this file is tried a few times."""
    backlog = run_state.backlog
    run_state.progress.event("trouble", call="upload", what=exc.message)
    backlog.tries["drive", wanted] += 1
    if backlog.tries["drive", wanted] < DRIVE_TRIES:
        backlog.after(DRIVE_AGAIN_S, backlog.to_upload, wanted)
        return
    waiting = backlog.unusable(wanted)
    run_state.told.update(waiting)
    run_state.reasons.note(
        Exit.TEMPORARY, f"{exc.message}; of the jobs that need it {len(waiting)} were not sent"
    )


async def _unusable(run_state: RunState, wanted: upload_step.Needed, failure: Failure) -> None:
    context = run_state.context
    for row in run_state.backlog.unusable(wanted):
        job = await context.writer.write(
            lambda conn, row=row: upload_step.fail_for_reference(conn, context, row, failure)  # type: ignore[misc]  # bound now
        )
        run_state.failed(job, failure)
