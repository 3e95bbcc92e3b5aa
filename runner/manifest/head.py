"""Reads everything of a manifest but its jobs: settings, variables, and what jobs inherit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runner.contract import Contract
from runner.manifest.findings import Findings, Spot
from runner.manifest.placeholders import compile_template
from runner.manifest.section import Section
from runner.manifest.settings import read_settings
from runner.manifest.texts import (
    FileText,
    ResultText,
    Text,
    WrittenValue,
    check_variable_name,
    compiled,
    filled_in,
    is_scalar,
    read_text,
)
from runner.manifest.yaml_tree import YamlList, YamlMap
from runner.model import Frame, Json, ModelId, Settings

NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a manifest. What is None or empty was not written, or was wrong and is reported."""

    document: YamlMap
    spot: Spot
    has_name: bool  # else the name in `settings` is a stand-in
    settings: Settings
    variables: Mapping[str, Json]
    model: Text | None
    prompt: Text | None
    params: Mapping[str, WrittenValue]
    references: tuple[FileText | ResultText, ...]
    mend: bool  # what pictures are where they do not say it themselves
    output_name: Text
    jobs: YamlList
    jobs_spot: Spot
    wrong: frozenset[str]  # keys that were written, and are None because they are wrong
    misspelt: frozenset[int] = frozenset()  # the jobs, by their index, with keys that are read as others


def read_head(
    root: YamlMap,
    spot: Spot,
    findings: Findings,
    *,
    path: Path,
    workspace: Path,
    contracts: Mapping[ModelId, Contract],
) -> Head:
    """Read the head, reporting what the schema of manifests cannot say.

    Args:
        root: The manifest.
        spot: Where it begins.
        findings: Takes the mistakes.
        path: The manifest's file, absolute.
        workspace: The folder that `out/<name>` is made in by default.
        contracts: The models there are.
    """
    top = Section(root, spot, findings)
    name = top.text("name") or ""
    has_name = NAME.fullmatch(name) is not None
    name = name if has_name else "invalid"  # a stand-in, so that the rest can be checked
    variables = read_variables(top)
    settings = read_settings(
        top, name=name, path=path, workspace=workspace, variables=variables, contracts=contracts
    )
    output = top.section("output")
    output_name = read_text(output, "name") if output is not None else None
    jobs = root.get("jobs")
    model, prompt = read_text(top, "model"), read_text(top, "prompt", blank=True)
    return Head(
        document=root,
        spot=spot,
        has_name=has_name,
        settings=settings,
        variables=variables,
        model=model,
        prompt=prompt,
        params=read_params(top),
        references=read_references(top, mend=root.get("mend") is True) or (),
        mend=root.get("mend") is True,
        output_name=output_name or Text(template=compile_template("${id}"), spot=spot),
        jobs=jobs if isinstance(jobs, YamlList) else YamlList(),
        jobs_spot=top.at("jobs"),
        wrong=frozenset(
            key for key, read in (("model", model), ("prompt", prompt)) if read is None and top.has(key)
        ),
    )


def read_params(section: Section) -> dict[str, WrittenValue]:
    """Return the params as written, each with its place."""
    params = section.section("params")
    if params is None:
        return {}
    return {
        key: WrittenValue(
            value=value, spot=params.at(key), key_spot=params.spot.inside(params.node.key_at(key), key)
        )
        for key, value in params.node.items()
    }


def read_references(section: Section, *, mend: bool) -> tuple[FileText | ResultText, ...] | None:
    """Return the references; None where the key is absent or wrong.

    Args:
        section: What they stand in.
        mend: Whether pictures are mended that do not say it themselves.
    """
    value = section.node.get("references")
    if not isinstance(value, YamlList):
        return None
    texts: list[FileText | ResultText] = []
    for index, item in enumerate(value):
        spot = section.at("references").inside(value.item_at(index), index)
        file, mended = item, mend
        if isinstance(item, YamlMap) and "job" in item:
            if (result := _read_result(item, spot, section.findings)) is not None:
                texts.append(result)
            continue
        if isinstance(item, YamlMap):
            file, mended = item.get("file"), item.get("mend", mend) is True
            spot = spot.inside(item.value_at("file"), "file") if "file" in item else spot
        if isinstance(file, str) and file and (text := compiled(file, spot, section.findings)):
            texts.append(FileText(template=text.template, spot=text.spot, mend=mended))
    return tuple(texts)


def _read_result(item: YamlMap, spot: Spot, findings: Findings) -> ResultText | None:
    section = Section(item, spot, findings)
    text = read_text(section, "job")
    if text is None:
        return None
    frame = section.text("frame")
    return ResultText(
        template=text.template,
        spot=text.spot,
        result=section.integer("result") or 1,
        frame=Frame(frame) if frame in [each.value for each in Frame] else None,
        pick=item.get("pick") is True,
    )


def takes_results(references: object) -> bool:
    """Return whether any of these references, as they were read from YAML, is another job's result."""
    return isinstance(references, YamlList) and any(
        isinstance(item, YamlMap) and "job" in item for item in references
    )


def read_variables(top: Section) -> dict[str, Json]:
    """Return the variables; each may use those written before it."""
    section = top.section("vars")
    if section is None:
        return {}
    variables: dict[str, Json] = {}
    for key, value in section.node.items():
        check_variable_name(section, key)
        if isinstance(value, str):
            variables[key] = filled_in(value, section.at(key), variables, section.findings)
        elif is_scalar(value):
            variables[key] = value
    return variables
