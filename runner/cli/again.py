"""`rivya-batch again`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from runner.cli.choice import CHOICE, meant
from runner.cli.completion import MANIFEST
from runner.cli.output import complain, named_state, only_option, show, state_option


@click.command("again")
@click.argument("manifest", type=MANIFEST)
@only_option
@CHOICE[0]
@CHOICE[1]
@CHOICE[2]
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Another value of a param, model or prompt. Repeatable.",
)
@click.option("--repeat", type=click.IntRange(1), metavar="N", help="Make N takes of each.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The new manifest.  [default: MANIFEST-again.yaml]",
)
@click.option("--sandbox", is_flag=True, help="Results of rehearsals are meant.")
@click.option("--run", "run_it", is_flag=True, help="Then run it, as `run` does: it asks before it spends.")
@click.option(
    "--yes", "-y", is_flag=True, help="With --run: spend without asking (needed without a terminal)."
)
@state_option
@click.pass_context
def command(
    context: click.Context,
    /,
    manifest: Path,
    only: str | None,
    picked: bool,
    rejected: bool,
    ids: str | None,
    changes: tuple[str, ...],
    repeat: int | None,
    output: Path | None,
    sandbox: bool,
    run_it: bool,
    yes: bool,
    state: str | None,
) -> int:
    """Write a new manifest of jobs of MANIFEST, with what is to be different, and price it at once.

    From drafts to finals: rivya-batch again drafts.yaml --picked --set resolution=720p --repeat 3 -o finals.yaml
    """
    from runner.api.again import write_again
    from runner.cli.plan_words import summary_words
    from runner.errors import UsageError

    place = named_state(state, sandbox=sandbox)
    these = meant(manifest, only, picked=picked, rejected=rejected, ids=ids, state=place, sandbox=sandbox)
    if yes and not run_it:
        raise UsageError("--yes is for --run: without it nothing is spent")
    if these is None:
        raise UsageError("it is not said which jobs", hint="add --picked, --ids FILE or --only 'cat-*'")
    out = output or manifest.with_name(f"{manifest.stem}-again.yaml")
    done = write_again(
        manifest, out, only=these, changes=changes, repeat=repeat, state=place, sandbox=sandbox
    )
    complain(summary_words(done.plan, {**done.plan.credits, "balance": None}))
    typed = shlex.quote(str(out)) + (" --sandbox" if sandbox else "")
    if run_it:
        from runner.cli.run import command as run

        complain(f"wrote {out}")
        code: int = context.invoke(run, manifest=out, sandbox=sandbox, state=state, yes=yes)
        return code
    complain(f"wrote {out}; next: rivya-batch plan {typed}, then rivya-batch run {typed}")
    show(str(out))
    return 0
