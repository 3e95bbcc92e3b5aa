"""What a model accepts as reference files."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.contract import ParamProblem, check_references
from runner.model import Kind, Reference, Severity, Sha256
from tests.bundled import load_contract


def file(
    kind: Kind = Kind.IMAGE, mime: str = "image/png", size_bytes: int = 1000, path: str = "a.png"
) -> Reference:
    return Reference(
        path=path, file=Path("/") / path, kind=kind, mime=mime, size_bytes=size_bytes, sha256=Sha256("0" * 64)
    )


VIDEO = file(Kind.VIDEO, "video/mp4", path="a.mp4")


def judged(model: str, *references: Reference) -> list[tuple[str, str, Severity]]:
    problems: list[ParamProblem] = check_references(load_contract(model), references)
    return [(problem.key, problem.code, problem.severity) for problem in problems]


def test_what_the_page_allows_is_fine() -> None:
    assert judged("grok-imagine-video", file()) == []
    assert judged("grok-imagine-video") == []
    assert judged("wan-2-6", file(Kind.VIDEO, "video/x-matroska")) == []
    assert judged("happyhorse-1-0", *[file()] * 9) == []
    assert judged("happyhorse-1-0", VIDEO, *[file()] * 5) == []


def test_too_many_files_are_refused() -> None:
    assert judged("grok-imagine-video", file(), file()) == [
        ("references", "too-many-references", Severity.ERROR)
    ]


def test_a_model_that_takes_no_files_says_so_once() -> None:
    assert judged("z-image", file(), VIDEO) == [("references", "no-references", Severity.ERROR)]


def test_a_wrong_kind_is_refused_at_its_place() -> None:
    assert judged("kling-3-0", file(), VIDEO) == [("references[1]", "reference-kind", Severity.ERROR)]


def test_a_film_without_a_picture_is_told() -> None:
    """Its name is that of a film; what it holds is sound."""
    sound = file(Kind.AUDIO, "audio/mp4", path="take.MP4")
    problem = check_references(load_contract("wan-2-6"), [sound])[0]

    assert (problem.code, problem.severity) == ("reference-kind", Severity.ERROR)
    assert "holds sound only" in problem.hint
    assert judged("wan-2-7-video", sound) == [("references[0]", "film-without-picture", Severity.WARNING)]
    assert judged("wan-2-7-video", file(Kind.AUDIO, "audio/mp4", path="take.m4a")) == []


def test_a_wrong_type_is_refused() -> None:
    assert judged("kling-3-0", file(mime="image/gif")) == [
        ("references[0]", "reference-type", Severity.ERROR)
    ]


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [
        (10_000_000, []),
        (10_000_001, [("references[0]", "reference-maybe-too-large", Severity.WARNING)]),
        (10_485_760, [("references[0]", "reference-maybe-too-large", Severity.WARNING)]),
        (10_485_761, [("references[0]", "reference-too-large", Severity.ERROR)]),
    ],
)
def test_between_two_meanings_of_ten_megabytes_is_a_warning(
    size_bytes: int, expected: list[tuple[str, str, Severity]]
) -> None:
    assert expected == judged("grok-imagine-video", file(size_bytes=size_bytes))


def test_the_limit_is_the_models_own() -> None:
    assert judged("nano-banana-2", file(size_bytes=30_000_000)) == []
    assert judged("wan-2-6", file(Kind.VIDEO, "video/mp4", size_bytes=11_000_000)) == [
        ("references[0]", "reference-too-large", Severity.ERROR)
    ]
    assert judged("happyhorse-1-0", file(Kind.VIDEO, "video/mp4", size_bytes=95_000_000)) == []


@pytest.mark.parametrize(
    "references",
    [(file(),) * 10, (VIDEO, *[file()] * 6), (VIDEO, VIDEO)],
    ids=["10 images", "1+6", "2 videos"],
)
def test_a_mix_that_the_page_does_not_allow_is_refused(references: tuple[Reference, ...]) -> None:
    assert judged("happyhorse-1-0", *references) == [("references", "reference-mix", Severity.ERROR)]


@pytest.mark.parametrize("model", ["wan-2-7-video", "flux-kontext-max"])
def test_where_the_rules_are_not_known_the_default_limits_only_warn(model: str) -> None:
    assert judged(model, *[file()] * 30) == []
    assert judged(model, file(size_bytes=40_000_000)) == [
        ("references[0]", "reference-too-large", Severity.WARNING)
    ]
    assert judged(model, file(mime="image/gif")) == [("references[0]", "reference-type", Severity.WARNING)]
    assert judged(model, VIDEO) == []


def test_where_only_the_table_of_sizes_is_not_known_count_and_kind_still_hold() -> None:
    assert judged("flux-kontext-pro", file(), file()) == [
        ("references", "too-many-references", Severity.ERROR)
    ]
    assert judged("flux-kontext-pro", VIDEO) == [("references[0]", "reference-kind", Severity.ERROR)]
    assert judged("flux-kontext-pro", file(size_bytes=40_000_000)) == [
        ("references[0]", "reference-too-large", Severity.WARNING)
    ]


def test_a_message_names_the_file_and_both_sizes() -> None:
    (problem,) = check_references(load_contract("kling-3-0"), [file(size_bytes=12_345_678, path="big.png")])

    assert "big.png" in problem.what
    assert "12,345,678" in problem.what
    assert "10 MB" in problem.what
