"""State databases with jobs to report on, written row by row: every state, any number, hostile texts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner.host.clock import rfc3339
from runner.store.database import StateDatabase
from runner.store.sqlite import StateFile
from tests.databases import close, empty_state
from tests.support import ROOT

MEDIA = ROOT / "runner" / "sandbox" / "media"
BEGAN_S = 1_790_000_000.0
VIDEO, IMAGE, AUDIO = "grok-imagine-video", "z-image", "elevenlabs-turbo-2-5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A job as it shall stand in the database."""

    id: str
    state: str = "done"
    model: str = VIDEO
    prompt: str | None = "a lighthouse, slow push-in"
    params: Mapping[str, Any] = field(default_factory=lambda: {"duration": 6, "aspect_ratio": "16:9"})
    references: Sequence[Mapping[str, Any]] = ()
    axes: Mapping[str, Any] = field(default_factory=dict)
    listed: bool = True
    files: Sequence[tuple[Path, str]] = ()  # (absolute path, mime)
    charges: Sequence[float] = (10.0,)  # one for each round
    error: tuple[str | None, str | None, str | None] = (None, None, None)
    overdue: bool = False
    submitted_s: float | None = BEGAN_S
    duration_s: float | None = 60.0


def new_state(
    path: Path, *, manifest: str, manifest_path: Path, output_dir: Path, sandbox: bool = False
) -> StateFile:
    """Return an open new database that knows one manifest and one run of it."""
    file = StateFile.open(path)
    begin_state(file, manifest=manifest, manifest_path=manifest_path, output_dir=output_dir, sandbox=sandbox)
    return file


def begin_state(
    file: StateDatabase, *, manifest: str, manifest_path: Path, output_dir: Path, sandbox: bool = False
) -> None:
    """Have an empty database know one manifest and one run of it."""
    now = rfc3339(BEGAN_S)
    stats = {
        "seconds": 3600.5, "rate_per_s": 9.8, "submits": 70, "polls": 130, "uploads": 3, "downloads": 60,
        "rejections": 2, "accepted": 66, "done": 60, "failed": 4, "statuses": {"200": 200, "429": 2},
    }  # fmt: skip
    with file.transaction() as conn:
        conn.execute(
            "INSERT INTO manifests (name, path, base_url, key12, output_dir, created_at, updated_at)"
            " VALUES (?, ?, ?, '0123456789ab', ?, ?, ?)",
            (
                manifest,
                str(manifest_path),
                "sandbox:" if sandbox else "https://rivya.ai",
                str(output_dir),
                now,
                now,
            ),
        )
        conn.execute(
            "INSERT INTO runs (manifest, command, pid, host, version, started_at, seen_at, ended_at, exit_code, stats)"
            " VALUES (?, ?, 1, 'here', '0.1.0', ?, ?, ?, 3, ?)",
            (
                manifest,
                f"rivya-batch run {manifest_path.name}",
                now,
                now,
                rfc3339(BEGAN_S + 3600.5),
                json.dumps(stats),
            ),
        )


@pytest.fixture
def state(tmp_path: Path, each_database: str) -> Iterator[StateDatabase]:
    """A database that knows one manifest, `night`; a test module takes it with `state = report_rows.state`."""
    file = empty_state()
    begin_state(
        file,
        manifest="night",
        manifest_path=tmp_path / "night.yaml",
        output_dir=tmp_path / "out",
    )
    yield file
    close(file)


