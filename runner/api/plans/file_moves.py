"""Files of finished jobs, compared with where the manifest wants them now."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from runner.model import Artifact, Job, ResultPath, Settings, path_of
from runner.results import sidecar
from runner.results.files import OLD, Move, OutputFolder
from runner.results.media import BY_TRACKS, WITH_SIGNATURE, WITHOUT_SIGNATURE
from runner.results.sidecar import Sidecar
from runner.results.storage import storage_of
from runner.store import events, jobs, ledger, manifests, moves, needs
from runner.store.database import StateDatabase

_EXTENSION = {media.mime: media.extension for media in (*WITH_SIGNATURE, *WITHOUT_SIGNATURE, *BY_TRACKS)}


@dataclass(slots=True, kw_only=True)
class Relocated:
    """What has become of the files of finished jobs. `moved` counts files, the other numbers jobs."""

    moved: int = 0
    fetched_again: int = 0  # their files are gone, and their tasks are known
    gone: int = 0  # their files are gone, and nobody knows their tasks
    changed: list[str] = field(default_factory=list)  # jobs of which somebody has changed a file; it stays


class _Found(Enum):
    """How the file of a finished job was found."""

    HOME = auto()  # where it belongs, as far as its size tells
    AWAY = auto()  # not there; empty, as a crash may leave it; or under another name
    CHANGED = auto()  # where it belongs, and another size than what was fetched: somebody's work


def relocate_finished(file: StateDatabase, settings: Settings, folder: OutputFolder, now: str) -> Relocated:
    """Move files of renamed jobs to their new names; send jobs whose files are gone back to `downloading`.

    A file that somebody has changed stays as it is. Idempotent: after a crash half way it finds each file by its
    content.

    Raises:
        DiskTrouble: The drive is away; that is no reason to take its files for gone.
    """
    found = Relocated()
    wrong: dict[int, bool] = {}
    changed: dict[int, bool] = {}
    root, sizes = str(settings.output_dir), folder.storage.sizes(settings.output_dir)
    for row, output, path, size in jobs.finished_files(file.conn, settings.name):
        # A blank path: another job's file took its place, and it waits in `.old/`.
        match _look_at(path, size, root, output, sizes) if path else _Found.AWAY:
            case _Found.AWAY:
                wrong[row] = True
            case _Found.CHANGED:
                changed[row] = True
    for row in sorted(changed):
        found.changed.append(jobs.get(file.conn, row).id)
    if wrong:
        _put_right(file, settings, folder, now, sorted(wrong), found)
    return found


def _put_right(
    file: StateDatabase,
    settings: Settings,
    folder: OutputFolder,
    now: str,
    rows: Iterable[int],
    found: Relocated,
) -> None:
    names = _Names()
    movable: list[tuple[Job, list[Artifact], list[Move]]] = []
    for row in rows:
        job = jobs.get(file.conn, row)
        artifacts = jobs.artifacts(file.conn, row)
        movable.append((job, artifacts, [_move(item, job, folder, names) for item in artifacts]))
    lost = {id(move) for move in folder.relocate([move for _, _, places in movable for move in places])}
    for job, artifacts, places in movable:
        if any(id(move) in lost for move in places):
            if job.task_id is None:
                found.gone += 1
            else:
                found.fetched_again += 1
                _fetch_again(file, job, now)
            continue
        found.moved += sum(move.source != move.target for move in places)
        placed = [
            replace(artifact, path=move.target) for artifact, move in zip(artifacts, places, strict=True)
        ]
        _rewrite_sidecar(file, settings, folder, job, artifacts, placed)
        _drop_kept(places, job, folder)
        with file.transaction() as conn:
            jobs.save_artifacts(conn, job, placed)
            needs.moved(conn, job.row, placed)


def _drop_kept(places: list[Move], job: Job, folder: OutputFolder) -> None:
    """Remove the sidecars in `.old/` of files that have come back from there."""
    for move in places:
        if move.source == move.target or not move.source.is_relative_to(folder.root / OLD):
            continue
        beside = sidecar.beside(move.source)
        there = sidecar.read(beside)
        if there is not None and there.fingerprint == job.fingerprint:
            folder.remove(beside)


def _look_at(
    place: str, size_bytes: int, root: str, output: str, sizes: Callable[[str], int | None]
) -> _Found:
    """Say how a result is found, by one question: there may be a hundred thousand.

    Raises:
        DiskTrouble: Nobody can know.
    """
    there = sizes(place)
    if not there and there != size_bytes:
        return _Found.AWAY
    whole = there == size_bytes
    # As text first: nearly all are where they belong.
    stem = place.rpartition(".")[0]
    plain = f"{root}{os.sep}{output}"
    if not (stem == plain or stem.startswith(f"{plain}+")):
        stem, wanted = str(path_of(place).with_suffix("")), str(path_of(root) / output)
        if not (stem == wanted or stem.startswith(f"{wanted}+")):
            return _Found.AWAY
    return _Found.HOME if whole else _Found.CHANGED


class _Names:
    """Files by what their names begin with: each folder is read once, and only where results are gone."""

    def __init__(self) -> None:
        self._folders: dict[ResultPath, dict[str, list[ResultPath]]] = {}

    def like(self, path: ResultPath) -> list[ResultPath]:
        """Return the files beside a path that differ from it in their endings only."""
        return self._read(path.parent).get(path.stem, [])

    def kept(self, stem: ResultPath, number: int) -> list[ResultPath]:
        """Return what newer results have taken the place of: `hero.1.mp4`, `hero.1+2.png` below `.old/`."""
        return self._read(stem.parent).get(f"{stem.name}.{_mark(number)}", [])

    def _read(self, folder: ResultPath) -> dict[str, list[ResultPath]]:
        if folder in self._folders:
            return self._folders[folder]
        found: dict[str, list[ResultPath]] = {}
        for name in storage_of(folder).names_in(folder):
            path = folder / name
            found.setdefault(path.stem, []).append(path)
            if (turn := _TURN.fullmatch(path.stem)) is not None:
                found.setdefault(f"{turn[1]}.{_mark(int(turn[2] or 1))}", []).append(path)
        self._folders[folder] = found
        return found


_TURN = re.compile(r"(.+)\.\d+(?:\+(\d+))?")


def _mark(number: int) -> str:
    return f"*+{number}"


def _move(item: Artifact, job: Job, folder: OutputFolder, names: _Names) -> Move:
    """Return how a result comes to where it belongs; with what somebody made of it, if it was changed."""
    source = _source(item, job, folder, names)
    storage = storage_of(source)
    sha256, size = item.sha256, item.size_bytes
    if source.name and (there := storage.size(source)) not in (None, 0, size):
        sha256, size = storage.sha256(source), there or 0
    ending = source.suffix.lstrip(".") or _EXTENSION.get(item.mime, "bin")
    return Move(
        source=source,
        target=folder.path_of(job.output, item.number, ending),
        sha256=sha256,
        size_bytes=size,
    )


def _source(item: Artifact, job: Job, folder: OutputFolder, names: _Names) -> ResultPath:
    """Return where a result is likely to be: where it was, beside that with another ending, or in `.old/`."""
    if item.path.name and storage_of(item.path).size(item.path):
        return item.path
    beside = names.like(item.path) if item.path.name else []
    for path in (*beside, *names.kept(folder.root / OLD / job.output, item.number)):
        if path.suffix != ".json" and storage_of(path).holds(path, item.sha256, item.size_bytes):
            return path
    return item.path


def _fetch_again(file: StateDatabase, job: Job, now: str) -> None:
    """The task is paid and known: one status GET brings fresh urls."""
    with file.transaction() as conn:
        moves.fetch_again(conn, job, now)
        events.outside_runs(conn, job, now, "file_gone", task_id=job.task_id)


def _rewrite_sidecar(
    file: StateDatabase,
    settings: Settings,
    folder: OutputFolder,
    job: Job,
    old: list[Artifact],
    placed: list[Artifact],
) -> None:
    """The sidecar goes with its files, under the job's name of today."""
    reserved, charged = ledger.paid(file.conn, job)
    bound = manifests.binding(file.conn, settings.name)
    there = sidecar.read(sidecar.beside(old[0].path)) if old and old[0].path.name else None
    sidecar.write(
        folder,
        job.output,
        Sidecar(
            manifest=job.manifest,
            job=job.id,
            fingerprint=job.fingerprint,
            round=job.round,
            edition=job.edition,
            key=job.key,
            base_url=job.base_url or (bound.base_url if bound else ""),
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
        beside = sidecar.beside(item.path)
        if beside.is_relative_to(folder.root):
            sidecar.drop(folder, beside.relative_to(folder.root).with_suffix("").as_posix())
