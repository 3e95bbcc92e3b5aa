"""Files of finished jobs, held against where the manifest wants them now."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from runner import sidecar
from runner.files import OLD, Move, OutputFolder
from runner.media import WITH_SIGNATURE, WITHOUT_SIGNATURE
from runner.model import Artifact, Job, Settings, State
from runner.parts import disk_errors, sha256_of
from runner.sidecar import Sidecar
from runner.store import catalogue, jobs, ledger
from runner.store.database import StateFile

_EXTENSION = {media.mime: media.extension for media in (*WITH_SIGNATURE, *WITHOUT_SIGNATURE)}


@dataclass(slots=True, kw_only=True)
class Relocated:
    """How many finished jobs: `moved` counts files, the others jobs."""

    moved: int = 0
    fetched_again: int = 0  # their files are gone, and their tasks are known
    gone: int = 0  # their files are gone, and nobody knows their tasks


def relocate_finished(file: StateFile, settings: Settings, folder: OutputFolder, now: str) -> Relocated:
    """Move files of renamed jobs to their new names; send jobs whose files are gone back to `downloading`.

    Idempotent: after a crash half way it finds each file by its content.
    """
    found = Relocated()
    wrong: dict[int, bool] = {}
    root = str(settings.output_dir)
    for row, output, path, size in jobs.finished_files(file.conn, settings.name):
        # A blank path: another job's file took its place, and it waits in `.old/`.
        if not path or not _at_home(path, size, root, output):
            wrong[row] = True
    if not wrong:
        return found
    movable: list[tuple[Job, list[Artifact], list[Move]]] = []
    for row in sorted(wrong):
        job = jobs.get(file.conn, row)
        artifacts = jobs.artifacts(file.conn, row)
        moves = [
            Move(
                source=_source(item, job, folder),
                target=folder.path_of(
                    job.output, item.number, _EXTENSION.get(item.mime, item.path.suffix.lstrip("."))
                ),
                sha256=item.sha256,
                size_bytes=item.size_bytes,
            )
            for item in artifacts
        ]
        movable.append((job, artifacts, moves))
    lost = {id(move) for move in folder.relocate([move for _, _, moves in movable for move in moves])}
    for job, artifacts, moves in movable:
        if any(id(move) in lost for move in moves):
            if job.task_id is None:
                found.gone += 1
            else:
                found.fetched_again += 1
                _fetch_again(file, job, now)
            continue
        found.moved += sum(move.source != move.target for move in moves)
        placed = [
            replace(artifact, path=move.target) for artifact, move in zip(artifacts, moves, strict=True)
        ]
        _rewrite_sidecar(file, settings, folder, job, artifacts, placed)
        _drop_kept(moves, job, folder)
        with file.transaction() as conn:
            jobs.save_artifacts(conn, job, placed)
    return found


def _drop_kept(moves: list[Move], job: Job, folder: OutputFolder) -> None:
    """Remove the sidecars in `.old/` of files that have come back from there."""
    for move in moves:
        if move.source == move.target or not move.source.is_relative_to(folder.root / OLD):
            continue
        beside = _beside(move.source)
        there = sidecar.read(beside)
        if there is not None and there.fingerprint == job.fingerprint:
            with disk_errors(folder.root):
                beside.unlink(missing_ok=True)


def _at_home(place: str, size_bytes: int, root: str, output: str) -> bool:
    """Say whether a file is there, whole as far as its size tells, under the name its job has now."""
    try:
        whole = os.stat(place).st_size == size_bytes  # noqa: PTH116 (a Path costs more than the question)
    except OSError:
        return False
    if not whole:
        return False
    # As text first: nearly all are where they belong, and there may be a hundred thousand.
    stem = place.rpartition(".")[0]
    plain = f"{root}{os.sep}{output}"
    if stem == plain or stem.startswith(f"{plain}+"):
        return True
    stem, wanted = str(Path(place).with_suffix("")), str(Path(root) / output)
    return stem == wanted or stem.startswith(f"{wanted}+")


def _source(item: Artifact, job: Job, folder: OutputFolder) -> Path:
    """Return where a result is likely to be: where it was, else in `.old/` under its job's name."""
    if item.path.name and item.path.is_file():
        return item.path
    old = folder.root / OLD / job.output
    try:
        kept = [path for path in old.parent.iterdir() if path.name.startswith(f"{old.name}.")]
    except OSError:
        kept = []
    for path in sorted(kept):
        if path.is_file() and path.stat().st_size == item.size_bytes and _sha256(path) == item.sha256:
            return path
    return item.path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return sha256_of(file)


def _fetch_again(file: StateFile, job: Job, now: str) -> None:
    """The task is paid and known: one status GET brings fresh urls."""
    with file.transaction() as conn:
        jobs.advance(conn, job, now, state=State.DOWNLOADING.value, urls="[]")
        catalogue.event(
            conn,
            at=now,
            run=None,
            manifest=job.manifest,
            job=job.id,
            kind="file_gone",
            data={"task_id": job.task_id},
        )


def _rewrite_sidecar(
    file: StateFile,
    settings: Settings,
    folder: OutputFolder,
    job: Job,
    old: list[Artifact],
    placed: list[Artifact],
) -> None:
    """The sidecar goes with its files, under the job's name of today."""
    reserved, charged = ledger.paid(file.conn, job)
    bound = catalogue.binding(file.conn, settings.name)
    there = sidecar.read(_beside(old[0].path)) if old and old[0].path.name else None
    sidecar.write(
        folder,
        job.output,
        Sidecar(
            manifest=job.manifest,
            job=job.id,
            fingerprint=job.fingerprint,
            round=job.round,
            key=job.key,
            base_url=job.base_url or (bound["base_url"] if bound else ""),
            sandbox=there.sandbox if there is not None else False,
            model=job.model,
            prompt=job.prompt,
            params=job.params,
            references=sidecar.references_of(job.references),
            task_id=job.task_id,
            reserved_credits=reserved,
            final_credits=charged,
            artifacts=tuple(placed),
            submitted_at=job.submitted_at,
            finished_at=job.finished_at,
        ),
    )
    for item in old:
        if not item.path.name:
            continue
        beside = _beside(item.path)
        if beside.is_relative_to(folder.root):
            sidecar.drop(folder, beside.relative_to(folder.root).with_suffix("").as_posix())


def _beside(path: Path) -> Path:
    stem = path.with_suffix("").name.partition("+")[0]
    return path.with_name(f"{stem}.json")
