"""The starter manifest of `init`, and the one it drafts for a table."""

from __future__ import annotations

import json
import math
import re
import shlex
import unicodedata
from pathlib import Path

from runner.api.manifests.table_draft import drafted_jobs
from runner.contract import Contract, Param, minimal_job, suggest
from runner.errors import UsageError
from runner.manifest.near_files import nearby
from runner.model import ModelId
from runner.schemas import load_contracts


def starter_manifest(file: Path, model: str) -> str:
    """Return the text of a commented manifest for a model.

    Raises:
        UsageError: There is no such model.
    """
    contract = _contract(model)
    needed = minimal_job(contract).get("params")
    params = [(key, _flow(value), "") for key, value in (needed if isinstance(needed, dict) else {}).items()]
    optional = [
        param for param in contract.params.values() if not param.required and param.default is not None
    ]
    params += [(param.key, _flow(param.default), _accepted(param)) for param in optional[:6]]
    first, many = _PROMPTS[contract.category]
    return _TEXT.format(
        name=manifest_name_of(file),
        file=shlex.quote(file.as_posix()),
        model=model,
        params=f"params:\n{_aligned(params)}\n" if params else "",
        first=first,
        many=many,
        credits=f"{(contract.base_credits or 1) * 100:g}",
    )


def manifest_from(file: Path, table: Path, model: str) -> str:
    """Return the text of a commented manifest with one job for each row of a table.

    Args:
        file: Where the manifest is to be.
        table: A file of rows.
        model: Of all jobs, unless a column names them.

    Raises:
        UsageError: There is no such model, or the table cannot be read or has no rows.
    """
    contract = _contract(model)
    if not table.is_file():
        near = nearby(table.absolute().parent, table.name)
        hint = near or "--from takes a table or a list: .csv .tsv .txt .xlsx .jsonl .json .yaml"
        raise UsageError(f"there is no file {table}", hint=hint)
    drafted = drafted_jobs(table, file, contract, load_contracts())
    params = [(key, _flow(value), "the model needs it") for key, value in drafted.params.items()]
    return _DRAFT.format(
        table=table.name if table.name.isprintable() else "a table",
        rows=f"{drafted.rows:,} row" + ("" if drafted.rows == 1 else "s"),
        name=manifest_name_of(file),
        file=shlex.quote(file.as_posix()),
        model=model,
        params=f"params:\n{_aligned(params)}\n" if params else "",
        credits=str(math.ceil((contract.base_credits or 1) * drafted.rows * 3)),
        jobs=drafted.jobs,
    )


def _contract(model: str) -> Contract:
    contracts = load_contracts()
    if model not in contracts:
        near = suggest(model, list(contracts))
        raise UsageError(
            f"there is no model {model!r}",
            hint=f"did you mean {near}?" if near else "see `rivya-batch models`",
        )
    return contracts[ModelId(model)]


def manifest_name_of(file: Path) -> str:
    """Return what the manifest in a file is called."""
    # A first manifest called `manifest` says little; its folder's name says more.
    called = file.absolute().parent.name if file.stem == "manifest" else file.stem
    # A name takes plain letters only: `Große Öfen` is `grosse-ofen`, not `gro-e-fen`.
    plain = unicodedata.normalize("NFKD", called.casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].rstrip("-") or "my-batch"


# A prompt for one job and one for a matrix, by what a model makes.
_PROMPTS: dict[str, tuple[str, str]] = {
    "video": ("A bottle turning in soft morning light", "${subject}, ${look}, slow push-in"),
    "image": ("A bottle in soft morning light", "${subject}, ${look}, portrait"),
    "audio": ("Rain on a tin roof, far thunder", "A ${subject} in the next room, ${look}"),
}


def _accepted(param: Param) -> str:
    """Return what a param takes, as a comment."""
    if param.options:
        return ", ".join(param.options[:6]) + (", …" if len(param.options) > 6 else "")
    if param.maximum is None:
        return ""
    least = "" if param.minimum is None else f"{param.minimum:g}"
    return f"{least}..{param.maximum:g}"


def _aligned(params: list[tuple[str, str, str]]) -> str:
    """Return params as YAML lines whose comments stand below each other."""
    lines = [(f"  {key}: {value}", comment) for key, value, comment in params]
    width = max(len(line) for line, comment in lines if comment) if any(c for _, c in lines) else 0
    return "\n".join(f"{line:<{width}}   # {comment}" if comment else line for line, comment in lines)


def _flow(value: object) -> str:
    """Return a value as YAML: text without quotes where it stays what it is."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value not in ("true", "false", "null"):
        return value
    return json.dumps(value, ensure_ascii=False)


# Begins with a letter, or is an aspect ratio: by the rules of YAML 1.2 text without quotes.
_PLAIN = re.compile(r"[A-Za-z][\w .-]*|\d+:\d+|\d+p")


_TEXT = """\
# yaml-language-server: $schema=manifest.schema.json
# `rivya-batch schema > manifest.schema.json` writes the schema for your editor; point the line above at it.
#
#   rivya-batch plan {file}             what would run and what it would cost; sends nothing
#   rivya-batch run {file} --sandbox    rehearse: no key, no network, no cost
#   rivya-batch run {file}              for real; type it again to continue after anything
version: 1
name: {name}   # names its rows in the database and its output folder; keep it
model: {model}
{params}
budget:
  max_credits: {credits}   # a cap over all runs of this name

jobs:
  - id: first
    prompt: {first}

  # One job for each combination of the axes:
  - id: "${{subject}}-${{look}}"
    prompt: "{many}"
    matrix:
      subject: [cat, dog]
      look: [cinematic, anime]

  # One job for each row of a table or list (.csv .xlsx .txt .jsonl .json .yaml), or each file of {{glob: "assets/*.png"}}:
  # - id: "shot-${{row.sku}}"
  #   rows: shots.csv
  #   prompt: "${{row.text}}"
  #   references: ["${{row.image}}"]
"""

_DRAFT = """\
# yaml-language-server: $schema=manifest.schema.json
# Made from {table} ({rows}) by `rivya-batch init --from`. What was guessed says so: change what is wrong. Then:
#
#   rivya-batch plan {file}             what would run and what it would cost; sends nothing
#   rivya-batch run {file} --sandbox    rehearse: no key, no network, no cost
#   rivya-batch run {file}              for real; type it again to continue after anything
version: 1
name: {name}   # names its rows in the database and its output folder; keep it
model: {model}
{params}budget:
  max_credits: {credits}   # a cap over all runs of this name: three times the lowest price of these jobs

jobs:
{jobs}"""
