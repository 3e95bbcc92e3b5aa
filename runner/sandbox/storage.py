"""The sandbox's own SQLite file: accounts, tasks, keys, files, and every request it saw.

What an answer depends on is committed before the answer leaves; the request log follows within a moment.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.sandbox.life import Task

SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS accounts (
    account TEXT PRIMARY KEY, balance REAL, granted REAL, charged REAL DEFAULT 0, refunded REAL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tasks (
    id TEXT PRIMARY KEY, account TEXT, model TEXT, prompt TEXT, params TEXT, client_request_id TEXT,
    idempotency_key TEXT, content TEXT, reserved REAL, final REAL, created_at REAL, ends_at REAL,
    error_code TEXT, error_message TEXT, quirks TEXT, settled INTEGER, submits_seen INTEGER
);
CREATE INDEX IF NOT EXISTS tasks_open ON tasks (ends_at) WHERE settled = 0;
CREATE TABLE IF NOT EXISTS keys (
    account TEXT, key TEXT, body_hash TEXT, task_id TEXT, answer TEXT, created_at REAL,
    PRIMARY KEY (account, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
    id TEXT PRIMARY KEY, account TEXT, kind TEXT, mime_type TEXT, size_bytes INTEGER, sha256 TEXT,
    duration_token TEXT, client_request_id TEXT, model TEXT, created_at REAL, expires_at REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests (
    at REAL, kind TEXT, method TEXT, path TEXT, account TEXT, key TEXT, client_request_id TEXT,
    status INTEGER, task_id TEXT, charged REAL, fault TEXT, authorized INTEGER
);
"""
TABLES = ("accounts", "tasks", "keys", "files", "requests")
TASK_COLUMNS = (
    "id", "account", "model", "prompt", "params", "client_request_id", "idempotency_key", "content",
    "reserved", "final", "created_at", "ends_at", "error_code", "error_message", "quirks", "settled",
    "submits_seen",
)  # fmt: skip
FILE_COLUMNS = (
    "id", "account", "kind", "mime_type", "size_bytes", "sha256", "duration_token", "client_request_id",
    "model", "created_at", "expires_at",
)  # fmt: skip
REQUEST_COLUMNS = (
    "at", "kind", "method", "path", "account", "key", "client_request_id", "status", "task_id", "charged",
    "fault", "authorized",
)  # fmt: skip
LOG_BUFFER = 256
BUSY_S = 1.5  # a sandbox that is just dying lets go of the file within this


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """What is remembered of an idempotency key: the body it came with and the answer it got."""

    key: str
    body_hash: str
    task_id: str
    answer: str
    created_at: float


class StateInUse(Exception):
    """Another sandbox is serving this state file."""


