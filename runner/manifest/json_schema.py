"""Derives JSON Schemas from the contracts, so that what an editor says cannot drift from them.

`manifest_schema` makes `schemas/manifest.schema.json`, which decides what a manifest may say, in editors and here.
`make schemas` writes the committed file, `make check` compares it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from runner.contract import REFERENCE_PARAM, Contract, Param, ParamType
from runner.contract.params_schema import DIALECT, Schema, bounds, described, items
from runner.contract.phrases import number_text
from runner.model import Frame, ModelId
from runner.schemas import load_contracts, read_schema

# A `${` that is not escaped as `$${`.
PLACEHOLDER: Final = r"(^|[^$])(\$\$)*\$\{"
OWN_KEY: Final = "^x-"  # of the top level
_NUMBER_TEXT: Final = r"^\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$"
_DURATION: Final = r"^\d+(\.\d+)?[smhd]$"
_SIZE: Final = r"^\d+(\.\d+)?\s*([kKMGT]i?)?B$"
ROUNDINGS: Final = ("up", "nearest", "down")
_VARIABLE: Final = r"^[A-Za-z_][A-Za-z0-9_-]*$"


def manifest_schema(contracts: Mapping[ModelId, Contract]) -> Schema:
    """Return the JSON Schema (2020-12) of a manifest, version 1, for these models.

    It says what can be said of one place in the file. What depends on several places, or on files,
    is checked after expansion: required params, steps that are fractions, references, ids.
    """
    models = sorted(contracts)
    # if/then on `model`, not oneOf: the error then names the real mistake, and editors complete it.
    by_model = [
        {"if": _names_model(model), "then": {"$ref": f"#/$defs/{_def_name(model)}"}} for model in models
    ]
    by_default_model = [
        {
            "if": _names_model(model),
            "then": {
                "$ref": f"#/$defs/{_def_name(model)}",
                "type": "object",
                "properties": {
                    "jobs": {
                        "type": "array",
                        "items": {
                            "if": {"type": "object", "properties": {"model": False}},
                            "then": {"$ref": f"#/$defs/{_def_name(model)}"},
                        },
                    }
                },
            },
        }
        for model in models
    ]
    return {
        "$schema": DIALECT,
        "title": "rivya-batch manifest, version 1",
        "description": "Bulk generation jobs for the Rivya AI Public API. Made by `make schemas`"
        " from schemas/contracts; do not edit.",
        "type": "object",
        "additionalProperties": False,
        # The user's own: values with anchors (`&name`), which jobs repeat (`*name`) or merge (`<<: *name`).
        "patternProperties": {OWN_KEY: True},
        "required": ["version", "name", "jobs"],
        "properties": _head_properties(),
        "allOf": by_default_model,
        "$defs": {
            "model": _model_name(contracts),
            "prompt": {
                "type": "string",
                "title": "Prompt",
                "description": "Text for the model; `${…}` is filled in, `$${` is a literal `${`.",
            },
            "params": {
                "type": "object",
                "title": "Params of the model",
                "description": "Merged over the defaults, key by key; null removes a key.",
                "properties": {REFERENCE_PARAM: False},
            },
            "references": {
                "type": "array",
                "title": "Reference files",
                "description": "Paths of input files, relative to this manifest, or other jobs' results. They are uploaded"
                " for you.",
                "items": _either({"type": "string", "minLength": 1}, _reference()),
            },
            "scalar": _either(*_types("string", "number", "boolean", "null")),
            "combination": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {"$ref": "#/$defs/scalar"},
            },
            "duration": {
                "type": "string",
                "pattern": _DURATION,
                "examples": ["90s", "30m", "6h", "1d"],
            },
            "job": {**_job(), "allOf": by_model},
            **{_def_name(model): _model_def(contracts[model]) for model in models},
        },
    }


def schema_of_prices(contracts: Mapping[ModelId, Contract]) -> Schema:
    """Return what decides what a workspace's file of prices may say: `prices:`, as in a manifest, and nothing else."""
    whole = schema_of_manifests(contracts)
    return {
        "$schema": DIALECT,
        "type": "object",
        "additionalProperties": False,
        "patternProperties": {OWN_KEY: True},
        "required": ["prices"],
        "properties": {"prices": whole["properties"]["prices"]},
        "$defs": whole["$defs"],
    }


def schema_of_manifests(contracts: Mapping[ModelId, Contract]) -> Schema:
    """Return what decides what a manifest may say: the schema as shipped, or derived where other contracts hold."""
    if contracts is load_contracts():
        return read_schema("manifest.schema.json")
    return manifest_schema(contracts)


