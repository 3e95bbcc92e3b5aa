"""What one remote model accepts and costs, and the rules that judge a job against it.

`Contract` is read from `schemas/contracts/<model id>.json` or, defensively, from an element of the
service's own list of models. `canonical_params`, `check_prompt` and `check_references` say what is
wrong with a job before anything is sent. Everything here is pure.

Source: the Rivya documentation for GET /api/v1/models, POST /api/v1/generations and POST
/api/v1/files, and its model pages.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from runner.model import Json, Kind, ModelId, Reference, Severity

MEGABYTE: Final = 1_000_000
MEBIBYTE: Final = 1_048_576  # whether the service's "MB" is this or the one above is not documented

# The client writes this param itself, from `references:`.
REFERENCE_PARAM: Final = "referenceMediaItems"


class ParamType(StrEnum):
    """Type of a param, as the model pages name them."""

    SELECT = "select"  # one of `options`, always sent as text
    NUMBER = "number"  # a JSON number
    TEXT = "text"  # free text
    ARRAY = "array"  # a JSON array
    ANY = "any"  # not known; sent as written


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """One param of a model. None where the documentation says nothing."""

    key: str
    type: ParamType
    required: bool = False
    default: Json = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    options: tuple[str, ...] | None = None
    item_keys: tuple[str, ...] = ()  # texts each item of an array must have
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadKind:
    """What one kind of reference file may be. None where not documented."""

    kind: Kind
    max_mb: float | None
    mime: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploads:
    """Which reference files a model takes.

    `max_files` is None where not documented, 0 where the model takes none. `combinations` are
    the mixes of kinds a page allows, each with its largest counts; empty means any mix.
    """

    max_files: int | None = None
    kinds: tuple[UploadKind, ...] = ()
    combinations: tuple[Mapping[Kind, int], ...] = ()
    notes: str = ""


# Source: /docs/api-files, "default limits"; models may override them both ways.
DEFAULT_UPLOAD_KINDS: Final[Mapping[Kind, UploadKind]] = MappingProxyType(
    {
        Kind.IMAGE: UploadKind(kind=Kind.IMAGE, max_mb=10, mime=("image/jpeg", "image/png", "image/webp")),
        Kind.VIDEO: UploadKind(
            kind=Kind.VIDEO, max_mb=50, mime=("video/mp4", "video/quicktime", "video/webm")
        ),
        Kind.AUDIO: UploadKind(
            kind=Kind.AUDIO,
            max_mb=10,
            mime=("audio/mpeg", "audio/mp4", "audio/wav", "audio/x-wav", "audio/aac", "audio/ogg"),
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What one model accepts and costs. None where the documentation says nothing.

    `base_credits` is the starting price in credits: a lower bound, never a quote. `complete` is
    False where part of the model's documentation could not be read: params that are not listed
    may then exist, so they are sent with a warning instead of being refused.
    """

    id: ModelId
    display_name: str
    category: str = ""  # image, video, audio, chat; empty where not stated
    base_credits: float | None = None
    billing_type: str | None = None
    max_prompt_length: int | None = None  # characters
    prompt_required: bool | None = None
    params_required: bool = False  # the request must have a `params` object, even an empty one
    params: Mapping[str, Param] = field(default_factory=dict)
    uploads: Uploads = Uploads()
    api_status: str | None = None
    supported_modes: tuple[str, ...] | None = None
    complete: bool = False
    source: str = ""
    notes: str = ""

    @property
    def metered(self) -> bool:
        """Whether the charge depends on use, so that equal jobs may cost different amounts."""
        return self.billing_type is not None and self.billing_type.upper() == "METERED"

    @property
    def callable(self) -> bool:
        """Whether the API can be asked for this model; the service also lists models it cannot run."""
        return self.api_status in (None, "available") and self.category != "chat"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamProblem:
    """One thing wrong with a job's params, prompt or references.

    `key` is the param (`duration`), `prompt`, `references` or `references[2]`; `code` a stable
    kebab-case name; `hint` what to write instead, or empty.
    """

    key: str
    what: str
    code: str
    hint: str = ""
    severity: Severity = Severity.ERROR


# --------------------------------------------------------------------------------------------
# Judging a job


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


