"""The JSON file beside a job's results: what they are, and what was paid for them.

A lost database then does not pay for what is on disk: before a job's first intent, a matching
sidecar with its whole files is adopted. It never holds an API key or a result's url.

    {"rivya_batch_sidecar": 1, "manifest": "autumn-launch", "job": "hero", "fingerprint": "fp1:…",
     "round": 1, "edition": 0, "key": "rb1-…", "base_url": "https://rivya.ai", "sandbox": false, "model": "…",
     "prompt": "…", "params": {…}, "references": [{"path": "…", "sha256": "…"}], "task_id": "…",
     "credits": {"reserved": 12.0, "final": 12.0},
     "artifacts": [{"index": 1, "path": "hero.mp4", "sha256": "…", "size_bytes": 1, "mime": "video/mp4"}],
     "missing": [], "submitted_at": "…", "finished_at": "…"}

`edition` is that of `model.Job`: with it, what was made of the result is known for that again. Older sidecars lack it.
An artifact that is odd has its `warning` there; `missing` are the numbers of results that have not come yet.

Everything here blocks on the disk; from async code call it in a worker thread.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runner.model import (
    Artifact,
    Fingerprint,
    JobId,
    Json,
    ModelId,
    Reference,
    ResultPath,
    Sha256,
    TaskId,
)
from runner.results.files import OutputFolder
from runner.results.storage import storage_of

VERSION = 1
MAX_BYTES = 4_000_000
MIME = "application/json"
_MARK = "rivya_batch_sidecar"
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarReference:
    """An input file, by name and content; `job` is whose result it is, if it is one."""

    path: str
    sha256: Sha256
    job: JobId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """What a finished job leaves beside its results. Credits are None where nobody said."""

    manifest: str
    job: JobId
    fingerprint: Fingerprint
    round: int
    edition: int | None = None
    key: str | None
    base_url: str
    sandbox: bool
    model: ModelId
    prompt: str | None
    params: Mapping[str, Json]
    references: tuple[SidecarReference, ...]
    task_id: TaskId | None
    reserved_credits: float | None
    final_credits: float | None
    artifacts: tuple[Artifact, ...]
    missing: tuple[int, ...] = ()
    submitted_at: str | None
    finished_at: str | None

    def files(self) -> tuple[Artifact, ...]:
        """Return the result files it describes, with absolute paths."""
        return self.artifacts


def references_of(references: tuple[Reference, ...]) -> tuple[SidecarReference, ...]:
    """Return what a sidecar keeps of a job's references."""
    return tuple(
        SidecarReference(
            path=item.path,
            sha256=item.sha256,
            job=item.result_of.jobs[0] if item.result_of is not None else None,
        )
        for item in references
    )


def write(folder: OutputFolder, stem: str, sidecar: Sidecar) -> ResultPath:
    """Write a job's sidecar, whole or not at all; its name and those of the results beside it are on the disk then.

    Call before the job is called done.

    A file of that name which does not belong to this very job and fingerprint goes to `.old/`.

    Raises:
        DiskTrouble: It cannot be written.
    """
    path = folder.sidecar_path(stem)
    data = _written(sidecar, path)
    if folder.storage.write_new(path, data, mime=MIME):
        return path
    there = read(path)
    if there is None or not (_identity(there) == _identity(sidecar) or _is_stale(there, sidecar.manifest)):
        folder.retire_sidecar(stem)
    folder.storage.write(path, data, mime=MIME)
    return path


def close_gap(of: Artifact, artifacts: Sequence[Artifact]) -> None:
    """Say in the sidecar of these results that a person has taken them as all there are.

    Raises:
        DiskTrouble: It cannot be written.
    """
    path = beside(of.path)
    there = read(path)
    if there is not None and there.missing:
        closed = replace(there, missing=(), artifacts=tuple(artifacts))
        storage_of(path).write(path, _written(closed, path), mime=MIME)


def beside(path: ResultPath) -> ResultPath:
    """Return where the sidecar of a result is."""
    stem = path.with_suffix("").name.partition("+")[0]
    return path.with_name(f"{stem}.json")


