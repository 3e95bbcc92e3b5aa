"""The contracts a manifest is checked with: the bundled ones, widened by the service's own list once it was synced."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.contract import Contract
from runner.contract.catalogue import merge_contracts, with_pages
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
    catalogue = read_catalogue(path)
    merged = merge_contracts(bundled, contracts_from_list(catalogue.get("document") or {}))
    return with_pages(merged, contracts_from_list(list((catalogue.get("imported") or {}).values())))


def read_catalogue(path: Path) -> dict[str, Any]:
    """Return what a workspace keeps of models: `document`, the service's list, and `imported`, contracts by model.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not ("document" in found or "imported" in found):
            msg = "it is no list of models"
            raise ValueError(msg)
        if not isinstance(found.get("imported") or {}, dict):
            msg = "`imported` is no object"
            raise TypeError(msg)
    except (OSError, ValueError, TypeError) as exc:
        raise UsageError(
            f"{path} cannot be read: {exc}",
            hint="write it again with `rivya-batch models sync`, or remove it",
        ) from exc
    return found


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
