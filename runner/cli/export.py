"""`rivya-batch export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.choice import CHOICE, meant
from runner.cli.completion import MANIFEST
from runner.cli.output import complain, named_state, only_option, state_option

if TYPE_CHECKING:
    from runner.api.export import CopiedResults

FORMATS = ("csv", "jsonl", "json", "xspf", "m3u")


@click.command("export")
@click.argument("manifest", type=MANIFEST)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    default="csv",
    show_default=True,
    help="Rows of jobs (csv, jsonl, json), or a playlist of the results (xspf, m3u).",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write to this file instead of stdout.",
)
@click.option(
    "--copy-to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Put the results into this folder, as hard links where that is possible; write no rows.",
)
@only_option
@CHOICE[0]
@CHOICE[1]
@CHOICE[2]
@click.option("--sandbox", is_flag=True, help="Use the sandbox's database.")
@state_option
def command(
    manifest: Path,
    format_name: str,
    as_json: bool,
    output: Path | None,
    folder: Path | None,
    only: str | None,
    picked: bool,
    rejected: bool,
    ids: str | None,
    sandbox: bool,
    state: str | None,
) -> None:
    """Write the jobs of MANIFEST as rows for other programs, or its results as a playlist."""
    from runner.api.export import copy_results, exported, write_text

    format_name = "json" if as_json else format_name
    place = named_state(state, sandbox=sandbox)
    these = meant(manifest, only, picked=picked, rejected=rejected, ids=ids, state=place, sandbox=sandbox)
    if folder is not None:
        if output is not None:
            raise click.UsageError("--copy-to and --output exclude each other")
        _copy(copy_results(manifest, folder, state=place, sandbox=sandbox, only=these), folder)
        return
    pieces = exported(
        manifest,
        format_name=format_name,
        state=place,
        sandbox=sandbox,
        only=these,
    )
    if output is None:
        # Line ends are part of the format; names of files may hold what no terminal can show.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")  # type: ignore[union-attr]
        for piece in pieces:
            sys.stdout.write(piece)
        sys.stdout.flush()
        return
    write_text(output, pieces, marked=format_name == "csv")
    complain(f"wrote {output}")


def _copy(done: CopiedResults, folder: Path) -> None:
    if done.missing:
        named = ", ".join(done.missing[:3]) + (", …" if len(done.missing) > 3 else "")
        complain(f"not there: the results of {named}; `rivya-batch run` downloads them again, free")
    there = f", {done.known:,} of them were there" if done.known else ""
    complain(f"{len(done.files):,} files in {folder}{there}")
