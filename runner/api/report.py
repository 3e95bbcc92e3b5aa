"""`report`, and the report a run writes at its end."""

from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from runner.api.manifests.binding import results_folder
from runner.api.manifests.opened import read_known
from runner.host.clock import rfc3339
from runner.host.workspace import find_workspace
from runner.model import SANDBOX_URL, ResultPath, Settings
from runner.reports.data import Invocation, Report, collect
from runner.reports.page import page_path, write_report
from runner.store import manifests
from runner.store.database import StateDatabase, open_to_read
from runner.store.server_address import ServerAddress, is_server_address
from runner.words import harmless


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenReport:
    """A report that is on the disk now."""

    path: ResultPath
    size_bytes: int
    report: Report


def write_report_of(manifest: Path, *, state: str | None, sandbox: bool) -> WrittenReport:
    """Write the report of a manifest beside its results.

    Raises:
        UsageError: Nothing was ever run here, or the page cannot be written.
    """
    opened = read_known(manifest, state=state, sandbox=sandbox)
    with closing(open_to_read(opened.workspace.database)) as file:
        results_folder(file, opened.settings)
        return _write(file, opened.settings, invocation_of(manifest, state, sandbox=sandbox))


def write_report_for(file: StateDatabase, settings: Settings) -> tuple[ResultPath | None, str]:
    """Write the report at the end of a run; trouble with it fails nothing.

    Args:
        file: The run's open database.
        settings: The run's manifest; its `output_dir` is where the page goes.

    Returns:
        (page, ""), or (None, why) where it could not be written.
    """
    try:
        bound = manifests.binding(file.conn, settings.name)
        sandbox = bound is not None and bound.base_url == SANDBOX_URL
        usual = find_workspace(settings.path, state=None, sandbox=sandbox).database
        state = None if file.place in (None, usual) else str(file.place)
        return _write(file, settings, invocation_of(settings.path, state, sandbox=sandbox)).path, ""
    except Exception as exc:  # a page to look at must never fail what was paid for
        return None, harmless(str(exc))


def _write(file: StateDatabase, settings: Settings, invocation: Invocation) -> WrittenReport:
    report = collect(
        file.conn,
        settings.name,
        output_dir=settings.output_dir,
        written_at=rfc3339(time.time()),
        invocation=invocation,
    )
    path = page_path(settings.output_dir, settings.name)
    return WrittenReport(path=path, size_bytes=write_report(report, path), report=report)


def invocation_of(manifest: Path, state: str | None, *, sandbox: bool) -> Invocation:
    """Return how a person here would name a manifest on the command line."""
    if state and is_server_address(state):
        state = str(ServerAddress.parse(state))  # without the password
    options = (*(("--sandbox",) if sandbox else ()), *(("--state", state) if state else ()))
    near = os.path.relpath(manifest)
    return Invocation(manifest=str(manifest) if near.startswith("..") else near, options=options)