def _written(sidecar: Sidecar, path: ResultPath) -> bytes:
    # A line for each key: to be read by people too. `indent` would take ten times as long for each of 100,000.
    lines = (f'  "{key}": {_ENCODER.encode(value)}' for key, value in _to_json(sidecar, path.parent).items())
    text = ",\n".join(lines)
    # A lone surrogate cannot be written as UTF-8, and would lose a paid job its sidecar.
    return f"{{\n{text}\n}}\n".encode("utf-8", "backslashreplace")


def read(path: ResultPath) -> Sidecar | None:
    """Return the sidecar at a path; None for anything that is not one, however broken.

    Raises:
        DiskTrouble: It is in a bucket that cannot be asked now.
    """
    data = storage_of(path).read(path, MAX_BYTES + 1)
    if data is None or len(data) > MAX_BYTES:
        return None
    try:
        return _from_json(json.loads(data), path.parent)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None


def drop(folder: OutputFolder, stem: str) -> None:
    """Remove a sidecar whose results have moved away to another name; others are left alone."""
    path = folder.sidecar_path(stem)
    there = read(path)
    if there is not None and not _any_there(there):
        folder.remove(path)


def find_adoptable(
    path: ResultPath, *, manifest: str, job: str, fingerprint: str, base_url: str
) -> Sidecar | None:
    """Return the sidecar at a path if it proves that this very job is done and paid already.

    That is: same manifest name, job, fingerprint and service, not from a sandbox, and each of its
    files there, of the right size and SHA-256.
    """
    sidecar = read(path)
    if sidecar is None:
        return None
    return _adoptable(sidecar, manifest=manifest, job=job, fingerprint=fingerprint, base_url=base_url)


def _adoptable(
    sidecar: Sidecar, *, manifest: str, job: str, fingerprint: str, base_url: str
) -> Sidecar | None:
    if sidecar.sandbox or not sidecar.artifacts:
        return None
    if (*_identity(sidecar), sidecar.base_url) != (manifest, job, fingerprint, base_url):
        return None
    return sidecar if all(_is_whole(item) for item in sidecar.artifacts) else None


class SidecarIndex:
    """Looks for adoptable sidecars of many jobs; asks the disk once for each folder.

    `others` holds the output names at which results of other manifests stand, by the names of these.

    Args:
        root: The output folder; it need not exist.
    """

    def __init__(self, root: ResultPath) -> None:
        self._root = root
        self._names: dict[str, frozenset[str]] = {}
        self.others: dict[str, list[str]] = {}

    def may_have(self, stem: str) -> bool:
        """Say whether a job may have a sidecar, by the names in its folder."""
        # Plain text until there is something to look at: this is asked for each of 100,000 jobs.
        folder, _, name = stem.rpartition("/")
        names = self._names.get(folder)
        if names is None:
            there = storage_of(self._root).names_in(self._root / folder)
            names = self._names[folder] = frozenset(unicodedata.normalize("NFC", each) for each in there)
        return bool(names) and unicodedata.normalize("NFC", f"{name}.json") in names

    def find_adoptable(
        self, stem: str, *, manifest: str, job: str, fingerprint: str, base_url: str
    ) -> Sidecar | None:
        """Return what proves that a job is done already; see the function of that name."""
        if not self.may_have(stem):
            return None
        found = read(self._root / f"{stem}.json")
        if found is None:
            return None
        if found.manifest != manifest and _any_there(found):
            self.others.setdefault(found.manifest, []).append(stem)
        return _adoptable(found, manifest=manifest, job=job, fingerprint=fingerprint, base_url=base_url)


def _is_stale(sidecar: Sidecar, manifest: str) -> bool:
    """Say whether a sidecar of ours describes files that have all moved away: nothing worth keeping."""
    return sidecar.manifest == manifest and not _any_there(sidecar)


def _identity(sidecar: Sidecar) -> tuple[str, str, str]:
    return sidecar.manifest, sidecar.job, sidecar.fingerprint


