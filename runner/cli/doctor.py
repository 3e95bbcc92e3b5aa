"""`rivya-batch doctor`."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.completion import MANIFEST
from runner.cli.output import complain, json_option, named_state, show, show_json, state_option
from runner.cli.run_options import CREDITS, sandbox_words
from runner.cli.typed import Advice
from runner.errors import Exit, UsageError
from runner.words import harmless

if TYPE_CHECKING:
    from runner.api.checks.check import Check
    from runner.api.checks.trial import Tried
    from runner.api.doctor import Patient
    from runner.api.run import RunRequest
    from runner.api.runs.end import RunResult
    from runner.host.surroundings import Finding
    from runner.service.rivya.open_questions import OpenQuestion
    from runner.service.seen import Fact

WORDS = {"fine": "ok", "warning": "look", "stop": "STOP"}
MARGIN = 17  # columns before what was found


@click.command("doctor")
@click.argument("manifest", type=MANIFEST, required=False)
@click.option(
    "--spend",
    type=CREDITS,
    metavar="N",
    help="Try the cheapest job for at most N credits (asks first), and keep what was seen of the service.",
)
@click.option("--yes", "-y", is_flag=True, help="Spend without asking (needed without a terminal).")
@click.option(
    "--sandbox", is_flag=True, help="Look at the bundled imitation, and the database of rehearsals."
)
@click.option(
    "--sandbox-options",
    metavar="TEXT",
    default="",
    help="Options of the sandbox: see `rivya-batch sandbox --help`.",
)
@json_option
@state_option
def command(
    manifest: Path | None,
    spend: float | None,
    yes: bool,
    sandbox: bool,
    sandbox_options: str,
    as_json: bool,
    state: str | None,
) -> int:
    """Look at this machine, the network, the key and the service; type this first when something is odd.

    Nothing is spent without --spend. The exit code is that of a run that would begin now.
    """
    from runner.api.doctor import answered, examine, patient
    from runner.host.workspace import find_workspace

    arguments = sandbox_words(sandbox_options, sandbox=sandbox)
    named = named_state(state, sandbox=sandbox)
    workspace = find_workspace(manifest, state=named, sandbox=sandbox)
    with patient(workspace, manifest, state=named, sandbox=sandbox, sandbox_arguments=arguments) as of:
        found = examine(of)
        if not as_json:
            show("\n".join(line for check in found.checks for line in lines(check)))
        code, tried = found.code, None
        if spend is not None and not code:
            tried = try_for(of, spend, yes=yes or sandbox)
            code = tried.code
        elif spend is not None:
            complain("nothing was tried: a run would not begin")
        questions = answered(of)
        if as_json:
            show_json(
                {
                    "v": 1,
                    "type": "doctor",
                    "exit_code": int(code),
                    "checks": [
                        {**asdict(each.finding), "exit_code": int(each.code)} for each in found.checks
                    ],
                    "service": of.service,
                    "seen": [
                        {"open": one.open, "assumed": one.assumed, **_seen(fact)} for one, fact in questions
                    ],
                    "tried": tried
                    and {"manifest": tried.name, "credits": tried.credits, "notes": tried.notes},
                },
                indent=2,
            )
        else:
            if tried is not None:
                show("\n".join(tried_in_words(tried, sandbox=sandbox)))
            show("\n".join(table(questions, whole=tried is not None, advice=Advice.here())))
    return int(code)


def _seen(fact: Fact | None) -> dict[str, str | None]:
    if fact is None:
        return {"key": None, "value": None, "words": None, "at": None}
    return {"key": fact.key, "value": fact.value, "words": fact.words, "at": fact.at}


def try_for(of: Patient, credits: float, *, yes: bool) -> Tried:
    """Ask, and try a job for so many credits at most.

    Raises:
        UsageError: Nobody has said yes.
    """
    from runner.api.doctor import offer, try_it

    chosen = offer(of, credits)
    contract = chosen.contract
    what = "the job that an earlier try has begun" if chosen.resumed else f"one job of {contract.id}"
    most = f"at most {in_credits(credits)}"
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(
                f"this would spend {most}, and there is no terminal to ask in",
                hint="add --yes to spend without being asked",
            )
        complain(f"tries {what} (from {in_credits(contract.base_credits)}), and its key again")
        if not click.confirm(f"Spend {most}?", default=False, err=True):
            raise UsageError("nothing was sent")
    return try_it(of, chosen, run_it=run_it)


def run_it(request: RunRequest) -> RunResult:
    """Run one job with plain lines beside."""
    from runner.cli.process import run
    from runner.progress.plain import PlainProgress

    progress = PlainProgress(sys.stderr, verbose=1)
    try:
        return run(request, confirm=lambda plan: True, announce=complain, progress=progress)
    finally:
        progress.close()


def in_credits(amount: float | None) -> str:
    """Return an amount with its noun: `1 credit`, `2.5 credits`."""
    from runner.progress.figures import credits_in_words

    return f"{credits_in_words(amount)} credit{'' if amount == 1 else 's'}"


def tried_in_words(tried: Tried, *, sandbox: bool) -> Iterator[str]:
    """Yield what a try has come to."""
    from runner.progress.figures import near

    free = " (sandbox: nothing was paid)" if sandbox else ""
    yield f"\ntried    {harmless(tried.name)}: {in_credits(tried.credits)}{free}"
    yield from (f"note     {harmless(note, limit=300)}" for note in tried.notes)
    if tried.kept is not None:
        yield f"kept     {near(tried.kept)}"
    if tried.code is not Exit.OK:
        yield "open     the job did not end well; the same command continues it if it has not ended"


def table(
    questions: Sequence[tuple[OpenQuestion, Fact | None]], *, whole: bool, advice: Advice
) -> Iterator[str]:
    """Yield what was seen of a service, and what is assumed: all of it, or only how much.

    Args:
        questions: What nobody has documented, and what was seen of it.
        whole: Tell what is assumed, too.
        advice: Completes the command that is named.
    """
    from runner.progress.figures import counted

    seen = [(question, fact) for question, fact in questions if fact is not None]
    open_ = [question for question, fact in questions if fact is None]
    width = max(shutil.get_terminal_size((80, 24)).columns, 50)
    lines = [f"seen {fact.at[:10]}  {question.open}: {harmless(fact.words)}" for question, fact in seen]
    if whole:
        lines += [f"assumed          {question.open}: {question.assumed}" for question in open_]
    for text in lines:
        yield from textwrap.wrap(text, width, subsequent_indent=" " * MARGIN, break_on_hyphens=False)
    if not whole:
        left = counted(len(open_), "thing")
        try_it = advice.typed("`rivya-batch doctor --spend 5`")
        yield f"{left} are assumed of the service; this tries what it can:\n{try_it}"


def lines(check: Check) -> Iterator[str]:
    """Yield a check as lines that fit the terminal: what was found, and below it what to do."""
    finding: Finding = check.finding
    width = max(min(shutil.get_terminal_size((80, 24)).columns, 120) - MARGIN, 30)
    head = f"{WORDS[finding.weight.value]:<5} {harmless(finding.what):<11}"
    for text in textwrap.wrap(harmless(finding.found), width, break_on_hyphens=False) or [""]:
        yield f"{head}{text}"
        head = " " * MARGIN
    head += "-> "
    for text in textwrap.wrap(harmless(finding.do), width - 3, break_on_hyphens=False):
        yield f"{head}{text}"
        head = " " * (MARGIN + 3)
