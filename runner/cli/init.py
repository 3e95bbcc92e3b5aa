"""`rivya-batch init`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from runner.cli.output import complain
from runner.errors import UsageError


@click.command("init")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--from",
    "table",
    type=click.Path(path_type=Path),
    metavar="TABLE",
    help="Make one job for each row of this .csv, .tsv, .txt, .xlsx, .jsonl, .json or .yaml file.",
)
@click.option("--model", default="grok-imagine-video", show_default=True, help="The model to start with.")
@click.option("--force", is_flag=True, help="Overwrite a file that exists.")
def command(file: Path | None, table: Path | None, model: str, force: bool) -> None:
    """Write a commented starter manifest to FILE (default: manifest.yaml, or named after the table)."""
    from runner.api.init import manifest_from, starter_manifest

    if table is None:
        file = file or Path("manifest.yaml")
        text = starter_manifest(file, model)
    else:
        file = file or Path(f"{table.stem}.yaml")
        if file.exists() and file.samefile(table):
            raise UsageError(f"{file} is the table itself", hint="name another file for the manifest")
        text = manifest_from(file, table, model)
    if file.exists() and not force:
        raise UsageError(f"{file} already exists", hint="name another file, or add --force")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"cannot write {file}: {exc.strerror}") from exc
    if table is not None:
        _tell_what_is_wrong(file)
    typed = shlex.quote(str(file))
    complain(f"wrote {file}; next: rivya-batch plan {typed}, then rivya-batch run {typed} --sandbox")
    print(file)  # for programs: byte for byte


def _tell_what_is_wrong(file: Path) -> None:
    """Print what is to be mended in a table before its jobs can run."""
    from runner.api.validate import validate
    from runner.cli.problems import show_problems

    show_problems(validate(file).problems)
