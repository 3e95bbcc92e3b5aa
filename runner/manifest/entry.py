"""One item of `jobs:`, compiled: what can be said of it before any of its jobs exists."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.contract import Contract
from runner.contract.phrases import listed, shown, suggest
from runner.manifest.findings import Findings, Spot
from runner.manifest.head import Head, read_params, read_references
from runner.manifest.matrix import Matrix, read_matrix
from runner.manifest.model_names import find_contract
from runner.manifest.row_files import open_glob, open_rows
from runner.manifest.rows import Reading, Rows
from runner.manifest.section import Section
from runner.manifest.texts import FileText, ResultText, Text, WrittenValue, filled_in, read_text, spot_of
from runner.manifest.values import Value, compile_value
from runner.manifest.yaml_tree import YamlMap
from runner.model import Json, ModelId


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One item of `jobs:`.

    `usable` is False where something is wrong that every job of it shares: they are still expanded
    to find what else is wrong, but none of them may be used.
    """

    spot: Spot
    id: Text | None
    model: Text | None
    contract: Contract | None  # where the model is the same for all
    prompt: Text | None
    prompt_wrong: bool
    params: Mapping[str, Value]
    inherited: Collection[str]  # keys of params that come from the defaults
    params_spot: Spot
    references: tuple[FileText | ResultText, ...]
    output_name: Text
    matrix: Matrix | None
    rows: Rows | None
    repeat: int | None
    usable: bool


def read_entry(
    item: object,
    spot: Spot,
    findings: Findings,
    *,
    head: Head,
    folder: Path,
    contracts: Mapping[ModelId, Contract],
    refused: bool = False,
) -> Entry | None:
    """Compile an item of `jobs:`; None where its jobs cannot even be counted.

    Args:
        item: What was written.
        spot: Where.
        findings: Takes the mistakes.
        head: What the job inherits.
        folder: The manifest's folder.
        contracts: The models there are.
        refused: The schema has something against it, which is reported already.
    """
    if not isinstance(item, YamlMap):
        return None
    job = Section(item, spot, findings)
    before = findings.reported
    model = read_text(job, "model") if job.has("model") else head.model
    contract = _contract(job, head, model, findings, contracts)
    id_ = read_text(job, "id")
    prompt = read_text(job, "prompt", blank=True) if job.has("prompt") else head.prompt
    own_params = read_params(job)
    params = _params(head.params, own_params, findings)
    own_references = read_references(job, mend=head.mend)
    references = head.references if own_references is None else own_references
    wants_matrix = job.has("matrix") or job.has("exclude") or job.has("include")
    matrix = read_matrix(job, head.variables, refused=refused) if wants_matrix else None
    rows = _rows(job, head.variables, folder) if job.has("rows") else None
    repeat = job.integer("repeat")
    if (wants_matrix and matrix is None) or (job.has("rows") and rows is None):
        return None
    entry = Entry(
        spot=spot,
        id=id_,
        model=model,
        contract=contract,
        prompt=prompt,
        prompt_wrong=prompt is None and (job.has("prompt") or "prompt" in head.wrong),
        params=params,
        inherited=[key for key in params if key not in own_params],
        params_spot=job.at("params") if job.has("params") else id_.spot if id_ is not None else spot,
        references=references,
        output_name=head.output_name,
        matrix=matrix,
        rows=rows,
        repeat=repeat,
        usable=True,
    )
    unknown = _unknown_names(entry, head, findings)
    return _without(entry, unknown, usable=not refused and findings.reported == before and not unknown)


def _without(entry: Entry, unknown: Collection[int], *, usable: bool) -> Entry:
    """Return the entry without the texts that cannot be filled in; what is left is still checked."""

    def fine(text: Text | None) -> Text | None:
        return None if text is None or id(text) in unknown else text

    return Entry(
        spot=entry.spot,
        id=fine(entry.id),
        model=fine(entry.model),
        contract=entry.contract,
        prompt=fine(entry.prompt),
        prompt_wrong=entry.prompt_wrong or (entry.prompt is not None and id(entry.prompt) in unknown),
        params={k: v for k, v in entry.params.items() if not any(id(text) in unknown for text in v.texts)},
        inherited=entry.inherited,
        params_spot=entry.params_spot,
        references=tuple(text for text in entry.references if id(text) not in unknown),
        output_name=entry.output_name,
        matrix=entry.matrix,
        rows=entry.rows,
        repeat=entry.repeat,
        usable=usable and id(entry.output_name) not in unknown,
    )


