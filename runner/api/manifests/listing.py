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
from typing import Any

import runner
from runner.api.manifests.contracts import contracts_sha256
from runner.api.manifests.opened import Opened
from runner.manifest import Input
from runner.store import listings, needs, staging
from runner.store.database import StateDatabase
from runner.store.listings import ListingSource

# Our own code that has a part in what a manifest lists, and in what its rows look like.
PROGRAM = (
    "api/manifests/*.py", "contract/*.py", "errors.py", "fingerprint.py", "host/*.py", "lifecycle/chains.py",
    "lifecycle/selection.py", "manifest/*.py", "model.py", "money/*.py", "results/*.py", "schemas.py",
    "service/rivya/model_list.py", "store/*.py", "words.py",
)  # fmt: skip
ROOT = Path(runner.__file__).resolve().parent


def basis_of(opened: Opened) -> str | None:
    """Return a hash of all that tells a manifest's jobs but its inputs; None where that cannot be told."""
    try:
        program, contracts = _program(), contracts_sha256(opened.workspace, sandbox=opened.sandbox)
    except (OSError, PackageNotFoundError):
        return None
    manifest = opened.manifest
    # The shared prices have no part in the jobs; but they are judged with them.
    parts = (program, contracts, str(manifest.folder), manifest.sha256, manifest.prices_sha256)
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


@cache
def _program() -> str:
    """Return a hash of the code that expands manifests, and of what it stands on.

    Not our version alone: in a checkout the code changes and the version does not.
    """
    found = hashlib.sha256(f"{runner.__version__}\n{sys.version}\n".encode())
    for name in ("pyyaml", "pillow", "pillow-heif"):
        found.update(f"{version(name)}\n".encode())
    for path in program_files():
        found.update(f"{path.relative_to(ROOT).as_posix()}\n".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def program_files() -> list[Path]:
    """Return the files of PROGRAM, always in the same order."""
    return [path for pattern in PROGRAM for path in sorted(ROOT.glob(pattern))]


def listed_from(opened: Opened, file: StateDatabase, basis: str | None) -> ListingSource | None:
    """Return what the rows listed in the database were read from; None unless an expansion would give just these."""
    manifest, name = opened.manifest, opened.settings.name
    source = listings.find(file.conn, name)
    if source is None or source.basis != basis:
        return None
    read = json.loads(source.inputs)
    if not manifest.reads_the_same(Input(**item) for item in read["rows"]):
        return None
    if read["references"] and not all(
        manifest.has_the_same(reference) for reference in staging.references_listed(file.conn, name)
    ):
        return None
    if "outcome" in read and read["outcome"] != needs.outcome(file.conn, name):
        return None
    return source


def read_from(opened: Opened, basis: str | None, outcome: str | None) -> ListingSource | None:
    """Return what the jobs of a manifest were read from, once all were; None where that does not tell them.

    `outcome` is `needs.outcome` before they were, where some take others' results.
    """
    inputs = opened.manifest.read_from()
    if basis is None or inputs is None:
        return None
    rows = [asdict(known) for known in dict.fromkeys(inputs)]
    read: dict[str, Any] = {"rows": rows, "references": opened.manifest.uses_references}
    if outcome is not None:
        read["outcome"] = outcome
    return ListingSource(basis=basis, inputs=json.dumps(read, ensure_ascii=False))