def check_prompt(contract: Contract, prompt: str | None) -> ParamProblem | None:
    """Return what is wrong with a prompt after expansion, or None.

    The limit counts characters. Where the count in UTF-16 units, which a service written in
    JavaScript may use, passes the limit and the count in characters does not, it is a warning.
    """
    if prompt is None or not prompt.strip():
        if contract.prompt_required is False and prompt is None:
            return None
        state = "is missing" if prompt is None else "is blank"
        return ParamProblem(
            key="prompt",
            what=f"the prompt {state}; {contract.id} needs one",
            code="missing-prompt" if prompt is None else "blank-prompt",
            hint="write `prompt:` in the job or at the top of the manifest",
            # A live entry that says nothing about prompts must not stop anyone.
            severity=Severity.WARNING if contract.prompt_required is None else Severity.ERROR,
        )
    limit = contract.max_prompt_length
    if limit is None or len(prompt) * 2 <= limit:
        return None
    length = len(prompt)
    if length > limit:
        return ParamProblem(
            key="prompt",
            what=f"the prompt has {length:,} characters; {contract.id} takes at most {limit:,}",
            code="prompt-too-long",
            hint=f"shorten it by {length - limit:,}",
        )
    if prompt.isascii():
        return None
    units = length + sum(1 for character in prompt if character > "\uffff")
    if units <= limit:
        return None
    return ParamProblem(
        key="prompt",
        what=f"the prompt has {length:,} characters, but {units:,} if the service counts emoji as two;"
        f" {contract.id} takes at most {limit:,}",
        code="prompt-maybe-too-long",
        hint="it may be refused; shorten it to be sure",
        severity=Severity.WARNING,
    )


def check_references(contract: Contract, references: Sequence[Reference]) -> list[ParamProblem]:
    """Return what is wrong with the reference files of a job: count, kinds, MIME types, sizes.

    A file above `max_mb` times 1,000,000 bytes gets a warning, above `max_mb` times 1,048,576 an
    error, as the documentation does not say which it means. Where the upload rules of the model
    are not known, the service's default limits give warnings at most.
    """
    if not references:
        return []
    uploads = contract.uploads
    if uploads.max_files == 0:
        return [
            ParamProblem(
                key="references",
                what=f"{contract.id} takes no reference files; this job has {len(references)}",
                code="no-references",
                hint="remove `references:` from this job (`references: []` drops the default ones)",
            )
        ]
    problems: list[ParamProblem] = []
    if uploads.max_files is not None and len(references) > uploads.max_files:
        problems.append(
            ParamProblem(
                key="references",
                what=f"{contract.id} takes at most {_files(uploads.max_files)};"
                f" this job has {len(references)}",
                code="too-many-references",
                hint=uploads.notes,
            )
        )
    elif uploads.combinations and not any(_fits(references, mix) for mix in uploads.combinations):
        problems.append(
            ParamProblem(
                key="references",
                what=f"{contract.id} does not take this mix of reference files"
                f" ({', '.join(f'{n} {kind}' for kind, n in _count(references).items())})",
                code="reference-mix",
                hint=uploads.notes,
            )
        )
    by_kind = {rule.kind: rule for rule in uploads.kinds}
    for index, reference in enumerate(references):
        problem = _check_reference(contract, by_kind, f"references[{index}]", reference)
        if problem is not None:
            problems.append(problem)
    return problems


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


# --------------------------------------------------------------------------------------------
# Params, one by one

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


