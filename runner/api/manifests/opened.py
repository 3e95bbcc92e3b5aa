"""Reading a manifest: the workspace it is in, the contracts there, its head, and what is wrong with it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runner.api.manifests.contracts import contracts_for
from runner.api.manifests.known_elsewhere import KnownElsewhere
from runner.contract import Contract, suggest
from runner.errors import UsageError
from runner.host.workspace import Workspace, find_workspace, no_database, workspace_root
from runner.lifecycle.selection import Only, fits
from runner.manifest import OpenManifest, open_manifest
from runner.manifest.chains import NOTHING_KNOWN
from runner.manifest.copies import Copies
from runner.manifest.left_out import LeftOut
from runner.manifest.reference_files import DiskReferences, Fetch
from runner.manifest.references import ReferenceProblem
from runner.manifest.what_if import Change
from runner.model import ModelId, Settings
from runner.store import hashes
from runner.store.database import StateDatabase
from runner.store.needs import StoredOutcomes

Announce = Callable[[str], None]


class InvalidManifest(UsageError):
    """A manifest has mistakes; nothing was sent.

    Args:
        path: As it was typed.
        manifest: It, read as far as it can be.
    """

    def __init__(self, path: Path, manifest: OpenManifest) -> None:
        self.problems = manifest.problems
        self.errors, self.warnings = manifest.errors, manifest.warnings
        plural = "s" if self.errors != 1 else ""
        hint = ""
        if manifest.settings is not None and manifest.left_out and not manifest.left_out.stops:
            what = (
                "it, or leave out the row or job it is"
                if self.errors == 1
                else "them, or leave out the jobs they are"
            )
            hint = f"fix {what} in: `run` and `plan` take --skip-invalid"
        super().__init__(f"{path} has {self.errors} problem{plural}; nothing was sent", hint=hint)


def no_file(path: Path) -> UsageError:
    """Return the error for a manifest that is not there, with the file that was probably meant."""
    try:
        beside = [entry.name for entry in path.parent.iterdir() if entry.suffix in (".yaml", ".yml")]
    except OSError:
        beside = []
    # By their stems: that both end in .yaml makes no name like another.
    stems = {Path(name).stem: name for name in beside}
    near = suggest(path.stem, stems)
    like = stems[near] if near is not None else None
    hint = (
        f"did you mean {path.with_name(like)}?"
        if like
        else "`rivya-batch init` writes a manifest to start from"
    )
    return UsageError(f"there is no file {path}", hint=hint)


class StoredHashes:
    """Hashes of reference files, remembered in the state database."""

    def __init__(self, file: StateDatabase | None) -> None:
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

    def save(self, file: StateDatabase) -> None:
        """Write what was learned."""
        if self.fresh:
            with file.transaction() as conn:
                hashes.save(conn, self.fresh)
            self.fresh = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Without:
    """Which jobs with mistakes are left out, in the place of refusing the manifest."""

    skip_invalid: bool = False
    only: Only | None = None  # these are asked for, and the mistakes of others stop nothing
    ids: frozenset[str] | None = None  # of those, only these are submitted

    @property
    def narrows(self) -> bool:
        """Whether not all jobs are asked for."""
        return self.only is not None or self.ids is not None

    def wants(self, id_: str) -> bool:
        """Return whether a job is asked for."""
        return (self.ids is None or id_ in self.ids) and fits(self.only, id_)

    def refuses(self, found: LeftOut) -> bool:
        """Return whether nothing may be done because of these."""
        if found.stops or not found:
            return found.stops
        return not self.skip_invalid and (self.only is None or found.like(self.only))


WITHOUT_NONE = Without()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A manifest read as far as its head; its jobs stream from `manifest.jobs()`."""

    path: Path
    manifest: OpenManifest
    workspace: Workspace
    contracts: Mapping[ModelId, Contract]
    hashes: StoredHashes
    sandbox: bool
    without: Without

    @property
    def settings(self) -> Settings:
        """What its head says, and what was asked for in the place of that."""
        assert self.manifest.settings is not None
        return self.manifest.settings


