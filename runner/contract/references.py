"""Judges the reference files of a job: count, kinds, MIME types, sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from runner.contract.phrases import number_text, shown
from runner.contract.terms import (
    DEFAULT_UPLOAD_KINDS,
    MEBIBYTE,
    MEGABYTE,
    Contract,
    ParamProblem,
    UploadKind,
)
from runner.model import Kind, Reference, Severity


def check_references(contract: Contract, references: Sequence[Reference]) -> list[ParamProblem]:
    """Return what is wrong with the reference files of a job: count, kinds, MIME types, sizes.

    A file above `max_mb` times 1,000,000 bytes gets a warning, above `max_mb` times 1,048,576 an
    error, as the documentation does not say which it means. Where the upload rules of the model
    are not known, the service's default limits give warnings at most. Of what another job has yet to make, its
    kind is all that is known.
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


def picture_limits(contract: Contract) -> tuple[int, tuple[str, ...]]:
    """Return what every picture for a model may be: the most bytes, and MIME types."""
    default = DEFAULT_UPLOAD_KINDS[Kind.IMAGE]
    rule = next((rule for rule in contract.uploads.kinds if rule.kind is Kind.IMAGE), default)
    max_mb = default.max_mb if rule.max_mb is None else rule.max_mb
    return int((max_mb or 0.0) * MEGABYTE), rule.mime or default.mime or ()


def _check_reference(
    contract: Contract, by_kind: Mapping[Kind, UploadKind], key: str, reference: Reference
) -> ParamProblem | None:
    rule = by_kind.get(reference.kind)
    known = rule is not None
    if rule is None:
        if by_kind:
            return ParamProblem(
                key=key,
                what=f"{shown(reference.path)} is {_a(reference.kind)}{_mime(reference)};"
                f" {contract.id} takes {' or '.join(by_kind)} files",
                code="reference-kind",
                hint=_NO_PICTURE if _is_named_like_a_film(reference) else "",
            )
        rule = DEFAULT_UPLOAD_KINDS[reference.kind]
    if reference.is_to_come:
        return None
    default = DEFAULT_UPLOAD_KINDS[reference.kind]
    mimes, mime_known = (rule.mime, known) if rule.mime else (default.mime or (), False)
    if reference.mime not in mimes:
        return ParamProblem(
            key=key,
            what=f"{shown(reference.path)} is {reference.mime}; {_rules_of(contract, mime_known)}"
            f" {', '.join(mimes)}",
            code="reference-type",
            hint=_converted(reference.kind) if mime_known else "it may be refused",
            severity=Severity.ERROR if mime_known else Severity.WARNING,
        )
    max_mb, size_known = (rule.max_mb, known) if rule.max_mb is not None else (default.max_mb or 0.0, False)
    if reference.size_bytes <= max_mb * MEGABYTE:
        return _film_without_picture(key, reference)
    too_large = reference.size_bytes > max_mb * MEBIBYTE
    return ParamProblem(
        key=key,
        what=f"{shown(reference.path)} has {reference.size_bytes:,} bytes;"
        f" {_rules_of(contract, size_known)} {_a(reference.kind)} of up to {number_text(max_mb)} MB",
        code="reference-too-large" if too_large else "reference-maybe-too-large",
        hint=_smaller(reference.kind) if too_large and size_known else "it may be refused",
        severity=Severity.ERROR if too_large and size_known else Severity.WARNING,
    )


_FILM_ENDINGS = frozenset({".mp4", ".m4v", ".mov", ".qt", ".mkv"})
_NO_PICTURE = "it holds sound only, no picture"


def _film_without_picture(key: str, reference: Reference) -> ParamProblem | None:
    if not _is_named_like_a_film(reference):
        return None
    return ParamProblem(
        key=key,
        what=f"{shown(reference.path)} has the name of a film and holds sound only; it is sent as audio, and may be refused",
        code="film-without-picture",
        hint="name a file with a picture, or make an .m4a of it",
        severity=Severity.WARNING,
    )


def _is_named_like_a_film(reference: Reference) -> bool:
    return reference.kind is Kind.AUDIO and PurePosixPath(reference.path).suffix.lower() in _FILM_ENDINGS


def _converted(kind: Kind) -> str:
    hint = "convert the file to one of these"
    return f"{hint}, or let `mend: true` do it" if kind is Kind.IMAGE else hint


def _smaller(kind: Kind) -> str:
    hint = "make the file smaller"
    return f"{hint}, or let `mend: true` do it" if kind is Kind.IMAGE else hint


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


def _mime(reference: Reference) -> str:
    return "" if reference.is_to_come else f" ({reference.mime})"


def _a(kind: Kind) -> str:
    return {Kind.IMAGE: "an image", Kind.VIDEO: "a video", Kind.AUDIO: "audio"}[kind]
