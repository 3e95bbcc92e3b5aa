"""The address of a state database that a PostgreSQL server keeps. Whatever is shown of it holds no password."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from runner.errors import UsageError

_SCHEMES = ("postgresql", "postgres")


def is_server_address(state: str) -> bool:
    """Say whether what was given as the state database is an address, and no file.

    >>> [is_server_address(text) for text in ("postgresql://db/nights", "postgres:nights", "state/runner.db", "postgres.db")]
    [True, True, False, False]
    """
    scheme, colon, rest = state.partition(":")
    return bool(colon) and (scheme.lower() in _SCHEMES or rest.startswith("//"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """Where a state database is at a server; `str` of it is fit to be shown.

    >>> address = ServerAddress.parse("postgresql://batch:geheim@db.example/nights?sslmode=require")
    >>> str(address), address.hide("no such user batch:geheim")
    ('postgresql://batch@db.example/nights?sslmode=require', 'no such user batch:***')
    """

    shown: str
    url: str = field(repr=False)
    passwords: tuple[str, ...] = field(repr=False, default=())

    @classmethod
    def parse(cls, text: str) -> ServerAddress:
        """Read `postgresql://[user[:password]@]host[:port]/database[?…]`.

        Raises:
            UsageError: It cannot be one; the message holds no part of it that may be a password.
        """
        try:
            parts = urlsplit(text)
            if parts.scheme not in _SCHEMES or "://" not in text:
                raise ValueError
            secret = parts.password
            parts.port  # noqa: B018 (it is looked at)
        except ValueError as exc:
            raise UsageError(
                "the address of the state database cannot be read",
                hint="write postgresql://USER@HOST/DATABASE, or name a file",
            ) from exc
        query = parse_qsl(parts.query, keep_blank_values=True)
        secrets = [value for name, value in query if "password" in name.lower()]
        if secret:
            secrets += [secret, unquote(secret)]
        user, at, host = parts.netloc.rpartition("@")
        kept = [(name, value) for name, value in query if "password" not in name.lower()]
        shown = urlunsplit(
            (parts.scheme, user.partition(":")[0] + at + host, parts.path, urlencode(kept), "")
        )
        if len(parts.path) < 2 and "dbname" not in dict(query):
            raise UsageError(f"{shown} names no database", hint="write postgresql://USER@HOST/DATABASE")
        return cls(shown=shown, url=text, passwords=tuple(dict.fromkeys(filter(None, secrets))))

    def __str__(self) -> str:
        return self.shown

    def hide(self, text: str) -> str:
        """Return a text of somebody else's without the password."""
        for each in self.passwords:
            text = text.replace(each, "***")
        return text


def need_driver() -> None:
    """See that psycopg is there.

    Raises:
        UsageError: It is not installed, or not whole.
    """
    try:
        importlib.import_module("psycopg")
    except ImportError as exc:
        why = "is not installed" if isinstance(exc, ModuleNotFoundError) else "finds no libpq"
        raise UsageError(
            f"a state database on a PostgreSQL server needs psycopg, which {why}",
            hint="pip install 'rivya-batch[shared]'",
        ) from exc
