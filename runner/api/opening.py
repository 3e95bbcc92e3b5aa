"""Bring together what every command needs: contracts, the manifest, the workspace, the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from runner.api import unchanged
from runner.api.models import contracts_for
from runner.contract import Contract, suggest
from runner.errors import UsageError
from runner.host.workspace import Workspace, find_workspace, no_database, workspace_root
from runner.manifest import Manifest, open_manifest
from runner.manifest.reference_files import DiskReferences
from runner.model import Estimate, ModelId, Settings, Severity
from runner.money.pricing import estimate, shape_of
from runner.results.files import OutputFolder
from runner.store import hashes, ledger, manifests, staging
from runner.store.database import StateFile

SANDBOX_KEY = "rvya_sk_sandbox"


class InvalidManifest(UsageError):
    """A manifest has mistakes; nothing was sent.

    Args:
        path: As it was typed.
        manifest: It, read as far as it can be.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.problems = manifest.problems
        self.errors, self.warnings = manifest.errors, manifest.warnings
        plural = "s" if self.errors != 1 else ""
        super().__init__(f"{path} has {self.errors} problem{plural}; nothing was sent")


def no_file(path: Path) -> UsageError:
    """Return the error for a manifest that is not there, with the file that was probably meant."""
    try:
        beside = [entry.name for entry in path.parent.iterdir() if entry.suffix in (".yaml", ".yml")]
    except OSError:
        beside = []
    like = suggest(path.name, beside)
    hint = (
        f"did you mean {path.with_name(like)}?"
        if like
        else "`rivya-batch init` writes a manifest to start from"
    )
    return UsageError(f"there is no file {path}", hint=hint)