class Storage:
    """The file. All calls are quick and synchronous; the event loop may make them."""

    def __init__(self, path: str) -> None:
        if path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            # Exclusive: a ledger with two servers would be nobody's truth. The lock dies with the process.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript("BEGIN IMMEDIATE;" + SCHEMA + "COMMIT;")
        except sqlite3.OperationalError as exc:
            self._db.close()
            if "locked" in str(exc):
                raise StateInUse(f"{path} is in use by another sandbox") from exc
            raise
        self._log: list[tuple[Any, ...]] = []

    def close(self) -> None:
        """Write what is still buffered and close."""
        self.flush()
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything inside, or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # -- settings

    def find_setting(self, name: str) -> str | None:
        """Return a remembered value, or None."""
        row = self._db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set_setting(self, name: str, value: str) -> None:
        """Remember a value."""
        self._db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    # -- money

    def balance(self, account: str, *, initial: float) -> float:
        """Return what the account has; a new account gets `initial`."""
        row = self._db.execute("SELECT balance FROM accounts WHERE account = ?", (account,)).fetchone()
        if row is None:
            self._db.execute(
                "INSERT INTO accounts (account, balance, granted) VALUES (?, ?, ?)",
                (account, initial, initial),
            )
            return initial
        return float(row[0])

    def grant(self, account: str, credits: float) -> None:
        """Add credits to an account that exists."""
        self._db.execute(
            "UPDATE accounts SET balance = balance + ?1, granted = granted + ?1 WHERE account = ?2",
            (credits, account),
        )

    def accept(self, task: Task, record: KeyRecord | None) -> None:
        """Charge, record the task, and bind its key: one transaction."""
        values = (
            task.id, task.account, task.model, task.prompt, json.dumps(task.params), task.client_request_id,
            task.idempotency_key, task.content, task.reserved, task.final, task.created_at, task.ends_at,
            task.error_code, task.error_message, json.dumps(task.quirks), task.settled, task.submits_seen,
        )  # fmt: skip
        with self.transaction():
            self._move(task.account, charged=task.reserved)
            self._db.execute(f"INSERT INTO tasks VALUES ({_marks(TASK_COLUMNS)})", values)
            if record is not None:
                self._db.execute(
                    "INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        task.account,
                        record.key,
                        record.body_hash,
                        record.task_id,
                        record.answer,
                        record.created_at,
                    ),
                )

    def settle(self, task_ids: Iterable[str]) -> None:
        """Replace what was reserved by what is final, for tasks that have ended."""
        with self.transaction():
            for task_id in task_ids:
                row = self._db.execute(
                    "UPDATE tasks SET settled = 1 WHERE id = ? AND settled = 0"
                    " RETURNING account, reserved, final",
                    (task_id,),
                ).fetchone()
                if row is not None:
                    account, reserved, final = row
                    self._move(
                        account, charged=max(0.0, final - reserved), refunded=max(0.0, reserved - final)
                    )

    def _move(self, account: str, *, charged: float = 0, refunded: float = 0) -> None:
        self._db.execute(
            "UPDATE accounts SET balance = balance - ?1 + ?2, charged = charged + ?1,"
            " refunded = refunded + ?2 WHERE account = ?3",
            (charged, refunded, account),
        )

    # -- tasks and keys

    def find_task(self, task_id: str) -> Task | None:
        """Return a task, whoever owns it."""
        row = self._db.execute("SELECT * FROM tasks WHERE id = ?", (task_id,)).fetchone()
        return _task(row) if row else None

    def tasks(self) -> list[Task]:
        """Return all tasks, oldest first."""
        return [_task(row) for row in self._db.execute("SELECT * FROM tasks ORDER BY rowid")]

    def open_tasks(self) -> list[tuple[float, str]]:
        """Return (ends_at, id) of every task that is not settled."""
        return self._db.execute("SELECT ends_at, id FROM tasks WHERE settled = 0").fetchall()

    def find_key(self, account: str, key: str, *, not_before: float) -> KeyRecord | None:
        """Return what this key stands for, unless it is older than is kept."""
        row = self._db.execute(
            "SELECT key, body_hash, task_id, answer, created_at FROM keys"
            " WHERE account = ? AND key = ? AND created_at >= ?",
            (account, key, not_before),
        ).fetchone()
        names = ("key", "body_hash", "task_id", "answer", "created_at")
        return KeyRecord(**dict(zip(names, row, strict=True))) if row else None

    def count_resend(self, task_id: str) -> None:
        """Note that a submit with this task's key came again."""
        self._db.execute("UPDATE tasks SET submits_seen = submits_seen + 1 WHERE id = ?", (task_id,))

    # -- files

    def add_file(self, file: dict[str, Any]) -> None:
        """Record an upload; `file` has the keys of `FILE_COLUMNS`."""
        values = [file[name] for name in FILE_COLUMNS]
        self._db.execute(f"INSERT INTO files VALUES ({_marks(FILE_COLUMNS)})", values)

    def find_file(self, file_id: str) -> dict[str, Any] | None:
        """Return an upload, whoever owns it."""
        row = self._db.execute("SELECT * FROM files WHERE id = ?", (file_id,)).fetchone()
        return dict(zip(FILE_COLUMNS, row, strict=True)) if row else None

    def files(self) -> list[dict[str, Any]]:
        """Return all uploads, oldest first."""
        rows = self._db.execute("SELECT * FROM files ORDER BY created_at, id")
        return [dict(zip(FILE_COLUMNS, row, strict=True)) for row in rows]

    # -- the log and what is read from it

    def log(self, entry: Sequence[Any]) -> None:
        """Note one request (values in the order of `REQUEST_COLUMNS`); written in batches."""
        self._log.append(tuple(entry))
        if len(self._log) >= LOG_BUFFER:
            self.flush()

    def flush(self) -> None:
        """Write the buffered part of the request log."""
        if self._log:
            entries, self._log = self._log, []
            with self.transaction():
                self._db.executemany(f"INSERT INTO requests VALUES ({_marks(REQUEST_COLUMNS)})", entries)

    def requests(self, *, kind: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        """Return the latest requests, oldest first."""
        self.flush()
        rows = self._db.execute(
            "SELECT * FROM requests WHERE ?1 IS NULL OR kind = ?1 ORDER BY rowid DESC LIMIT ?2", (kind, limit)
        ).fetchall()
        return [dict(zip(REQUEST_COLUMNS, row, strict=True)) for row in reversed(rows)]

    def request_counts(self) -> dict[str, dict[str, int]]:
        """Return how many requests of each kind got which status: `{"submit": {"201": 3, "dropped": 1}}`."""
        self.flush()
        counts: dict[str, dict[str, int]] = {}
        query = "SELECT kind, status, count(*) FROM requests GROUP BY kind, status ORDER BY kind, status"
        for kind, status, number in self._db.execute(query):
            counts.setdefault(kind, {})[str(status) if status else "dropped"] = number
        return counts

    def authorized_result_requests(self) -> int:
        """Return how many downloads carried an Authorization header, which none should."""
        self.flush()
        query = "SELECT count(*) FROM requests WHERE kind = 'result' AND authorized = 1"
        return int(self._db.execute(query).fetchone()[0])

    def accounts(self) -> list[dict[str, Any]]:
        """Return every account with its money."""
        names = ("account", "balance", "granted", "charged", "refunded")
        rows = self._db.execute(f"SELECT {', '.join(names)} FROM accounts ORDER BY account")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def reset(self) -> None:
        """Forget everything but the port and the secret."""
        self._log.clear()
        with self.transaction():
            for table in TABLES:
                self._db.execute(f"DELETE FROM {table}")


def _marks(columns: Sequence[str]) -> str:
    return ", ".join("?" * len(columns))


def _task(row: Sequence[Any]) -> Task:
    values = dict(zip(TASK_COLUMNS, row, strict=True))
    values["params"] = json.loads(values["params"])
    values["quirks"] = json.loads(values["quirks"])
    values["settled"] = bool(values["settled"])
    return Task(**values)
