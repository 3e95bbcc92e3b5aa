"""`rivya-batch retry`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from runner.cli.completing import MANIFEST
from runner.cli.output import complain
from runner.cli.run import go, run_options, sandbox_arguments
from runner.errors import Exit, UsageError
from runner.machine import FailureClass


@click.command("retry")
@click.argument("manifest", type=MANIFEST)
@click.option(
    "--class",
    "classes",
    multiple=True,
    type=click.Choice([cls.value for cls in FailureClass]),
    help="Only jobs that failed for this; may be repeated.",
)
@click.option("--sandbox", is_flag=True, help="In the sandbox.")
@click.option("--sandbox-options", metavar="TEXT", default="", help="Options for it.")
@run_options
def command(
    manifest: Path,
    classes: tuple[str, ...],
    sandbox: bool,
    sandbox_options: str,
    max_credits: float | None,
    only: str | None,
    stop_after: float | None,
    patience: float,
    yes: bool,
    as_json: bool,
    state: str | None,
    verbose: int,
) -> int:
    """Plan another round for the failed jobs of MANIFEST, show its cost, ask, and run.

    A new round is a new payment. Jobs whose submit is uncertain are not touched: see `resolve`.
    """
    from runner.api.retrying import begin_rounds, failed_jobs
    from runner.api.running import RunRequest
    from runner.engine import RunOptions
    from runner.progress.events import EventStream
    from runner.progress.words import counted, credits_in_words

    arguments = sandbox_arguments(sandbox_options, sandbox=sandbox)
    found = failed_jobs(
        manifest, state=None if sandbox else state, sandbox=sandbox, classes=classes, only=only
    )
    if not found.rows:
        text = "there is no failed job to retry" + (" with these options" if classes or only else "")
        if as_json:
            EventStream(sys.stdout).event("notice", message=text)
        else:
            complain(text)
        return int(Exit.OK)
    complain(
        f"another round for {counted(len(found.rows), 'failed job')}: about {credits_in_words(found.credits)} credits"
    )
    for cls, number in sorted(found.by_class.items()):
        complain(
            f"  {number} {cls}"
            + (
                "  (refused for what they hold: likely to be refused again)"
                if cls in ("policy", "validation")
                else ""
            )
        )
    if not (yes or sandbox):
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(
                "there is no terminal to ask on", hint="add --yes to pay for these rounds without being asked"
            )
        if not click.confirm("Pay for these rounds?", default=False, err=True):
            raise UsageError("nothing was sent")

    def prepare(conn: Any) -> None:
        begin_rounds(conn, found)

    request = RunRequest(
        path=manifest,
        state=None if sandbox else state,
        sandbox=sandbox,
        sandbox_arguments=arguments,
        command=f"rivya-batch retry {shlex.quote(str(manifest))}",
        max_credits=max_credits,
        options=RunOptions(
            only=only, rows=frozenset(found.rows), stop_after_s=stop_after, patience_s=patience
        ),
    )
    return go(request, yes=True, as_json=as_json, verbose=verbose, prepare=prepare)
