"""`rivya-batch retry`."""

from __future__ import annotations

import sys
from typing import Any

import click

from runner.cli.asking import Asked, asked
from runner.cli.output import complain
from runner.cli.run import go
from runner.errors import Exit, UsageError
from runner.machine import FailureClass


@click.command("retry")
@click.option(
    "--class",
    "classes",
    multiple=True,
    type=click.Choice([cls.value for cls in FailureClass]),
    help="Only jobs that failed for this; may be repeated.",
)
@asked
def command(asked: Asked, classes: tuple[str, ...]) -> int:
    """Plan another round for the failed jobs of MANIFEST, show its cost, ask, and run.

    A new round is a new payment. Jobs whose submit is uncertain are not touched: see `resolve`.
    """
    from runner.api.retrying import begin_rounds, failed_jobs
    from runner.progress.events import EventStream
    from runner.progress.words import counted, credits_in_words

    found = failed_jobs(
        asked.manifest, state=asked.state, sandbox=asked.sandbox, classes=classes, only=asked.only
    )
    if not found.rows:
        text = "there is no failed job to retry" + (" with these options" if classes or asked.only else "")
        if asked.as_json:
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
    if not (asked.yes or asked.sandbox):
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(
                "there is no terminal to ask on", hint="add --yes to pay for these rounds without being asked"
            )
        if not click.confirm("Pay for these rounds?", default=False, err=True):
            raise UsageError("nothing was sent")

    def prepare(conn: Any) -> None:
        begin_rounds(conn, found)

    return go(
        asked.request("retry", rows=frozenset(found.rows)),
        yes=True,
        as_json=asked.as_json,
        verbose=asked.verbose,
        prepare=prepare,
    )
