"""The derived schema: `python -m tests.schemas --write` writes `schemas/manifest.schema.json`, `--check` compares it."""

from __future__ import annotations

import sys

from runner.manifest.json_schema import manifest_schema, render
from runner.schemas import load_contracts, schemas_dir


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
