"""The tables of a state database that PostgreSQL keeps, as steps that are applied once and in order.

They are told of in one text, `store.migrations`, which is SQLite's; types and keys are put in PostgreSQL's words as a
statement is sent (`store.postgres_sql`) and by `in_words_of_a_server`. The first step here is what the first eleven make
of an SQLite file: its tables and indexes are read from one that is made in memory. Later ones are the same in both.

What PostgreSQL says in other words is here: triggers, views that count, and the id of a workspace.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

from runner.store import migrations

FIRST = "0011_limits"
NAMES = tuple(migrations.STEPS)[tuple(migrations.STEPS).index(FIRST) :]

_ADD = (
    "INSERT INTO credits_out AS o (base_url, shape, manifest, minute, model, payments, amount, named) VALUES"
    " (NEW.base_url, NEW.shape, NEW.manifest, NEW.minute, NEW.model, 1, NEW.amount,"
    " CASE WHEN NEW.reserved IS NULL THEN 0 ELSE NEW.amount END)"
    " ON CONFLICT (base_url, shape, manifest, minute) DO UPDATE SET payments = o.payments + 1,"
    " amount = o.amount + excluded.amount, named = o.named + excluded.named;"
)
_OF_OLD = "base_url = OLD.base_url AND shape = OLD.shape AND manifest = OLD.manifest AND minute = OLD.minute"
_TAKE = (
    "UPDATE credits_out SET payments = payments - 1, amount = amount - OLD.amount,"
    f" named = named - CASE WHEN OLD.reserved IS NULL THEN 0 ELSE OLD.amount END WHERE {_OF_OLD};"
    f" DELETE FROM credits_out WHERE {_OF_OLD} AND payments = 0;"
)
_MINUTE = (
    "INSERT INTO credit_minutes AS m (minute, amount) VALUES (NEW.minute, NEW.amount)"
    " ON CONFLICT (minute) DO UPDATE SET amount = m.amount + excluded.amount;"
)
_CHARGED = "CASE WHEN {row}.state = 'charged' THEN {row}.amount ELSE 0 END"
_RESERVED = "CASE WHEN {row}.state = 'reserved' THEN {row}.amount ELSE 0 END"


def _trigger(name: str, when: str, body: str) -> tuple[str, str]:
    """Return what makes a trigger on the ledger that has a function to itself."""
    return (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN {body} RETURN NULL; END $body$",
        f"CREATE TRIGGER {name} {when.format(table='ON ledger FOR EACH ROW')} EXECUTE FUNCTION {name}()",
    )


_HOLDERS = """
    CREATE TABLE holders (
        manifest TEXT PRIMARY KEY,
        pid INTEGER NOT NULL,
        host TEXT NOT NULL,
        since TEXT NOT NULL,
        command TEXT NOT NULL
    )
    """

_TRIGGERS = (
    *_trigger(
        "ledger_added",
        "AFTER INSERT {table}",
        "INSERT INTO credit_totals AS t (manifest, charged, reserved) VALUES (NEW.manifest,"
        f" {_CHARGED.format(row='NEW')}, {_RESERVED.format(row='NEW')}) ON CONFLICT (manifest) DO UPDATE SET"
        f" charged = t.charged + excluded.charged, reserved = t.reserved + excluded.reserved; {_MINUTE}",
    ),
    *_trigger(
        "ledger_changed",
        "AFTER UPDATE OF state, amount, minute {table}",
        f"UPDATE credit_totals SET charged = charged - {_CHARGED.format(row='OLD')} + {_CHARGED.format(row='NEW')},"
        f" reserved = reserved - {_RESERVED.format(row='OLD')} + {_RESERVED.format(row='NEW')}"
        " WHERE manifest = NEW.manifest;"
        f" UPDATE credit_minutes SET amount = amount - OLD.amount WHERE minute = OLD.minute; {_MINUTE}",
    ),
    *_trigger("ledger_kept", "BEFORE DELETE {table}", "RAISE EXCEPTION 'the ledger only grows';"),
    *_trigger("ledger_out_added", "AFTER INSERT {table} WHEN (NEW.probe = 1)", _ADD),
    *_trigger(
        "ledger_out_changed",
        "AFTER UPDATE OF probe, amount, reserved, minute {table} WHEN (OLD.probe = 1 AND NEW.probe = 1)",
        _TAKE + _ADD,
    ),
    *_trigger(
        "ledger_out_opened", "AFTER UPDATE OF probe {table} WHEN (OLD.probe = 0 AND NEW.probe = 1)", _ADD
    ),
    *_trigger(
        "ledger_out_gone", "AFTER UPDATE OF probe {table} WHEN (OLD.probe = 1 AND NEW.probe = 0)", _TAKE
    ),
)

_VIEWS = (
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
            sum(CASE WHEN state = 'reserved' THEN amount ELSE 0 END) AS reserved,
            sum(CASE WHEN state = 'charged' THEN amount ELSE 0 END) AS charged,
            sum(CASE WHEN state = 'released' THEN coalesce(reserved, estimated)
                ELSE greatest(coalesce(reserved, estimated) - amount, 0) END) AS released
        FROM ledger GROUP BY manifest, model, day ORDER BY day, manifest, model
    """,
    """
    CREATE VIEW v_runs AS
        SELECT id AS run, manifest, command, host, pid, version, started_at, seen_at, ended_at, exit_code,
            (stats::json ->> 'seconds')::numeric AS seconds,
            (stats::json ->> 'accepted')::numeric AS accepted,
            (stats::json ->> 'done')::numeric AS done,
            (stats::json ->> 'failed')::numeric AS failed,
            (stats::json ->> 'submits')::numeric AS submits,
            (stats::json ->> 'polls')::numeric AS polls,
            (stats::json ->> 'uploads')::numeric AS uploads,
            (stats::json ->> 'downloads')::numeric AS downloads,
            (stats::json ->> 'rejections')::numeric AS rejections,
            (stats::json ->> 'rate_per_s')::numeric AS rate_per_s
        FROM runs ORDER BY id
    """,
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

