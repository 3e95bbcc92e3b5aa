"""The state file after a power cut: what no fsync had covered is gone, torn or both; what was acknowledged is there.

No power is cut. A copy is taken of the files as a disk might hold them: all that was there when the last
acknowledged commit returned, and of what came after it any beginning, or the right length full of zeros
or of nonsense (a file system may grow a file before it writes what belongs there).
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from runner.fingerprint import idempotency_key
from runner.model import Fingerprint, JobId, State
from runner.store import jobs, sqlite
from runner.store.sqlite import StateFile
from runner.store.writer import GroupWriter
from tests.staged import changed
from tests.world import NAME, apply, bind, job

pytestmark = pytest.mark.crash

JOBS = 12


@dataclass(frozen=True, slots=True)
class Disk:
    """Both files at the moment a commit was acknowledged, and what had been acknowledged by then."""

    database: bytes
    wal: bytes
    acknowledged: dict[str, str]  # job -> key of its intent


def acknowledged_commits(folder: Path) -> Iterator[Disk]:
    """Commit one intent after another, as submits do, and yield the disk after each."""
    path = folder / "runner.db"
    file = StateFile.open(path)
    bind(file)
    apply(file, *(job(f"j{n}") for n in range(JOBS)))
    writer = GroupWriter(file, inline=True)
    known: dict[str, str] = {}

    def intend(conn: sqlite3.Connection, name: str) -> str:
        found = jobs.find(conn, NAME, name)[0]
        key = idempotency_key(
            manifest=NAME, job=JobId(name), fingerprint=Fingerprint(found.fingerprint), round_=1, revision=1
        )
        changed(conn, found, "2026-01-01T00:00:00.000Z", State.SUBMITTING, key=key, body=b"x" * 700)
        return key

    async def one(name: str) -> str:
        return await writer.write(lambda conn: intend(conn, name))

    for number in range(JOBS):
        known[f"j{number}"] = anyio.run(one, f"j{number}")
        yield _disk(path, known)
        if number == JOBS // 2:
            file.checkpoint(force=True)  # from here on the WAL begins anew
            yield _disk(path, known)
    file.close()


def _disk(path: Path, known: dict[str, str]) -> Disk:
    return Disk(path.read_bytes(), path.with_name("runner.db-wal").read_bytes(), dict(known))


def after_the_cut(folder: Path, database: bytes, wal: bytes) -> dict[str, str]:
    """Open what the disk holds, as the next run would, and return the intents it knows."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / "runner.db"
    path.write_bytes(database)
    path.with_name("runner.db-wal").write_bytes(wal)
    file = StateFile.open(path)
    with closing(file):
        assert [row[0] for row in file.conn.execute("PRAGMA integrity_check")] == ["ok"]
        assert not file.conn.execute("PRAGMA foreign_key_check").fetchall()
        return {
            row["job"]: row["key"]
            for row in file.conn.execute("SELECT job, key FROM jobs WHERE state = 'submitting'")
        }


def cuts(wal: bytes, synced: int, dice: random.Random) -> Iterator[bytes]:
    """Yield what the disk may hold of a WAL of which the first `synced` bytes are certain."""
    fresh = wal[synced:]
    for length in {0, 1, 24, len(fresh), *(dice.randrange(len(fresh) + 1) for _ in range(4))}:
        yield wal[:synced] + fresh[:length]
    yield wal[:synced] + bytes(len(fresh))
    yield wal[:synced] + dice.randbytes(len(fresh))
    if len(fresh) > 4096:
        yield wal[:synced] + fresh[:-4096] + bytes(4096)
        yield wal[:synced] + bytes(4096) + fresh[4096:]


def test_an_acknowledged_intent_survives_any_cut(tmp_path: Path) -> None:
    dice = random.Random(1)
    (tmp_path / "live").mkdir()
    before: Disk | None = None
    tried = 0
    for now in acknowledged_commits(tmp_path / "live"):
        # The WAL may only be torn behind what was synced for the last acknowledged commit; where a
        # checkpoint has begun it anew, the whole of it came later.
        if before is not None and now.database == before.database and now.wal.startswith(before.wal):
            for wal in cuts(now.wal, len(before.wal), dice):
                found = after_the_cut(tmp_path / "cut", now.database, wal)
                tried += 1
                assert before.acknowledged.items() <= found.items()
                assert found.items() <= now.acknowledged.items()
        found = after_the_cut(tmp_path / "cut", now.database, now.wal)
        assert found == now.acknowledged
        before = now
    assert tried > 60