def read_manifest(
    path: Path,
    *,
    state: str | None,
    sandbox: bool,
    max_credits: float | None = None,
    file: StateDatabase | None = None,
    without: Without = WITHOUT_NONE,
    announce: Announce | None = None,
    changes: Sequence[Change] = (),
) -> Opened:
    """Read the head of a manifest.

    Args:
        path: Its path, as it was typed.
        state: The database's path, if it was named.
        sandbox: Whether it is a rehearsal.
        max_credits: Replaces `budget.max_credits`, in credits.
        file: The database that remembers hashes of reference files.
        without: Which jobs with mistakes are left out.
        announce: Takes a line for people before references are fetched that are named by url; without it none are,
            nor for a rehearsal: it uses what was fetched before.
        changes: What it is read with as if it stood there.

    Raises:
        InvalidManifest: The head cannot be read at all.
        UsageError: The file cannot be opened.
    """
    if not path.exists():
        raise no_file(path)
    workspace = find_workspace(path, state=state, sandbox=sandbox)
    contracts = contracts_for(workspace, sandbox=sandbox)
    cache, elsewhere = StoredHashes(file), KnownElsewhere(file)
    # A rehearsal uses what was fetched and mended for real runs, wherever its own database is.
    state_folder = workspace.root / "state" if sandbox else workspace.folder
    references = DiskReferences(
        cache=cache,
        copies=Copies(state_folder / "mended", cache),
        fetched=Copies(state_folder / "fetched", cache),
        fetch=None if announce is None else _refuse_to_fetch(path) if sandbox else _fetch_with(announce),
        tell=announce or (lambda _: None),
        elsewhere=elsewhere,
    )
    manifest = open_manifest(
        path,
        contracts=contracts,
        references=references,
        workspace=workspace_root(path),
        changes=changes,
        outcomes=(lambda name: StoredOutcomes(file.conn, name))
        if file is not None
        else lambda name: NOTHING_KNOWN,
    )
    if manifest.settings is None:
        raise InvalidManifest(path, manifest)
    settings = manifest.settings
    if sandbox:
        # A rehearsal with a database of its own has results of its own: both may be run at the same time.
        beside = workspace.sandbox_results / settings.name
        settings = replace(settings, output_dir=beside if state else settings.output_dir / "sandbox")
    if max_credits is not None:
        settings = replace(settings, budget=replace(settings.budget, max_credits=max_credits))
    manifest.settings = elsewhere.settings = settings
    return Opened(
        path=path,
        manifest=manifest,
        workspace=workspace,
        contracts=contracts,
        hashes=cache,
        sandbox=sandbox,
        without=without,
    )


def _fetch_with(announce: Announce) -> Fetch:
    def fetch(urls: Collection[str], copies: Copies) -> Mapping[str, ReferenceProblem]:
        from runner.api.manifests.url_references import (
            fetch_all,  # what speaks HTTP is loaded for a manifest with urls only
        )

        return fetch_all(urls, copies, announce)

    return fetch


def _refuse_to_fetch(path: Path) -> Fetch:
    def refuse(urls: Collection[str], copies: Copies) -> Mapping[str, ReferenceProblem]:
        if not urls:
            return {}
        files = "1 file that is" if len(urls) == 1 else f"{len(urls):,} files that are"
        raise UsageError(
            f"{path} names {files} on the web and not fetched yet, and a rehearsal uses no network",
            hint=f"`rivya-batch plan {shlex.quote(str(path))}` fetches them once and sends nothing; then rehearse",
        )

    return refuse


def manifest_name(path: Path) -> str:
    """Return `name:` of a manifest, whatever is wrong with the rest of it.

    Raises:
        InvalidManifest: It has none, or the head cannot be read at all.
    """
    opened = read_manifest(path, state=None, sandbox=False)
    _refuse_nameless(opened)
    return opened.settings.name


def _refuse_nameless(opened: Opened) -> None:
    if not opened.manifest.has_name:
        check_all(opened)  # which finds what is to be told
        raise InvalidManifest(opened.path, opened.manifest)


def read_known(path: Path, *, state: str | None, sandbox: bool) -> Opened:
    """Read the head of a manifest in a workspace that has a database.

    Raises:
        InvalidManifest: It has no name, or the head cannot be read at all.
        UsageError: Nothing was ever run here.
    """
    opened = read_manifest(path, state=state, sandbox=sandbox)
    _refuse_nameless(opened)
    if not opened.workspace.has_database:
        raise no_database(opened.workspace, sandbox=sandbox)
    return opened


def check_all(opened: Opened) -> int:
    """Expand and check every job, keeping none; return how many are good."""
    return sum(1 for _ in opened.manifest.jobs())


def is_incomplete(found: LeftOut, without: Without) -> bool:
    """Return whether jobs that were asked for are left out for their mistakes."""
    return bool(found) and (without.only is None or found.like(without.only))


def refuse_errors(opened: Opened) -> None:
    """Raise `InvalidManifest` when any problem found so far is an error, but of what may be left out."""
    if opened.manifest.errors and opened.without.refuses(opened.manifest.left_out):
        raise InvalidManifest(opened.path, opened.manifest)