def suggest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate nearest to a misspelt word, or None where none is near."""
    folded: dict[str, str] = {}
    for candidate in candidates:
        folded.setdefault(_fold(candidate), candidate)
    # difflib is quadratic: a word of a megabyte is no one's misspelling.
    wanted = _fold(word[:100])
    if wanted in folded:
        return folded[wanted]
    near = get_close_matches(wanted, folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def _fold(word: str) -> str:
    return word.strip().casefold().replace("_", "").replace("-", "").replace(" ", "")


def _missing_param(contract: Contract, param: Param) -> ParamProblem:
    if param.default is not None:
        hint = f"write `{param.key}: {param.default}` under `params:` for the documented default"
    elif param.options:
        hint = f"one of {_listed(param.options)}"
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
        text = _number_text(value)
    else:
        hint = f"one of {_listed(param.options)}" if param.options else ""
        return _wrong_type(param, value, "one of its options", hint)
    if param.options is None or text in param.options:
        return text
    like = suggest(text, param.options)
    return ParamProblem(
        key=param.key,
        what=f"{param.key} is {shown(value)}, which is not one of {_listed(param.options)}",
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
            hint=f"nearest: {_number_text(low if low is not None and number < low else high or 0)}",
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
    step, base = Decimal(str(param.step)), Decimal(_number_text(param.minimum or 0))
    below = base + ((Decimal(str(number)) - base) // step) * step
    near = [x for x in (below, below + step) if param.maximum is None or x <= Decimal(str(param.maximum))]
    return ParamProblem(
        key=param.key,
        what=f"{param.key} is {shown(value)}; it takes {_range_text(param)}",
        code="off-step",
        hint=f"nearest: {' or '.join(_number_text(float(x)) for x in near)}",
    )


def _as_text(param: Param, value: object) -> str | ParamProblem:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and _is_sendable(value):
        return _number_text(value)
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
            return _number_text(number)
    return "1"


# --------------------------------------------------------------------------------------------
# References, one by one


def _check_reference(
    contract: Contract, by_kind: Mapping[Kind, UploadKind], key: str, reference: Reference
) -> ParamProblem | None:
    rule = by_kind.get(reference.kind)
    known = rule is not None
    if rule is None:
        if by_kind:
            return ParamProblem(
                key=key,
                what=f"{shown(reference.path)} is {_a(reference.kind)} ({reference.mime});"
                f" {contract.id} takes {' or '.join(by_kind)} files",
                code="reference-kind",
            )
        rule = DEFAULT_UPLOAD_KINDS[reference.kind]
    default = DEFAULT_UPLOAD_KINDS[reference.kind]
    mimes, mime_known = (rule.mime, known) if rule.mime else (default.mime or (), False)
    if reference.mime not in mimes:
        return ParamProblem(
            key=key,
            what=f"{shown(reference.path)} is {reference.mime}; {_rules_of(contract, mime_known)}"
            f" {', '.join(mimes)}",
            code="reference-type",
            hint="convert the file to one of these" if mime_known else "it may be refused",
            severity=Severity.ERROR if mime_known else Severity.WARNING,
        )
    max_mb, size_known = (rule.max_mb, known) if rule.max_mb is not None else (default.max_mb or 0.0, False)
    if reference.size_bytes <= max_mb * MEGABYTE:
        return None
    too_large = reference.size_bytes > max_mb * MEBIBYTE
    return ParamProblem(
        key=key,
        what=f"{shown(reference.path)} has {reference.size_bytes:,} bytes;"
        f" {_rules_of(contract, size_known)} {_a(reference.kind)} of up to {_number_text(max_mb)} MB",
        code="reference-too-large" if too_large else "reference-maybe-too-large",
        hint="make the file smaller" if too_large and size_known else "it may be refused",
        severity=Severity.ERROR if too_large and size_known else Severity.WARNING,
    )


def _rules_of(contract: Contract, known: bool) -> str:
    if known:
        return f"{contract.id} takes"
    return f"what {contract.id} takes is not documented, the service's default is"


def _count(references: Sequence[Reference]) -> Counter[Kind]:
    return Counter(reference.kind for reference in references)


def _fits(references: Sequence[Reference], mix: Mapping[Kind, int]) -> bool:
    return all(count <= mix.get(kind, 0) for kind, count in _count(references).items())


def _files(count: int) -> str:
    return f"{count} reference file" + ("" if count == 1 else "s")


def _a(kind: Kind) -> str:
    return f"{'a' if kind is Kind.VIDEO else 'an'} {kind}"


# --------------------------------------------------------------------------------------------
# Words and numbers for people


def shown(value: object) -> str:
    """Return a value as it may stand in a message: one line, short, nothing a terminal would obey."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[:200])
    return text if len(text) <= 60 else f"{text[:57]}…"


def _number_text(number: float) -> str:
    if isinstance(number, float) and number.is_integer() and abs(number) < 2**53:
        number = int(number)
    return repr(number)


def _range_text(param: Param) -> str:
    low, high = param.minimum, param.maximum
    if low is not None and high is not None:
        text = f"{_number_text(low)} to {_number_text(high)}"
    elif low is not None:
        text = f"{_number_text(low)} or more"
    elif high is not None:
        text = f"{_number_text(high)} or less"
    else:
        text = "a number"
    return text if param.step is None else f"{text} in steps of {_number_text(param.step)}"


def _listed(options: Sequence[str]) -> str:
    head = ", ".join(options[:12])
    return head if len(options) <= 12 else f"{head} and {len(options) - 12} more"


# --------------------------------------------------------------------------------------------
# Reading

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
        params_required=obj.get("params_required") is True,
        params=MappingProxyType({param.key: param for param in params}),
        uploads=_uploads(obj.get("uploads")),
        api_status=_text(obj.get("api_status")) or None,
        supported_modes=tuple(map(str, modes)) if isinstance(modes, list) else None,
        complete=obj.get("complete") is True,
        source=_text(obj.get("source")),
        notes=_text(obj.get("notes")),
    )


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
    number = isinstance(value, int | float) and not isinstance(value, bool) and _is_sendable(value)
    return value if number else None  # type: ignore[return-value]  # looked at on the line above
