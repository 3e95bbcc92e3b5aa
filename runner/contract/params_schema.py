"""The JSON Schema of one model's params, derived from its contract."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from runner.contract.phrases import number_text
from runner.contract.terms import REFERENCE_PARAM, Contract, Param, ParamType

Schema: TypeAlias = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def params_schema(contract: Contract) -> Schema:
    """Return the JSON Schema of one model's `params`, in canonical values, after expansion.

    Steps that are fractions are left out: `multipleOf` is not safe with binary fractions.
    """
    schema: Schema = {
        "$schema": DIALECT,
        "title": f"{contract.id} params",
        "type": "object",
        "properties": {REFERENCE_PARAM: False}
        | {param.key: _canonical_param(param) for param in contract.params.values()},
        "required": [param.key for param in contract.params.values() if param.required],
    }
    if contract.complete:
        schema["additionalProperties"] = False
    return schema


def _canonical_param(param: Param) -> Schema:
    """Return the schema of one param, in the type it is sent in."""
    schema = described(param)
    match param.type:
        case ParamType.SELECT:
            schema |= {"enum": list(param.options)} if param.options is not None else {"type": "string"}
        case ParamType.NUMBER:
            schema |= {"type": "number", **bounds(param)}
        case ParamType.TEXT:
            schema["type"] = "string"
        case ParamType.ARRAY:
            schema |= {"type": "array", **items(param)}
        case ParamType.ANY:
            pass
    return schema


def described(param: Param) -> Schema:
    """Return what a schema tells people of a param: title, description, default."""
    parts = [param.description, "Required." if param.required else ""]
    if param.step is not None and not float(param.step).is_integer():
        parts.append(f"In steps of {number_text(param.step)}.")
    schema: Schema = {"title": param.key}
    if description := " ".join(part for part in parts if part):
        schema["description"] = description
    if param.default is not None:
        schema["default"] = param.default
    return schema


def bounds(param: Param) -> Schema:
    """Return the limits of a number, as far as a schema can say them."""
    bounds: Schema = {}
    if param.minimum is not None:
        bounds["minimum"] = param.minimum
    if param.maximum is not None:
        bounds["maximum"] = param.maximum
    # `multipleOf` counts from 0, the step from the minimum, and 0.7 is not a multiple of 0.05 in
    # binary: only whole steps that agree with both can be said here.
    step, low = param.step, param.minimum or 0
    if step is not None and float(step).is_integer() and low % step == 0:
        bounds["multipleOf"] = int(step)
    return bounds


def items(param: Param) -> Schema:
    """Return what the items of an array are."""
    texts: Schema = {key: {"type": "string", "pattern": r"\S"} for key in param.item_keys}
    return {"minItems": 1, "items": {"type": "object", "required": [*param.item_keys], "properties": texts}}
