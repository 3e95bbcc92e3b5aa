"""The service's live list of models against the bundled contracts: what differs, and both together.

The live list is advisory: the shape of its params is not documented, and its only documented
example is abbreviated. So what it leaves out is no difference, and its params can widen what a
bundled contract accepts, never narrow it: a wrong refusal here would stop a good job, a wrong request
is refused by the service for free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from runner.contract.phrases import shown
from runner.contract.terms import Contract, Param, ParamType
from runner.model import Json, ModelId


class FactChange(StrEnum):
    """How a fact of the live list relates to the bundled one."""

    NEW = "new"  # only the live list has it
    GONE = "gone"  # only the bundled contract has it
    CHANGED = "changed"  # both have it, with other values


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One fact that differs. `key` is empty for a whole model, else such as `params.duration.maximum`."""

    model: ModelId
    key: str
    change: FactChange
    bundled: Json = None
    live: Json = None

    def __str__(self) -> str:
        where = f"{self.model}: {self.key}" if self.key else self.model
        match self.change:
            case FactChange.NEW:
                return f"{where} is new" + (f": {shown(self.live)}" if self.live is not None else "")
            case FactChange.GONE:
                return f"{where} is not in the live list"
            case FactChange.CHANGED:
                return f"{where} was {shown(self.bundled)}, is now {shown(self.live)}"


def compare_contracts(
    bundled: Mapping[ModelId, Contract], live: Mapping[ModelId, Contract]
) -> list[Difference]:
    """Return what the live list says otherwise than the bundled contracts, by model, then key."""
    differences: list[Difference] = []
    for model in sorted({*bundled, *live}):
        if model not in live:
            differences.append(Difference(model=model, key="", change=FactChange.GONE))
        elif model not in bundled:
            differences.append(Difference(model=model, key="", change=FactChange.NEW))
        else:
            differences += _compare(bundled[model], live[model])
    return differences


def merge_contracts(
    bundled: Mapping[ModelId, Contract], live: Mapping[ModelId, Contract]
) -> dict[ModelId, Contract]:
    """Return the bundled contracts brought up to date, and the models only the live list has."""
    merged = dict(live)
    for model, contract in bundled.items():
        merged[model] = _merge(contract, live[model]) if model in live else contract
    return dict(sorted(merged.items()))


def with_pages(
    merged: Mapping[ModelId, Contract], pages: Mapping[ModelId, Contract]
) -> dict[ModelId, Contract]:
    """Return contracts with those of saved pages: one that could be read whole decides, one with gaps widens."""
    found = dict(merged)
    for model, contract in pages.items():
        known = found.get(model)
        if known is None:
            found[model] = contract
        else:
            found[model] = _decided(known, contract) if contract.complete else _merge(known, contract)
    return dict(sorted(found.items()))


def _decided(known: Contract, page: Contract) -> Contract:
    """Return a contract as its page has it; what the page leaves out stays, and so do texts in our language."""
    params = {}
    for key, param in page.params.items():
        before = known.params.get(key)
        params[key] = param if before is None else replace(param, description=before.description)
    merged = _merge(known, page)
    return replace(
        merged,
        category=page.category or known.category,
        prompt_required=known.prompt_required if page.prompt_required is None else page.prompt_required,
        uploads=known.uploads
        if page.uploads.max_files is None
        else replace(page.uploads, combinations=known.uploads.combinations, notes=known.uploads.notes),
        params=MappingProxyType(params),
        complete=True,
        source=page.source or known.source,
    )


_FACTS = ("category", "base_credits", "billing_type", "max_prompt_length", "api_status")
_PARAM_FACTS = ("type", "default", "minimum", "maximum", "step", "options")


def _compare(bundled: Contract, live: Contract) -> list[Difference]:
    found = _compare_facts(bundled, live, bundled.id, "", _FACTS)
    if live.params:
        for key in sorted({*bundled.params, *live.params}):
            name = f"params.{key}"
            if key not in live.params:
                found.append(Difference(model=bundled.id, key=name, change=FactChange.GONE))
            elif key not in bundled.params:
                found.append(Difference(model=bundled.id, key=name, change=FactChange.NEW))
            else:
                ours, theirs = bundled.params[key], live.params[key]
                found += _compare_facts(ours, theirs, bundled.id, f"{name}.", _PARAM_FACTS)
    return found


def _compare_facts(
    ours: Contract | Param, theirs: Contract | Param, model: ModelId, prefix: str, facts: tuple[str, ...]
) -> list[Difference]:
    found: list[Difference] = []
    for fact in facts:
        old, new = getattr(ours, fact), getattr(theirs, fact)
        if new in (None, "", ParamType.ANY) or new == old or (fact == "api_status" and new == "available"):
            continue
        if isinstance(new, tuple) and isinstance(old, tuple) and sorted(new) == sorted(old):
            continue
        change = FactChange.NEW if old is None else FactChange.CHANGED
        found.append(Difference(model=model, key=prefix + fact, change=change, bundled=old, live=new))
    return found


def _merge(bundled: Contract, live: Contract) -> Contract:
    params = dict(bundled.params)
    for key, param in live.params.items():
        params[key] = _widen(params[key], param) if key in params else param
    return replace(
        bundled,
        base_credits=bundled.base_credits if live.base_credits is None else live.base_credits,
        billing_type=live.billing_type or bundled.billing_type,
        max_prompt_length=live.max_prompt_length or bundled.max_prompt_length,
        api_status=live.api_status or bundled.api_status,
        supported_modes=live.supported_modes or bundled.supported_modes,
        params=MappingProxyType(params),
    )


def _widen(bundled: Param, live: Param) -> Param:
    options = bundled.options
    if options is not None and live.options is not None:
        options = (*options, *(option for option in live.options if option not in options))
    low, high = bundled.minimum, bundled.maximum
    return replace(
        bundled,
        minimum=min(low, live.minimum) if low is not None and live.minimum is not None else low,
        maximum=max(high, live.maximum) if high is not None and live.maximum is not None else high,
        options=options,
        description=bundled.description or live.description,
    )
