"""`hold`, `go`, `stop`, `set`: a person's hand on a run, from another terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from runner.api.manifests.opened import manifest_name
from runner.api.workers import at_work
from runner.errors import RunnerError, UsageError
from runner.host.clock import rfc3339
from runner.host.workspace import find_workspace, no_database
from runner.model import Order
from runner.store import orders, runs
from runner.store.database import StateDatabase, open_database

LOOK_EVERY_S = 0.2
WAIT_S = 10.0  # for the run to take it: it looks once in one to three seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdersGiven:
    """What became of orders: whether the run has taken them, and how it goes on where it has not."""

    manifest: str
    run: int
    taken: bool
    why_not: str = ""


def give(path: Path, wanted: Sequence[Order], *, state: str | None, sandbox: bool) -> OrdersGiven:
    """Leave orders for the run of a manifest, and wait some seconds until it has taken them.

    Args:
        path: The manifest.
        wanted: What to tell the run.
        state: Another database.
        sandbox: The database of rehearsals.

    Raises:
        UsageError: The manifest is not being run.
    """
    workspace = find_workspace(path, state=state, sandbox=sandbox)
    if not workspace.has_database:
        raise no_database(workspace, sandbox=sandbox)
    name = manifest_name(path)
    with closing(open_database(workspace.database)) as file:
        run = runs.last(file.conn, name)
        holder = file.holder_of(name)
        if run is None or run.ended_at is not None or holder is None:
            raise UsageError(f"{name} is not being run", hint="`rivya-batch status` shows what is")
        together = at_work(file, name)  # one of them may have been killed a moment ago
        if not together and not holder.is_of(pid=run.pid, host=run.host):
            raise UsageError(
                f"{name} is held by {holder.in_words()}, which has not begun yet", hint="try again"
            )
        with file.transaction() as conn:
            runs_at_work = {each.run for each in together} or {run.id}
            numbers = [
                orders.give(conn, each, order, rfc3339(time.time()))
                for order in wanted
                for each in sorted(runs_at_work)
            ]
        taken = _taken(file, name, numbers)
    why = "" if taken else holder.paused or "the run has not looked yet; it takes it once it does"
    return OrdersGiven(manifest=name, run=run.id, taken=taken, why_not=why)


def _taken(file: StateDatabase, name: str, numbers: Sequence[int]) -> bool:
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        with suppress(RunnerError):  # a writer that holds the database for a moment
            if all(orders.is_taken(file.conn, number) for number in numbers):
                return True
        if file.holder_of(name) is None:
            return all(orders.is_taken(file.conn, number) for number in numbers)
        time.sleep(LOOK_EVERY_S)
    return False
