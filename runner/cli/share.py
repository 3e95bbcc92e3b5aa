"""`rivya-batch share`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from runner.cli.choice import CHOICE, meant
from runner.cli.completion import MANIFEST
from runner.cli.output import complain, named_state, only_option, show, state_option
from runner.errors import UsageError


@click.command("share")
@click.argument("manifest", type=MANIFEST)
@only_option
@CHOICE[0]
@CHOICE[1]
@CHOICE[2]
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    metavar="PLACE",
    help="A new folder or .zip with a page; or a contact sheet: .pdf, .png or .jpg.",
)
@click.option("--title", metavar="TEXT", help="What stands over the page.  [default: the manifest's name]")
@click.option("--with-prompts", is_flag=True, help="Show the prompts too.")
@click.option("--sandbox", is_flag=True, help="Results of rehearsals are meant.")
@state_option
def command(
    manifest: Path,
    only: str | None,
    picked: bool,
    rejected: bool,
    ids: str | None,
    output: Path,
    title: str | None,
    with_prompts: bool,
    sandbox: bool,
    state: str | None,
) -> None:
    """Write results of MANIFEST for a client: a page with stars and words, without money, commands or prompts.

    With `-o sheet.pdf` (.png, .jpg) a contact sheet in its place.

    What the client saves there and sends back is read by `rivya-batch pick MANIFEST --from FILE`.
    """
    from runner.api.share import share
    from runner.progress.figures import counted
    from runner.reports.contact_sheet import FORMATS
    from runner.reports.stills import can_read_films

    place = named_state(state, sandbox=sandbox)
    these = meant(manifest, only, picked=picked, rejected=rejected, ids=ids, state=place, sandbox=sandbox)
    if these is None:
        raise UsageError("it is not said which jobs", hint="add --picked, --ids FILE or --only 'cat-*'")
    done = share(
        manifest, output, only=these, title=title, with_prompts=with_prompts, state=place, sandbox=sandbox
    )
    if done.missing:
        complain(f"not there: {', '.join(done.missing[:3])}; `rivya-batch run` downloads them again, free")
    if done.blank:
        why = (
            "they cannot be read"
            if can_read_films()
            else "a frame of a film takes ffmpeg, or `pip install 'rivya-batch[frames]'`"
        )
        complain(f"without a picture on the sheet: {done.blank:,} of {done.files:,}: {why}")
    if output.suffix.lower() in FORMATS:
        complain(f"a contact sheet of {counted(done.files, 'result')} of {counted(done.jobs, 'job')}")
        show(str(done.place))
        return
    typed = shlex.quote(str(manifest)) + (" --sandbox" if sandbox else "")
    complain(
        f"{done.files:,} files of {done.jobs:,} jobs; for the answer: rivya-batch pick {typed} --from FILE"
    )
    show(str(done.place))
