"""The SQL of the store, which is written for SQLite, as PostgreSQL understands it. Pure: text in, text out.

>>> in_postgres("SELECT id FROM jobs INDEXED BY jobs_to_send WHERE job = ? AND key IS NOT ? AND state <> '?'")
"SELECT id FROM jobs WHERE job = %s AND key IS DISTINCT FROM %s AND state <> '?'"
>>> in_postgres("SELECT ?2 WHERE kind = ?1 AND state IS NULL")
'SELECT %(p2)s WHERE kind = %(p1)s AND state IS NULL'
>>> in_postgres("CREATE TEMP TABLE priced (shape TEXT PRIMARY KEY, estimate REAL) WITHOUT ROWID")
'CREATE TEMP TABLE priced (shape TEXT COLLATE "C" PRIMARY KEY, estimate DOUBLE PRECISION)'
"""

from __future__ import annotations

import re
from functools import lru_cache

_LITERALS = re.compile(r"('(?:[^']|'')*')")
_PARAMETER = re.compile(r"\?(\d*)")
_CHANGES = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        # What says nothing but how SQLite should go about it.
        (r" INDEXED BY \w+", ""),
        (r"\bCROSS JOIN\b", "JOIN"),
        (r"\bBEGIN IMMEDIATE\b", "BEGIN"),
        (r"\bIS NOT (?!NULL\b|DISTINCT\b)", "IS DISTINCT FROM "),
        (r"\bIS (?!NOT\b|NULL\b|DISTINCT\b)", "IS NOT DISTINCT FROM "),
        (
            r"SELECT value FROM json_each\((\?\d*)\)",
            r"SELECT value::bigint FROM json_array_elements_text(\1::json) AS each (value)",
        ),
    )
)
_TYPES = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"(?<=\w) TEXT\b", ' TEXT COLLATE "C"'),  # compared byte by byte
        (r"(?<=\w) INTEGER\b", " BIGINT"),
        (r"(?<=\w) REAL\b", " DOUBLE PRECISION"),
        (r"(?<=\w) BLOB\b", " BYTEA"),
        (r" (?:STRICT|WITHOUT ROWID)\b", ""),
    )
)


@lru_cache(maxsize=2_000)
def in_postgres(sql: str) -> str:
    """Return a statement as psycopg takes it."""
    changes = _CHANGES
    if sql.lstrip().startswith(("CREATE TABLE", "CREATE TEMP TABLE")):
        changes += _TYPES
    return "".join(
        part.replace("%", "%%") if number % 2 else _changed(part, changes)
        for number, part in enumerate(_LITERALS.split(sql))
    )


def _changed(part: str, changes: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    for pattern, new in changes:
        part = pattern.sub(new, part)
    return _PARAMETER.sub(_parameter, part.replace("%", "%%"))


def _parameter(found: re.Match[str]) -> str:
    return f"%(p{found[1]})s" if found[1] else "%s"