def add(file: StateDatabase, manifest: str, rows: Sequence[Row]) -> None:
    """Add jobs in the order given."""
    with file.transaction() as conn:
        for position, row in enumerate(rows):
            ended = row.submitted_s is not None and row.duration_s is not None
            added = conn.execute(
                "INSERT INTO jobs (manifest, job, origin, fingerprint, listed, position, state, model, prompt, params, refs,"
                " axes, shape, output, round, task_id, submitted_at, finished_at, duration_s, polls, attempts, overdue,"
                " error_class, error_code, error_message, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 's', ?, ?, ?, ?, ?, ?, 2, 1, ?, ?, ?, ?, ?, ?) RETURNING id",
                (
                    manifest, row.id, row.id, f"fp1:{position:064x}", int(row.listed), position, row.state, row.model,
                    row.prompt, json.dumps(row.params, ensure_ascii=False),
                    json.dumps(row.references, ensure_ascii=False), json.dumps(row.axes, ensure_ascii=False),
                    row.id, max(len(row.charges), 1),
                    f"task_{position:024x}" if row.charges else None,
                    None if row.submitted_s is None else rfc3339(row.submitted_s),
                    rfc3339((row.submitted_s or 0) + (row.duration_s or 0)) if ended else None,
                    row.duration_s, int(row.overdue), *row.error, rfc3339(BEGAN_S), rfc3339(BEGAN_S),
                ),
            ).fetchall()  # fmt: skip
            for number, charged in enumerate(row.charges, start=1):
                state = "charged" if ended and charged else "released" if ended else "reserved"
                conn.execute(
                    "INSERT INTO ledger (job, manifest, round, model, shape, base_url, state, estimated, basis, reserved,"
                    " charged, amount, opened_at, minute) VALUES (?, ?, ?, ?, 's', 'u', ?, 10, 'listed', 10, ?, ?, ?, ?)",
                    (
                        added[0]["id"], manifest, number, row.model, state,
                        None if state == "reserved" else charged, 10.0 if state == "reserved" else charged,
                        rfc3339(BEGAN_S), int(BEGAN_S // 60),
                    ),
                )  # fmt: skip
            conn.executemany(
                "INSERT INTO artifacts (job, number, path, sha256, size_bytes, mime) VALUES (?, ?, ?, '', 1000, ?)",
                [(added[0]["id"], n, str(path), mime) for n, (path, mime) in enumerate(row.files, start=1)],
            )


def clips(folder: Path) -> dict[str, list[tuple[Path, str]]]:
    """Copy the sandbox's media into an output folder: `{"video": [(path, mime), …], "image": …, "audio": …}`."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[tuple[Path, str]]] = {"video": [], "image": [], "audio": []}
    for source in sorted(MEDIA.glob("16x9-*.mp4")) + sorted(MEDIA.glob("9x16-*.mp4")):
        found["video"].append((Path(shutil.copy(source, folder)), "video/mp4"))
    for source in sorted(MEDIA.glob("tone-*.mp3")):
        found["audio"].append((Path(shutil.copy(source, folder)), "audio/mpeg"))
    for source in sorted((ROOT / "manifests" / "assets").iterdir()):
        mime = "image/png" if source.suffix == ".png" else "image/jpeg"
        found["image"].append((Path(shutil.copy(source, folder)), mime))
    return found


PLACES = ("canal", "rooftop", "station", "forest", "harbour", "quarry", "library", "greenhouse")
WEATHERS = ("fog", "first snow", "summer rain", "storm light", "clear night")


def night(count: int, media: Mapping[str, Sequence[tuple[Path, str]]]) -> list[Row]:
    """Return the jobs of a long night: mostly done videos, some of everything else."""
    rows = []
    for n in range(count):
        place, weather, take = PLACES[n % 8], WEATHERS[n // 8 % 5], n // 40 + 1
        tall = n % 5 == 0
        video = [clip for clip in media["video"] if clip[0].name.startswith("9x16" if tall else "16x9")]
        state = "failed" if n % 97 == 11 else "uncertain" if n % 499 == 7 else "done"
        rows.append(
            Row(
                id=f"{place}-{weather.replace(' ', '-')}-{take}",
                state=state,
                prompt=f"{place}, {weather}, take {take}: one slow camera move past wet stone and lamplight, 35 mm,"
                f" grain, muted colours, nobody in the frame, shot {n}",
                params={"duration": 6, "resolution": "480p", "aspect_ratio": "9:16" if tall else "16:9", "seed": n % 50},
                axes={"place": place, "weather": weather, "take": take},
                files=[video[n % len(video)]] if state == "done" and video else [],
                charges=(10.0,) if state == "done" else (0.0,),
                error=("generation", "internal_error", "the task failed: the model ran out of time")
                if state == "failed" else (None, None, None),
                submitted_s=BEGAN_S + n * 0.36,
                duration_s=None if state == "uncertain" else 40.0 + (n * 7919 % 97) + (n * 31 % 11) ** 2,
            )
        )  # fmt: skip
    return rows