_OTHER_WORDS = {
    migrations.NEW_WORKSPACE: "INSERT INTO workspace (id)"
    " VALUES (substr(md5(random()::text || clock_timestamp()::text), 1, 16))",
}


def statements_of(name: str) -> tuple[str, ...]:
    """Return what a step says to PostgreSQL, as `store.postgres_sql` takes it."""
    if name == FIRST:
        tables = [in_words_of_a_server(each) for each in _tables_of_a_file()]
        return (*tables, _HOLDERS, *_TRIGGERS, *_VIEWS)
    return tuple(_OTHER_WORDS.get(each) or in_words_of_a_server(each) for each in migrations.STEPS[name])


def in_words_of_a_server(statement: str) -> str:
    """Return a statement that shapes tables as PostgreSQL wants it.

    >>> in_words_of_a_server("CREATE TABLE orders (id INTEGER PRIMARY KEY) STRICT, WITHOUT ROWID")
    'CREATE TABLE orders (id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY)'
    >>> in_words_of_a_server("ALTER TABLE picks ADD COLUMN results TEXT NOT NULL")
    'ALTER TABLE picks ADD COLUMN results TEXT COLLATE "C" NOT NULL'
    """
    statement = statement.replace(" STRICT, WITHOUT ROWID", "").replace(" STRICT", "")
    if statement.startswith("ALTER TABLE"):
        return statement.replace(" TEXT", ' TEXT COLLATE "C"')  # compared byte by byte
    return statement.replace(
        "id INTEGER PRIMARY KEY", "id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"
    )


def _tables_of_a_file() -> list[str]:
    """Return what makes the tables and indexes that an SQLite file has after the first eleven steps."""
    with closing(sqlite3.connect(":memory:")) as conn:
        for name, statements in migrations.STEPS.items():
            for each in statements:
                conn.execute(each)
            if name == FIRST:
                break
        found = conn.execute("SELECT sql FROM sqlite_master WHERE type IN ('table', 'index') ORDER BY rowid")
        # No job was ever `ready` in a database at a server.
        return [sql.replace("'uploading', 'ready', ", "'uploading', ") for (sql,) in found if sql]