def _any_there(sidecar: Sidecar) -> bool:
    return any(storage_of(item.path).exists(item.path) for item in sidecar.artifacts)


def _is_whole(artifact: Artifact) -> bool:
    try:
        return storage_of(artifact.path).holds(artifact.path, artifact.sha256, artifact.size_bytes)
    except OSError:
        return False


def _to_json(sidecar: Sidecar, folder: ResultPath) -> dict[str, Any]:
    return {
        _MARK: VERSION,
        "manifest": sidecar.manifest,
        "job": sidecar.job,
        "fingerprint": sidecar.fingerprint,
        "round": sidecar.round,
        **({"edition": sidecar.edition} if sidecar.edition is not None else {}),
        "key": sidecar.key,
        "base_url": sidecar.base_url,
        "sandbox": sidecar.sandbox,
        "model": sidecar.model,
        "prompt": sidecar.prompt,
        "params": dict(sidecar.params),
        "references": [
            {"path": item.path, "sha256": item.sha256, **({"job": item.job} if item.job is not None else {})}
            for item in sidecar.references
        ],
        "task_id": sidecar.task_id,
        "credits": {"reserved": sidecar.reserved_credits, "final": sidecar.final_credits},
        "artifacts": [
            {
                "index": item.number,
                "path": _name_in(folder, item.path),
                "sha256": item.sha256,
                "size_bytes": item.size_bytes,
                "mime": item.mime,
                **({"warning": item.warning} if item.warning is not None else {}),
            }
            for item in sidecar.artifacts
        ],
        "missing": list(sidecar.missing),
        "submitted_at": sidecar.submitted_at,
        "finished_at": sidecar.finished_at,
    }


def _name_in(folder: ResultPath, path: ResultPath) -> str:
    beginning, text = f"{folder}/", str(path)
    return text[len(beginning) :] if text.startswith(beginning) else path.relative_to(folder).as_posix()


def _from_json(data: Any, folder: ResultPath) -> Sidecar | None:
    if data[_MARK] != VERSION:
        return None
    credits = data["credits"]
    return Sidecar(
        manifest=_text(data["manifest"]),
        job=JobId(_text(data["job"])),
        fingerprint=Fingerprint(_text(data["fingerprint"])),
        round=_whole_number(data["round"]),
        edition=_whole_number(data["edition"]) if "edition" in data else None,
        key=_text_or_none(data["key"]),
        base_url=_text(data["base_url"]),
        # Anything but a plain no counts as a sandbox's, and is not adopted.
        sandbox=data["sandbox"] is not False,
        model=ModelId(_text(data["model"])),
        prompt=_text_or_none(data["prompt"]),
        params=dict(data["params"]),
        references=tuple(
            SidecarReference(
                path=_text(item["path"]),
                sha256=Sha256(_text(item["sha256"])),
                job=JobId(_text(item["job"])) if "job" in item else None,
            )
            for item in data["references"]
        ),
        task_id=TaskId(_text(data["task_id"])) if data["task_id"] is not None else None,
        reserved_credits=_number_or_none(credits["reserved"]),
        final_credits=_number_or_none(credits["final"]),
        artifacts=tuple(_artifact(item, folder) for item in data["artifacts"]),
        missing=tuple(_whole_number(number) for number in data.get("missing", ())),
        submitted_at=_text_or_none(data["submitted_at"]),
        finished_at=_text_or_none(data["finished_at"]),
    )


def _artifact(item: Any, folder: ResultPath) -> Artifact:
    name = _text(item["path"])
    # Results stand beside their sidecar; a sidecar from elsewhere must not make us read anything else.
    if "/" in name or "\0" in name or name in ("", ".", ".."):
        raise ValueError(name)
    return Artifact(
        number=_whole_number(item["index"]),
        path=folder / name,
        sha256=Sha256(_text(item["sha256"])),
        size_bytes=_whole_number(item["size_bytes"]),
        mime=_text(item["mime"]),
        warning=_text_or_none(item.get("warning")),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _whole_number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(value)
    return value


def _number_or_none(value: Any) -> float | None:
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(value)
    return float(value)
