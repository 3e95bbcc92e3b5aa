"""The starter manifest of `init`."""

from __future__ import annotations

import re
from pathlib import Path

from runner.contract import minimal_job, suggest
from runner.errors import UsageError
from runner.schemas import load_contracts


def starter_manifest(file: Path, model: str) -> str:
    """Return the text of a commented manifest for a model.

    Raises:
        UsageError: There is no such model.
    """
    contracts = load_contracts()
    if model not in contracts:
        near = suggest(model, list(contracts))
        raise UsageError(
            f"there is no model {model!r}",
            hint=f"did you mean {near}?" if near else "see `rivya-batch models`",
        )
    contract = contracts[model]  # type: ignore[index]  # a str that is a key is a ModelId
    name = re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-")[:60] or "my-batch"
    shown = []
    for param in contract.params.values():
        if param.required or param.default is None:
            continue
        accepts = (
            ", ".join(param.options[:6])
            if param.options
            else f"{param.minimum}..{param.maximum}"
            if param.maximum is not None
            else ""
        )
        shown.append(f"  {param.key}: {param.default}" + (f"   # {accepts}" if accepts else ""))
    needed = minimal_job(contract).get("params")
    needed = needed if isinstance(needed, dict) else {}
    params = "\n".join([*(f"  {key}: {_flow(value)}" for key, value in needed.items()), *shown[:6]])
    return _TEXT.format(
        name=name,
        model=model,
        params=f"params:\n{params}\n" if params else "",
        credits=contract.base_credits or 1,
    )


def _flow(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


_TEXT = """\
# yaml-language-server: $schema=manifest.schema.json
# `rivya-batch schema > manifest.schema.json` writes the schema for your editor; point the line above at it.
#
#   rivya-batch plan {name}.yaml             what it would do and cost; sends nothing
#   rivya-batch run  {name}.yaml --sandbox   rehearse: no key, no network, no cost
#   rivya-batch run  {name}.yaml             for real; type it again to go on after anything
version: 1
name: {name}                      # names its rows in the database and its output folder
model: {model}
{params}
budget:
  max_credits: {credits}00              # all runs of this name together never pass it

jobs:
  - id: first
    prompt: A bottle turning in soft morning light

  # One job for each combination of the axes:
  - id: "${{subject}}-${{look}}"
    prompt: "${{subject}}, ${{look}}, slow push-in"
    matrix:
      subject: [cat, dog]
      look: [cinematic, anime]

  # One job for each row of a CSV, JSONL, JSON or YAML file (or {{glob: "assets/*.png"}}):
  # - id: "shot-${{row.sku}}"
  #   rows: shots.csv
  #   prompt: "${{row.text}}"
  #   references: ["${{row.image}}"]
"""
