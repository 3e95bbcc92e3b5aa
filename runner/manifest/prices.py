"""Reads prices that are given: `prices:` of a manifest, and the file of prices that the manifests of a workspace share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runner.contract import Contract, Param, ParamProblem, ParamType, canonical_params
from runner.fingerprint import canonical
from runner.manifest.findings import Findings, SourceText, Spot
from runner.manifest.json_schema import ROUNDINGS
from runner.manifest.model_names import find_contract
from runner.manifest.ordinary_files import read_text
from runner.manifest.section import Section, said
from runner.manifest.yaml12 import read_yaml
from runner.manifest.yaml_tree import YamlList, YamlMap
from runner.model import Json, ModelId, PriceRule, Problem

SHARED: Final = Path("state", "prices.yaml")  # in the workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPrices:
    """The file of prices of a workspace, as far as it could be read."""

    document: YamlMap | None
    spot: Spot | None
    rules: tuple[PriceRule, ...]
    sha256: str  # of its text; empty where there is none


NO_SHARED_PRICES: Final = SharedPrices(document=None, spot=None, rules=(), sha256="")


def read_shared_prices(
    workspace: Path, findings: Findings, contracts: Mapping[ModelId, Contract]
) -> SharedPrices:
    """Read the file of prices of a workspace; what is wrong with it is reported as if it stood in the manifest."""
    path = workspace / SHARED
    if not path.exists():
        return NO_SHARED_PRICES
    text = read_text(path, shown=str(SHARED))
    if isinstance(text, Problem):
        findings.add(text)
        return NO_SHARED_PRICES
    sha256 = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    document = read_yaml(text, file=str(SHARED))
    for problem in document.problems:
        findings.add(problem)
    spot = Spot(SourceText(str(SHARED), text.removeprefix("\ufeff")), document.at)
    if not isinstance(document.value, YamlMap):
        if not document.problems:
            what = f"a file of prices is a mapping, not {said(document.value)}"
            findings.error(spot, what, "wrong-type", "write `prices: {grok-imagine-video: 12}`")
        return SharedPrices(document=None, spot=None, rules=(), sha256=sha256)
    rules = read_prices(Section(document.value, spot, findings), contracts, shared=True)
    return SharedPrices(document=document.value, spot=spot, rules=rules, sha256=sha256)


def read_prices(
    top: Section, contracts: Mapping[ModelId, Contract], *, shared: bool = False
) -> tuple[PriceRule, ...]:
    """Return the rules under `prices:`.

    Args:
        top: What the key stands in.
        contracts: The models there are.
        shared: Whether they hold for all manifests of the workspace.
    """
    section = top.section("prices")
    return tuple(_rules(section, contracts, shared=shared)) if section is not None else ()


def _rules(section: Section, contracts: Mapping[ModelId, Contract], *, shared: bool) -> Iterator[PriceRule]:
    for model, value in section.node.items():
        spot = section.spot.inside(section.node.key_at(model), model)
        contract = find_contract(model, spot, section.findings, contracts)
        at = section.at(model)
        if isinstance(value, YamlMap):
            yield from _rule(Section(value, at, section.findings), model, contract, shared=shared)
        elif isinstance(value, YamlList):
            for index, item in enumerate(value):
                inside = at.inside(value.item_at(index), index)
                if isinstance(item, YamlMap):
                    yield from _rule(Section(item, inside, section.findings), model, contract, shared=shared)
        elif (credits := section.number(model)) is not None:
            yield PriceRule(model=ModelId(model), credits=credits, shared=shared)


def _rule(section: Section, model: str, contract: Contract | None, *, shared: bool) -> Iterator[PriceRule]:
    """Yield the rule of one mapping; none where the schema refuses it."""
    credits = section.number("credits")
    params = _params(section, contract)
    per = _per(section, contract)
    factors = _factors(section, contract)
    if credits is None and not per:
        return
    rounding = section.text("round") or ""
    named = {*per, *factors}
    yield PriceRule(
        model=ModelId(model),
        credits=credits or 0.0,
        params=params,
        per=per,
        factors=factors,
        rounding=rounding if rounding in ROUNDINGS else "",
        defaults={
            name: param.default
            for name, param in (contract.params.items() if contract is not None else ())
            if name in named and param.default is not None
        },
        shared=shared,
    )


def _params(section: Section, contract: Contract | None) -> Mapping[str, Json]:
    written = section.section("params")
    if written is None or contract is None:
        return {}
    params, problems = canonical_params(contract, written.node)
    for problem in problems:
        if problem.code != "missing-param":
            _report(written, problem)
    return params


def _report(section: Section, problem: ParamProblem, *, by_key: bool = False) -> None:
    spot = section.at(problem.key)
    if by_key or problem.code == "unknown-param":
        spot = section.spot.inside(section.node.key_at(problem.key), problem.key)
    section.findings.report(spot, problem.what, problem.code, problem.hint, job="", severity=problem.severity)


def _per(section: Section, contract: Contract | None) -> dict[str, float]:
    written = section.section("per")
    if written is None:
        return {}
    found = {}
    for name in written.node:
        each = written.number(name)
        param = _known(written, name, contract)
        if param is not None and param.type not in _COUNTED and not _is_counted(param):
            what, hint = f"{name} is no number", "what an option makes dearer stands under `factors:`"
            written.findings.error(written.at(name), what, "wrong-type", hint)
        elif each is not None:
            found[name] = each
    return found


_COUNTED: Final = (ParamType.NUMBER, ParamType.ANY)


def _is_counted(param: Param) -> bool:
    """Whether the options of a param are numbers: a duration may be "5" or "10", sent as text."""
    return bool(param.options) and all(option.isdecimal() for option in param.options or ())


def _factors(section: Section, contract: Contract | None) -> dict[str, Mapping[str, float]]:
    written = section.section("factors")
    if written is None:
        return {}
    found: dict[str, Mapping[str, float]] = {}
    for name in written.node:
        inside = written.section(name)
        if inside is None:
            continue
        _known(written, name, contract)
        factors = {}
        for value in inside.node:
            factor = inside.number(value)
            if factor is not None:
                factors[_value(inside, name, value, contract)] = factor
        found[name] = factors
    return found


def _value(section: Section, name: str, value: str, contract: Contract | None) -> str:
    """Return the value of an option, written as a key, in the type that the contract wants; and as canonical text."""
    if contract is None or name not in contract.params:
        return canonical(value)
    params, problems = canonical_params(contract, {name: value})
    for problem in problems:
        if problem.key == name:
            spot = section.spot.inside(section.node.key_at(value), value)
            section.findings.report(
                spot, problem.what, problem.code, problem.hint, job="", severity=problem.severity
            )
    return canonical(params.get(name, value))


def _known(section: Section, name: str, contract: Contract | None) -> Param | None:
    """Return the param of this name; what is none is reported."""
    if contract is None:
        return None
    if name in contract.params:
        return contract.params[name]
    for problem in canonical_params(contract, {name: 1})[1]:
        if problem.key == name:
            _report(section, problem, by_key=True)
    return None
