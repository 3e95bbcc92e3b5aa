"""`rivya-batch export`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from runner.cli.completion import MANIFEST
from runner.cli.output import complain, named_state, state_option

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
@click.option("--sandbox", is_flag=True, help="Use the sandbox's database.")
@state_option
def command(
    manifest: Path, format_name: str, as_json: bool, output: Path | None, sandbox: bool, state: str | None
) -> None:
    """Write the jobs of MANIFEST as rows for other programs, or its results as a playlist."""
    from runner.api.export import exported, write_text

    format_name = "json" if as_json else format_name
    pieces = exported(
        manifest,
        format_name=format_name,
        state=named_state(state, sandbox=sandbox),
        sandbox=sandbox,
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