def render(schema: Schema) -> str:
    """Return the schema as the text of its committed file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


# --------------------------------------------------------------------------------------------


def _head_properties() -> Schema:
    duration = {"$ref": "#/$defs/duration"}
    return {
        "version": {"const": 1, "description": "Version of the manifest format."},
        "name": {
            "type": "string",
            "pattern": "^[a-z0-9][a-z0-9-]{0,62}$",
            "description": "Names the manifest's rows in the database and its output folder. Keep it:"
            " under another name the jobs are new, and are paid for again.",
        },
        "model": {
            "$ref": "#/$defs/model",
            "description": "Default model of all jobs; a job may name another.",
        },
        "prompt": {"$ref": "#/$defs/prompt", "description": "Default prompt."},
        "params": {"$ref": "#/$defs/params", "description": "Default params of all jobs."},
        "references": {"$ref": "#/$defs/references"},
        "mend": {
            "type": "boolean",
            "description": "Send copies of pictures that models take: upright, RGB, one frame, within the model's"
            " size, JPEG or PNG. The copies are kept in `mended/` beside the database.",
        },
        "vars": {
            "type": "object",
            "description": "Values for `${name}` placeholders.",
            "propertyNames": {"pattern": _VARIABLE},
            "additionalProperties": {"$ref": "#/$defs/scalar"},
        },
        "budget": _section(
            "Caps in credits: spent + reserved + about to be reserved stays within them.",
            {
                "max_credits": _credits("For this manifest, over all its runs."),
                "max_credits_per_job": _credits("For a single job: one estimated above this is not sent."),
                "max_credits_per_day": _credits("For the whole workspace, in any 24 hours."),
            },
        ),
        "limits": _section(
            "How much is done at once.",
            {
                "requests_per_second": {
                    "description": "Ceiling for all requests together; `auto` finds the highest rate the service accepts.",
                    "default": "auto",
                    **_either({"type": "number", "exclusiveMinimum": 0}, {"type": "string", "const": "auto"}),
                },
                "in_flight": {
                    "description": "Ceiling for tasks at the service at once.",
                    "default": "auto",
                    **_either({"type": "integer", "minimum": 1}, {"type": "string", "const": "auto"}),
                },
                "uploads": {"type": "integer", "minimum": 1, "default": 4, "description": "Uploads at once."},
                "downloads": {
                    "type": "integer",
                    "minimum": 1,
                    "default": 4,
                    "description": "Downloads at once.",
                },
                "job_deadline": duration
                | {
                    "default": "6h",
                    "description": "A task that runs longer is reported as overdue, not paid for again;"
                    " the next run checks it again.",
                },
                "max_result_bytes": {
                    "description": "Largest result file: bytes, or 500MB, 2GB, 1GiB.",
                    "default": "2GB",
                    **_either({"type": "integer", "minimum": 1}, {"type": "string", "pattern": _SIZE}),
                },
            },
        ),
        "polling": _section(
            "How often a task is polled, in seconds.",
            {
                "first_s": _seconds(2.5, "Delay before the first poll."),
                "min_s": _seconds(5, "Shortest wait between two polls."),
                "max_s": _seconds(60, "Longest wait between two polls."),
            },
        ),
        "retry": _section(
            "Automatic paid retries.",
            {
                "failed_rounds": {
                    "default": 0,
                    "description": "How many more times a failed job may be paid for without asking; 0 is never. A number"
                    " does not cover content refusals.",
                    **_either(
                        {"type": "integer", "minimum": 0},
                        {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {
                                "generation": _rounds("The task ran and failed."),
                                "policy": _rounds(
                                    "The result was refused for its content, and nothing was charged."
                                ),
                            },
                        },
                    ),
                }
            },
        ),
        "idempotency": _section(
            "Sending an unclear request again.",
            {
                "resend_within": duration
                | {
                    "default": "1h",
                    "description": "How long after the first send the same key may be sent again.",
                },
                "resend_after": duration
                | {
                    "default": "20s",
                    "description": "How long to wait before an unclear request is sent again.",
                },
            },
        ),
        "uploads": _section(
            "Uploaded references.",
            {
                "reuse_within": duration
                | {"default": "1h", "description": "How long an uploaded reference is reused."}
            },
        ),
        "output": _section(
            "Where results go.",
            {
                "dir": {
                    "type": "string",
                    "minLength": 1,
                    "description": "Folder, relative to this manifest, or s3://bucket/prefix. Default: out/<name>"
                    " in the workspace.",
                },
                "name": {
                    "type": "string",
                    "minLength": 1,
                    "default": "${id}",
                    "description": "File name without extension; `/` makes folders.",
                },
            },
        ),
        "prices": {
            "type": "object",
            "description": "Prices you already know, in credits per job.",
            "propertyNames": {"$ref": "#/$defs/model"},
            "additionalProperties": _either(
                {"type": "number", "minimum": 0},
                _price(),
                {"type": "array", "items": _price()},
            ),
        },
        "jobs": {
            "type": "array",
            "minItems": 1,
            "description": "Expanded and submitted in this order.",
            "items": {"$ref": "#/$defs/job"},
        },
    }


def _job() -> Schema:
    combinations = {"type": "array", "items": {"$ref": "#/$defs/combination"}}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["id"],
        "properties": {
            "id": {
                "type": "string",
                "minLength": 1,
                "description": "Unique and stable; 1 to 200 letters, digits, spaces, `.`, `_`, `-`."
                " Use `| slug` on free text.",
            },
            "model": {"$ref": "#/$defs/model"},
            "prompt": {"$ref": "#/$defs/prompt"},
            "params": {"$ref": "#/$defs/params"},
            "references": {"$ref": "#/$defs/references"},
            "matrix": {
                "type": "object",
                "minProperties": 1,
                "description": "One job for each combination of these values.",
                "propertyNames": {"pattern": _VARIABLE},
                "additionalProperties": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"$ref": "#/$defs/scalar"},
                },
            },
            "exclude": {**combinations, "description": "Combinations of the matrix to leave out."},
            "include": {**combinations, "description": "Whole combinations to add."},
            "rows": _rows(),
            "repeat": {
                "type": "integer",
                "minimum": 1,
                "maximum": 1000,
                "description": "This many takes of each; ids get -1, -2, …; `${take}` is the number.",
            },
        },
        "dependentRequired": {"exclude": ["matrix"]},
    }


def _reference() -> Schema:
    of_a_job = ("result", "frame", "pick")
    return {
        "type": "object",
        "additionalProperties": False,
        "anyOf": [{"required": [key], "properties": {key: True}} for key in ("file", "job")],
        "properties": {
            "file": {"type": "string", "minLength": 1, "description": "The path."},
            "mend": {"type": "boolean", "description": "For this file, in the place of `mend` at the top."},
            "job": {
                "type": "string",
                "minLength": 1,
                "description": "The id of another job of this manifest, whose result is sent once it is there.",
            },
            "result": {
                "type": "integer",
                "minimum": 1,
                "description": "Which of its results, where it makes several.",
            },
            "frame": {
                "type": "string",
                "enum": [each.value for each in Frame],
                "description": "A picture of the film that it makes.",
            },
            "pick": {
                "type": "boolean",
                "description": "Wait until a person has picked one of its takes, and send that one.",
            },
        },
        "dependentSchemas": {
            "job": {"properties": {"file": False, "mend": False}},
            **{key: {"properties": {"file": False}} for key in of_a_job},
        },
    }


def _price() -> Schema:
    number = {"type": "number", "minimum": 0}
    return {
        "type": "object",
        "additionalProperties": False,
        "anyOf": [{"required": [key], "properties": {key: True}} for key in ("credits", "per")],
        "properties": {
            "params": {"type": "object", "description": "Where all of these match."},
            "credits": _credits("Credits of one job; with `per`, those it costs in any case."),
            "per": {
                "type": "object",
                "minProperties": 1,
                "description": "Credits for each of a number: {duration: 1.67} is 1.67 a second.",
                "additionalProperties": number,
            },
            "factors": {
                "type": "object",
                "minProperties": 1,
                "description": "By option and value: {resolution: {720p: 2}} doubles the price at 720p.",
                "additionalProperties": {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": number,
                },
            },
            "round": {
                "type": "string",
                "enum": list(ROUNDINGS),
                "description": "To whole credits. Not rounded by default.",
            },
        },
    }


def _rows() -> Schema:
    text = {"type": "string", "minLength": 1}
    wanted = _either(
        *_types("string", "number", "boolean", "null"), {"type": "array", "items": {"$ref": "#/$defs/scalar"}}
    )
    properties = {
        "file": text | {"description": "The file, relative to this manifest.", "examples": ["shots.csv"]},
        "delimiter": {
            "type": "string",
            "pattern": '^(tab|[^"\\r\\n])$',
            "description": "What separates the cells, where the header line does not tell; with it a .txt is a table.",
            "examples": [";", "tab", "|"],
        },
        "encoding": text
        | {
            "description": "Of a text that is not UTF-8.",
            "examples": ["windows-1252", "utf-16", "shift_jis"],
        },
        "sheet": text | {"description": "Of an .xlsx; the first that is not hidden by default."},
        "where": {
            "type": "object",
            "description": "Only rows with these values: {status: ready}, or a list of values for a column.",
            "additionalProperties": wanted,
        },
        "glob": text | {"description": "Pattern of files.", "examples": ["assets/*.png"]},
    }
    return {
        "description": "One job for each row of a .csv, .tsv, .txt, .xlsx, .jsonl, .json or .yaml file; or {glob: …},"
        " one for each file.",
        **_either(
            text,
            {
                "type": "object",
                "additionalProperties": False,
                "minProperties": 1,
                "properties": properties,
                "dependentSchemas": {"glob": {"maxProperties": 1}},
                "anyOf": [{"required": [key], "properties": {key: True}} for key in ("file", "glob")],
            },
        ),
    }


def _either(*schemas: Schema) -> Schema:
    """Return what takes one of several types, each with rules of its own.

    A list of types would say the same; but validators in strict mode refuse those (ajv's `strictTypes`).
    """
    return {"anyOf": list(schemas)}


def _types(*names: str) -> list[Schema]:
    return [{"type": name} for name in names]


def _section(description: str, properties: Schema) -> Schema:
    return {
        "type": "object",
        "description": description,
        "additionalProperties": False,
        "properties": properties,
    }


def _credits(description: str) -> Schema:
    return {"type": "number", "minimum": 0, "description": description}


def _rounds(description: str) -> Schema:
    return {"type": "integer", "minimum": 0, "default": 0, "description": description}


def _seconds(default: float, description: str) -> Schema:
    return {"type": "number", "minimum": 0.05, "default": default, "description": description}


# --------------------------------------------------------------------------------------------


def _def_name(model: ModelId) -> str:
    return f"model:{model}"


def _names_model(model: ModelId) -> Schema:
    return {"required": ["model"], "properties": {"model": {"const": model}}}


def _model_name(contracts: Mapping[ModelId, Contract]) -> Schema:
    models = sorted(contracts)
    return {
        "type": "string",
        "title": "Model",
        "description": "Public id of a model; `rivya-batch models` lists them.",
        "if": {"type": "string", "pattern": PLACEHOLDER},
        "else": {"enum": models},
        # Refuses nothing: editors complete values from `anyOf`, but not from `else`.
        "anyOf": [True, *({"const": model, "title": _model_line(contracts[model])} for model in models)],
    }


def _model_line(contract: Contract) -> str:
    parts = [f"{contract.display_name}: {contract.category}"]
    if contract.base_credits is not None:
        parts.append(
            f"from {number_text(contract.base_credits)} credits{', metered' if contract.metered else ''}"
        )
    if contract.max_prompt_length is not None:
        parts.append(f"prompt up to {contract.max_prompt_length} characters")
    if contract.uploads.max_files == 0:
        parts.append("no reference files")
    elif contract.uploads.max_files is not None:
        kinds = " or ".join(rule.kind for rule in contract.uploads.kinds)
        parts.append(f"up to {contract.uploads.max_files} reference files ({kinds})")
    return ", ".join(parts)


def _model_def(contract: Contract) -> Schema:
    params: Schema = {
        "type": "object",
        "title": f"Params of {contract.id}",
        "properties": {param.key: _written_param(param) for param in contract.params.values()},
    }
    if contract.complete:
        # For the message of a key that exists only to be refused.
        params["properties"][REFERENCE_PARAM] = False
        params["additionalProperties"] = False
    properties: Schema = {"params": params}
    if contract.max_prompt_length is not None:
        properties["prompt"] = {
            "type": "string",
            "if": {"pattern": PLACEHOLDER},
            "else": {"maxLength": contract.max_prompt_length},
        }
    return {
        "title": contract.id,
        "description": _model_line(contract),
        "type": "object",
        "properties": properties,
    }


def _written_param(param: Param) -> Schema:
    """The schema of a param as a person may write it in YAML; `canonical_params` reads the same."""
    schema = described(param)
    match param.type:
        case ParamType.SELECT if param.options is not None:
            schema |= {
                "examples": list(param.options),  # editors complete from here, not from `else`
                "if": {"type": "string", "pattern": PLACEHOLDER},
                "else": {"enum": [*param.options, *_other_spellings(param.options), None]},
            }
        case ParamType.NUMBER:
            text = {"type": "string", "pattern": f"{PLACEHOLDER}|{_NUMBER_TEXT}"}
            schema |= _either({"type": "number", **bounds(param)}, text, {"type": "null"})
        case ParamType.TEXT:
            schema |= _either(*_types("string", "number", "null"))
        case ParamType.ARRAY:
            text = {"type": "string", "pattern": rf"{PLACEHOLDER}|^\s*\["}
            schema |= _either({"type": "array", **items(param)}, text, {"type": "null"})
        case ParamType.SELECT | ParamType.ANY:
            schema |= _either(*_types("string", "number", "boolean", "null"))
    return schema


def _other_spellings(options: tuple[str, ...]) -> list[object]:
    """What YAML makes of an option written without quotes, where that is not text."""
    spellings: list[object] = []
    for option in options:
        if option in ("true", "false"):
            spellings.append(option == "true")
        elif re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?", option):
            spellings.append(float(option) if "." in option else int(option))
    return spellings
