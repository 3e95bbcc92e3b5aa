"""What makes a result, hashed; and the idempotency key of one payment.

Both are promises: a fingerprint that changes pays again for finished work, so the versions below
are frozen by test vectors (`tests/unit/test_fingerprint.py`). A later version has to keep
computing the old ones to compare with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from runner.model import Fingerprint, JobId, Json, ModelId

FINGERPRINT_VERSION = "fp1"
KEY_VERSION = "rb1"

# Made once: `json.dumps` with options makes an encoder for each call, and there are 100,000 of them.
_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_quoted = json.encoder.encode_basestring  # what `_encode` makes of a text
_PLAIN = frozenset({str, int, bool, type(None)})


def canonical(value: Json) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, whole floats as integers.

    >>> canonical({"b": 6.0, "a": "16:9"})
    '{"a":"16:9","b":6}'
    """
    return _encode(_whole(value))


def _whole(value: Json) -> Json:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping):
        if _PLAIN.issuperset(map(type, value.values())):
            return dict(value)
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_whole(item) for item in value]
    return value


def fingerprint(
    *, model: ModelId | str, prompt: str | None, params: Mapping[str, Json], references: Sequence[str] = ()
) -> Fingerprint:
    """Return the hash of what makes a result.

    Args:
        model: Model id.
        prompt: The prompt after expansion, exactly as it is sent.
        params: What the user wrote, in the types the contract wants; defaults are not filled in,
            so a change of the catalogue pays for nothing again.
        references: SHA-256 of each input file, in order; of another job's result what `result_token` returns.

    Returns:
        `fp1:` and 64 hex digits.
    """
    return fingerprint_of(model=model, prompt=prompt, params=canonical(params), references=references)


def fingerprint_of(
    *, model: ModelId | str, prompt: str | None, params: str, references: Sequence[str] = ()
) -> Fingerprint:
    """Return the fingerprint for params whose canonical text is known: many jobs share their params."""
    # The canonical text of one object with these four keys, in parts: a third of the time, and there
    # may be a hundred thousand jobs.
    files = canonical(list(references)) if references else "[]"
    parts = (_quoted(model), params, "null" if prompt is None else _quoted(prompt), files)
    text = '{"model":%s,"params":%s,"prompt":%s,"references":%s}' % parts  # noqa: UP031  # braces are literal
    digest = hashlib.sha256(f"{FINGERPRINT_VERSION}\n{text}".encode("utf-8", "surrogatepass")).hexdigest()
    return Fingerprint(f"{FINGERPRINT_VERSION}:{digest}")


def result_token(
    fingerprint: Fingerprint | str,
    *,
    edition: int = 0,
    take: int = 0,
    result: int = 1,
    frame: str | None = None,
) -> str:
    """Return what stands in a fingerprint for another job's result, before there is any: what will have made it.

    Args:
        fingerprint: Of that job.
        edition: How many of its earlier rounds had a result. A round that failed has made nothing of which others
            could have been made, so it changes nothing.
        take: Its number among takes, which have one fingerprint; 0 where it is none.
        result: Which of its results, from 1.
        frame: Which picture of a film, if not all of it.
    """
    return f"job:{canonical([fingerprint, edition, take, result, frame])}"


def choice_token(takes: Sequence[str]) -> str:
    """Return what stands in a fingerprint for a take that nobody has picked yet: the tokens of all of them."""
    return f"pick:{canonical(list(takes))}"


def idempotency_key(
    *, manifest: str, job: JobId, fingerprint: Fingerprint, round_: int, revision: int, serial: int = 0
) -> str:
    """Return the key of one payment: the same for every send of the same bytes, never reused for others.

    Args:
        manifest: The manifest's name.
        job: The id the job's row began with: a rename keeps its keys.
        fingerprint: What makes the result.
        round_: Which payment for the job this is, from 1.
        revision: Which body of that round, from 1.
        serial: Greater than that of any other row that began with the same id and fingerprint, from 0.

    Returns:
        47 characters of `[A-Za-z0-9_-]` (the service's limit on length and alphabet is
        undocumented; 64 of these are assumed safe).
    """
    # The canonical text of a list of these, in parts, as in `fingerprint_of`.
    numbers = f"{round_},{revision},{serial}" if serial else f"{round_},{revision}"
    text = f"[{_quoted(manifest)},{_quoted(job)},{_quoted(fingerprint)},{numbers}]"
    digest = hashlib.sha256(f"{KEY_VERSION}\n{text}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{KEY_VERSION}-gen-{digest[:39]}"


def price_shape(
    *, model: str, params: Mapping[str, Json], kinds: Sequence[str], metered: bool, prompt_length: int
) -> str:
    """Return the name of what has one price: the model, its params, the kinds of its references.

    A metered model may charge by the length of the text, so there each length is its own shape:
    that can only make us more careful, never less: each new shape is tried near a cap before others follow.
    """
    parts: list[Json] = [model, dict(params), list(kinds)]
    if metered:
        parts.append(prompt_length)
    return hashlib.sha256(canonical(parts).encode("utf-8", "surrogatepass")).hexdigest()[:24]
