"""Judges the params of a job and brings them into the types the model wants."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeGuard

from runner.contract.judging import Judge
from runner.contract.once import OncePerObject
from runner.contract.params_schema import params_schema
from runner.contract.phrases import listed, number_alone, number_text, shown, suggest
from runner.contract.terms import REFERENCE_PARAM, Contract, Param, ParamProblem, ParamType
from runner.model import Json, Severity


def canonical_params(
    contract: Contract, params: Mapping[str, object]
) -> tuple[dict[str, Json], list[ParamProblem]]:
    """Return the params in the types the model wants, and what is wrong with them.

    A select becomes the documented text (`6` → `"6"`, `true` → `"true"`), a number a JSON number
    (`"6"` and `6.0` → `6`), a text the text as written; then the model's JSON Schema decides. None removes
    the key. Defaults of the contract are not filled in. A param with an error is left out of the result.

    Args:
        contract: The model.
        params: What the user wrote, placeholders already replaced.

    Returns:
        The canonical params in the order written, and the problems: first those of the params
        as written, then the required ones that are missing.

    >>> grok = contract_from_json({"id": "g", "params": [
    ...     {"key": "duration", "type": "number", "min": 6, "max": 30, "step": 1}]})
    >>> canonical_params(grok, {"duration": "6"})
    ({'duration': 6}, [])
    """
    spelt = {key: _spelt(contract, key, value) for key, value in params.items() if value is not None}
    refused: dict[str, str] = {}
    missing: list[str] = []
    for refusal in _judge_of(contract).refusals(spelt):
        if refusal.path:
            refused.setdefault(str(refusal.path[0]), refusal.keyword if len(refusal.path) == 1 else "items")
        elif refusal.keyword == "required":
            missing = [key for key in refusal.wanted if key not in spelt]
        else:
            refused |= {key: refusal.keyword for key in spelt if key not in contract.params}
    canonical: dict[str, Json] = {}
    problems: list[ParamProblem] = []
    for key, value in spelt.items():
        param = contract.params.get(key)
        if key in refused:
            problems.append(param_problem(contract, key, params[key], refused[key]))
            continue
        if param is None:
            problems.append(_unknown_param(contract, key))
        problem = _beyond_the_schema(param, key, params[key], value)
        if problem is None:
            canonical[key] = value  # type: ignore[assignment]  # it is JSON, as was just looked at
        else:
            problems.append(problem)
    problems += [_missing_param(contract, contract.params[key]) for key in missing]
    return canonical, problems


def param_problem(contract: Contract, key: str, value: object, keyword: str) -> ParamProblem:
    """Return, in words, why a schema derived from a contract refuses the value of a param.

    Args:
        contract: The model.
        key: The param.
        value: What was written.
        keyword: Of JSON Schema, that refused it; `items` where it was something inside the value.
    """
    param = contract.params.get(key)
    if param is None or key == REFERENCE_PARAM:
        return _unknown_param(contract, key)
    match param.type:
        case ParamType.SELECT:
            return _no_option(param, value)
        case ParamType.NUMBER:
            return _no_number(param, value, keyword)
        case ParamType.ARRAY:
            return _no_array(param, value)
        case ParamType.TEXT:
            # `watermark: true` is rarely meant as the word "true" across every picture.
            word = (
                f'write "{json.dumps(value)}" in quotes if you mean the word'
                if value in (True, False)
                else ""
            )
            return _wrong_type(param, value, "text", word)
        case ParamType.ANY:
            what = f"{key} is {shown(value)}, which {contract.id} does not take ({keyword})"
            return ParamProblem(key=key, what=what, code="wrong-type")


# For several workspaces' contracts, in a program that reads manifests for as long as it lives.
_JUDGES = OncePerObject[Judge](most=500)


def _judge_of(contract: Contract) -> Judge:
    return _JUDGES.get(contract, lambda: Judge(params_schema(contract)))


def _spelt(contract: Contract, key: str, value: object) -> object:
    """Return a value in the type its param is sent in, where it can be read as one; else as written."""
    param = contract.params.get(key)
    if param is None:
        return value
    match param.type:
        case ParamType.SELECT if isinstance(value, bool):
            return "true" if value else "false"
        case ParamType.SELECT | ParamType.TEXT if _is_number(value) and _is_sendable(value):
            return number_text(value)
        case ParamType.NUMBER:
            number = _number_of(value)
            return value if number is None else number
        case ParamType.ARRAY:
            items = _items_of(value)
            return value if items is None else items
        case _:
            return value


_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,3})?", re.ASCII)

_WITH_UNIT = re.compile(r"(\d{1,9})([a-zA-Z]+)")  # a number with its unit: 720p, 4K
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")

# Keys that different models use for one idea (documentation of the models, "parameter key style").
_SAME_IDEA: Final = (
    ("aspect_ratio", "aspectRatio", "image_size", "imageSize", "size", "ratio"),
    ("duration", "n_frames", "duration_seconds", "seconds", "length"),
    ("seed", "seeds"),
    ("resolution", "quality", "image_resolution"),
    ("watermark", "waterMark"),
    ("output_format", "outputFormat", "format"),
    ("sound", "generate_audio", "audio"),
    ("enableTranslation", "translate"),
    ("camera_fixed", "fixed_lens"),
    ("enable_prompt_expansion", "expand_prompt", "prompt_extend", "prompt_optimizer", "promptUpsampling"),
)

# Keys that belong beside `params`, not in it.
_BESIDE_PARAMS: Final = {
    "prompt": "write `prompt:` beside `params:`, not inside it",
    "model": "write `model:` beside `params:`, not inside it",
    "references": "write `references:` beside `params:`, not inside it",
    "files": "name files under `references:`, beside `params:`",
    "images": "name files under `references:`, beside `params:`",
    "image": "name files under `references:`, beside `params:`",
    "image_url": "name files under `references:`, beside `params:`",
    "client_request_id": "it is written for you, from the job's key",
}


def _unknown_param(contract: Contract, key: str) -> ParamProblem:
    if key == REFERENCE_PARAM:
        return ParamProblem(
            key=key,
            what=f"{REFERENCE_PARAM} cannot be written by hand",
            code="reserved-param",
            hint="name the files under `references:`; they are uploaded and filled in for you",
        )
    like = suggest_param(contract, key)
    beside = suggest(key, _BESIDE_PARAMS)
    if like is not None:
        hint = f"did you mean `{like}`?"
    elif beside is not None:
        hint = _BESIDE_PARAMS[beside]
    elif contract.params:
        hint = f"it takes {', '.join(contract.params)}"
    else:
        hint = "it is not known to take any params"
    if contract.complete:
        return ParamProblem(
            key=key, what=f"{contract.id} has no param {shown(key)}", code="unknown-param", hint=hint
        )
    return ParamProblem(
        key=key,
        what=f"{shown(key)} is not a known param of {contract.id}, whose documentation"
        " is incomplete; it is sent as written",
        code="unknown-param",
        hint=hint,
        severity=Severity.WARNING,
    )


def suggest_param(contract: Contract, key: str) -> str | None:
    """Return the param of the model that `key` most likely means, or None."""
    # A param of another model for the same idea beats a similar spelling: `size` is not `style`.
    for family in _SAME_IDEA:
        if key in family:
            for sibling in family:
                if sibling in contract.params:
                    return sibling
    return suggest(key, contract.params)


def _missing_param(contract: Contract, param: Param) -> ParamProblem:
    if param.default is not None:
        hint = f"write `{param.key}: {param.default}` under `params:` for the documented default"
    elif param.options:
        hint = f"one of {listed(param.options)}"
    else:
        hint = param.description
    return ParamProblem(
        key=param.key, what=f"{contract.id} needs the param {param.key}", code="missing-param", hint=hint
    )


def _no_option(param: Param, value: object) -> ParamProblem:
    if not isinstance(value, str | bool) and not _is_number(value):
        hint = f"one of {listed(param.options)}" if param.options else ""
        return _wrong_type(param, value, "one of its options", hint)
    options = param.options or ()
    text = value if isinstance(value, str) else json.dumps(value)
    like = _nearest_number(text, options) or suggest(text, options)
    return ParamProblem(
        key=param.key,
        what=f"{param.key} is {shown(value)}, which is not one of {listed(options)}",
        code="not-an-option",
        hint=f'did you mean "{like}"?' if like is not None else "",
    )


def _nearest_number(text: str, options: Sequence[str]) -> str | None:
    """Return the option with the nearest number where all are numbers of one unit: for `1080p` it is `720p`."""
    wanted = _WITH_UNIT.fullmatch(text)
    found = [_WITH_UNIT.fullmatch(option) for option in options]
    if wanted is None or not found:
        return None
    near = [(abs(int(each[1]) - int(wanted[1])), each[0]) for each in found if each is not None]
    if len(near) < len(found) or any(each is not None and each[2] != wanted[2] for each in found):
        return None
    return min(near)[1]


def _no_number(param: Param, value: object, keyword: str) -> ParamProblem:
    number = _number_of(value)
    if number is None:
        hint = f"for example {_sample_number(param)}"
        if isinstance(value, str) and _DECIMAL_COMMA.fullmatch(value.strip()):
            hint = f"write {value.strip().replace(',', '.')}: the comma is read as text"
        elif isinstance(value, str) and (alone := number_alone(value)) is not None:
            hint = f"write the number alone: {alone}"
        if isinstance(value, list) and len(value) > 1:
            hint = f'for a job of each write `matrix: {{{param.key}: […]}}`, and `{param.key}: "${{{param.key}}}"`'
        return _wrong_type(param, value, "a number", hint)
    if keyword == "multipleOf":
        return _off_step(param, value, number)
    low, high = param.minimum, param.maximum
    nearest = low if low is not None and number < low else high
    return ParamProblem(
        key=param.key,
        what=f"{param.key} is {shown(value)}; it takes {_range_text(param)}",
        code="out-of-range",
        hint=f"nearest: {number_text(nearest)}" if nearest is not None else "",
    )


def _off_step(param: Param, value: object, number: float) -> ParamProblem:
    step, base = Decimal(str(param.step)), Decimal(number_text(param.minimum or 0))
    below = base + ((Decimal(str(number)) - base) // step) * step
    near = [x for x in (below, below + step) if param.maximum is None or x <= Decimal(str(param.maximum))]
    return ParamProblem(
        key=param.key,
        what=f"{param.key} is {shown(value)}; it takes {_range_text(param)}",
        code="off-step",
        hint=f"nearest: {' or '.join(number_text(float(x)) for x in near)}",
    )


def _no_array(param: Param, value: object) -> ParamProblem:
    items = _items_of(value)
    if items is None:
        broken = isinstance(value, str) and value.lstrip().startswith("[")
        hint = "this text is not a JSON array" if broken else param.description
        return _wrong_type(param, value, "a list", hint)
    if not items:
        return ParamProblem(key=param.key, what=f"{param.key} is an empty list", code="empty-list")
    for index, item in enumerate(items):
        if lacking := [key for key in param.item_keys if not _has_text(item, key)]:
            return ParamProblem(
                key=param.key,
                what=f"{param.key}[{index}] lacks {' and '.join(lacking)}",
                code="bad-item",
                hint=f"each item is {{{', '.join(f'{key}: text' for key in param.item_keys)}}}",
            )
    return _wrong_type(param, value, "a list of plain values", param.description)


def _beyond_the_schema(param: Param | None, key: str, written: object, value: object) -> ParamProblem | None:
    """Return what a schema cannot say: numbers no JSON reader takes, steps that are binary fractions."""
    if not _is_json(value):
        if param is None or param.type is ParamType.ANY:
            what = f"{shown(key)} is {shown(written)}, which cannot be sent"
            return ParamProblem(key=key, what=what, code="wrong-type")
        if param.type is ParamType.NUMBER and _number_of(written) is not None:
            what = f"{key} is {shown(written)}, too large to send"
            return ParamProblem(key=key, what=what, code="out-of-range")
        if param.type is ParamType.NUMBER:
            return _no_number(param, written, "type")
        return _wrong_type(param, written, "plain values", "")
    if param is None or not param.step or param.step < 0 or not _is_number(value):
        return None
    steps = (value - (param.minimum or 0)) / param.step
    return _off_step(param, written, value) if abs(steps - round(steps)) > 1e-6 else None


def _number_of(value: object) -> int | float | None:
    """Return a value as a number, also one written as text; whole ones as integers; None for anything else."""
    number: int | float
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text):
            return None
        number = int(text) if text.lstrip("+-").isdigit() else float(text)
    elif _is_number(value):
        number = value
    else:
        return None
    if isinstance(number, float):
        if not math.isfinite(number):
            return None
        if number.is_integer() and abs(number) < 2**53:
            number = int(number)
    return number


def _items_of(value: object) -> list[Any] | None:
    """Return a value as a list, also one written as JSON (all that a cell of a table can hold)."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return list(value) if isinstance(value, list | tuple) else None


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has_text(item: object, key: str) -> bool:
    if not isinstance(item, Mapping):
        return False
    text = item.get(key)
    return isinstance(text, str) and bool(text.strip())


