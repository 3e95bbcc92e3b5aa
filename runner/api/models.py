"""`rivya-batch models sync`: the service's own list of models, kept in the workspace."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.api.manifests.contracts import list_path
from runner.api.question import ask
from runner.contract.catalogue import Difference, compare_contracts
from runner.errors import TemporaryTrouble, UsageError
from runner.host.clock import rfc3339
from runner.host.environment import base_url
from runner.host.workspace import Workspace
from runner.schemas import load_contracts
from runner.service.account import checked_base_url
from runner.service.protocol import Answer, Service


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
    path = list_path(workspace)
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
