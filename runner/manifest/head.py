"""Reads everything of a manifest but its jobs: settings, variables, and what jobs inherit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runner.contract import Contract
from runner.contract.words import shown
from runner.manifest.findings import Findings, Spot
from runner.manifest.models import param_hints
from runner.manifest.section import Section, said
from runner.manifest.settings import read_settings
from runner.manifest.texts import (
    Text,
    Written,
    check_variable_name,
    compiled,
    filled_in,
    is_scalar,
    read_text,
)
from runner.model import Json, ModelId, Settings
from runner.placeholders import compile_template
from runner.yaml12 import YamlList, YamlMap

VERSION: Final = 1

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_TOP: Final = (
    "version", "name", "model", "prompt", "params", "references", "vars", "budget", "limits", "polling",
    "retry", "idempotency", "uploads", "output", "prices", "jobs",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a manifest. What is None or empty was not written, or was wrong and is reported."""

    settings: Settings
    variables: Mapping[str, Json]
    model: Text | None
    prompt: Text | None
    params: Mapping[str, Written]
    references: tuple[Text, ...]
    output_name: Text
    jobs: YamlList
    jobs_spot: Spot
    wrong: frozenset[str]  # keys that were written, and are None because they are wrong


def read_head(
    root: YamlMap,
    spot: Spot,
    findings: Findings,
    *,
    path: Path,
    workspace: Path,
    contracts: Mapping[ModelId, Contract],
) -> Head:
    """Read the head, reporting every mistake.

    Args:
        root: The manifest.
        spot: Where it begins.
        findings: Takes the mistakes.
        path: The manifest's file, absolute.
        workspace: The folder that `out/<name>` is made in by default.
        contracts: The models there are.
    """
    top = Section(root, spot, findings)
    top.refuse_unknown(_TOP, _hints(top, contracts))
    _version(top)
    name = _name(top)
    variables = read_variables(top)
    settings = read_settings(
        top, name=name, path=path, workspace=workspace, variables=variables, contracts=contracts
    )
    # A section that is no mapping is already reported.
    output = (
        Section(root["output"], top.at("output"), findings)
        if isinstance(root.get("output"), YamlMap)
        else None
    )
    output_name = read_text(output, "name", blank=False) if output is not None else None
    jobs = root.get("jobs")
    if not isinstance(jobs, YamlList) or not jobs:
        _no_jobs(top)
    model, prompt = read_text(top, "model"), read_text(top, "prompt")
    return Head(
        settings=settings,
        variables=variables,
        model=model,
        prompt=prompt,
        params=read_params(top),
        references=read_references(top) or (),
        output_name=output_name or Text(template=compile_template("${id}"), spot=spot),
        jobs=jobs if isinstance(jobs, YamlList) else YamlList(),
        jobs_spot=top.at("jobs"),
        wrong=frozenset(
            key for key, read in (("model", model), ("prompt", prompt)) if read is None and top.has(key)
        ),
    )


def read_params(section: Section) -> dict[str, Written]:
    """Return the params as written, each with its place."""
    params = section.section("params")
    if params is None:
        return {}
    return {
        key: Written(
            value=value, spot=params.at(key), key_spot=params.spot.inside(params.node.key_at(key), key)
        )
        for key, value in params.node.items()
    }


def read_references(section: Section) -> tuple[Text, ...] | None:
    """Return the references; None where the key is absent or wrong."""
    if not section.has("references"):
        return None
    value = section.node["references"]
    if not isinstance(value, YamlList):
        hint = f"write a list: [{value}]" if isinstance(value, str) else ""
        section.wrong_type("references", "a list of files", hint)
        return None
    texts = []
    for index, item in enumerate(value):
        spot = section.at("references").inside(value.item_at(index), index)
        if not isinstance(item, str):
            section.findings.error(spot, f"a reference is the path of a file, not {said(item)}", "wrong-type")
        elif not item:
            section.findings.error(spot, "a reference is empty", "empty-value")
        elif text := compiled(item, spot, section.findings):
            texts.append(text)
    return tuple(texts)


def read_variables(top: Section) -> dict[str, Json]:
    """Return the variables; each may use those written before it."""
    section = top.section("vars")
    if section is None:
        return {}
    variables: dict[str, Json] = {}
    for key, value in section.node.items():
        check_variable_name(section, key)
        if not is_scalar(value):
            section.wrong_type(key, "text, a number or true/false")
        elif isinstance(value, str):
            variables[key] = filled_in(value, section.at(key), variables, section.findings)
        else:
            variables[key] = value
    return variables


def _version(top: Section) -> None:
    if not top.has("version"):
        hint = f"write `version: {VERSION}` at the top"
        top.findings.error(top.spot, "the manifest does not say its version", "missing-key", hint)
        return
    value = top.node["version"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        top.wrong_type("version", f"the number {VERSION}", f"write `version: {VERSION}`")
    elif value > VERSION:
        what = f"version {shown(value)} is made for a newer rivya-batch; this one reads version {VERSION}"
        top.findings.error(top.at("version"), what, "future-version", "install a newer rivya-batch")
    elif value != VERSION:
        what = f"there is no version {shown(value)} of manifests"
        top.findings.error(top.at("version"), what, "bad-version", f"write `version: {VERSION}`")


def _name(top: Section) -> str:
    """Return the name; a stand-in where it is wrong, so that the rest can be checked."""
    if not top.has("name"):
        hint = "write `name: my-manifest`; it names the rows in the database and the output folder"
        top.findings.error(top.spot, "the manifest has no name", "missing-key", hint)
        return "invalid"
    name = top.text("name")
    if name is None:
        return "invalid"
    if not _NAME.fullmatch(name):
        near = re.sub(r"[^a-z0-9]+", "-", name.lower()[:200]).strip("-")[:63]
        hint = "1 to 63 of a-z, 0-9 and -, beginning with a letter or digit"
        hint = f"{hint}; for example {near}" if near else hint
        what = f"{shown(name)} cannot be the name of a manifest"
        top.findings.error(top.at("name"), what, "bad-name", hint)
        return "invalid"
    return name


def _no_jobs(top: Section) -> None:
    if not top.has("jobs"):
        top.findings.error(
            top.spot, "the manifest has no jobs", "missing-key", "write `jobs:` and a list under it"
        )
    elif top.node["jobs"] == []:
        top.findings.error(top.at("jobs"), "the list of jobs is empty", "empty-value")
    else:
        top.wrong_type("jobs", "a list of jobs", "begin each job with `- id:`")


def _hints(top: Section, contracts: Mapping[ModelId, Contract]) -> dict[str, str]:
    model = top.node.get("model")
    return param_hints(contracts.get(ModelId(model)) if isinstance(model, str) else None, known=_TOP)