def _is_json(value: object) -> bool:
    if value is None or isinstance(value, str | bool):
        return True
    if isinstance(value, int | float):
        return _is_sendable(value)
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_json(part) for key, part in value.items())
    return isinstance(value, list | tuple) and all(_is_json(part) for part in value)


def _wrong_type(param: Param, value: object, wanted: str, hint: str) -> ParamProblem:
    return ParamProblem(
        key=param.key, what=f"{param.key} takes {wanted}, not {shown(value)}", code="wrong-type", hint=hint
    )


def _is_sendable(number: float) -> bool:
    # Above 64 bits most JSON readers lose digits or give up.
    return -(2**63) <= number < 2**64 if isinstance(number, int) else math.isfinite(number)


def _range_text(param: Param) -> str:
    low, high = param.minimum, param.maximum
    if low is not None and high is not None:
        text = f"{number_text(low)} to {number_text(high)}"
    elif low is not None:
        text = f"{number_text(low)} or more"
    elif high is not None:
        text = f"{number_text(high)} or less"
    else:
        text = "a number"
    return text if param.step is None else f"{text} in steps of {number_text(param.step)}"


def minimal_job(contract: Contract) -> dict[str, Json]:
    """Return the smallest valid job for a model: `{"model": …, "prompt": …, "params": {…}}`.

    `prompt` is there unless the model is known not to need one, `params` only where something in
    it is required.
    """
    job: dict[str, Json] = {"model": contract.id}
    if contract.prompt_required is not False:
        job["prompt"] = "A red kite over a green hill"
    params = {param.key: _sample(param) for param in contract.params.values() if param.required}
    if params:
        job["params"] = params
    return job


def _sample(param: Param) -> Json:
    if param.default is not None:
        return param.default
    match param.type:
        case ParamType.SELECT:
            return param.options[0] if param.options else "auto"
        case ParamType.NUMBER:
            return int(_sample_number(param)) if param.minimum is None else param.minimum
        case ParamType.ARRAY:
            # Source of the name: the documented options of elevenlabs-dialogue-v3 `default_voice`.
            return [{key: "Adam" if key == "voice" else "Good evening." for key in param.item_keys}]
        case _:
            return "text"


def _sample_number(param: Param) -> str:
    for number in (param.default, param.minimum, param.maximum):
        if isinstance(number, int | float):
            return number_text(number)
    return "1"
