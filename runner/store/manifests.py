"""What the name of each manifest is bound to: its file, its service, its key, the folder of its results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runner.model import ResultPath, path_of
from runner.store.connection import Connection, SelectedRow
from runner.store.tables import query

_COLUMNS = "name, path, base_url, key12, output_dir, output_mount"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a manifest's name is bound to.

    `key12` names the key: the first 12 hex digits of its hash. `output_mount` is where the drive of the results begins;
    None where an older version has bound it.
    """

    name: str
    path: Path
    base_url: str
    key12: str
    output_dir: ResultPath
    output_mount: str | None


def binding(conn: Connection, name: str) -> Binding | None:
    """Return what a manifest name is bound to; None if it is unknown."""
    found = conn.execute(f"SELECT {_COLUMNS} FROM manifests WHERE name = ?", (name,)).fetchone()
    return _binding(found) if found else None


def bind(
    conn: Connection,
    *,
    name: str,
    path: str,
    base_url: str,
    key12: str,
    output_dir: str,
    output_mount: str | None = None,
    now: str,
) -> None:
    """Bind a manifest name to its file, service, key and drive of its results, or renew that."""
    conn.execute(
        "INSERT INTO manifests (name, path, base_url, key12, output_dir, output_mount, created_at, updated_at)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) ON CONFLICT (name) DO UPDATE SET path = excluded.path,"
        " base_url = excluded.base_url, key12 = excluded.key12, output_dir = excluded.output_dir,"
        " output_mount = excluded.output_mount, updated_at = excluded.updated_at",
        (name, path, base_url, key12, output_dir, output_mount, now),
    )


def bindings(conn: Connection) -> list[Binding]:
    """Return what all manifest names are bound to, by name."""
    return [_binding(row) for row in conn.execute(f"SELECT {_COLUMNS} FROM manifests ORDER BY name")]


def names(conn: Connection) -> list[str]:
    """Return all manifest names, in their order."""
    return [row["name"] for row in query(conn, "SELECT name FROM manifests ORDER BY name")]


def _binding(row: SelectedRow) -> Binding:
    return Binding(
        name=row["name"],
        path=Path(row["path"]),
        base_url=row["base_url"],
        key12=row["key12"],
        output_dir=path_of(row["output_dir"]),
        output_mount=row["output_mount"],
    )
