"""Handing a manifest over to workers: planned, agreed to and staged here, worked at by whoever waits for work."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.api.run import Announce, Confirm, Run, RunRequest
from runner.api.runs.begun import BegunRun
from runner.api.workers import at_work
from runner.engine import RunOptions
from runner.errors import UsageError
from runner.host.workspace import find_workspace
from runner.lifecycle.selection import JobIds
from runner.store import handovers, runs
from runner.store.handovers import Handover


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """A manifest that workers take part in from now on."""

    number: int
    name: str
    jobs: int  # to be submitted
    workers: int  # that take part already


def hand_over(request: RunRequest, *, confirm: Confirm, announce: Announce) -> HandedOver:
    """Plan a manifest, have the plan agreed to, stage it, and leave it to workers.

    Raises:
        RunnerError: It cannot be handed over; nothing was sent.
    """
    workspace = find_workspace(request.path, state=request.state, sandbox=request.sandbox)
    if request.alone:
        raise UsageError(f"{request.alone} is for one run alone, and cannot be handed over to workers")
    if isinstance(workspace.database, Path):
        raise UsageError(
            f"workers wait for manifests at a PostgreSQL server, and {workspace.database} is a file",
            hint="name a database there with --state or RIVYA_STATE",
        )
    run = Run(request, confirm=confirm, announce=announce)
    try:
        run.begin()
        with run.ended_in_any_case():
            run.make_ready()
            return _put(request, run.begun)
    finally:
        run.close()


def _put(request: RunRequest, known: BegunRun) -> HandedOver:
    name, now = known.plan.name, known.now
    sign = known.folder.leave_sign_until_removed()
    with known.file.transaction() as conn:
        number = handovers.put(
            conn,
            Handover(
                id=0,
                manifest=name,
                path=str(known.plan.settings.path),
                base_url=known.account.service,
                asked={
                    **request.asked,
                    "max_credits": request.max_credits,
                    "replace": request.replace,
                    "patience_s": request.options.patience_s,
                },
                terms=known.terms,
                sign=sign,
                session=known.session,
                host=socket.gethostname(),
                handed_at=now,
                ended_at=None,
                exit_code=None,
            ),
        )
        runs.end(conn, known.run_id, exit_code=0, stats={}, now=now)
    there = len(at_work(known.file, name))
    return HandedOver(number=number, name=name, jobs=known.plan.submits, workers=there)


def request_of(handed: Handover, *, state: str | None) -> RunRequest:
    """Return what a worker does about a manifest that was handed over."""
    asked: dict[str, Any] = dict(handed.asked)
    only = asked["only"]
    return RunRequest(
        path=Path(handed.path),
        state=state,
        command=f"rivya-batch worker ({handed.manifest})",
        max_credits=asked["max_credits"],
        replace=asked["replace"],
        skip_invalid=asked["skip_invalid"],
        handed=handed,
        options=RunOptions(
            limit=asked["limit"],
            canary=asked["canary"],
            only=JobIds(frozenset(only), "--ids") if isinstance(only, list) else only,
            patience_s=asked["patience_s"],
        ),
    )
