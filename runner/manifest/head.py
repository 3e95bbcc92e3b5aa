"""Reads everything of a manifest but its jobs: settings, variables, and what jobs inherit."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runner.contract import Contract, canonical_params
from runner.contract.words import shown, suggest
from runner.manifest.findings import Findings, Spot
from runner.manifest.section import Section, said
from runner.model import Budget, Json, Limits, ModelId, Polling, PriceRule, Settings
from runner.placeholders import BadPlaceholder, Template, compile_template
from runner.yaml12 import YamlList, YamlMap

VERSION: Final = 1
LONGEST_RESEND_S: Final = 3600.0  # retention of keys is undocumented; above this it is a bet
RESERVED_NAMES: Final = frozenset({"row", "file", "take", "id", "model", "params"})

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_TOP: Final = (
    "version", "name", "model", "prompt", "params", "references", "vars", "budget", "limits", "polling",
    "retry", "idempotency", "uploads", "output", "prices", "jobs",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An entry of a mapping and where its value and its key were written."""

    value: Any
    spot: Spot
    key_spot: Spot


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text of the manifest, compiled, and where it was written."""

    template: Template
    spot: Spot


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
    output = top.section("output")
    output_dir = workspace / "out" / name
    output_name: Text | None = None
    if output is not None:
        output.refuse_unknown(("dir", "name"))
        output_dir = _output_dir(output, path.parent, variables) or output_dir
        output_name = read_text(output, "name", blank=False)
    settings = Settings(
        path=path,
        name=name,
        output_dir=output_dir,
        budget=_budget(top),
        limits=_limits(top),
        polling=_polling(top),
        failed_rounds=_failed_rounds(top),
        resend_within_s=_resend_within(top),
        reuse_uploads_within_s=_one_duration(top, "uploads", "reuse_within"),
        prices=_prices(top, contracts),
    )
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


def read_text(section: Section, key: str, *, blank: bool = True) -> Text | None:
    """Return a text with placeholders; None where it is absent or wrong."""
    text = section.text(key, blank=blank)
    return None if text is None else compiled(text, section.at(key), section.findings)


def compiled(text: str, spot: Spot, findings: Findings) -> Text | None:
    """Return a compiled text; None, and a finding, where its placeholders cannot be read."""
    try:
        return Text(template=compile_template(text), spot=spot)
    except BadPlaceholder as exc:
        findings.error(spot_of(exc, text, spot), exc.what, exc.code, exc.hint)
        return None


def spot_of(problem: BadPlaceholder, text: str, spot: Spot) -> Spot:
    """Return where a placeholder is, where its line shows it; else where its text begins."""
    end = text.find("}", problem.offset)
    snippet = text[problem.offset : end + 1 if end >= 0 else problem.offset + 2]
    found = spot.line.find(snippet, spot.at[1] - 1)
    return Spot(spot.source, (spot.at[0], found + 1), spot.path, spot.text) if found >= 0 else spot


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


def check_variable_name(section: Section, name: str) -> None:
    """Report a name that placeholders cannot reach."""
    spot = section.spot.inside(section.node.key_at(name), name)
    if not _VARIABLE.fullmatch(name):
        hint = "a name is letters of a-z, digits, `_` and `-`, and does not begin with a digit"
        section.findings.error(spot, f"{shown(name)} cannot be a name", "bad-name", hint)
    elif name in RESERVED_NAMES:
        what = f"the name `{name}` is taken: ${{{name}}} already means something"
        section.findings.error(spot, what, "reserved-name", "choose another name")


def filled_in(text: str, spot: Spot, names: Mapping[str, Json], findings: Findings) -> Json:
    """Return a text with these variables filled in; the text itself where that fails."""
    text_ = compiled(text, spot, findings)
    if text_ is None:
        return text
    unknown = text_.template.unknown(names, {})
    for problem in unknown:
        findings.error(spot_of(problem, text, spot), problem.what, problem.code, problem.hint)
    if unknown:
        return text
    try:
        result: Json = text_.template.render(names)
    except BadPlaceholder as exc:
        findings.error(spot_of(exc, text, spot), exc.what, exc.code, exc.hint)
        return text
    return result


def is_scalar(value: object) -> bool:
    """Return whether a value is text, a number, true, false or null."""
    return value is None or isinstance(value, str | bool | int | float)


def find_contract(
    model: str, spot: Spot, findings: Findings, contracts: Mapping[ModelId, Contract], *, job: str = ""
) -> Contract | None:
    """Return the contract of a model, or report at `spot` that there is none, or that it cannot be called."""
    contract = contracts.get(ModelId(model))
    if contract is None:
        like = suggest(model, contracts)
        hint = f"did you mean `{like}`?" if like else "`rivya-batch models` lists them"
        findings.error(spot, f"there is no model {shown(model)}", "unknown-model", hint, job=job)
    elif not contract.callable:
        why = "is a chat model" if contract.category == "chat" else f"is {shown(contract.api_status)}"
        findings.error(spot, f"{model} {why}; the API cannot run it as a job", "model-not-callable", job=job)
        return None
    return contract


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


def _output_dir(output: Section, folder: Path, variables: Mapping[str, Json]) -> Path | None:
    text = output.text("dir", blank=False)
    if text is None:
        return None
    spot = output.at("dir")
    result = filled_in(text, spot, variables, output.findings)
    if not isinstance(result, str) or not result.strip() or not result.isprintable():
        what = "output.dir cannot be a folder: it is empty or has invisible characters"
        output.findings.error(spot, what, "bad-folder")
        return None
    if result.startswith("~"):
        output.findings.error(spot, "`~` is not expanded in a manifest", "bad-folder", "write the whole path")
        return None
    directory = (folder / result).absolute()
    if directory.exists() and not directory.is_dir():
        output.findings.error(spot, f"{shown(result)} is a file, not a folder", "bad-folder")
        return None
    return directory


def _budget(top: Section) -> Budget:
    section = top.section("budget")
    if section is None:
        return Budget()
    keys = ("max_credits", "max_credits_per_job", "max_credits_per_day")
    section.refuse_unknown(keys)
    total, per_job, per_day = (section.number(key, default=None, minimum=0) for key in keys)
    return Budget(max_credits=total, max_credits_per_job=per_job, max_credits_per_day=per_day)


def _limits(top: Section) -> Limits:
    section = top.section("limits")
    base = Limits()
    if section is None:
        return base
    section.refuse_unknown(
        ("requests_per_second", "in_flight", "uploads", "downloads", "job_deadline", "max_result_bytes")
    )
    rate = section.number("requests_per_second", default=None, minimum=0, above=True, auto=True)
    in_flight = section.integer("in_flight", default=None, minimum=1, auto=True)
    uploads = section.integer("uploads", default=base.uploads, minimum=1)
    downloads = section.integer("downloads", default=base.downloads, minimum=1)
    return Limits(
        requests_per_second=rate,
        in_flight=in_flight,
        uploads=uploads or base.uploads,
        downloads=downloads or base.downloads,
        job_deadline_s=section.duration("job_deadline", base.job_deadline_s),
        max_result_bytes=section.size("max_result_bytes", base.max_result_bytes),
    )


def _polling(top: Section) -> Polling:
    section = top.section("polling")
    base = Polling()
    if section is None:
        return base
    section.refuse_unknown(("first_s", "min_s", "max_s"))
    first = section.number("first_s", default=base.first_s, minimum=0.05)
    low = section.number("min_s", default=None, minimum=0.05)
    high = section.number("max_s", default=None, minimum=0.05)
    if low is not None and high is not None and low > high:
        what = f"max_s ({shown(high)}) is shorter than min_s ({shown(low)})"
        section.findings.error(section.at("max_s"), what, "out-of-range")
    # Written alone, one of them moves the default of the other out of its way.
    low_s = low if low is not None else min(base.min_s, high if high is not None else base.min_s)
    high_s = high if high is not None else max(base.max_s, low_s)
    return Polling(first_s=first if first is not None else base.first_s, min_s=low_s, max_s=high_s)


def _failed_rounds(top: Section) -> int:
    section = top.section("retry")
    if section is None:
        return 0
    section.refuse_unknown(("failed_rounds",))
    return section.integer("failed_rounds", default=0, minimum=0) or 0


def _resend_within(top: Section) -> float:
    seconds = _one_duration(top, "idempotency", "resend_within")
    section = top.node.get("idempotency")
    if seconds > LONGEST_RESEND_S and isinstance(section, YamlMap):
        spot = Section(section, top.at("idempotency"), top.findings).at("resend_within")
        what = "resend_within is longer than 1h; how long the service remembers a key is not documented"
        top.findings.warn(spot, what, "long-resend", "after it has forgotten one, a repeat is paid again")
    return seconds


def _one_duration(top: Section, key: str, inside: str) -> float:
    section = top.section(key)
    if section is None:
        return 3600.0
    section.refuse_unknown((inside,))
    return section.duration(inside, 3600.0)


def _prices(top: Section, contracts: Mapping[ModelId, Contract]) -> tuple[PriceRule, ...]:
    section = top.section("prices")
    if section is None:
        return ()
    rules: list[PriceRule] = []
    for model, value in section.node.items():
        spot = section.spot.inside(section.node.key_at(model), model)
        contract = find_contract(model, spot, top.findings, contracts)
        if isinstance(value, YamlList):
            for index, item in enumerate(value):
                at = section.at(model).inside(value.item_at(index), index)
                if not isinstance(item, YamlMap):
                    what = f"a price is {{params: …, credits: …}}, not {said(item)}"
                    top.findings.error(at, what, "wrong-type")
                elif rule := _price(Section(item, at, top.findings), model, contract):
                    rules.append(rule)
        elif (credits := section.number(model, default=None, minimum=0)) is not None:
            rules.append(PriceRule(model=ModelId(model), credits=credits))
    return tuple(rules)


def _price(section: Section, model: str, contract: Contract | None) -> PriceRule | None:
    section.refuse_unknown(("params", "credits"))
    if not section.has("credits"):
        what = "a price needs `credits`"
        section.findings.error(section.spot, what, "missing-key", "write {params: …, credits: 12}")
    credits = section.number("credits", default=None, minimum=0)
    written = section.section("params")
    params: Mapping[str, Json] = {}
    if written is not None and contract is not None:
        params, problems = canonical_params(contract, written.node)
        for problem in problems:
            if problem.code != "missing-param":
                spot = written.at(problem.key)
                if problem.code == "unknown-param":
                    spot = written.spot.inside(written.node.key_at(problem.key), problem.key)
                section.findings.report(
                    spot, problem.what, problem.code, problem.hint, job="", severity=problem.severity
                )
    return None if credits is None else PriceRule(model=ModelId(model), credits=credits, params=params)


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


def param_hints(contract: Contract | None, *, known: Collection[str]) -> dict[str, str]:
    """Return, for the params of a model, the hint that they belong under `params:`."""
    if contract is None:
        return {}
    return {key: f"write `{key}` under `params:`" for key in contract.params if key not in known}