def torn_over(old: bytes, new: bytes, dice: random.Random) -> Iterator[bytes]:
    """Yield what the disk may hold of a log that was written over from where the two differ: any sectors of either."""
    begin = next(at for at, (was, now) in enumerate(zip(old, new, strict=False)) if was != now) // 512 * 512
    sectors = range(begin, len(new), 512)
    for share in (0.0, 0.1, 0.5, 0.9, 1.0):
        torn = bytearray(new)
        for at in sectors:
            if dice.random() < share:
                torn[at : at + 512] = old[at : at + 512].ljust(min(512, len(new) - at), b"\0")
        yield bytes(torn)
    for at in dice.sample(sectors, 3):  # in their order
        yield new[:at] + old[at:]


def test_an_intent_survives_any_cut_where_an_old_log_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that is in the file is not cut, but begun anew: what it held stays behind the new commits."""
    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", 30)
    dice = random.Random(3)
    (tmp_path / "live").mkdir()
    before: Disk | None = None
    tried = 0
    for now in acknowledged_commits(tmp_path / "live"):
        if before is not None and now.database == before.database and len(now.wal) == len(before.wal):
            for wal in torn_over(before.wal, now.wal, dice):
                found = after_the_cut(tmp_path / "cut", now.database, wal)
                tried += 1
                assert before.acknowledged.items() <= found.items()
                assert found.items() <= now.acknowledged.items()
        assert after_the_cut(tmp_path / "cut", now.database, now.wal) == now.acknowledged
        before = now
    assert tried > 20


def test_the_cut_is_real(tmp_path: Path) -> None:
    """Cut before what was acknowledged, the intent is gone: or the test above would prove nothing."""
    (tmp_path / "live").mkdir()
    first, second, *_ = acknowledged_commits(tmp_path / "live")

    found = after_the_cut(tmp_path / "cut", second.database, second.wal[: len(first.wal) + 100])

    assert found == first.acknowledged
    assert found != second.acknowledged


def test_every_commit_is_synced(tmp_path: Path) -> None:
    """What the tests above take for granted: FULL, and no checkpoint behind our back."""
    with closing(StateFile.open(tmp_path / "runner.db")) as file:
        pragmas = {
            name: file.conn.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "wal_autocheckpoint")
        }

    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 0}


def test_a_power_cut_in_a_checkpoint_loses_nothing(tmp_path: Path) -> None:
    """Pages of the database may be written, half or not at all: the WAL is not begun anew before they are synced."""
    dice = random.Random(2)
    (tmp_path / "live").mkdir()
    disks = list(acknowledged_commits(tmp_path / "live"))
    before, after = disks[JOBS // 2], disks[JOBS // 2 + 1]
    assert (before.acknowledged, after.wal) == (after.acknowledged, b"")
    whole = after.database
    assert whole != before.database
    for _ in range(12):
        torn = bytearray(before.database.ljust(len(whole), b"\0"))
        for page in range(0, len(whole), 4096):
            if dice.random() < 0.5:
                torn[page : page + 4096] = whole[page : page + 4096]

        found = after_the_cut(tmp_path / "cut", bytes(torn), before.wal)

        assert found == before.acknowledged


def test_a_reader_who_stays_holds_up_no_commit(tmp_path: Path) -> None:
    """Every checkpoint waited 20 s for somebody else's open read, and all commits of all runs with it."""
    path = tmp_path / "runner.db"
    with closing(StateFile.open(path)) as file:
        bind(file)
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM jobs").fetchall()
            apply(file, job("a"))
            began = time.monotonic()
            file.checkpoint(force=True)
            took_s = time.monotonic() - began
            reader.execute("ROLLBACK")
        assert file.conn.execute("PRAGMA busy_timeout").fetchone()[0] > 1000

    assert took_s < 5.0
