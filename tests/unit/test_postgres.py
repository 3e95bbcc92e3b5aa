"""A state database at a PostgreSQL server: what it is told, whose it is, who may write, and what is said of trouble."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from runner.errors import RunLocked, RunnerError, StateError, TemporaryTrouble, UsageError
from runner.host.workspace import find_workspace, refuse_password
from runner.model import Budget, State
from runner.store import rates
from runner.store.connection import Connection
from runner.store.database import StateDatabase, empty_database, open_database, open_to_read
from runner.store.error_words import Contradiction
from runner.store.postgres_sql import in_postgres
from runner.store.postgres_tables import NAMES, statements_of
from runner.store.server_address import ServerAddress
from runner.store.writer import GroupWriter
from tests.databases import empty_state, of_kind, server
from tests.state_file import put
from tests.world import World, accepted, job


@pytest.fixture
def address() -> Iterator[ServerAddress]:
    """The address of a database with our tables in it, and no rows."""
    with of_kind("postgresql"):
        empty_state()
        yield ServerAddress.parse(server())


@pytest.fixture
def say(address: ServerAddress) -> Callable[..., list[Any]]:
    """Say something to the server past all of ours."""
    import psycopg

    def said(sql: str, at: str = address.url) -> list[Any]:
        with contextlib.closing(psycopg.connect(at, autocommit=True)) as conn:
            cursor = conn.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    return said


def beside(address: ServerAddress, name: str) -> ServerAddress:
    head, mark, query = address.url.partition("?")
    return ServerAddress.parse(f"{head.rpartition('/')[0]}/{name}{mark}{query}")


# --- what is given ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "there"),
    [
        ("SELECT a FROM t WHERE b = ? AND c LIKE '?%'", "SELECT a FROM t WHERE b = %s AND c LIKE '?%%'"),
        ("UPDATE t SET a = ?1 WHERE a IS NOT ?1 AND b IS ?2", None),
        ("SELECT 1 WHERE a IS NULL AND b IS NOT NULL", "SELECT 1 WHERE a IS NULL AND b IS NOT NULL"),
        ("SELECT 'IS NOT ?' FROM a CROSS JOIN b INDEXED BY i ON a.x = b.x", None),
        ("CREATE TABLE t (a INTEGER, b TEXT, c REAL, d BLOB) STRICT, WITHOUT ROWID", None),
    ],
)
def test_a_statement_means_there_what_it_means_here(sql: str, there: str | None) -> None:
    known = {
        "UPDATE": "UPDATE t SET a = %(p1)s WHERE a IS DISTINCT FROM %(p1)s AND b IS NOT DISTINCT FROM %(p2)s",
        "SELECT": "SELECT 'IS NOT ?' FROM a JOIN b ON a.x = b.x",
        "CREATE": 'CREATE TABLE t (a BIGINT, b TEXT COLLATE "C", c DOUBLE PRECISION, d BYTEA),',
    }

    assert in_postgres(sql) == (there or known[sql.split()[0]])


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            'connection is bad: connection to server on socket "/s" failed: Connection refused\n\tIs the server running',
            "no server answers there (connection refused)",
        ),
        (
            'connection failed: connection to server at "db", port 1 failed: FATAL:  the database system is starting up\n',
            "the database system is starting up",
        ),
        ("the connection is closed", "the server has closed the connection, or does not run any more"),
        (
            "consuming input failed: server closed the connection unexpectedly\n\tThis probably means",
            "the server has closed the connection, or does not run any more",
        ),
        ("connection is bad: timeout expired", "timeout expired"),
    ],
)
def test_what_the_way_to_a_server_says_is_told_as_a_person_would(said: str, words: str) -> None:
    psycopg = pytest.importorskip("psycopg")
    from runner.store.postgres_errors import as_ours

    place = ServerAddress.parse("postgresql://u@db/nights")
    found = as_ours(psycopg.OperationalError(said), place, "opening", opening=True)

    assert found.message == f"opening {place}: {words}"


@pytest.mark.parametrize(
    "text",
    ["postgresql:nights", "postgresql://db", "postgresql://db/", "mysql://db/x", "postgresql://db:x/y"],
)
def test_what_is_no_address_of_a_database_is_refused_and_makes_no_file(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        find_workspace(tmp_path / "a.yaml", state=text, sandbox=False)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:gehe%20im@h/d",
        "postgresql://u@h/d?password=gehe%20im",
        "postgres://u@h/d?sslpassword=gehe im",
    ],
)
def test_a_password_is_shown_nowhere(url: str) -> None:
    address = ServerAddress.parse(url)

    assert "gehe" not in f"{address} {address!r} {address.hide('it said gehe im')}"
    with pytest.raises(UsageError) as told:
        refuse_password(url)
    assert "gehe" not in f"{told.value} {told.value.hint}"


# What each step has said to a server since it shipped: nothing of that may change, nor may it depend on SQLite's version.
SAID = {
    "0011_limits": "7c8d5e4338113b67",
    "0012_orders": "0a2c8eadb634dcbb",
    "0013_picks": "ae539269b3577f20",
    "0014_workers": "760dcbcc756cd19f",
    "0015_switches": "31df09e0a4bf5980",
    "0016_picked_results": "acdb2f36f5e1929e",
    "0017_pacers": "8c226e44af4e582c",
    "0018_needs": "9c6d6e7c3eae20b9",
    "0019_handovers": "59f946922b7b2881",
}


def test_what_a_step_says_to_a_server_stays_as_it_shipped() -> None:
    said = {
        name: hashlib.sha256(
            "\n".join(" ".join(in_postgres(each).split()) for each in statements_of(name)).encode()
        ).hexdigest()[:16]
        for name in NAMES
    }

    assert said == SAID


def test_both_kinds_have_the_same_views_where_they_can() -> None:
    def views(statements: Iterable[str]) -> set[str]:
        return {
            " ".join(each.split())
            for each in statements
            if re.match(r"\s*CREATE VIEW v_(jobs|failures)", each)
        }

    here = empty_database()
    shown = [row[0] for row in here.conn.execute("SELECT sql FROM sqlite_master WHERE type = 'view'")]
    here.close()

    assert views(each for name in NAMES for each in statements_of(name)) == views(shown)
    assert len(views(shown)) == 2


KINDS = {
    "text": "TEXT",
    "bigint": "INTEGER",
    "integer": "INTEGER",
    "double precision": "REAL",
    "bytea": "BLOB",
}
VALUES = re.compile(r"'([^']*)'|\b(\d+)\b")


def tables_here(conn: Connection) -> dict[str, Any]:
    """Return all that there is to say of the tables of a file."""
    shown = {
        row[0]: row[1] for row in conn.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
    }
    return {
        name: {
            "columns": {
                column: (kind, bool(needed or key), default, key)
                for _, column, kind, needed, default, key in conn.execute(f"PRAGMA table_info({name})")
            },
            "keys": sorted(
                (row[3], row[2], row[4], row[6])
                for row in conn.execute(f"PRAGMA foreign_key_list({name})").fetchall()
            ),
            "indexes": sorted(
                (index if how == "c" else "", bool(unique), bool(part), columns_of(conn, index))
                for _, index, unique, how, part in conn.execute(f"PRAGMA index_list({name})").fetchall()
                if how != "pk"
            ),
            "checks": sorted(
                (values[0], values_in(values[1].replace("'ready', ", "")))
                for values in re.findall(r"CHECK \((\w+) ((?:IN|BETWEEN)[^)]*)\)", shown[name])
            ),
        }
        for name in shown
        if not re.match("_?sqlite_", name)
    }


def columns_of(conn: Connection, index: str) -> tuple[str, ...]:
    return tuple(row[2] for row in conn.execute(f"PRAGMA index_info({index})"))


def values_in(text: str) -> tuple[str, ...]:
    return tuple(sorted({word or number for word, number in VALUES.findall(text)}))


def tables_there(say: Callable[..., list[Any]]) -> dict[str, Any]:
    """Return the same of the tables at a server."""
    found: dict[str, Any] = {}
    for name, column, kind, nullable, default, identity in say(
        "SELECT c.table_name, c.column_name, c.data_type, c.is_nullable, c.column_default, c.is_identity"
        " FROM information_schema.columns c JOIN pg_tables t ON t.tablename = c.table_name"
        " AND t.schemaname = c.table_schema WHERE c.table_schema = current_schema()"
    ):
        told = found.setdefault(name, {"columns": {}, "keys": [], "indexes": [], "checks": []})
        default = re.sub(r"::\w+$", "", default) if default and identity == "NO" else None
        told["columns"][column] = (KINDS[kind], nullable == "NO", default, 0)
    for name, kind, columns, other, others, deleted, text in say(
        "SELECT k.conrelid::regclass::text, k.contype::text, ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH"
        " ORDINALITY u (n, o) JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY o),"
        " k.confrelid::regclass::text, ARRAY(SELECT a.attname::text FROM unnest(k.confkey) u (n) JOIN pg_attribute a ON"
        " a.attrelid = k.confrelid AND a.attnum = u.n), k.confdeltype::text, pg_get_constraintdef(k.oid)"
        " FROM pg_constraint k WHERE k.connamespace = current_schema()::regnamespace AND k.contype IN ('p', 'f', 'c')"
    ):
        told = found[name]
        if kind == "p":
            for number, column in enumerate(columns, 1):
                told["columns"][column] = (*told["columns"][column][:3], number)
        elif kind == "f":
            told["keys"].append((columns[0], other, others[0], {"c": "CASCADE", "a": "NO ACTION"}[deleted]))
        else:
            told["checks"].append((columns[0], values_in(text)))
    for name, index, unique, partial, columns, made in say(
        "SELECT i.indrelid::regclass::text, c.relname::text, i.indisunique, i.indpred IS NOT NULL,"
        " ARRAY(SELECT pg_get_indexdef(i.indexrelid, n, true) FROM generate_series(1, i.indnkeyatts) n),"
        " EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype = 'u')"
        " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE c.relnamespace = current_schema()::regnamespace AND NOT i.indisprimary"
    ):
        found[name]["indexes"].append(
            ("" if made else index, unique, partial, tuple(each.strip('"') for each in columns))
        )
    return {
        name: {what: sorted(of) if isinstance(of, list) else of for what, of in told.items()}
        for name, told in found.items()
    }


@pytest.mark.extra
def test_both_kinds_have_the_same_tables(address: ServerAddress, say: Callable[..., list[Any]]) -> None:
    """Column by column: kind, null, default, primary key; foreign keys, indexes, checks."""
    there = tables_there(say)
    here = empty_database()

    assert set(there.pop("rivya_batch_steps")["columns"]) == {"applied_at", "name"}
    assert set(there.pop("holders")["columns"]) == {"command", "host", "manifest", "pid", "since"}
    assert there == tables_here(here.conn)
    here.close()


@pytest.mark.extra
def test_both_kinds_have_the_same_views(address: ServerAddress, say: Callable[..., list[Any]]) -> None:
    here = empty_database()
    names = [row[0] for row in here.conn.execute("SELECT name FROM sqlite_master WHERE type = 'view'")]
    columns = {name: [row[1] for row in here.conn.execute(f"PRAGMA table_info({name})")] for name in names}
    there: dict[str, list[str]] = {}
    for view, column in say(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
        " AND table_name IN (SELECT viewname FROM pg_views) ORDER BY table_name, ordinal_position"
    ):
        there.setdefault(view, []).append(column)
    here.close()

    assert there == columns


# --- who may write ------------------------------------------------------------------------------------------------


@pytest.mark.extra
def test_who_writes_is_alone_and_sees_what_the_last_one_has_committed(address: ServerAddress) -> None:
    """What was read inside is true when it is committed: two who add one lose none."""
    one, other = open_database(address), open_database(address)
    with one.transaction() as conn:
        rates.save(conn, "a", 0.0, "")

    def rate(file: StateDatabase) -> float:
        found = rates.find(file.conn, "a")
        assert found is not None
        return found.per_s or 0.0

    def add(file: StateDatabase) -> None:
        for _ in range(40):
            with file.transaction() as conn:
                rates.save(conn, "a", rate(file) + 1, "")

    threads = [threading.Thread(target=add, args=(file,)) for file in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert rate(one) == 80
    one.close()
    other.close()


@pytest.mark.extra
def test_an_error_inside_a_transaction_leaves_nothing(address: ServerAddress) -> None:
    with contextlib.closing(open_database(address)) as file:
        with pytest.raises(ZeroDivisionError), file.transaction() as conn:
            put(conn, "a")
            raise ZeroDivisionError
        with pytest.raises(Contradiction), file.transaction() as conn:
            put(conn, "b")
            put(conn, "b")
        with file.transaction() as conn:
            put(conn, "c")

        assert [row[0] for row in file.conn.execute("SELECT account FROM rates")] == ["c"]


@pytest.mark.extra
def test_a_manifest_is_held_by_one_until_its_connection_ends(
    address: ServerAddress, say: Callable[..., list[Any]]
) -> None:
    first, second = open_database(address), open_database(address)
    assert second.holder_of("night") is None
    first.lock("night").acquire(0.0, command="run it")

    with pytest.raises(RunLocked, match=r"`run it`, process \d+ on .*, since 1970"):
        second.lock("night").acquire(0.0, command="me too")
    second.lock("day").acquire(0.0, command="another one")
    holder = second.holder_of("night")
    assert holder is not None
    assert (holder.host, holder.command) == (socket.gethostname(), "run it")

    first.close()
    second.lock("night").acquire(0.0, command="now")
    second.lock("night").release()
    assert second.holder_of("night") is None
    second.close()


@pytest.mark.extra
def test_a_server_that_goes_away_is_temporary_trouble_and_the_next_run_goes_on(
    address: ServerAddress, say: Callable[..., list[Any]]
) -> None:
    file = open_database(address)
    with file.transaction() as conn:
        put(conn, "before")
    (number,) = file.conn.execute("SELECT pg_backend_pid()").fetchone()
    say(f"SELECT pg_terminate_backend({number})")

    with pytest.raises(TemporaryTrouble), file.transaction() as conn:
        put(conn, "lost")
    with pytest.raises(TemporaryTrouble):
        file.conn.execute("SELECT 1")
    file.close()
    with contextlib.closing(open_database(address)) as file:
        assert [row[0] for row in file.conn.execute("SELECT account FROM rates")] == ["before"]


@pytest.mark.extra
def test_a_reader_sees_one_moment_and_is_told_of_the_next(address: ServerAddress) -> None:
    writer, reader = open_database(address), open_to_read(address)
    before = reader.data_version()
    assert reader.data_version() == before

    with writer.transaction() as conn:
        put(conn, "a")

    assert reader.data_version() != before
    writer.close()
    reader.close()


@pytest.mark.extra
def test_a_reader_is_told_of_a_commit_that_began_before_another_one_ended(
    address: ServerAddress, say: Callable[..., list[Any]]
) -> None:
    import psycopg

    with (
        contextlib.closing(open_to_read(address)) as reader,
        contextlib.closing(psycopg.connect(address.url)) as early,
    ):
        early.execute("INSERT INTO rates (account, found_at) VALUES ('early', '')")
        say("INSERT INTO rates (account, found_at) VALUES ('late', '')")
        before = reader.data_version()

        early.commit()

        assert reader.data_version() != before


@pytest.mark.extra
def test_what_is_committed_is_no_error_where_the_planner_cannot_look_again(address: ServerAddress) -> None:
    import psycopg

    with (
        contextlib.closing(open_database(address)) as file,
        contextlib.closing(psycopg.connect(address.url)) as other,
    ):
        other.execute("LOCK TABLE jobs IN SHARE UPDATE EXCLUSIVE MODE")
        file.conn.execute("SET lock_timeout = '1ms'")

        with file.transaction() as conn:
            rows = [(f"{number}", "") for number in range(1_000)]
            conn.executemany("INSERT INTO rates (account, found_at) VALUES (?, ?)", rows)

        assert file.conn.execute("SELECT count(*) FROM rates").fetchone()[0] == 1_000


@pytest.mark.extra
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("DiskFull", TemporaryTrouble),
        ("TooManyConnections", TemporaryTrouble),
        ("LockNotAvailable", TemporaryTrouble),
        ("AdminShutdown", TemporaryTrouble),
        ("IdleInTransactionSessionTimeout", TemporaryTrouble),
        ("ReadOnlySqlTransaction", StateError),
        ("InsufficientPrivilege", StateError),
        ("UniqueViolation", Contradiction),
        ("ForeignKeyViolation", Contradiction),
        ("SyntaxError", RunnerError),
    ],
)
def test_each_error_says_whether_a_later_run_can_work(name: str, kind: type[RunnerError]) -> None:
    errors = pytest.importorskip("psycopg.errors")
    from runner.store.postgres_errors import as_ours

    told = as_ours(
        getattr(errors, name)("it said geheim"), ServerAddress.parse("postgresql://u:geheim@h/d"), "doing"
    )

    assert type(told) is kind
    assert "geheim" not in f"{told} {told.hint}"


# --- what is in the way -------------------------------------------------------------------------------------------


@pytest.mark.extra
def test_what_cannot_be_used_is_refused_in_one_line(
    address: ServerAddress, say: Callable[..., list[Any]], tmp_path: Path
) -> None:
    name = address.url.partition("?")[0].rpartition("/")[2]
    made = [f"{name}_{each}" for each in ("latin", "foreign", "newer", "noright", "older")]
    latin, foreign, newer, noright, older = (beside(address, each) for each in made)
    say(f"CREATE DATABASE {made[0]} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    for each in made[1:]:
        say(f"CREATE DATABASE {each} ENCODING 'UTF8' TEMPLATE template0")
    say("CREATE TABLE users (id INT)", foreign.url)
    open_database(newer).close()
    say("INSERT INTO rivya_batch_steps VALUES ('9999_later', '')", newer.url)
    open_database(older).close()
    say("DELETE FROM rivya_batch_steps", older.url)
    user = f"{name}_weak"
    say(f"CREATE ROLE {user} LOGIN")
    say("REVOKE CREATE ON SCHEMA public FROM PUBLIC", noright.url)
    weak = ServerAddress.parse(re.sub(r"//\w+@", f"//{user}@", noright.url))
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = ServerAddress.parse(f"postgresql://u:geheim@127.0.0.1:{taken.getsockname()[1]}/x")
        cases: dict[ServerAddress, tuple[type[RunnerError], str]] = {
            latin: (StateError, "LATIN1"),
            foreign: (StateError, r"tables of another program \(users\)"),
            newer: (StateError, "newer rivya-batch .*9999_later"),
            weak: (StateError, "permission denied for schema"),
            beside(address, "nowhere"): (StateError, "does not exist"),
            nobody: (TemporaryTrouble, r"no server answers there \(connection refused\)$"),
        }
        for place, (kind, words) in cases.items():
            with pytest.raises(kind, match=words) as told:
                open_database(place)
            assert "\n" not in str(told.value)
            assert "geheim" not in f"{told.value} {told.value.hint}"
            assert str(place) in str(told.value)
    with pytest.raises(StateError, match="older version"):
        open_to_read(older)
    for each in made:
        say(f"DROP DATABASE {each}")
    say(f"DROP ROLE {user}")


@pytest.mark.extra
def test_a_server_that_is_too_old_is_refused(address: ServerAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.store import postgres

    monkeypatch.setattr(postgres, "OLDEST", 990_000)
    with pytest.raises(StateError, match=r"is PostgreSQL \d+, which is too old"):
        open_database(address)


# --- trips to the server ------------------------------------------------------------------------------------------


@pytest.mark.extra
@pytest.mark.anyio
@pytest.mark.parametrize("paid_before", [False, True])
async def test_an_intent_under_all_caps_is_six_trips(address: ServerAddress, paid_before: bool) -> None:
    budget = Budget(max_credits=5_000, max_credits_per_job=1_000, max_credits_per_day=9_000)
    with of_kind("postgresql"):
        world = World.of(job("a"), job("b"), budget=budget)
    if paid_before:
        world.price_was(job("a"), 10.0)
    server: Any = world.file
    trips: list[int] = []

    def count(request: httpx.Request) -> httpx.Response:
        trips.append(server.server.trips)
        return accepted("t1")

    world.says(count)
    begun = server.server.trips
    done = await world.submit("b")

    assert done.state is State.WAITING
    assert trips[0] - begun - 1 <= 6  # one finds the row for this test
    assert server.server.trips - trips[0] <= 9


@pytest.mark.extra
@pytest.mark.anyio
async def test_who_writes_together_is_undone_alone_by_what_the_server_says_late(
    address: ServerAddress,
) -> None:
    """A statement whose answer nobody looks at is sent with others, and what it does is still its own operation's."""
    with contextlib.closing(open_database(address)) as file:
        writer, errors = GroupWriter(file), list[Exception]()

        async def write(*names: str) -> None:
            try:
                await writer.write(lambda conn: [put(conn, name) for name in names])
            except Contradiction as exc:
                errors.append(exc)

        async with anyio.create_task_group() as group:
            group.start_soon(writer.serve)
            async with anyio.create_task_group() as all_:
                for names in (("a",), ("b", "a"), ("c", "d"), ("d",), ("e",)):
                    all_.start_soon(write, *names)
            group.cancel_scope.cancel()

        assert writer.transactions == 1
        assert len(errors) == 2
        assert [row[0] for row in file.conn.execute("SELECT account FROM rates ORDER BY account")] == list(
            "acde"
        )
