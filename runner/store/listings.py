"""What the listed jobs of a manifest were read from, so that what is as it was is not read again."""

from __future__ import annotations

from typing import NamedTuple

from runner.store.connection import Connection


class ListingSource(NamedTuple):
    """What a manifest's jobs were read from, in the words of `api.manifests.listing`."""

    basis: str  # a hash of all but the inputs
    inputs: str  # JSON


def find(conn: Connection, manifest: str) -> ListingSource | None:
    """Return what the listed jobs of a manifest were read from.

    None where that is not known, or where rows were put in or taken out by hand since.
    """
    row = conn.execute("SELECT basis, inputs, jobs FROM listings WHERE manifest = ?", (manifest,)).fetchone()
    return (
        ListingSource(row["basis"], row["inputs"]) if row and row["jobs"] == _listed(conn, manifest) else None
    )


def save(conn: Connection, manifest: str, source: ListingSource) -> None:
    """Remember what the jobs listed now were read from."""
    conn.execute(
        "INSERT INTO listings (manifest, basis, inputs, jobs) VALUES (?, ?, ?, ?) ON CONFLICT (manifest) DO UPDATE SET"
        " basis = excluded.basis, inputs = excluded.inputs, jobs = excluded.jobs",
        (manifest, *source, _listed(conn, manifest)),
    )


def forget(conn: Connection, manifest: str) -> None:
    """Forget what the jobs of a manifest were read from."""
    conn.execute("DELETE FROM listings WHERE manifest = ?", (manifest,))


def _listed(conn: Connection, manifest: str) -> int:
    found = conn.execute(
        "SELECT count(*) FROM jobs WHERE manifest = ? AND listed = 1", (manifest,)
    ).fetchone()
    return int(found[0])
