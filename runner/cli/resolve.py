"""`rivya-batch resolve`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from runner.cli.completing import MANIFEST, complete_job
from runner.cli.output import complain, state_option
from runner.errors import UsageError


@click.command("resolve")
@click.argument("manifest", type=MANIFEST)
@click.argument("job", shell_complete=complete_job)
@click.option(
    "--resend",
    is_flag=True,
    help="Send the same key and bytes again. May pay twice if the service forgot the key.",
)
@click.option("--attach", metavar="TASK_ID", help="It was accepted as this task. Costs nothing more.")
@click.option(
    "--abandon",
    is_flag=True,
    help="Give it up. Its credits stay counted; if it was accepted, its result is lost.",
)
@click.option("--sandbox", is_flag=True, help="In the sandbox's database.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@state_option
def command(
    manifest: Path,
    job: str,
    resend: bool,
    attach: str | None,
    abandon: bool,
    sandbox: bool,
    yes: bool,
    state: str | None,
) -> None:
    """Answer for JOB of MANIFEST, whose submit is uncertain: nobody but a person can know what became of it."""
    from runner.api.resolving import Answering

    if sum((resend, attach is not None, abandon)) != 1:
        raise UsageError(
            "say what became of it: one of --resend, --attach TASK_ID, --abandon",
            hint="look in the account's history for the prompt first: if the task is there, --attach its id costs nothing",
        )
    with Answering.open(manifest, job, state=None if sandbox else state, sandbox=sandbox) as answering:
        complain(answering.explain("resend" if resend else "abandon" if abandon else "attach"))
        if (resend or abandon) and not yes:
            import sys

            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise UsageError(
                    "there is no terminal to ask on", hint="add --yes to do it without being asked"
                )
            if not click.confirm("Do it?", default=False, err=True):
                raise UsageError("nothing was changed")
        if resend:
            answering.resend()
        elif abandon:
            answering.abandon()
        else:
            assert attach is not None
            answering.attach(attach)
    complain(f"next: rivya-batch run {shlex.quote(str(manifest))}" + (" --sandbox" if sandbox else ""))
