"""The contracts a workspace works with: the bundled ones, widened by the service's own list once it was synced."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.api.account import ask
from runner.contract import Contract
from runner.contract.catalogue import Difference, compare_contracts, merge_contracts
from runner.errors import TemporaryTrouble, UsageError
from runner.host.clock import rfc3339
from runner.host.environment import base_url
from runner.host.workspace import Workspace
from runner.model import ModelId
from runner.schemas import bundled_sha256, load_contracts
from runner.service.account import checked_base_url
from runner.service.protocol import Answer, Service
from runner.service.rivya.model_list import contracts_from_list

LIST_FILE = "models.json"


def contracts_for(workspace: Workspace, *, sandbox: bool) -> Mapping[ModelId, Contract]:
    """Return the contracts to check a manifest with; the sandbox knows the bundled ones only."""
    bundled = load_contracts()
    path = _list_path(workspace)
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
    path = _list_path(workspace)
    if sandbox or not path.is_file():
        return bundled_sha256()
    return f"{bundled_sha256()} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _list_path(workspace: Workspace) -> Path:
    return workspace.root / "state" / LIST_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What a sync has found: how many models the service lists, and what differs from the bundled contracts."""

    models: int
    differences: list[Difference]
    path: Path


def sync_models(workspace: Workspace) -> Synced:
    """Read GET /api/v1/models (public: no key is sent), store it, and say what differs.

    Raises:
        TemporaryTrouble: There is no proper answer.
        UsageError: The list cannot be stored.
    """

    async def question(service: Service) -> Answer:
        return await service.models()

    answer = ask(question, key="")
    live = answer.contracts
    if not live:
        raise TemporaryTrouble(
            f"the list of models cannot be read: {answer.words() or 'it names no model'}", hint=answer.hint
        )
    path = _list_path(workspace)
    document: dict[str, Any] = {
        "fetched_at": rfc3339(time.time()),
        "base_url": checked_base_url(base_url()),
        "document": answer.data,
    }
    new = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
        os.replace(new, path)  # noqa: PTH105
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}") from exc
    return Synced(models=len(live), differences=compare_contracts(load_contracts(), live), path=path)
