"""What the service would refuse in `POST /generations`. Pure: a body and a contract in, a sentence out.

Written from the API documentation on its own, so that a mistake in the runner's validation shows up
here as a refusal and not as silent agreement.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from runner.sandbox.catalogue import Contract

BODY_KEYS = frozenset({"model", "prompt", "params", "client_request_id"})
REFERENCE_KEYS = frozenset({"url", "kind", "name", "mimeType", "durationSeconds", "durationToken"})
KINDS = ("image", "video", "audio")
CALLABLE = (None, "available")
# What JSON Schema patterns call white space; str.strip() alone would take control characters too.
WHITE_SPACE = "\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(
    map(chr, range(0x2000, 0x200B))
)

# What is known about an uploaded file: {"kind": ..., "duration_token": ... or None}; None: not one of ours.
FindFile = Callable[[str], Mapping[str, Any] | None]


class Refused(Exception):
    """The service answers 400 `validation_failed` with this sentence."""


def parse_body(raw: bytes) -> dict[str, Any]:
    """Parse a JSON object, strictly: no NaN, no bytes that are not UTF-8, no half characters."""
    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
        json.dumps(body, ensure_ascii=False).encode("utf-8")  # a lone surrogate cannot be stored or sent on
    except (ValueError, RecursionError) as exc:
        raise Refused("The body is not valid JSON.") from exc
    if not isinstance(body, dict):
        raise Refused("The body must be a JSON object.")
    return body


def check_generation(
    body: Mapping[str, Any], catalogue: Mapping[str, Contract], find_file: FindFile
) -> Contract:
    """Return the contract of the model asked for, or raise `Refused` for the first thing that is wrong."""
    unknown = sorted(set(body) - BODY_KEYS)
    if "files" in unknown:
        raise Refused("files is not accepted; use params.referenceMediaItems.")
    if unknown:
        raise Refused(f"Unknown field: {unknown[0]}.")
    contract = _model(body.get("model"), catalogue)
    _prompt(body.get("prompt"), "prompt" in body, contract)
    if "client_request_id" in body and not isinstance(body["client_request_id"], str):
        raise Refused("client_request_id must be a string.")
    _params(body, contract, find_file)
    return contract


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _model(model: Any, catalogue: Mapping[str, Contract]) -> Contract:
    if not isinstance(model, str) or not model:
        raise Refused("model is required and must be a string.")
    contract = catalogue.get(model)
    if contract is None or contract.get("category") == "chat":
        raise Refused(f"Unknown model: {model[:100]}.")
    if contract.get("api_status") not in CALLABLE:
        raise Refused(f"Model {model} cannot be called yet: {contract['api_status']}.")
    return contract


def _prompt(prompt: Any, given: bool, contract: Contract) -> None:
    required = contract.get("prompt_required", True)
    if not given:
        if required:
            raise Refused("prompt is required for this model.")
        return
    if not isinstance(prompt, str):
        raise Refused("prompt must be a string.")
    if required and not prompt.strip(WHITE_SPACE):
        raise Refused("prompt must not be blank.")
    longest = contract.get("max_prompt_length")
    if longest is not None and len(prompt) > longest:
        raise Refused(f"prompt has {len(prompt)} characters; this model takes at most {longest}.")


def _params(body: Mapping[str, Any], contract: Contract, find_file: FindFile) -> None:
    params = body.get("params", {})
    if not isinstance(params, dict):
        raise Refused("params must be an object.")
    known = {param["key"]: param for param in contract["params"]}
    for key in known:
        if known[key].get("required") and key not in params:
            raise Refused(f"params.{key} is required.")
    if contract.get("params_required") and "params" not in body:
        raise Refused("params is required for this model.")
    for key, value in params.items():
        if key == "referenceMediaItems":
            _references(value, contract, find_file)
        elif key in known:
            _value(key, value, known[key])
        elif contract.get("complete", True):
            raise Refused(f"params.{key[:100]} is not a parameter of this model.")


def _value(key: str, value: Any, param: Mapping[str, Any]) -> None:
    match param["type"]:
        case "select":
            _select(key, value, param.get("options"))
        case "number":
            _number(key, value, param)
        case "array":
            _array(key, value)
        case _:
            if not isinstance(value, str):
                raise Refused(f"params.{key} must be a string.")


def _select(key: str, value: Any, options: list[str] | None) -> None:
    if not isinstance(value, str):
        raise Refused(f"params.{key} must be sent as a string.")
    if options and value not in options:
        raise Refused(f"params.{key} must be one of: {', '.join(options)}.")


def _number(key: str, value: Any, param: Mapping[str, Any]) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
        raise Refused(f"params.{key} must be a number.")
    low, high, step = param.get("min"), param.get("max"), param.get("step")
    if (low is not None and value < low) or (high is not None and value > high):
        raise Refused(f"params.{key} must be between {low} and {high}.")
    # Exactly, as it is written: binary fractions would call 0.85 no multiple of 0.05.
    if step and (Fraction(repr(value)) - Fraction(repr(low or 0))) % Fraction(repr(step)):
        raise Refused(f"params.{key} must be in steps of {step}.")


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int too large for a float
        return False


def _array(key: str, value: Any) -> None:
    if not isinstance(value, list) or not value:
        raise Refused(f"params.{key} must be a list with at least one entry.")
    for line in value:
        if key == "dialogue" and not _is_line(line):
            raise Refused("params.dialogue takes objects with voice and text, both strings.")


def _is_line(line: Any) -> bool:
    return (
        isinstance(line, dict)
        and set(line) == {"voice", "text"}
        and all(isinstance(v, str) for v in line.values())
    )


def _references(items: Any, contract: Contract, find_file: FindFile) -> None:
    if not isinstance(items, list):
        raise Refused("params.referenceMediaItems must be a list.")
    uploads = contract.get("uploads") or {}
    most = uploads.get("max_files")
    if most is not None and len(items) > most:
        raise Refused(f"params.referenceMediaItems has {len(items)} items; this model takes at most {most}.")
    kinds = [entry["kind"] for entry in uploads.get("kinds") or ()] or KINDS
    for index, item in enumerate(items):
        _reference(f"params.referenceMediaItems[{index}]", item, kinds, find_file)


def _reference(where: str, item: Any, kinds: list[str] | tuple[str, ...], find_file: FindFile) -> None:
    if not isinstance(item, dict):
        raise Refused(f"{where} must be an object.")
    unknown = sorted(set(item) - REFERENCE_KEYS)
    if unknown:
        raise Refused(f"{where}.{unknown[0][:100]} is not known.")
    for key in ("url", "kind", "name", "mimeType", "durationToken"):
        if key in item and not isinstance(item[key], str):
            raise Refused(f"{where}.{key} must be a string.")
    if not item.get("url") or not item.get("kind"):
        raise Refused(f"{where} needs url and kind.")
    seconds = item.get("durationSeconds", 0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        raise Refused(f"{where}.durationSeconds must be a number.")
    if item["kind"] not in kinds:
        raise Refused(f"{where}.kind must be one of: {', '.join(kinds)}.")
    file = find_file(item["url"])
    if file is None:
        raise Refused(f"{where}.url is not an uploaded file of this account, or it has expired.")
    if file["kind"] != item["kind"]:
        raise Refused(f"{where}.kind is {item['kind']}, but the file was uploaded as {file['kind']}.")
    if file["duration_token"] and item.get("durationToken") != file["duration_token"]:
        raise Refused(f"{where}.durationToken must be the duration_token of the uploaded file.")
