"""`rivya-batch retry`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from runner.cli.output import complain
from runner.cli.run import go, refuse_odd
from runner.cli.run_options import Asked, asked
from runner.errors import Exit, UsageError
from runner.lifecycle.ways import STUCK
from runner.model import State
from runner.service.protocol import FailureClass
from runner.words import harmless

if TYPE_CHECKING:
    from runner.api.retry import RetryKind, Rounds


@click.command("retry")
@click.option(
    "--class",
    "classes",
    multiple=True,
    type=click.Choice([*(cls.value for cls in FailureClass), STUCK]),
    help="Only jobs that failed or are stuck for this reason; repeat it to name more.",
)
@click.option(
    "--done",
    is_flag=True,
    help="Of the jobs that are named, also those that are done: make their results again. --rejected means this too.",
)
@asked
def command(asked: Asked, classes: tuple[str, ...], done: bool) -> int:
    """Plan another round for the failed jobs of MANIFEST, show its cost, ask, and run.

    Each round costs credits, also where the round before was refused and cost nothing. --only also
    takes abandoned jobs, and jobs whose result does not arrive (`status` shows them). --rejected makes
    rejected results again; the files there are now go to .old/. Uncertain jobs are left alone: see `resolve`.
    """
    from runner.api.retry import wanted_jobs
    from runner.progress.events import EventStream
    from runner.progress.figures import in_credits

    wanted = wanted_jobs(
        asked.manifest,
        state=asked.state,
        sandbox=asked.sandbox,
        classes=classes,
        only=asked.only,
        done=done or asked.rejected,
    )
    if not wanted.rows:
        text = "; ".join(wanted.left_out) or (
            "there is no failed job to retry" + (" with these options" if classes or asked.only else "")
        )
        if asked.as_json:
            EventStream(sys.stdout).event("notice", message=text)
        else:
            complain(text)
        return int(Exit.OK)
    for line in in_words(wanted):
        complain(line)
    someone = sys.stdin.isatty() and sys.stderr.isatty()
    if asked.yes and not (someone or asked.accept_warnings or asked.sandbox):
        refuse_odd(wanted.odd)
    if not (asked.yes or asked.sandbox):
        if not someone:
            raise UsageError(
                "there is no terminal to ask in", hint="add --yes to pay for these rounds without being asked"
            )
        if not click.confirm(f"Spend about {in_credits(wanted.credits)}?", default=False, err=True):
            raise UsageError("nothing was sent")

    return go(
        asked.request("retry", rounds=wanted, rows=frozenset(wanted.rows)),
        yes=True,
        as_json=asked.as_json,
        verbose=asked.verbose,
        besides=asked.besides,
    )


def in_words(wanted: Rounds) -> Iterator[str]:
    """Yield what another round of these jobs costs, by what became of the one before."""
    from runner.progress.figures import counted, in_credits

    yield from (f"warning: {line}" for line in wanted.attention)
    if wanted.odd:
        have = "job of these has a cell" if len(wanted.odd) == 1 else "jobs of these have cells"
        named = harmless(", ".join(wanted.odd[:3])) + (", …" if len(wanted.odd) > 3 else "")
        yield f"warning: {len(wanted.odd):,} {have} such as `#REF!` or `nan` ({named}): fix the table first"
    what = "another round for" if any(kind.counted for kind in wanted.kinds) else "to be submitted again:"
    yield f"{what} {counted(len(wanted.rows), 'job')}: about {in_credits(wanted.credits)}"
    for kind in wanted.kinds:
        again = "" if kind.state is State.FAILED else "paid again: "
        price = f"about {in_credits(kind.credits)}"
        yield f"  {kind.number:,} {_of_what(kind)}: {again}{price}; {_before(kind)}"
    states = {kind.state for kind in wanted.kinds}
    if State.DONE in states:
        yield "  the results there are now go to .old/ as the new ones come"
    if wanted.dependents:
        yield (
            f"  {counted(wanted.dependents, 'job')} made of these results will count as changed:"
            " the next `rivya-batch plan` tells their price"
        )
    if states - {State.FAILED, State.DONE}:
        yield "  results of their earlier tasks that still come are lost"
    yield from (f"  left out: {why}" for why in wanted.left_out)


def _of_what(kind: RetryKind) -> str:
    if kind.state in (State.ABANDONED, State.DONE):
        return kind.state.value
    if kind.state is not State.FAILED:
        return f"{kind.state.value} ({kind.why or 'longer than limits.job_deadline'})"
    again = kind.why in ("policy", "validation")
    return (
        f"{kind.why or 'other'}{' (refused for their content: likely to be refused again)' if again else ''}"
    )


def _before(kind: RetryKind) -> str:
    from runner.progress.figures import credits_in_words

    if not kind.counted:
        return "nothing was paid for them before"
    amount = credits_in_words(kind.counted)
    if kind.state in (State.FAILED, State.DOWNLOADING, State.DONE):
        return f"the {amount} charged already stay charged"
    return f"the {amount} that may have been charged already stay counted"
