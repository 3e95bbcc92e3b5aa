"""Where the JSON Schemas and the bundled contracts are, and how to read them.

Nothing is read before it is asked for: a command that needs one contract parses one file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from runner.contract import Contract, contract_from_json
from runner.errors import RunnerError
from runner.model import ModelId


@cache
def schemas_dir() -> Path:
    """Return the folder of the schemas: the copy in the installed package, else the checkout's.

    An editable install has no packaged copy, so both places are needed.

    Raises:
        RunnerError: Neither is there; the installation is broken.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "_schemas", package.parent / "schemas"):
        if (folder / "contracts").is_dir():
            return folder
    msg = f"the schemas that belong to rivya-batch are not beside {package}"
    raise RunnerError(msg, hint="install rivya-batch again")


def read_schema(name: str) -> dict[str, Any]:
    """Return a JSON document of the schemas folder, such as `manifest.schema.json`."""
    document: dict[str, Any] = json.loads((schemas_dir() / name).read_text(encoding="utf-8"))
    return document


class _Contracts(Mapping[ModelId, Contract]):
    """The bundled contracts, each parsed on first use."""

    def __init__(self, folder: Path) -> None:
        self._files = {ModelId(file.stem): file for file in sorted(folder.glob("*.json"))}
        self._parsed: dict[ModelId, Contract] = {}

    def __getitem__(self, model: ModelId) -> Contract:
        contract = self._parsed.get(model)
        if contract is None:
            text = self._files[model].read_text(encoding="utf-8")
            contract = self._parsed[model] = contract_from_json(json.loads(text))
        return contract

    def __contains__(self, model: object) -> bool:
        return model in self._files

    def __iter__(self) -> Iterator[ModelId]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


@cache
def load_contracts() -> Mapping[ModelId, Contract]:
    """Return the bundled contracts by model id, in alphabetical order."""
    return _Contracts(schemas_dir() / "contracts")


@cache
def bundled_sha256() -> str:
    """Return the SHA-256 of the bundled contracts and of the schema of manifests: their names and contents.

    Raises:
        OSError: One cannot be read.
    """
    found = hashlib.sha256()
    contracts = sorted((schemas_dir() / "contracts").glob("*.json"))
    for path in (schemas_dir() / "manifest.schema.json", *contracts):
        found.update(f"{path.name}\n".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()
