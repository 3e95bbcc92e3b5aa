"""The OpenAPI 3.1 document of what the sandbox really does. Pure: contracts in, document out.

It is not the document of the service, which nobody here has seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.sandbox.catalogue import PUBLIC_FIELDS, Contract
from runner.sandbox.checking import CALLABLE, KINDS, REFERENCE_KEYS
from runner.sandbox.options import SandboxOptions

ABOUT = (
    "A local imitation of the Rivya AI Public API v1, written from its public documentation. It costs "
    "nothing. Chat and webhooks are not part of it. Fields of files other than url and duration_token, the "
    "status of a create answer, and the status of insufficient_credits are not documented by the service: "
    "they are the sandbox's own choice."
)
Schema = dict[str, Any]


def openapi_document(catalogue: Mapping[str, Contract], options: SandboxOptions) -> Schema:
    """Return the document."""
    callable_models = [
        contract
        for contract in catalogue.values()
        if contract.get("api_status") in CALLABLE and contract.get("category") != "chat"
    ]
    requests = {f"Generate-{contract['id']}": _request(contract) for contract in callable_models}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Rivya AI Public API v1 (sandbox)", "version": "v1", "description": ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": _paths(options, sorted(catalogue)),
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "responses": _refusals(),
            "schemas": {
                "GenerationRequest": {"anyOf": [_ref("schemas", name) for name in requests]},
                **requests,
                "Generation": _generation(),
                "PublicApiFile": _file(),
                "Credits": _object({"current_credits": {"type": "number"}}),
                "ModelList": _model_list(),
                "Error": _error(),
            },
        },
    }


def _paths(options: SandboxOptions, models: list[str]) -> Schema:
    created = str(options.create_status)
    return {
        "/api/v1/models": {
            "get": {
                "operationId": "listModels",
                "security": [],
                "responses": {"200": _answer("Every model.", "ModelList")},
            }
        },
        "/api/v1/openapi.json": {
            "get": {
                "operationId": "getOpenapi",
                "security": [],
                "responses": {"200": {"description": "This document.", "content": _json({"type": "object"})}},
            }
        },
        "/api/v1/generations": {
            "post": {
                "operationId": "createGeneration",
                "parameters": [
                    {
                        "name": "Idempotency-Key",
                        "in": "header",
                        "required": False,
                        "schema": {"type": "string"},
                    }
                ],
                "requestBody": {"required": True, "content": _json(_ref("schemas", "GenerationRequest"))},
                "responses": {
                    created: _answer("Accepted, or the same key and body again.", "Generation")
                    | _link("getGeneration", "taskId"),
                    **_errors("400", "401", "402", "403", "409", "429", "500", "503"),
                },
            }
        },
        "/api/v1/generations/{taskId}": {
            "get": {
                "operationId": "getGeneration",
                "parameters": [_path_parameter("taskId")],
                "responses": {"200": _answer("The generation.", "Generation"), **_errors(*READ_ERRORS)},
            }
        },
        "/api/v1/files": {
            "post": {
                "operationId": "createFile",
                "requestBody": {
                    "required": True,
                    "content": {"multipart/form-data": {"schema": _upload(models)}},
                },
                "responses": {
                    created: _answer("Stored.", "PublicApiFile") | _link("getFile", "fileId"),
                    **_errors("400", "401", "403", "409", "429", "500", "503"),
                },
            }
        },
        "/api/v1/files/{fileId}": {
            "get": {
                "operationId": "getFile",
                "parameters": [_path_parameter("fileId")],
                "responses": {"200": _answer("The file.", "PublicApiFile"), **_errors(*READ_ERRORS)},
            }
        },
        "/api/v1/credits": {
            "get": {
                "operationId": "getCredits",
                "responses": {
                    "200": _answer("The balance of the account.", "Credits"),
                    **_errors("401", "403", "429", "500", "503"),
                },
            }
        },
    }


READ_ERRORS = ("401", "403", "404", "429", "500", "503")


def _request(contract: Contract) -> Schema:
    """Return the schema of a body for one model."""
    required = ["model"]
    prompt: Schema = {"type": "string"}
    if contract.get("prompt_required", True):
        required.append("prompt")
        prompt |= {"minLength": 1, "pattern": r"\S"}
    if contract.get("max_prompt_length") is not None:
        prompt["maxLength"] = contract["max_prompt_length"]
    params = _object(
        {param["key"]: _param(param) for param in contract["params"]},
        required=[param["key"] for param in contract["params"] if param.get("required")],
        more=not contract.get("complete", True),
    )
    params["properties"]["referenceMediaItems"] = _references(contract)
    if params["required"] or contract.get("params_required"):
        required.append("params")
    properties = {
        "model": {"const": contract["id"]},
        "prompt": prompt,
        "params": params,
        "client_request_id": {"type": "string"},
    }
    return _object(properties, required=required, more=False) | {"title": contract.get("display_name") or ""}


def _param(param: Mapping[str, Any]) -> Schema:
    schema: Schema = {"type": "string"}
    match param["type"]:
        case "select" if param.get("options"):
            schema["enum"] = param["options"]
        case "number":
            schema = {"type": "number"}
            bounds = {
                "minimum": param.get("min"),
                "maximum": param.get("max"),
                "multipleOf": _multiple(param),
            }
            schema |= {name: value for name, value in bounds.items() if value is not None}
        case "array":
            line = _object({"voice": {"type": "string"}, "text": {"type": "string"}}, more=False)
            schema = {"type": "array", "minItems": 1}
            if param["key"] == "dialogue":
                schema["items"] = line
    if param.get("description"):
        schema["description"] = param["description"]
    return schema


def _multiple(param: Mapping[str, Any]) -> float | None:
    """Return the step where counting from zero is the same as counting from the minimum."""
    step, low = param.get("step"), param.get("min") or 0
    return step if step and abs(low / step - round(low / step)) < 1e-9 else None


def _references(contract: Contract) -> Schema:
    uploads = contract.get("uploads") or {}
    kinds = [entry["kind"] for entry in uploads.get("kinds") or ()] or list(KINDS)
    texts: Schema = {name: {"type": "string"} for name in sorted(REFERENCE_KEYS)}
    item = _object(
        texts
        | {"kind": {"enum": kinds}, "durationSeconds": {"type": "number", "minimum": 0}}
        | {"url": {"type": "string", "format": "uri", "description": "The url of an uploaded file."}},
        required=["url", "kind"],
        more=False,
    )
    schema: Schema = {"type": "array", "items": item}
    if uploads.get("max_files") is not None:
        schema["maxItems"] = uploads["max_files"]
    return schema


def _generation() -> Schema:
    time = {"type": "string", "format": "date-time"}
    urls = {"type": "array", "items": {"type": "string", "format": "uri"}}
    result = _object({"primary_url": {"type": "string", "format": "uri"}, "urls": urls})
    failure = _object({"code": {"type": "string"}, "message": {"type": "string"}})
    return _object({
        "id": {"type": "string"},
        "status": {"enum": ["queued", "processing", "succeeded", "failed"]},
        "model": {"type": "string"},
        "reserved_credits": {"type": "number", "minimum": 0},
        "final_credits": {"type": "number", "minimum": 0},
        "created_at": time,
        "updated_at": time,
        "result": {"anyOf": [result, {"type": "null"}]},
        "error": {"anyOf": [failure, {"type": "null"}]},
    })  # fmt: skip


def _file() -> Schema:
    text = {"type": "string"}
    properties = {
        "id": text,
        "url": {"type": "string", "format": "uri"},
        "kind": {"enum": list(KINDS)},
        "mime_type": text,
        "size_bytes": {"type": "integer", "minimum": 1},
        "created_at": {"type": "string", "format": "date-time"},
        "duration_token": {"type": "string", "description": "Audio and video only."},
        "expires_at": {"type": "string", "format": "date-time", "description": "Only with --file-ttl."},
    }
    schema = _object(properties, required=["id", "url", "kind", "mime_type", "size_bytes", "created_at"])
    return schema | {"description": "Only url and duration_token are documented by the service."}


def _upload(models: list[str]) -> Schema:
    properties: Schema = {
        "file": {"type": "string", "contentMediaType": "application/octet-stream"},
        "kind": {"enum": list(KINDS)},
        "model": {"enum": models},
        "client_request_id": {"type": "string", "maxLength": 128},
    }
    return _object(properties, required=["file", "kind"], more=False)


def _model_list() -> Schema:
    typed: Schema = {
        "id": {"type": "string"},
        "base_credits": {"type": ["number", "null"]},
        "max_prompt_length": {"type": ["integer", "null"]},
        "params": {"type": ["array", "null"]},
    }
    model = _object({name: typed.get(name, {}) for name in PUBLIC_FIELDS})
    return _object({"object": {"const": "list"}, "data": {"type": "array", "items": model}})


def _error() -> Schema:
    text = {"type": "string"}
    return _object({"error": _object({"code": text, "message": text, "requestId": text})})


def _refusals() -> Schema:
    about = {
        "400": "validation_failed: something in the request is wrong.",
        "401": "api_key_missing, api_key_invalid, api_key_revoked or api_key_expired.",
        "402": "insufficient_credits.",
        "403": "api_scope_denied.",
        "404": "not_found: unknown, or of another account.",
        "409": "idempotency_conflict: the key came with another body, or its first request is in progress.",
        "429": "rate_limited.",
        "500": "internal_error (only when asked for as a fault).",
        "503": "public_api_disabled (only when asked for as a fault).",
    }
    refusals = {f"Error{status}": _answer(text, "Error") for status, text in about.items()}
    retry_after = {"description": "Seconds or an HTTP date; may be absent.", "schema": {"type": "string"}}
    refusals["Error429"]["headers"] = {"Retry-After": retry_after}
    return refusals


def _errors(*statuses: str) -> Schema:
    return {status: _ref("responses", f"Error{status}") for status in statuses}


def _answer(description: str, schema: str) -> Schema:
    return {"description": description, "content": _json(_ref("schemas", schema))}


def _link(operation: str, parameter: str) -> Schema:
    there = {"operationId": operation, "parameters": {parameter: "$response.body#/id"}}
    return {"links": {operation: there}}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _ref(section: str, name: str) -> Schema:
    return {"$ref": f"#/components/{section}/{name}"}


def _path_parameter(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _object(properties: Schema, *, required: list[str] | None = None, more: bool = True) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    schema["required"] = list(properties) if required is None else required
    if not more:
        schema["additionalProperties"] = False
    return schema
