"""`share`: results for a client, in one folder or zip that needs nothing else."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from runner.api.manifests.opened import read_known
from runner.errors import UsageError
from runner.lifecycle.selection import Only, fits
from runner.reports.client import ClientClip, client_page
from runner.results.parts import disk_errors
from runner.store import picks, reporting
from runner.store.database import open_to_read

MEDIA = "media"
PAGE = "index.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedResults:
    """What was written: where, how many results of how many jobs, and whose files are away."""

    place: Path
    jobs: int
    files: int
    missing: tuple[str, ...]


def share(
    manifest: Path,
    out: Path,
    *,
    only: Only,
    title: str | None,
    with_prompts: bool,
    state: str | None,
    sandbox: bool,
) -> SharedResults:
    """Write a page of results and copies of them, for somebody who has nothing of ours.

    Args:
        manifest: Its path.
        out: A folder that is not there yet or empty, or a `.zip` that is not there yet.
        only: Which jobs.
        title: What stands over the page; None for the manifest's name.
        with_prompts: Show the prompts too.
        state: Another database.
        sandbox: Results of rehearsals.

    Raises:
        UsageError: There is nothing to share, or something is there already.
        DiskTrouble: The disk is full or fails.
    """
    if out.exists() and not (out.is_dir() and out.suffix != ".zip" and not any(out.iterdir())):
        raise UsageError(f"{out} already exists", hint="name another folder or .zip with -o")
    opened = read_known(manifest, state=state, sandbox=sandbox)
    name = opened.settings.name
    clips: list[ClientClip] = []
    files: dict[str, Path] = {}
    missing: list[str] = []
    with closing(open_to_read(opened.workspace.database)) as file, reporting.snapshot(file.conn) as conn:
        workspace = picks.workspace_id(conn)
        found: dict[int, list[reporting.ArtifactRow]] = {}
        for item in reporting.artifact_rows(conn, name):
            found.setdefault(item.row, []).append(item)
        for job in reporting.job_rows(conn, name):
            if not (job.listed and fits(only, job.job) and job.row in found):
                continue
            shown = []
            for item in found[job.row]:
                source = Path(item.path)
                if not source.is_file():
                    missing.append(job.job)
                    continue
                url = f"{MEDIA}/{len(files) + 1:04d}{source.suffix.lower()}"
                files[url] = source
                shown.append((url, item.mime))
            if shown:
                prompt = job.prompt if with_prompts else None
                clips.append(
                    ClientClip(id=job.job, round=job.round, title=_title(job.job), files=shown, prompt=prompt)
                )
    if not clips:
        raise UsageError(
            f"{name} has no result among these jobs", hint="`rivya-batch pick` shows what is picked"
        )
    page = client_page(title or _title(name), name, workspace, clips)
    with disk_errors(out.parent):
        (_zip if out.suffix == ".zip" else _folder)(out, page, files)
    return SharedResults(place=out, jobs=len(clips), files=len(files), missing=tuple(dict.fromkeys(missing)))


def _title(id_: str) -> str:
    """Return an id as people read it.

    >>> _title("green-bottle_noon-2")
    'Green bottle noon 2'
    """
    words = " ".join(id_.replace("-", " ").replace("_", " ").split())
    return words[:1].upper() + words[1:]


def _folder(out: Path, page: bytes, files: Mapping[str, Path]) -> None:
    """Copy: a link would change with what the next run writes."""
    new = out.with_name(f".{out.name}.{os.getpid()}.new")
    try:
        (new / MEDIA).mkdir(parents=True)
        for url, source in files.items():
            shutil.copyfile(source, new / url)
        (new / PAGE).write_bytes(page)
        if out.exists():
            out.rmdir()
        new.rename(out)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _zip(out: Path, page: bytes, files: Mapping[str, Path]) -> None:
    new = out.with_name(f".{out.name}.{os.getpid()}.new")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(f"{out.stem}/{PAGE}", page)
            for url, source in files.items():
                archive.write(source, f"{out.stem}/{url}")
        new.replace(out)
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)
