"""`rivya-batch init`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from runner.cli.output import complain
from runner.errors import UsageError


@click.command("init")
@click.argument("file", type=click.Path(path_type=Path), default="manifest.yaml")
@click.option("--model", default="grok-imagine-video", show_default=True, help="The model to start with.")
@click.option("--force", is_flag=True, help="Overwrite a file that exists.")
def command(file: Path, model: str, force: bool) -> None:
    """Write a commented starter manifest to FILE."""
    from runner.api.init import starter_manifest

    text = starter_manifest(file, model)
    if file.exists() and not force:
        raise UsageError(f"{file} already exists", hint="name another file, or add --force")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"cannot write {file}: {exc.strerror}") from exc
    typed = shlex.quote(str(file))
    complain(f"wrote {file}; next: rivya-batch plan {typed}, then rivya-batch run {typed} --sandbox")
    print(file)  # for programs: byte for byte
