"""Whether a manifest lists just what it listed when it was last applied, told without expanding it.

Jobs are made of nothing but the manifest's text, the files of rows and the names its patterns find,
the contracts, the reference files, and this program. Their hashes are kept with the rows when they
are applied. As long as none differs, the rows in the database are the expansion; 100,000 rows then
take a tenth of a second instead of ten. Contents are compared, never times, but for reference
files: those go by what `references` remembers of them, as they do in an expansion.

What prices depend on (the manifest's `prices:`, what was observed) is read anew in any case.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import runner
from runner.api.models import contracts_sha256
from runner.host.workspace import Workspace
from runner.manifest import Input, Manifest
from runner.store import listings, staging
from runner.store.database import StateFile

# Our own code that has a part in what a manifest lists, and in what its rows look like.
PROGRAM = (
    "api/unchanged.py", "api/models.py", "api/opening.py", "contract/*.py", "errors.py", "fingerprint.py",
    "host/clock.py", "host/drives.py", "host/mounts.py", "manifest/*.py", "model.py", "money/pricing.py",
    "results/containers.py", "results/files.py", "results/media.py", "results/parts.py", "schemas.py",
    "store/copies.py", "store/jobs.py", "store/marks.py", "store/place.py", "store/staging.py", "store/troubles.py",
)  # fmt: skip


def basis_of(manifest: Manifest, workspace: Workspace, *, sandbox: bool) -> str | None:
    """Return a hash of all that tells a manifest's jobs but its inputs; None where that cannot be told."""
    try:
        program, contracts = _program(), contracts_sha256(workspace, sandbox=sandbox)
    except (OSError, PackageNotFoundError):
        return None
    parts = (program, contracts, str(manifest.folder), manifest.sha256)
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


@cache
def _program() -> str:
    """Return a hash of the code that expands manifests, and of what it stands on.

    Not our version alone: in a checkout the code changes and the version does not.
    """
    found = hashlib.sha256(f"{runner.__version__}\n{sys.version}\n{version('pyyaml')}\n".encode())
    root = Path(__file__).resolve().parents[1]
    for pattern in PROGRAM:
        for path in sorted(root.glob(pattern)):
            found.update(f"{path.relative_to(root).as_posix()}\n".encode())
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def is_listed(file: StateFile, manifest: Manifest, basis: str | None) -> bool:
    """Return whether the rows listed in the database are what an expansion would give now."""
    assert manifest.settings is not None
    known = listings.find(file.conn, manifest.settings.name)
    if known is None or basis is None or known[0] != basis:
        return False
    read_from = json.loads(known[1])
    if not manifest.reads_the_same(Input(**item) for item in read_from["rows"]):
        return False
    return not read_from["references"] or all(
        manifest.has_the_same(reference)
        for reference in staging.references_listed(file.conn, manifest.settings.name)
    )


def expect_the_same(file: StateFile, name: str) -> None:
    """Have what the listed jobs were read from remembered on: they are staged as they are."""
    known = listings.find(file.conn, name)
    if known is not None:
        staging.expect(file.conn, *known)


def expect(file: StateFile, manifest: Manifest, basis: str | None) -> None:
    """Have what the staged jobs were read from remembered once they are applied."""
    inputs = manifest.read_from()
    if basis is not None and inputs is not None:
        rows = [asdict(known) for known in dict.fromkeys(inputs)]
        read_from = {"rows": rows, "references": manifest.uses_references}
        staging.expect(file.conn, basis, json.dumps(read_from, ensure_ascii=False))
