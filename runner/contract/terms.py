"""What one remote model accepts and costs, as records.

None everywhere means that no documentation says it; nothing is made up.

Source: the Rivya documentation for GET /api/v1/models, POST /api/v1/generations and POST
/api/v1/files, and its model pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from runner.model import Json, Kind, ModelId, Severity

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
