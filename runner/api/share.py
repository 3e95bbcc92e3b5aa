"""`share`: results for a client, in one folder or zip that needs nothing else."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from runner.api.manifests.opened import read_known
from runner.errors import UsageError
from runner.lifecycle.selection import Only, fits, means_result
from runner.model import ResultPath, path_of
from runner.reports.client import ClientClip, client_page
from runner.reports.contact_sheet import FORMATS, MOST_ON_ONE, SheetShot, draw_sheet
from runner.results.parts import disk_errors
from runner.results.storage import storage_of
from runner.store import picks, reporting
from runner.store.database import open_to_read

MEDIA = "media"
PAGE = "index.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedResults:
    """What was written: where, how many results of how many jobs, and whose files are away.

    `blank` counts what a contact sheet could show no picture of.
    """

    place: Path
    jobs: int
    files: int
    missing: tuple[str, ...]
    blank: int = 0


# What somebody who names these expects is a file.
_OTHER_FILES = frozenset(
    ".html .htm .gif .webp .svg .mp4 .mov .webm .tar .gz .tgz .7z .rar .csv .json .txt .md .doc .docx .xlsx .pptx".split()  # noqa: SIM905
)


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
    """Write a page of results and copies of them, or a contact sheet, for somebody who has nothing of ours.

    Args:
        manifest: Its path.
        out: A folder that is not there yet or empty; or a file that is not there yet: a `.zip` with the same, or a
            contact sheet: `.pdf`, `.png`, `.jpg`.
        only: Which jobs.
        title: What stands over the page; None for the manifest's name.
        with_prompts: Show the prompts too.
        state: Another database.
        sandbox: Results of rehearsals.

    Raises:
        UsageError: There is nothing to share, or something is there already.
        DiskTrouble: The disk is full or fails.
    """
    if out.exists() and not (
        out.is_dir() and out.suffix.lower() not in (".zip", *FORMATS) and not any(out.iterdir())
    ):
        raise UsageError(f"{out} already exists", hint="name another place with -o")
    if out.suffix.lower() in _OTHER_FILES:
        bare = str(out.with_suffix(""))
        raise UsageError(
            f"a page and the results it shows are a folder or a .zip, not one {out.suffix} file",
            hint=f"`-o {shlex.quote(bare)}` makes a folder, `-o {shlex.quote(f'{bare}.zip')}` one file to send",
        )
    opened = read_known(manifest, state=state, sandbox=sandbox)
    name = opened.settings.name
    clips: list[ClientClip] = []
    files: dict[str, ResultPath] = {}
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
                if not means_result(only, job.job, item.number):
                    continue
                source = path_of(item.path)
                if storage_of(source).size(source) is None:
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
    if (form := FORMATS.get(out.suffix.lower())) is not None:
        blank = _sheet(out, form, title or _title(name), clips, files)
        return SharedResults(
            place=out,
            jobs=len(clips),
            files=len(files),
            missing=tuple(dict.fromkeys(missing)),
            blank=blank,
        )
    page = client_page(title or _title(name), name, workspace, clips)
    with disk_errors(out.parent):
        (_zip if out.suffix.lower() == ".zip" else _folder)(out, page, files)
    return SharedResults(place=out, jobs=len(clips), files=len(files), missing=tuple(dict.fromkeys(missing)))


def _sheet(
    out: Path, form: str, title: str, clips: Sequence[ClientClip], files: Mapping[str, ResultPath]
) -> int:
    """Write a contact sheet, whole or not at all; return how many results it has no picture of.

    Raises:
        UsageError: They are too many for one picture.
    """
    if form != "PDF" and len(files) > MOST_ON_ONE:
        raise UsageError(
            f"{len(files):,} results are too many for one picture", hint="name a .pdf, which has pages"
        )
    new = out.with_name(f".{out.name}.{os.getpid()}.new")
    with disk_errors(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory() as near:
                shots = [
                    SheetShot(
                        title=clip.title if len(clip.files) == 1 else f"{clip.title}, {number}",
                        path=_at_hand(files[url], Path(near)),
                        mime=mime,
                        note=clip.prompt or "",
                    )
                    for clip in clips
                    for number, (url, mime) in enumerate(clip.files, start=1)
                ]
                drawn = draw_sheet(title, shots, new, form)
            new.replace(out)
        finally:
            with suppress(OSError):
                new.unlink(missing_ok=True)
    return drawn.blank


def _at_hand(source: ResultPath, near: Path) -> Path:
    """Return a result as a file of this machine: one in a bucket is copied."""
    if isinstance(source, Path):
        return source
    target = near / f"{len(list(near.iterdir()))}{source.suffix}"
    storage_of(source).copy_out(source, target)
    return target


def _title(id_: str) -> str:
    """Return an id as people read it.

    >>> _title("green-bottle_noon-2")
    'Green bottle noon 2'
    """
    words = " ".join(id_.replace("-", " ").replace("_", " ").split())
    return words[:1].upper() + words[1:]


def _folder(out: Path, page: bytes, files: Mapping[str, ResultPath]) -> None:
    """Copy: a link would change with what the next run writes."""
    new = out.with_name(f".{out.name}.{os.getpid()}.new")
    try:
        (new / MEDIA).mkdir(parents=True)
        for url, source in files.items():
            storage_of(source).copy_out(source, new / url)
        (new / PAGE).write_bytes(page)
        if out.exists():
            out.rmdir()
        new.rename(out)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _zip(out: Path, page: bytes, files: Mapping[str, ResultPath]) -> None:
    new = out.with_name(f".{out.name}.{os.getpid()}.new")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(f"{out.stem}/{PAGE}", page)
            for url, source in files.items():
                _add(archive, source, f"{out.stem}/{url}")
        new.replace(out)
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)


def _add(archive: zipfile.ZipFile, source: ResultPath, name: str) -> None:
    if isinstance(source, Path):
        archive.write(source, name)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        storage_of(source).copy_out(source, copy)
        archive.write(copy, name)
