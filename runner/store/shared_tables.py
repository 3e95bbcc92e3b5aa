"""The tables by which several machines work together, as steps of `store.migrations`.

In a file they stay empty; they are there so that a database can be copied from a server and back.
"""

from __future__ import annotations

# Processes that work at one manifest together: who they are, what each works on, and answers that came too late.
WORKERS = (
    """
    CREATE TABLE workers (
        id INTEGER PRIMARY KEY,
        manifest TEXT NOT NULL,
        account TEXT NOT NULL,
        run INTEGER NOT NULL REFERENCES runs (id),
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        terms TEXT NOT NULL,
        sign TEXT NOT NULL,
        seen_at REAL NOT NULL,
        busy INTEGER NOT NULL DEFAULT 1,
        sharers INTEGER NOT NULL DEFAULT 0,
        in_flight INTEGER NOT NULL DEFAULT 0,
        fenced INTEGER NOT NULL DEFAULT 0,
        ended_at TEXT
    ) STRICT
    """,
    "CREATE INDEX workers_at_work ON workers (account) WHERE ended_at IS NULL AND fenced = 0",
    """
    CREATE TABLE shares (
        job INTEGER PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
        worker INTEGER NOT NULL REFERENCES workers (id)
    ) STRICT
    """,
    """
    CREATE TABLE late_answers (
        id INTEGER PRIMARY KEY,
        base_url TEXT NOT NULL,
        key TEXT NOT NULL,
        task_id TEXT NOT NULL,
        at TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX late_answers_by_key ON late_answers (base_url, key)",
)

PACERS = (
    """
    CREATE TABLE pacers (
        account TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        state TEXT NOT NULL
    ) STRICT
    """,
)

HANDOVERS = (
    """
    CREATE TABLE handovers (
        id INTEGER PRIMARY KEY,
        manifest TEXT NOT NULL,
        path TEXT NOT NULL,
        base_url TEXT NOT NULL,
        asked TEXT NOT NULL,
        terms TEXT NOT NULL,
        sign TEXT NOT NULL,
        session INTEGER NOT NULL,
        host TEXT NOT NULL,
        handed_at TEXT NOT NULL,
        ended_at TEXT,
        exit_code INTEGER
    ) STRICT
    """,
    "CREATE INDEX handovers_open ON handovers (id) WHERE ended_at IS NULL",
    # Which jobs the runs that began together have begun: for a number that all of them may begin.
    "ALTER TABLE workers ADD COLUMN session INTEGER NOT NULL DEFAULT 0",
    """
    CREATE TABLE begun_jobs (
        session INTEGER NOT NULL,
        job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        PRIMARY KEY (session, job)
    ) STRICT
    """,
)
