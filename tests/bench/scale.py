"""Large manifests: planned, found finished, taken up again after a kill."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from runner.results.files import MARKS
from tests.bench.manifests import write_inline, write_small, write_table
from tests.bench.nights import first_request_after
from tests.bench.process import Command, done, environment, runner, use
from tests.bench.service import sandbox
from tests.bench.table import Line, Target

RESUMED = 200  # jobs under way when a run is killed
LINKS = 30_000  # names of one file; ext4 allows 65,000
RESULT = b"not a real clip, only as large as one is wide"


def plan(folder: Path, jobs: int, kind: str) -> Line:
    """Read, check and plan so many jobs of a manifest no database knows."""
    manifest = write_inline(folder, jobs) if kind == "yaml" else write_table(folder, jobs, kind)
    used = done(use(runner("plan", manifest), env=environment(), cwd=folder))
    most_s = 5.0 if kind == "yaml" else 10.0
    return Line(
        work=f"plan {jobs:,} {'inline YAML jobs' if kind == 'yaml' else f'{kind.upper()} rows'}",
        jobs=jobs,
        total_s=used.wall_s,
        cpu_s=used.cpu_s,
        peak_mb=used.peak_mb,
        targets=(Target(field="total_s", most=most_s), Target(field="peak_mb", most=300)),
    )


class Finished:
    """A manifest of very many jobs that are done: rows, files, money. Made once for all who want it.

    The rows come from the command itself (`run --limit 0`); only what a night would have added is
    written by hand.
    """

    def __init__(self, folder: Path, jobs: int, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.jobs = jobs
        say(f"           making a database of {jobs:,} finished jobs ...")
        self.manifest = write_table(folder, jobs, "csv")
        with sandbox("--duration", 1) as service:
            self.base_url = service.base_url
            used = use(
                runner("run", self.manifest, "--limit", "0", "--yes"),
                env=environment(self.base_url),
                cwd=folder,
            )
        self.database = folder / "state" / "runner.db"
        if not self.database.exists():
            raise RuntimeError(used.out)
        self.applied_s = used.wall_s
        outputs = folder / "out" / "table-csv"
        with closing(sqlite3.connect(self.database)) as conn, conn:
            names = [row[0] for row in conn.execute("SELECT output FROM jobs WHERE manifest = 'table-csv'")]
            self._finish(conn, outputs, conn.execute("SELECT base_url FROM manifests").fetchone()[0])
        outputs.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(names):
            # Many names of one file: the disk has less to do, and a run looks at names and sizes only.
            if number % LINKS == 0:
                first = outputs / f"{name}.mp4"
                first.write_bytes(RESULT)
            else:
                (outputs / f"{name}.mp4").hardlink_to(first)

    @staticmethod
    def _finish(conn: sqlite3.Connection, outputs: Path, base_url: str) -> None:
        at = "2026-01-01T00:00:00.000Z"
        conn.execute(
            "UPDATE jobs SET state = 'done', version = 5, key = 'rb1-' || id, key12 = 'x', base_url = ?, attempts = 1,"
            " task_id = 'task_' || id, task_status = 'succeeded', submitted_at = ?, finished_at = ?, duration_s = 60,"
            " polls = 2",
            (base_url, at, at),
        )
        conn.execute(
            "INSERT INTO ledger (job, manifest, round, model, shape, base_url, state, estimated, basis, reserved, charged,"
            " amount, task_id, opened_at, settled_at, minute) SELECT id, manifest, 1, model, shape, base_url, 'charged',"
            " 10, 'listed', 10, 10, 10, task_id, ?, ?, 29000000 FROM jobs",
            (at, at),
        )
        conn.execute(
            "INSERT INTO artifacts (job, number, path, sha256, size_bytes, mime)"
            " SELECT id, 1, ? || '/' || output || '.mp4', 'none', ?, 'video/mp4' FROM jobs",
            (str(outputs), len(RESULT)),
        )

    def nothing_to_do(self, *, edited: bool) -> Line:
        """Run it again: everything is there.

        Args:
            edited: Whether the manifest was touched since, so that it has to be expanded again.
        """
        if edited:
            with self.manifest.open("a", encoding="utf-8") as file:
                file.write("# edited\n")
        env = environment(self.base_url)
        used = done(use(runner("run", self.manifest, "--yes"), env=env, cwd=self.folder))
        return Line(
            work=f"nothing to do, {self.jobs:,} jobs done{', manifest edited' if edited else ''}",
            jobs=self.jobs,
            total_s=used.wall_s,
            cpu_s=used.cpu_s,
            peak_mb=used.peak_mb,
            targets=(Target(field="total_s", most=10), Target(field="peak_mb", most=300)),
        )

    def resume(self, *, own: bool) -> Line:
        """Kill a run with this database, start it again, and wait for its first request.

        Args:
            own: Whether the jobs under way are of the large manifest itself, or of a small one beside it.
        """
        if own:
            manifest = self.manifest
            # This database knows of fewer payments from now on, and is no old copy for that.
            for mark in (
                self.database.with_name(f"{self.database.name}.table-csv.mark"),
                self.folder / "out" / "table-csv" / MARKS / "table-csv.json",
            ):
                mark.unlink(missing_ok=True)
            with closing(sqlite3.connect(self.database)) as conn, conn:
                conn.execute("PRAGMA foreign_keys = ON")
                last = f"(SELECT id FROM jobs WHERE manifest = 'table-csv' ORDER BY id DESC LIMIT {RESUMED})"
                conn.execute(f"DELETE FROM artifacts WHERE job IN {last}")
                conn.execute("DROP TRIGGER ledger_kept")
                conn.execute(f"DELETE FROM ledger WHERE job IN {last}")
                conn.execute(
                    "CREATE TRIGGER ledger_kept BEFORE DELETE ON ledger BEGIN"
                    " SELECT RAISE(ABORT, 'the ledger only grows'); END"
                )
                conn.execute(
                    "UPDATE jobs SET state = 'planned', key = NULL, key12 = NULL, attempts = 0, task_id = NULL,"
                    f" task_status = NULL, submitted_at = NULL, finished_at = NULL, polls = 0 WHERE id IN {last}"
                )
        else:
            manifest = write_small(self.folder, RESUMED, name="small")
        port = self.base_url.rpartition(":")[2]  # a manifest is bound to its service
        with sandbox("--duration", 3600, "--port", port) as service:
            env = environment(service.base_url)
            command = runner("run", manifest, "--yes")
            first = Command(command, env=env, cwd=self.folder, output=self.folder / "first.txt")
            while service.counts()["submit"] < RESUMED // 2 and first.running:
                time.sleep(0.02)
            first.signal(signal.SIGKILL)
            first.wait()
            known = sum(service.counts()[kind] for kind in ("submit", "poll", "upload"))
            if not known:
                raise RuntimeError((self.folder / "first.txt").read_text("utf-8"))
            began = time.time()
            second = Command(command, env=env, cwd=self.folder, output=self.folder / "second.txt")
            at = first_request_after(service, second, known)
            cpu_s = second.cpu_so_far_s()
            second.signal(signal.SIGKILL)
            used = second.wait()
        if not own:
            shutil.rmtree(self.folder / "out" / "small", ignore_errors=True)
        where = "of them its own" if own else "of other manifests"
        return Line(
            work=f"kill to first request, {self.jobs:,} jobs {where}",
            total_s=at - began,
            cpu_s=cpu_s,
            peak_mb=used.peak_mb,
            note=f"{RESUMED} jobs were being submitted when it was killed",
            targets=(Target(field="total_s", most=2),),
        )