class Hashes:
    """Hashes of reference files, remembered in the state database."""

    def __init__(self, file: StateFile | None) -> None:
        self._file = file
        self.fresh: list[tuple[str, int, int, int, str]] = []

    def get(self, path: str, size: int, mtime_ns: int, inode: int) -> str | None:
        """Return the remembered SHA-256 of a file that looks just as it did."""
        if self._file is None:
            return None
        return hashes.find(self._file.conn, path, size=size, mtime_ns=mtime_ns, inode=inode)

    def put(self, path: str, size: int, mtime_ns: int, inode: int, sha256: str) -> None:
        """Remember a hash once the database is written to."""
        self.fresh.append((path, size, mtime_ns, inode, sha256))

    def save(self, file: StateFile) -> None:
        """Write what was learned."""
        if self.fresh:
            with file.transaction() as conn:
                hashes.save(conn, self.fresh)
            self.fresh = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A manifest read as far as its head; its jobs stream from `manifest.jobs()`."""

    path: Path
    manifest: Manifest
    workspace: Workspace
    contracts: Mapping[ModelId, Contract]
    hashes: Hashes
    sandbox: bool


def read_manifest(path: Path, *, state: str | None, sandbox: bool, file: StateFile | None = None) -> Opened:
    """Read the head of a manifest.

    Raises:
        InvalidManifest: The head cannot be read at all.
        UsageError: The file cannot be opened.
    """
    if not path.exists():
        raise no_file(path)
    workspace = find_workspace(path, state=state, sandbox=sandbox)
    contracts = contracts_for(workspace, sandbox=sandbox)
    cache = Hashes(file)
    manifest = open_manifest(
        path, contracts=contracts, references=DiskReferences(cache=cache), workspace=workspace_root(path)
    )
    if manifest.settings is None:
        raise InvalidManifest(path, manifest)
    if sandbox:
        settings = manifest.settings
        manifest.settings = replace(settings, output_dir=settings.output_dir / "sandbox")
    return Opened(
        path=path,
        manifest=manifest,
        workspace=workspace,
        contracts=contracts,
        hashes=cache,
        sandbox=sandbox,
    )


def manifest_name(path: Path) -> str:
    """Return `name:` of a manifest, whatever is wrong with the rest of it."""
    opened = read_manifest(path, state=None, sandbox=False)
    assert opened.manifest.settings is not None
    return opened.manifest.settings.name


def find_results(path: Path, *, state: str | None, sandbox: bool) -> tuple[Settings, Workspace]:
    """Return the head of a manifest that was run, and the workspace with its database.

    Raises:
        InvalidManifest: The head cannot be read at all.
        UsageError: Nothing was ever run here.
    """
    opened = read_manifest(path, state=state, sandbox=sandbox)
    assert opened.manifest.settings is not None
    if not opened.workspace.has_database:
        raise no_database(opened.workspace, sandbox=sandbox)
    return opened.manifest.settings, opened.workspace


def results_folder(file: StateFile, settings: Settings) -> OutputFolder:
    """Return where the results of a manifest go.

    Raises:
        DiskTrouble: The drive they were on is not mounted: an empty folder in its place must not be filled anew.
    """
    folder = OutputFolder(settings.output_dir, owner=settings.name)
    bound = manifests.binding(file.conn, settings.name)
    if bound is not None and bound.output_dir == settings.output_dir:
        folder.refuse_without_drive(bound.output_mount)
    return folder


def check_all(opened: Opened) -> int:
    """Expand and check every job, keeping none; return how many are good."""
    return sum(1 for _ in opened.manifest.jobs())


def refuse_errors(opened: Opened) -> None:
    """Raise `InvalidManifest` when any problem found so far is an error."""
    if any(problem.severity is Severity.ERROR for problem in opened.manifest.problems):
        raise InvalidManifest(opened.path, opened.manifest)


def stage_all(opened: Opened, file: StateFile, *, base_url: str) -> None:
    """Expand all jobs into the staging table and compare them with what is known.

    A manifest that lists just what it listed when it was last applied is not expanded again.

    Raises:
        InvalidManifest: Any job has a problem; the database is as it was.
    """
    settings = opened.manifest.settings
    assert settings is not None
    basis = unchanged.basis_of(opened.manifest, opened.workspace, sandbox=opened.sandbox)
    if unchanged.is_listed(file, opened.manifest, basis):
        staging.restage(file.conn, settings.name, _prices(opened, file, base_url))
        unchanged.expect_the_same(file, settings.name)
        return
    staging.stage(file.conn, settings.name, _priced(opened, file, base_url))
    refuse_errors(opened)
    unchanged.expect(file, opened.manifest, basis)


def _prices(opened: Opened, file: StateFile, base_url: str) -> dict[str, Estimate]:
    settings = opened.manifest.settings
    assert settings is not None
    return {
        job.shape: estimate(
            job,
            contract=opened.contracts[job.model],
            rules=settings.prices,
            seen=ledger.price_seen(file.conn, base_url, job.shape),
        )
        for job in staging.to_price(file.conn, settings.name)
    }


def _priced(opened: Opened, file: StateFile, base_url: str) -> Iterator[staging.StagedJob]:
    settings = opened.manifest.settings
    assert settings is not None
    prices: dict[str, Estimate] = {}
    shapes: dict[tuple[int, str, int, int], str] = {}
    kept: list[object] = []  # what a shape was computed from stays alive, so that its id stays its own
    for spec in opened.manifest.jobs():
        contract = opened.contracts[spec.model]
        quick = (
            id(spec.params),
            spec.model,
            len(spec.references),
            len(spec.prompt or "") if contract.metered else 0,
        )
        shape = shapes.get(quick) if not spec.references else None
        if shape is None:
            shape = shape_of(spec, contract)
            if len(shapes) < 10_000:
                shapes[quick] = shape
                kept.append(spec.params)
        price = prices.get(shape)
        if price is None:
            # All that a price depends on is in the shape.
            seen = ledger.price_seen(file.conn, base_url, shape)
            price = prices[shape] = estimate(spec, contract=contract, rules=settings.prices, seen=seen)
        yield staging.StagedJob(spec=spec, shape=shape, estimate=price)


@contextmanager
def state_to_read(workspace: Workspace) -> Iterator[StateFile]:
    """Open the database without writing a byte; an empty one in memory where none exists yet."""
    if workspace.has_database:
        file = StateFile.open_readonly(workspace.database)
    else:
        file = StateFile.in_memory()
    try:
        yield file
    finally:
        file.close()
