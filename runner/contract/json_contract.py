"""Reads a contract from JSON: a bundled file, or an element of the service's live list."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from runner.contract.terms import Contract, Param, ParamType, UploadKind, Uploads
from runner.model import Kind, ModelId

_TYPES: Final = {
    "select": ParamType.SELECT,
    "enum": ParamType.SELECT,
    "number": ParamType.NUMBER,
    "integer": ParamType.NUMBER,
    "float": ParamType.NUMBER,
    "text": ParamType.TEXT,
    "string": ParamType.TEXT,
    "textarea": ParamType.TEXT,
    "array": ParamType.ARRAY,
}


def contract_from_json(obj: Mapping[str, Any]) -> Contract:
    """Return the contract in a file of `schemas/contracts/` or in an element of GET /api/v1/models.

    The shape of `params` in the live list is not documented, so anything that is not understood
    is left unknown (None, `any`, not complete) and no key is required but `id`.

    Raises:
        ValueError: There is no usable `id`.
    """
    model = _text(obj.get("id"))
    if not model:
        msg = "a model without an id"
        raise ValueError(msg)
    params = [param for item in _param_items(obj.get("params")) if (param := _param(item)) is not None]
    prompt_required = obj.get("prompt_required")
    length = _number(obj.get("max_prompt_length"))
    modes = obj.get("supported_modes")
    return Contract(
        id=ModelId(model),
        display_name=_text(obj.get("display_name")) or model,
        category=_text(obj.get("category")).lower(),
        base_credits=_number(obj.get("base_credits")),
        billing_type=_text(obj.get("billing_type")) or None,
        max_prompt_length=int(length) if length is not None and length > 0 else None,
        prompt_required=prompt_required if isinstance(prompt_required, bool) else None,
        params=MappingProxyType({param.key: param for param in params}),
        uploads=_uploads(obj.get("uploads")),
        api_status=_text(obj.get("api_status")) or None,
        supported_modes=tuple(map(str, modes)) if isinstance(modes, list) else None,
        complete=obj.get("complete") is True,
        source=_text(obj.get("source")),
        notes=_text(obj.get("notes")),
    )


def contract_as_json(contract: Contract) -> dict[str, Any]:
    """Return a contract in the shape that `contract_from_json` reads: keys that are not known are left out."""
    return {
        "id": contract.id,
        "display_name": contract.display_name,
        "category": contract.category,
        "base_credits": contract.base_credits,
        "billing_type": contract.billing_type,
        "supported_modes": list(contract.supported_modes) if contract.supported_modes is not None else None,
        "max_prompt_length": contract.max_prompt_length,
        "params": [
            {
                "key": param.key,
                "type": param.type.value,
                "required": param.required,
                "default": param.default,
                "min": param.minimum,
                "max": param.maximum,
                "step": param.step,
                "options": list(param.options) if param.options is not None else None,
                "description": param.description or None,
                **({"items": {"required": list(param.item_keys)}} if param.item_keys else {}),
            }
            for param in contract.params.values()
        ],
        "api_status": contract.api_status,
        "prompt_required": contract.prompt_required,
        "uploads": {
            "max_files": contract.uploads.max_files,
            "kinds": [
                {
                    "kind": each.kind.value,
                    "max_mb": each.max_mb,
                    "mime": list(each.mime) if each.mime is not None else None,
                }
                for each in contract.uploads.kinds
            ],
            "combinations": [
                {kind.value: count for kind, count in mix.items()} for mix in contract.uploads.combinations
            ],
            "notes": contract.uploads.notes or None,
        },
        "complete": contract.complete,
        "source": contract.source,
        "notes": contract.notes or None,
    }


def _param_items(params: object) -> list[Mapping[str, Any]]:
    if isinstance(params, Mapping):
        return [{"key": key, **(spec if isinstance(spec, Mapping) else {})} for key, spec in params.items()]
    if isinstance(params, list):
        return [item for item in params if isinstance(item, Mapping)]
    return []


def _param(item: Mapping[str, Any]) -> Param | None:
    key = _text(item.get("key")) or _text(item.get("name")) or _text(item.get("id"))
    if not key:
        return None
    bounds = item["range"] if isinstance(item.get("range"), Mapping) else item
    options = _options(item.get("options"))
    kind = _TYPES.get(_text(item.get("type")).lower(), ParamType.SELECT if options else ParamType.ANY)
    items = item.get("items")
    needed = items.get("required") if isinstance(items, Mapping) else None
    default = item.get("default")
    return Param(
        key=key,
        type=kind,
        required=item.get("required") is True,
        default=default if isinstance(default, str | int | float) else None,
        minimum=_number(bounds.get("min")),
        maximum=_number(bounds.get("max")),
        step=_number(bounds.get("step")),
        options=options,
        item_keys=tuple(map(str, needed)) if isinstance(needed, list) else (),
        description=_text(item.get("description")),
    )


def _options(options: object) -> tuple[str, ...] | None:
    if not isinstance(options, list):
        return None
    values = [option.get("value") if isinstance(option, Mapping) else option for option in options]
    scalars = [value for value in values if isinstance(value, str | int | float)]
    return tuple(json.dumps(v) if isinstance(v, bool) else str(v) for v in scalars) or None


def _uploads(obj: object) -> Uploads:
    if not isinstance(obj, Mapping):
        return Uploads()
    kinds = [
        UploadKind(
            kind=Kind(item["kind"]),
            max_mb=_number(item.get("max_mb")),
            mime=tuple(item["mime"]) if item.get("mime") else None,
        )
        for item in obj.get("kinds") or []
    ]
    return Uploads(
        max_files=obj.get("max_files"),
        kinds=tuple(kinds),
        combinations=tuple(
            MappingProxyType({Kind(kind): int(count) for kind, count in mix.items()})
            for mix in obj.get("combinations") or []
        ),
        notes=_text(obj.get("notes")),
    )


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < 2**63 else None  # NaN is not less than any number
