"""`rivya-batch resolve`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from runner.cli.completion import MANIFEST, complete_job
from runner.cli.output import complain, named_state, state_option
from runner.errors import UsageError


@click.command("resolve")
@click.argument("manifest", type=MANIFEST)
@click.argument("job", shell_complete=complete_job)
@click.option(
    "--resend",
    is_flag=True,
    help="Send the same key and bytes again. May pay twice if the service forgot the key.",
)
@click.option("--attach", metavar="TASK_ID", help="This task is the job: take it over. Costs nothing more.")
@click.option("--accept", is_flag=True, help="Mark it done with the results that are on disk.")
@click.option(
    "--abandon",
    is_flag=True,
    help="Give it up. Its credits stay counted; a result that still comes is lost.",
)
@click.option("--sandbox", is_flag=True, help="Use the sandbox's database.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@state_option
def command(
    manifest: Path,
    job: str,
    resend: bool,
    attach: str | None,
    accept: bool,
    abandon: bool,
    sandbox: bool,
    yes: bool,
    state: str | None,
) -> None:
    """Settle JOB of MANIFEST: its submit is uncertain, or its result does not arrive.

    This never pays for another round; `retry` does.
    """
    from runner.api.resolve import Answering

    given = {"resend": resend, "attach": attach is not None, "accept": accept, "abandon": abandon}
    chosen = [name for name, wanted in given.items() if wanted]
    if len(chosen) != 1:
        raise UsageError(
            "choose one of --resend, --attach TASK_ID, --accept, --abandon",
            hint="look for the prompt in the account's history first: if the task is there, --attach TASK_ID costs nothing",
        )
    choice = chosen[0]
    with Answering.open(
        manifest, job, choice, state=named_state(state, sandbox=sandbox), sandbox=sandbox
    ) as answering:
        complain(answering.explain(choice))
        if attach is None and not yes:
            _ask()
        answering.apply(choice, attach)
    complain(f"next: rivya-batch run {shlex.quote(str(manifest))}" + (" --sandbox" if sandbox else ""))


def _ask() -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("there is no terminal to ask in", hint="add --yes to do it without being asked")
    if not click.confirm("Do it?", default=False, err=True):
        raise UsageError("nothing was changed")
