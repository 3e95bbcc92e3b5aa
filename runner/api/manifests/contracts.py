"""The contracts a manifest is checked with: the bundled ones, widened by the service's own list once it was synced."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from runner.contract import Contract
from runner.contract.catalogue import merge_contracts
from runner.errors import UsageError
from runner.host.workspace import Workspace
from runner.model import ModelId
from runner.schemas import bundled_sha256, load_contracts
from runner.service.rivya.model_list import contracts_from_list

LIST_FILE = "models.json"


def contracts_for(workspace: Workspace, *, sandbox: bool) -> Mapping[ModelId, Contract]:
    """Return the contracts to check a manifest with; the sandbox knows the bundled ones only."""
    bundled = load_contracts()
    path = list_path(workspace)
    if sandbox or not path.is_file():
        return bundled
    try:
        live = contracts_from_list(json.loads(path.read_text(encoding="utf-8"))["document"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise UsageError(
            f"{path} cannot be read: {exc}",
            hint="write it again with `rivya-batch models sync`, or remove it",
        ) from exc
    return merge_contracts(bundled, live)


def contracts_sha256(workspace: Workspace, *, sandbox: bool) -> str:
    """Return the SHA-256 of all that `contracts_for` is made of.

    Raises:
        OSError: Some of it cannot be read.
    """
    path = list_path(workspace)
    if sandbox or not path.is_file():
        return bundled_sha256()
    return f"{bundled_sha256()} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def list_path(workspace: Workspace) -> Path:
    """Return where the service's list of models is kept."""
    return workspace.root / "state" / LIST_FILE