def _unknown_names(entry: Entry, head: Head, findings: Findings) -> set[int]:
    """Report placeholders that no job of this entry can fill in; return the ids of their texts."""
    names = [*head.variables, *(entry.matrix.axes if entry.matrix is not None else ())]
    if entry.repeat is not None:
        names.append("take")
    groups: dict[str, Collection[str] | None] = {}
    if entry.rows is not None:
        groups[entry.rows.scope] = entry.rows.columns
    label = shown(entry.id.template.text) if entry.id is not None else entry.spot.path
    texts = [entry.id, entry.model, entry.prompt, *entry.references]
    texts += [text for value in entry.params.values() for text in value.texts]
    wrong: set[int] = set()
    for text in texts:
        if text is not None and _check_names(text, names, groups, label, entry, findings):
            wrong.add(id(text))
    output_groups = {**groups, "params": None}
    if _check_names(entry.output_name, [*names, "id", "model"], output_groups, label, entry, findings):
        wrong.add(id(entry.output_name))
    return wrong


def _check_names(
    text: Text,
    names: Collection[str],
    groups: Mapping[str, Collection[str] | None],
    label: str,
    entry: Entry,
    findings: Findings,
) -> bool:
    problems = text.template.unknown(names, groups)
    inside = text.spot.path.startswith(entry.spot.path)
    for problem in problems:
        # What is inherited is written elsewhere, so say for which job it fails.
        what = problem.what if inside else f"{problem.what.removesuffix(' here')} for the job {label}"
        findings.error(
            spot_of(problem, text.template.text, text.spot),
            what,
            problem.code,
            problem.hint,
            job=label.strip('"'),
        )
    return bool(problems)


def _contract(
    job: Section,
    head: Head,
    model: Text | None,
    findings: Findings,
    contracts: Mapping[ModelId, Contract],
) -> Contract | None:
    if model is None:
        if not job.has("model") and "model" not in head.wrong:
            what, hint = "this job has no model", "write `model:` in it or at the top of the manifest"
            findings.error(job.spot, what, "missing-key", hint)
        return None
    if not model.template.constant:
        return None
    return find_contract(model.template.render_text({}), model.spot, findings, contracts)


def _params(
    defaults: Mapping[str, WrittenValue], own: Mapping[str, WrittenValue], findings: Findings
) -> dict[str, Value]:
    """Return the defaults with the job's own params over them; null removes a key."""
    merged = {**defaults, **own}
    values: dict[str, Value] = {}
    for key, written in merged.items():
        if written.value is not None and (value := compile_value(written, findings)) is not None:
            values[key] = value
    return values


def _rows(job: Section, variables: Mapping[str, Json], folder: Path) -> Rows | None:
    value = job.node["rows"]
    spot, findings = job.at("rows"), job.findings
    if not isinstance(value, YamlMap):
        return _open_rows(value, spot, variables, folder, findings, None) if isinstance(value, str) else None
    section = Section(value, spot, findings)
    if (pattern := section.text("glob")) is not None:
        filled = filled_in(pattern, section.at("glob"), variables, findings)
        return open_glob(folder, str(filled), section.at("glob"), findings)
    file = section.text("file")
    reading = _reading(section)
    if file is None or reading is None:
        return None
    rows = _open_rows(file, section.at("file"), variables, folder, findings, reading)
    if rows is not None and rows.columns is not None:
        _check_where(section, rows.columns)
    return rows


def _open_rows(
    name: str,
    spot: Spot,
    variables: Mapping[str, Json],
    folder: Path,
    findings: Findings,
    reading: Reading | None,
) -> Rows | None:
    if not name:
        return None
    if any(mark in name for mark in "*?["):
        hint = f'for one job each file write {{glob: "{name}"}}'
        findings.error(spot, "rows is the name of one file, not a pattern", "file-not-found", hint)
        return None
    return open_rows(folder, str(filled_in(name, spot, variables, findings)), spot, findings, reading)


def _reading(section: Section) -> Reading | None:
    """Return how a file of rows is to be read; None, and a finding, where there is no such encoding."""
    encoding = section.text("encoding")
    if encoding is not None and not _is_text_encoding(encoding):
        what = f"there is no encoding {shown(encoding)}"
        hint = "for example utf-8, utf-16, windows-1252, iso-8859-1, shift_jis, gb18030"
        section.findings.error(section.at("encoding"), what, "unknown-encoding", hint)
        return None
    delimiter = section.text("delimiter")
    where = section.section("where")
    return Reading(
        delimiter="\t" if delimiter == "tab" else delimiter if delimiter and len(delimiter) == 1 else None,
        encoding=encoding,
        sheet=section.text("sheet"),
        where={column: _wanted(value) for column, value in where.node.items()} if where is not None else {},
    )


def _is_text_encoding(name: str) -> bool:
    try:
        io.TextIOWrapper(io.BytesIO(), encoding=name)
    except (LookupError, ValueError):
        return False
    return True


def _wanted(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return ["" if item is None else item if isinstance(item, str) else json.dumps(item) for item in values]


def _check_where(section: Section, columns: Collection[str]) -> None:
    where = section.section("where")
    for column in where.node if where is not None else ():
        if where is not None and column not in columns:
            like = suggest(column, columns)
            hint = f"did you mean `{like}`?" if like else f"there are {listed([*columns])}"
            spot = where.spot.inside(where.node.key_at(column), column)
            section.findings.error(spot, f"the table has no column {shown(column)}", "unknown-column", hint)
