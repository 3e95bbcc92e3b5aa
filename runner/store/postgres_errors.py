"""What an error of PostgreSQL means to a person: whether a later run can work, and what to do."""

from __future__ import annotations

import re

import psycopg
from psycopg import errors

from runner.errors import RunnerError, StateError, TemporaryTrouble
from runner.store.error_words import BUSY_TIMEOUT_S, Contradiction
from runner.store.server_address import ServerAddress

_NO_RIGHT = (errors.InsufficientPrivilege, errors.InvalidAuthorizationSpecification, errors.InvalidPassword)
_NOT_THERE = (errors.InvalidCatalogName, errors.UndefinedTable, errors.InvalidSchemaName)
_NOBODY = re.compile(r"failed: (Connection refused|No such file or directory)")
_FATAL = re.compile(r"failed: FATAL: +(.*?)(?: DETAIL: .*)?$")
_PREFIX = re.compile(r"^connection (?:is bad|failed): ")
_FULL = (errors.DiskFull, errors.OutOfMemory, errors.InsufficientResources)


def as_ours(exc: psycopg.Error, address: ServerAddress, doing: str, *, opening: bool = False) -> RunnerError:
    """Return what an error of the server, or of the way to it, means to a person.

    Args:
        exc: The error.
        address: Whose it is; its password is in no message.
        doing: What was being done.
        opening: Whether nothing was done with it yet.
    """
    said = exc.diag.message_primary or str(exc).strip()
    what = f"{doing} {address}: {address.hide(_plain(said))}"
    match exc:
        case errors.IntegrityError() | errors.RaiseException():
            return Contradiction(what)
        case errors.ReadOnlySqlTransaction():
            return StateError(what, hint="this server takes no writes (a replica?); name the one that does")
        case _ if isinstance(exc, _NO_RIGHT):
            return StateError(
                what, hint="this user needs the right to CONNECT, to TEMP tables, and to CREATE in its schema"
            )
        case _ if isinstance(exc, _FULL) and not isinstance(exc, errors.TooManyConnections):
            return TemporaryTrouble(
                what, hint="free space at the server, then run again; nothing that was committed is lost"
            )
        case errors.LockNotAvailable() | errors.QueryCanceled():
            return TemporaryTrouble(
                f"{doing} {address}: another program keeps it locked for more than {BUSY_TIMEOUT_S:g} s",
                hint="see what holds it (pg_stat_activity), then run again",
            )
        case _ if isinstance(exc, _NOT_THERE):
            return StateError(
                what, hint="name a database that is there: --state postgresql://USER@HOST/DATABASE"
            )
        case psycopg.OperationalError() if opening and _is_wrong(said):
            return StateError(
                what, hint="see the address given by --state or RIVYA_STATE; a password belongs in ~/.pgpass"
            )
        case psycopg.OperationalError() | psycopg.InterfaceError() | errors.IdleInTransactionSessionTimeout():
            return TemporaryTrouble(
                what,
                hint="see that the server runs and can be reached, then run again; nothing that was paid for is lost",
            )
        case psycopg.ProgrammingError() if opening:
            return StateError(what, hint="write postgresql://USER@HOST/DATABASE")
        case _:
            return RunnerError(what)


def _plain(said: str) -> str:
    """Return what libpq says of the way to a server as a person would, without its advice."""
    text = " ".join(said.split())
    if text == "the connection is closed" or "server closed the connection" in text:
        return "the server has closed the connection, or does not run any more"
    if found := _NOBODY.search(text):
        return f"no server answers there ({found[1].lower()})"
    if found := _FATAL.search(text):
        return found[1]
    return _PREFIX.sub("", text)


def _is_wrong(said: str) -> bool:
    """Say whether the way to the server failed for what was given, as far as libpq's words tell."""
    return said.startswith("invalid") or any(
        words in said
        for words in (
            "authentication failed",
            "no password supplied",
            "does not exist",
            "no pg_hba.conf entry",
            "permission denied for database",
        )
    )
