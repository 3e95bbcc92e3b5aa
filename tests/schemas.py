"""The derived schema: `python -m tests.schemas --write` writes `schemas/manifest.schema.json`, `--check` compares it."""

from __future__ import annotations

import sys
from typing import Any

from jsonschema import ValidationError

from runner.manifest.json_schema import manifest_schema, render
from runner.schemas import load_contracts, schemas_dir


def of_its_type(error: ValidationError) -> list[ValidationError]:
    """Return what stands behind an error of the library: for an `anyOf` of types, what the one for the value's type says."""
    by_schema: dict[Any, list[ValidationError]] = {}
    for inside in error.context or ():
        by_schema.setdefault(inside.schema_path[0], []).append(inside)
    schemas: Any = error.validator_value
    if error.validator != "anyOf" or not all("type" in schema for schema in schemas):
        return [error]
    for errors in by_schema.values():
        if not any(list(inside.schema_path)[1:] == ["type"] for inside in errors):
            return [found for inside in errors for found in of_its_type(inside)]
    return next(iter(by_schema.values()))[:1]


def main(arguments: list[str]) -> int:
    """Write or check it; return an exit code."""
    file = schemas_dir() / "manifest.schema.json"
    text = render(manifest_schema(load_contracts()))
    if arguments == ["--write"]:
        file.write_text(text, encoding="utf-8", newline="\n")
        return 0
    if arguments == ["--check"]:
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            return 0
        print(f"{file.name} differs from what the contracts say; run `make schemas`", file=sys.stderr)
        return 1
    print("usage: python -m tests.schemas --write | --check", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
