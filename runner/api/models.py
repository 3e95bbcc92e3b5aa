"""`rivya-batch models`: what is known of models here; the service's own list and saved pages, taken over."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.api.manifests.contracts import contracts_for, list_path, read_catalogue
from runner.api.question import ask
from runner.contract import Contract
from runner.contract.catalogue import Difference, compare_contracts
from runner.contract.json_contract import contract_as_json
from runner.errors import RunnerError, TemporaryTrouble, UsageError
from runner.host.clock import rfc3339
from runner.host.environment import base_url
from runner.host.workspace import Workspace
from runner.manifest.json_schema import render, schema_of_manifests
from runner.model import ModelId
from runner.schemas import load_contracts
from runner.service.account import checked_base_url
from runner.service.protocol import Answer, Service
from runner.service.rivya.model_list import contracts_from_list
from runner.service.rivya.model_page import contract_of_page
from runner.store import jobs, manifests
from runner.store.database import open_to_read

SCHEMA_FILE = "manifest.schema.json"
LARGEST_BYTES = 10_000_000  # of a saved page, or a manifest that is looked through
MOST_FILES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What a sync or an import has found.

    `models` is how many there are in what was read; `differences` how that differs from the bundled contracts, `changed`
    what manifests may say now and could not before, or the other way round; `touched` which manifests name models that
    changed. `schema` is the file for editors.
    """

    models: int
    differences: list[Difference]
    changed: list[Difference]
    touched: Mapping[str, Sequence[ModelId]]
    path: Path
    schema: Path


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
    news = {
        "fetched_at": rfc3339(time.time()),
        "base_url": checked_base_url(base_url()),
        "document": answer.data,
    }
    return _stored(workspace, news, live, compare_contracts(load_contracts(), live))


def import_models(workspace: Workspace, file: Path) -> Synced:
    """Read a saved page of a model (HTML or text, in any language), or JSON of models, and store it.

    Raises:
        UsageError: It is neither, or cannot be stored.
    """
    try:
        if file.stat().st_size > LARGEST_BYTES:
            raise UsageError(f"{file} is too large for a page of a model")
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"{file} cannot be read: {exc}") from exc
    found = _contracts_in(text, file)
    known = contracts_for(workspace, sandbox=False)
    path = list_path(workspace)
    imported = dict(read_catalogue(path).get("imported") or {}) if path.is_file() else {}
    imported |= {model: contract_as_json(contract) for model, contract in found.items()}
    differences = compare_contracts({model: known[model] for model in found if model in known}, found)
    return _stored(workspace, {"imported": imported}, found, differences)


def _contracts_in(text: str, file: Path) -> dict[ModelId, Contract]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        try:
            document = contract_of_page(text)
        except (ValueError, RecursionError) as exc:
            raise UsageError(
                f"{file} is neither JSON nor a page of a model: {exc}",
                hint="save the page of the model in a browser, as a web page or as text",
            ) from exc
    if isinstance(document, dict) and "id" in document:
        document = [document]
    found = contracts_from_list(document)
    if not found:
        raise UsageError(
            f"{file} names no model", hint="a contract, or a list of them as GET /api/v1/models has it"
        )
    return found


def _stored(
    workspace: Workspace,
    news: Mapping[str, Any],
    found: Mapping[ModelId, Contract],
    differences: list[Difference],
) -> Synced:
    path = list_path(workspace)
    try:
        before, known = (
            contracts_for(workspace, sandbox=False),
            read_catalogue(path) if path.is_file() else {},
        )
    except UsageError:  # it is written anew
        before, known = load_contracts(), {}
    schema = path.with_name(SCHEMA_FILE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, json.dumps({**known, **news}, ensure_ascii=False, indent=1))
        after = contracts_for(workspace, sandbox=False)
        _write(schema, render(schema_of_manifests(after)))
    except OSError as exc:
        raise UsageError(f"cannot write {exc.filename or path}: {exc.strerror}") from exc
    changed = compare_contracts(before, after)
    models = {each.model for each in changed}
    return Synced(
        models=len(found),
        differences=differences,
        changed=changed,
        touched=touched(workspace, models),
        path=path,
        schema=schema,
    )


def _write(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)  # noqa: PTH105


def touched(workspace: Workspace, models: Iterable[ModelId]) -> dict[str, list[ModelId]]:
    """Return which manifests name some of these models: those of the database, and those that lie about."""
    wanted = sorted(set(models))
    if not wanted:
        return {}
    found: dict[str, set[ModelId]] = {}
    paths = {
        path.resolve() for folder in (".", "manifests") for path in _manifests_in(workspace.root / folder)
    }
    with suppress(RunnerError, OSError):
        if workspace.has_database:
            with closing(open_to_read(workspace.database)) as file:
                for bound in manifests.bindings(file.conn):
                    used = jobs.models_of(file.conn, bound.name)
                    if used & set(wanted):
                        found[str(bound.path)] = used & set(wanted)
    for path in sorted(paths):
        with suppress(OSError, UnicodeDecodeError):
            text = path.read_text(encoding="utf-8")
            if named := {
                model for model in wanted if re.search(rf"(?<![\w-]){re.escape(model)}(?![\w-])", text)
            }:
                found.setdefault(str(path), set()).update(named)
    return {path: sorted(named) for path, named in sorted(found.items())}


def _manifests_in(folder: Path) -> list[Path]:
    try:
        found = [path for path in folder.iterdir() if path.suffix in (".yaml", ".yml")]
        return [path for path in found[:MOST_FILES] if path.stat().st_size <= LARGEST_BYTES]
    except OSError:
        return []
