"""Judges the params of a job and brings them into the types the model wants."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from runner.contract.terms import REFERENCE_PARAM, Contract, Param, ParamProblem, ParamType
from runner.contract.words import listed, number_text, shown, suggest
from runner.model import Json, Severity


def canonical_params(
    contract: Contract, params: Mapping[str, object]
) -> tuple[dict[str, Json], list[ParamProblem]]:
    """Return the params in the types the model wants, and what is wrong with them.

    A select becomes the documented text (`6` → `"6"`, `true` → `"true"`), a number a JSON number
    (`"6"` and `6.0` → `6`), a text the text as written. None removes the key. Defaults of the
    contract are not filled in. A param with an error is left out of the result.

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
    canonical: dict[str, Json] = {}
    problems: list[ParamProblem] = []
    known = contract.params
    for key, value in params.items():
        if value is None:
            continue
        param = known.get(key)
        if param is None or key == REFERENCE_PARAM:
            problem = _unknown_param(contract, key)
            problems.append(problem)
            if problem.severity is Severity.WARNING:
                _take_any(canonical, problems, key, value)
            continue
        # The commonest case by far, before anything is called.
        if (
            param.type is ParamType.SELECT
            and type(value) is str
            and (param.options is None or value in param.options)
        ):
            canonical[key] = value
            continue
        result: Json | ParamProblem
        match param.type:
            case ParamType.SELECT:
                result = _as_option(param, value)
            case ParamType.NUMBER:
                result = _as_number(param, value)
            case ParamType.TEXT:
                result = _as_text(param, value)
            case ParamType.ARRAY:
                result = _as_array(param, value)
            case ParamType.ANY:
                _take_any(canonical, problems, key, value)
                continue
        if isinstance(result, ParamProblem):
            problems.append(result)
        else:
            canonical[key] = result
    for param in known.values():
        if param.required and params.get(param.key) is None:
            problems.append(_missing_param(contract, param))
    return canonical, problems


_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,3})?", re.ASCII)

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
        what=f"{shown(key)} is not among the known params of {contract.id}, whose documentation"
        " we have only in part; it is sent as written",
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


def _as_option(param: Param, value: object) -> str | ParamProblem:
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, int | float) and _is_sendable(value):
        text = number_text(value)
    else:
        hint = f"one of {listed(param.options)}" if param.options else ""
        return _wrong_type(param, value, "one of its options", hint)
    if param.options is None or text in param.options:
        return text
    like = suggest(text, param.options)
    return ParamProblem(
        key=param.key,
        what=f"{param.key} is {shown(value)}, which is not one of {listed(param.options)}",
        code="not-an-option",
        hint=f'did you mean "{like}"?' if like is not None else "",
    )


def _as_number(param: Param, value: object) -> int | float | ParamProblem:
    number: int | float
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        text = value.strip()
        number = int(text) if text.lstrip("+-").isdigit() else float(text)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = value
    else:
        return _wrong_type(param, value, "a number", f"for example {_sample_number(param)}")
    if isinstance(number, float):
        if not math.isfinite(number):
            return _wrong_type(param, value, "a number", f"for example {_sample_number(param)}")
        if number.is_integer() and abs(number) < 2**53:
            number = int(number)
    low, high = param.minimum, param.maximum
    if (low is not None and number < low) or (high is not None and number > high):
        return ParamProblem(
            key=param.key,
            what=f"{param.key} is {shown(value)}; it takes {_range_text(param)}",
            code="out-of-range",
            hint=f"nearest: {number_text(low if low is not None and number < low else high or 0)}",
        )
    if not _is_sendable(number):
        return ParamProblem(
            key=param.key, what=f"{param.key} is {shown(value)}, too large to send", code="out-of-range"
        )
    if param.step is not None and param.step > 0:
        base = low if low is not None else 0
        steps = (number - base) / param.step
        if abs(steps - round(steps)) > 1e-6:
            return _off_step(param, value, number)
    return number


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


def _as_text(param: Param, value: object) -> str | ParamProblem:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and _is_sendable(value):
        return number_text(value)
    # `watermark: true` is rarely meant as the word "true" across every picture.
    hint = f'write "{json.dumps(value)}" in quotes if you mean the word' if isinstance(value, bool) else ""
    return _wrong_type(param, value, "text", hint)


def _as_array(param: Param, value: object) -> Json | ParamProblem:
    # A cell of a CSV file can only hold an array as JSON text.
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return _wrong_type(param, value, "a list", "this text is not a JSON array")
    if not isinstance(value, list | tuple):
        return _wrong_type(param, value, "a list", param.description)
    if not value:
        return ParamProblem(key=param.key, what=f"{param.key} is an empty list", code="empty-list")
    for index, item in enumerate(value):
        lacking = [key for key in param.item_keys if not _has_text(item, key)]
        if lacking:
            return ParamProblem(
                key=param.key,
                what=f"{param.key}[{index}] lacks {' and '.join(lacking)}",
                code="bad-item",
                hint=f"each item is {{{', '.join(f'{key}: text' for key in param.item_keys)}}}",
            )
    result = list(value)
    return result if _is_json(result) else _wrong_type(param, value, "plain values", "")


def _has_text(item: object, key: str) -> bool:
    if not isinstance(item, Mapping):
        return False
    text = item.get(key)
    return isinstance(text, str) and bool(text.strip())


def _take_any(canonical: dict[str, Json], problems: list[ParamProblem], key: str, value: object) -> None:
    if _is_json(value):
        canonical[key] = value  # type: ignore[assignment]  # _is_json has looked at every part
    else:
        problems.append(
            ParamProblem(
                key=key, what=f"{shown(key)} is {shown(value)}, which cannot be sent", code="wrong-type"
            )
        )


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
