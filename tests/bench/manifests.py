"""Writes the manifests that are measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

QUICK_POLLS = {"first_s": 0.2, "min_s": 0.2, "max_s": 2}
_TEXT = "A bottle number {}, turning slowly in warm morning light, product film"


def write_small(folder: Path, jobs: int, *, name: str = "work", **settings: Any) -> Path:
    """Write a manifest of a few hundred jobs from a table; return its path."""
    (folder / f"{name}.csv").write_text(
        "number,text\n" + "".join(f'{number},"{_TEXT.format(number)}"\n' for number in range(jobs)), "utf-8"
    )
    head = _head(name, polling=QUICK_POLLS, **settings)
    entry = f'  - id: "job-${{row.number}}"\n    rows: {name}.csv\n    prompt: "${{row.text}}"\n'
    return _write(folder / f"{name}.yaml", head + entry)


def write_table(folder: Path, jobs: int, kind: str) -> Path:
    """Write a manifest with so many rows in a CSV or JSONL file (`kind`)."""
    rows = folder / f"rows.{kind}"
    with rows.open("w", encoding="utf-8", newline="") as file:
        if kind == "csv":
            file.write("sku,text,seconds,ratio\n")
        for number in range(jobs):
            row = {
                "sku": f"s{number:06}",
                "text": _TEXT.format(number),
                "seconds": 6 if number % 2 else 10,
                "ratio": "16:9" if number % 3 else "9:16",
            }
            if kind == "csv":
                file.write(f'{row["sku"]},"{row["text"]}",{row["seconds"]},{row["ratio"]}\n')
            else:
                file.write(json.dumps(row) + "\n")
    entry = (
        f'  - id: "${{row.sku}}"\n    rows: {rows.name}\n    prompt: "${{row.text}}"\n'
        '    params: {duration: "${row.seconds}", aspect_ratio: "${row.ratio}"}\n'
    )
    return _write(folder / f"{kind}.yaml", _head(f"table-{kind}", polling=QUICK_POLLS) + entry)


def write_inline(folder: Path, jobs: int) -> Path:
    """Write a manifest with every job written out."""
    entries = (
        f"  - id: s{number:06}\n    prompt: {_TEXT.format(number)}\n"
        f"    params: {{duration: {6 if number % 2 else 10}, aspect_ratio: {'16:9' if number % 3 else '9:16'}}}\n"
        for number in range(jobs)
    )
    return _write(folder / "inline.yaml", _head("inline") + "".join(entries))


def _head(name: str, **settings: Any) -> str:
    lines = [
        "version: 1",
        f"name: {name}",
        "model: grok-imagine-video",
        "params: {mode: normal, duration: 6, resolution: 480p, aspect_ratio: 16:9}",
        *(f"{key}: {json.dumps(value)}" for key, value in settings.items()),
        "jobs:",
    ]
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
