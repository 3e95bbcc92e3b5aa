"""The tables of the state database, as steps that are applied once and in order.

`state/README.md` documents what a person finds in them. A step that has shipped is never edited;
a change is a new step. Applied by `store.sqlite` under `BEGIN IMMEDIATE`, and, in other words, by `store.postgres`.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from runner.store import shared_tables

if TYPE_CHECKING:
    from sqlite_utils import Migrations

NAME = "rivya-batch"

_TABLES = (
    """
    CREATE TABLE manifests (
        name TEXT PRIMARY KEY,
        path TEXT NOT NULL,
        base_url TEXT NOT NULL,
        key12 TEXT NOT NULL,
        output_dir TEXT NOT NULL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        manifest TEXT NOT NULL,
        command TEXT NOT NULL,
        pid INTEGER NOT NULL,
        host TEXT NOT NULL,
        version TEXT NOT NULL,
        started_at TEXT NOT NULL,
        seen_at TEXT NOT NULL,
        ended_at TEXT,
        exit_code INTEGER,
        stats TEXT NOT NULL DEFAULT '{}'
    ) STRICT
    """,
    "CREATE INDEX runs_manifest ON runs (manifest, id)",
    """
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY,
        manifest TEXT NOT NULL REFERENCES manifests (name),
        job TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        listed INTEGER NOT NULL DEFAULT 1,
        position INTEGER NOT NULL,
        origin TEXT NOT NULL,
        serial INTEGER NOT NULL DEFAULT 0,
        state TEXT NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'uploading', 'ready', 'submitting',
            'uncertain', 'waiting', 'downloading', 'done', 'failed', 'abandoned')),
        version INTEGER NOT NULL DEFAULT 0,
        model TEXT NOT NULL,
        prompt TEXT,
        params TEXT NOT NULL,
        refs TEXT NOT NULL DEFAULT '[]',
        axes TEXT NOT NULL DEFAULT '{}',
        shape TEXT NOT NULL,
        output TEXT NOT NULL,
        round INTEGER NOT NULL DEFAULT 1,
        revision INTEGER NOT NULL DEFAULT 1,
        key TEXT,
        body BLOB,
        key12 TEXT,
        base_url TEXT,
        first_sent_at TEXT,
        first_sent_boot_s REAL,
        first_sent_boot_id TEXT,
        in_doubt INTEGER NOT NULL DEFAULT 0,
        reopened INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        conflicts INTEGER NOT NULL DEFAULT 0,
        conflict_since TEXT,
        fresh_bodies INTEGER NOT NULL DEFAULT 0,
        next_at TEXT,
        task_id TEXT,
        task_status TEXT,
        urls TEXT NOT NULL DEFAULT '[]',
        submitted_at TEXT,
        finished_at TEXT,
        duration_s REAL,
        polls INTEGER NOT NULL DEFAULT 0,
        overdue INTEGER NOT NULL DEFAULT 0,
        error_class TEXT,
        error_code TEXT,
        error_message TEXT,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        UNIQUE (manifest, job, fingerprint)
    ) STRICT
    """,
    "CREATE INDEX jobs_by_state ON jobs (manifest, state, position)",
    "CREATE INDEX jobs_by_position ON jobs (manifest, listed, position)",
    "CREATE INDEX jobs_by_fingerprint ON jobs (manifest, fingerprint)",
    "CREATE INDEX jobs_by_origin ON jobs (manifest, origin, fingerprint)",
    """
    CREATE TABLE ledger (
        id INTEGER PRIMARY KEY,
        job INTEGER NOT NULL REFERENCES jobs (id),
        manifest TEXT NOT NULL,
        round INTEGER NOT NULL,
        model TEXT NOT NULL,
        shape TEXT NOT NULL,
        base_url TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('reserved', 'charged', 'released')),
        estimated REAL NOT NULL,
        basis TEXT NOT NULL,
        probe INTEGER NOT NULL DEFAULT 0,
        reserved REAL,
        charged REAL,
        amount REAL NOT NULL,
        task_id TEXT,
        opened_at TEXT NOT NULL,
        settled_at TEXT,
        minute INTEGER NOT NULL,
        UNIQUE (job, round)
    ) STRICT
    """,
    "CREATE UNIQUE INDEX ledger_task ON ledger (base_url, task_id) WHERE task_id IS NOT NULL",
    "CREATE INDEX ledger_probes ON ledger (manifest) WHERE probe = 1",
    """
    CREATE TABLE credit_totals (
        manifest TEXT PRIMARY KEY,
        charged REAL NOT NULL DEFAULT 0,
        reserved REAL NOT NULL DEFAULT 0
    ) STRICT
    """,
    "CREATE TABLE credit_minutes (minute INTEGER PRIMARY KEY, amount REAL NOT NULL DEFAULT 0) STRICT",
    """
    CREATE TRIGGER ledger_added AFTER INSERT ON ledger BEGIN
        INSERT INTO credit_totals (manifest, charged, reserved) VALUES (NEW.manifest,
            iif(NEW.state = 'charged', NEW.amount, 0), iif(NEW.state = 'reserved', NEW.amount, 0))
            ON CONFLICT (manifest) DO UPDATE SET charged = charged + excluded.charged,
                reserved = reserved + excluded.reserved;
        INSERT INTO credit_minutes (minute, amount) VALUES (NEW.minute, NEW.amount)
            ON CONFLICT (minute) DO UPDATE SET amount = amount + excluded.amount;
    END
    """,
    """
    CREATE TRIGGER ledger_changed AFTER UPDATE OF state, amount, minute ON ledger BEGIN
        UPDATE credit_totals SET
            charged = charged - iif(OLD.state = 'charged', OLD.amount, 0) + iif(NEW.state = 'charged', NEW.amount, 0),
            reserved = reserved - iif(OLD.state = 'reserved', OLD.amount, 0) + iif(NEW.state = 'reserved', NEW.amount, 0)
            WHERE manifest = NEW.manifest;
        UPDATE credit_minutes SET amount = amount - OLD.amount WHERE minute = OLD.minute;
        INSERT INTO credit_minutes (minute, amount) VALUES (NEW.minute, NEW.amount)
            ON CONFLICT (minute) DO UPDATE SET amount = amount + excluded.amount;
    END
    """,
    "CREATE TRIGGER ledger_kept BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger only grows'); END",
    """
    CREATE TABLE uploads (
        sha256 TEXT NOT NULL,
        kind TEXT NOT NULL,
        model TEXT NOT NULL,
        account TEXT NOT NULL,
        url TEXT NOT NULL,
        file_id TEXT,
        duration_token TEXT,
        duration_s REAL,
        raw TEXT NOT NULL,
        uploaded_at TEXT NOT NULL,
        PRIMARY KEY (sha256, kind, model, account)
    ) STRICT
    """,
    """
    CREATE TABLE artifacts (
        job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        path TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        mime TEXT NOT NULL,
        PRIMARY KEY (job, number)
    ) STRICT
    """,
    "CREATE INDEX artifacts_by_path ON artifacts (path)",
    """
    CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        run INTEGER,
        manifest TEXT,
        job TEXT,
        kind TEXT NOT NULL,
        data TEXT NOT NULL DEFAULT '{}'
    ) STRICT
    """,
    "CREATE INDEX events_by_manifest ON events (manifest, id)",
    """
    CREATE TABLE prices (
        base_url TEXT NOT NULL,
        shape TEXT NOT NULL,
        model TEXT NOT NULL,
        reserved REAL,
        charged REAL,
        seen INTEGER NOT NULL DEFAULT 1,
        seen_at TEXT NOT NULL,
        PRIMARY KEY (base_url, shape)
    ) STRICT
    """,
    """
    CREATE TABLE durations (
        id INTEGER PRIMARY KEY,
        base_url TEXT NOT NULL,
        model TEXT NOT NULL,
        shape TEXT NOT NULL,
        seconds REAL NOT NULL
    ) STRICT
    """,
    "CREATE INDEX durations_by_shape ON durations (base_url, shape, id)",
    """
    CREATE TABLE rates (
        account TEXT PRIMARY KEY,
        per_s REAL NOT NULL,
        found_at TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE hashes (
        path TEXT PRIMARY KEY,
        size_bytes INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        sha256 TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE VIEW v_jobs AS
        SELECT j.manifest, j.job, j.state, j.model, j.prompt, j.params, j.round, j.task_id,
            l.estimated, l.reserved, l.charged, j.submitted_at, j.finished_at, j.duration_s, j.polls,
            j.error_class, j.error_code, j.error_message, a.path AS artifact, j.listed, j.fingerprint
        FROM jobs j
        LEFT JOIN ledger l ON l.job = j.id AND l.round = j.round
        LEFT JOIN artifacts a ON a.job = j.id AND a.number = 1
        ORDER BY j.manifest, j.position
    """,
    """
    CREATE VIEW v_credits AS
        SELECT manifest, model, substr(opened_at, 1, 10) AS day, count(*) AS payments,
            sum(estimated) AS estimated,
            sum(iif(state = 'reserved', amount, 0)) AS reserved,
            sum(iif(state = 'charged', amount, 0)) AS charged,
            sum(iif(state = 'released', coalesce(reserved, estimated),
                max(coalesce(reserved, estimated) - amount, 0))) AS released
        FROM ledger GROUP BY manifest, model, day ORDER BY day, manifest, model
    """,
)


_VIEWS = (
    """
    CREATE VIEW v_runs AS
        SELECT id AS run, manifest, command, host, pid, version, started_at, seen_at, ended_at, exit_code,
            json_extract(stats, '$.seconds') AS seconds,
            json_extract(stats, '$.accepted') AS accepted,
            json_extract(stats, '$.done') AS done,
            json_extract(stats, '$.failed') AS failed,
            json_extract(stats, '$.submits') AS submits,
            json_extract(stats, '$.polls') AS polls,
            json_extract(stats, '$.uploads') AS uploads,
            json_extract(stats, '$.downloads') AS downloads,
            json_extract(stats, '$.rejections') AS rejections,
            json_extract(stats, '$.rate_per_s') AS rate_per_s
        FROM runs ORDER BY id
    """,
    """
    CREATE VIEW v_failures AS
        SELECT j.manifest, j.job, j.state, iif(j.state = 'uncertain', 'resolve', 'retry') AS next_command,
            j.error_class, j.error_code, j.error_message, j.model, j.prompt, j.params, j.round, j.task_id,
            (SELECT sum(l.amount) FROM ledger l WHERE l.job = j.id) AS credits, j.updated_at
        FROM jobs j
        WHERE j.state = 'uncertain' OR (j.state = 'failed' AND j.listed = 1)
        ORDER BY j.manifest, j.position
    """,
)


_LISTINGS = (
    # What the jobs of a manifest were read from when it was last applied (see `api.manifests.listing`).
    """
    CREATE TABLE listings (
        manifest TEXT PRIMARY KEY REFERENCES manifests (name),
        basis TEXT NOT NULL,
        inputs TEXT NOT NULL,
        jobs INTEGER NOT NULL
    ) STRICT
    """,
    # Counting 100,000 jobs by state and listed reads the index alone; so does finding the next to send.
    "DROP INDEX jobs_by_state",
    "CREATE INDEX jobs_by_state ON jobs (manifest, state, listed, position)",
    "CREATE INDEX jobs_to_send ON jobs (manifest, position)"
    " WHERE listed = 1 AND state IN ('planned', 'uploading', 'ready')",
)

_RESULTS = (
    # What is odd about a result that was kept all the same.
    "ALTER TABLE artifacts ADD COLUMN warning TEXT",
    "CREATE INDEX artifacts_with_warning ON artifacts (job) WHERE warning IS NOT NULL",
    # Which payment it is the result of; 0 where that was not recorded.
    "ALTER TABLE artifacts ADD COLUMN round INTEGER NOT NULL DEFAULT 0",
    # Hosts that have delivered results of a service: they can be tried before anything is paid for.
    """
    CREATE TABLE result_hosts (
        base_url TEXT NOT NULL,
        host TEXT NOT NULL,
        seen_at TEXT NOT NULL,
        PRIMARY KEY (base_url, host)
    ) STRICT
    """,
)

_RESENDS = (
    # A bare 429 has answered these bytes: no others follow before the API itself has refused them.
    "ALTER TABLE jobs ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
    # When the last send that may have arrived began, and then when it ended without a clear answer.
    "ALTER TABLE jobs ADD COLUMN last_unclear_at TEXT",
    # When these bytes were first sent by the service's clock, where that was known.
    "ALTER TABLE jobs ADD COLUMN first_sent_service_at TEXT",
)

_TROUBLES = (
    # What keeps paid work from coming home, and since when without one better answer (see `ways`).
    "ALTER TABLE jobs ADD COLUMN trouble TEXT",
    "ALTER TABLE jobs ADD COLUMN trouble_since TEXT",
    "ALTER TABLE jobs ADD COLUMN oddness TEXT",
    "DROP VIEW v_failures",
    """
    CREATE VIEW v_failures AS
        SELECT j.manifest, j.job, j.state,
            CASE j.state WHEN 'uncertain' THEN 'resolve' WHEN 'failed' THEN 'retry' ELSE 'resolve, retry' END
                AS next_command,
            j.error_class, j.error_code, j.error_message, j.model, j.prompt, j.params, j.round, j.task_id,
            (SELECT sum(l.amount) FROM ledger l WHERE l.job = j.id) AS credits, j.updated_at
        FROM jobs j
        WHERE j.state = 'uncertain' OR (j.state = 'failed' AND j.listed = 1)
            OR (j.state IN ('waiting', 'downloading') AND (j.error_code IS NOT NULL OR j.overdue = 1))
        ORDER BY j.manifest, j.position
    """,
)

_FINGERPRINTS = (
    # What another manifest has paid for is found by its fingerprint alone.
    "DROP INDEX jobs_by_fingerprint",
    "CREATE INDEX jobs_by_fingerprint ON jobs (fingerprint, manifest)",
)

_DRIVES = (
    # Where the drive begins that the results are on: whether it is there is asked before anything is fetched again.
    "ALTER TABLE manifests ADD COLUMN output_mount TEXT",
)

# A row of the ledger comes into the sums of what is on its way, and leaves them. The last one takes the sum with
# it: what the arithmetic of doubles leaves behind does not add up over the years.
_OUT_ADDED = (
    "INSERT INTO credits_out (base_url, shape, manifest, minute, model, payments, amount, named) VALUES"
    " (NEW.base_url, NEW.shape, NEW.manifest, NEW.minute, NEW.model, 1, NEW.amount,"
    " iif(NEW.reserved IS NULL, 0, NEW.amount))"
    " ON CONFLICT DO UPDATE SET payments = payments + 1, amount = amount + excluded.amount,"
    " named = named + excluded.named;"
)
_OF_OLD = "base_url = OLD.base_url AND shape = OLD.shape AND manifest = OLD.manifest AND minute = OLD.minute"
_OUT_GONE = (
    "UPDATE credits_out SET payments = payments - 1, amount = amount - OLD.amount,"
    f" named = named - iif(OLD.reserved IS NULL, 0, OLD.amount) WHERE {_OF_OLD};"
    f" DELETE FROM credits_out WHERE {_OF_OLD} AND payments = 0;"
)
_PRICES = (
    # The last charges of each price instead of the last one, and how far reservations have been kept to.
    "ALTER TABLE prices ADD COLUMN ends TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE prices ADD COLUMN kept REAL NOT NULL DEFAULT 0",
    "UPDATE prices SET ends = json_array(charged) WHERE charged > 0",
    "ALTER TABLE prices DROP COLUMN charged",
    "CREATE INDEX prices_tried ON prices (base_url, model) WHERE ends <> '[]'",
    "ALTER TABLE ledger ADD COLUMN named REAL",
    "ALTER TABLE ledger ADD COLUMN most REAL",
    "ALTER TABLE ledger ADD COLUMN surprise REAL",
    "ALTER TABLE ledger ADD COLUMN told_at TEXT",
    "CREATE INDEX ledger_surprises ON ledger (manifest) WHERE surprise IS NOT NULL",
    # A payment is open until its end is known, not only until a reservation is named.
    "UPDATE ledger SET named = reserved",
    "UPDATE ledger SET probe = 1 WHERE state = 'reserved' AND EXISTS (SELECT 1 FROM jobs j WHERE j.id = ledger.job"
    " AND j.round = ledger.round AND j.state IN ('submitting', 'uncertain', 'waiting'))",
    "DROP INDEX ledger_probes",
    """
    CREATE TABLE credits_out (
        base_url TEXT NOT NULL,
        shape TEXT NOT NULL,
        manifest TEXT NOT NULL,
        minute INTEGER NOT NULL,
        model TEXT NOT NULL,
        payments INTEGER NOT NULL,
        amount REAL NOT NULL,
        named REAL NOT NULL,
        PRIMARY KEY (base_url, shape, manifest, minute)
    ) STRICT, WITHOUT ROWID
    """,
    "INSERT INTO credits_out SELECT base_url, shape, manifest, minute, max(model), count(*), sum(amount),"
    " sum(iif(reserved IS NULL, 0, amount)) FROM ledger WHERE probe = 1 GROUP BY base_url, shape, manifest, minute",
    f"CREATE TRIGGER ledger_out_added AFTER INSERT ON ledger WHEN NEW.probe = 1 BEGIN {_OUT_ADDED} END",
    "CREATE TRIGGER ledger_out_changed AFTER UPDATE OF probe, amount, reserved, minute ON ledger"
    f" WHEN OLD.probe = 1 AND NEW.probe = 1 BEGIN {_OUT_GONE} {_OUT_ADDED} END",
    f"CREATE TRIGGER ledger_out_opened AFTER UPDATE OF probe ON ledger WHEN OLD.probe = 0 AND NEW.probe = 1"
    f" BEGIN {_OUT_ADDED} END",
    f"CREATE TRIGGER ledger_out_gone AFTER UPDATE OF probe ON ledger WHEN OLD.probe = 1 AND NEW.probe = 0"
    f" BEGIN {_OUT_GONE} END",
)

# No job was ever `ready` while it was listed, and nothing ever waited for `next_at`. (The CHECK of an old table still
# knows the word.)
_STATES = (
    "UPDATE jobs SET state = 'planned' WHERE state = 'ready'",
    "DROP INDEX jobs_to_send",
    "CREATE INDEX jobs_to_send ON jobs (manifest, position) WHERE listed = 1 AND state IN ('planned', 'uploading')",
    "ALTER TABLE jobs DROP COLUMN next_at",
)

# What runs know of an account's limits while they go on, so that whoever comes after a kill goes on from there.
# No limit of the rate may have been met yet.
_LIMITS = (
    "ALTER TABLE rates RENAME TO rates_before",
    """
    CREATE TABLE rates (
        account TEXT PRIMARY KEY,
        per_s REAL,
        found_at TEXT NOT NULL,
        learned TEXT,
        tasks INTEGER,
        tasks_at TEXT
    ) STRICT
    """,
    "INSERT INTO rates (account, per_s, found_at) SELECT account, per_s, found_at FROM rates_before",
    "DROP TABLE rates_before",
)

# What people tell a run from another terminal.
_ORDERS = (
    """
    CREATE TABLE orders (
        id INTEGER PRIMARY KEY,
        run INTEGER NOT NULL REFERENCES runs (id),
        kind TEXT NOT NULL,
        value REAL,
        given_at TEXT NOT NULL,
        taken_at TEXT
    ) STRICT
    """,
    "CREATE INDEX orders_open ON orders (run) WHERE taken_at IS NULL",
)

NEW_WORKSPACE = "INSERT INTO workspace (id) VALUES (lower(hex(randomblob(8))))"

# What a person thinks of each result; and who this workspace is, for what browsers keep of its pages.
_PICKS = (
    """
    CREATE TABLE picks (
        job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        round INTEGER NOT NULL,
        manifest TEXT NOT NULL,
        verdict TEXT NOT NULL CHECK (verdict IN ('', 'picked', 'rejected')),
        rating INTEGER NOT NULL CHECK (rating BETWEEN 0 AND 5),
        word TEXT NOT NULL,
        serial INTEGER NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (job, round)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX picks_serial ON picks (manifest, serial)",
    "CREATE TABLE workspace (id TEXT PRIMARY KEY) STRICT",
    NEW_WORKSPACE,
)

# What a person has switched off: by id, also before there is a row of it. `serial` grows with each change.
_SWITCHES = (
    """
    CREATE TABLE switches (
        manifest TEXT NOT NULL,
        job TEXT NOT NULL,
        off INTEGER NOT NULL CHECK (off IN (0, 1)),
        serial INTEGER NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (manifest, job)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX switches_serial ON switches (manifest, serial)",
)

# Of a job that made several results: which of them are meant, by number; empty for all.
_PICKED_RESULTS = ("ALTER TABLE picks ADD COLUMN results TEXT NOT NULL DEFAULT '[]'",)

# Jobs that are made of other jobs' results: what each needs, how much of that is still to come, and how often what a
# job had made was made anew.
_NEEDS = (
    """
    CREATE TABLE needs (
        job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        place INTEGER NOT NULL,
        source INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        manifest TEXT NOT NULL,
        undecided INTEGER NOT NULL,
        PRIMARY KEY (job, place, source)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX needs_by_source ON needs (source)",
    "CREATE INDEX needs_by_manifest ON needs (manifest)",
    "ALTER TABLE jobs ADD COLUMN edition INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE jobs ADD COLUMN blocked INTEGER NOT NULL DEFAULT 0",
    "DROP INDEX jobs_to_send",
    "CREATE INDEX jobs_to_send ON jobs (manifest, position)"
    " WHERE listed = 1 AND state IN ('planned', 'uploading') AND blocked = 0",
)

STEPS = {
    "0001_tables": _TABLES,
    "0002_views": _VIEWS,
    "0003_listings": _LISTINGS,
    "0004_results": _RESULTS,
    "0005_resends": _RESENDS,
    "0006_troubles": _TROUBLES,
    "0007_fingerprints": _FINGERPRINTS,
    "0008_drives": _DRIVES,
    "0009_prices": _PRICES,
    "0010_states": _STATES,
    "0011_limits": _LIMITS,
    "0012_orders": _ORDERS,
    "0013_picks": _PICKS,
    "0014_workers": shared_tables.WORKERS,
    "0015_switches": _SWITCHES,
    "0016_picked_results": _PICKED_RESULTS,
    "0017_pacers": shared_tables.PACERS,
    "0018_needs": _NEEDS,
    "0019_handovers": shared_tables.HANDOVERS,
}


def applied(conn: sqlite3.Connection) -> list[str]:
    """Return the names of the steps a database has had, in their order; none for another program's."""
    table = "SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'"
    if conn.execute(table).fetchone() is None:
        return []
    found = conn.execute(
        "SELECT name FROM _sqlite_migrations WHERE migration_set = ? ORDER BY rowid", (NAME,)
    )
    return [row[0] for row in found]


def pending(conn: sqlite3.Connection) -> list[str]:
    """Return the names of the steps a database has yet to have."""
    had = applied(conn)
    return [name for name in STEPS if name not in had]


def migrations() -> Migrations:
    """Return the steps as sqlite-utils applies them: it is imported only where there is one to apply (80 ms)."""
    from sqlite_utils import Database, Migrations

    found = Migrations(NAME)

    def register(name: str, statements: tuple[str, ...]) -> None:
        @found(name=name)
        def step(db: Database) -> None:
            for statement in statements:
                db.execute(statement)

    for name, statements in STEPS.items():
        register(name, statements)
    return found
