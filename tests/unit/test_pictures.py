"""Pictures as references: what no program can read is refused, in words and at once."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runner.api.validate import validate
from runner.manifest import pictures
from runner.manifest.pictures import look
from runner.manifest.reference_files import DiskReferences
from runner.manifest.references import ReferenceProblem
from runner.model import Reference
from runner.results.media import JPEG, PNG, name_for
from tests.drawn import (
    bomb,
    chunk,
    deep_png,
    drawn,
    encoded,
    flat_jpeg,
    several,
    turned,
    without,
)


def read(folder: Path, data: bytes, name: str = "a.png") -> Reference | ReferenceProblem:
    (folder / name).write_bytes(data)
    return DiskReferences().read(folder, name)


def test_one_thread_at_a_time_keeps_the_warnings_of_the_process_back(tmp_path: Path) -> None:
    """Two side by side would each put back what the other had set: nobody would be warned of anything any more."""
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    free: list[bool] = []

    def other() -> None:
        free.append(pictures._ALONE.acquire(blocking=False))

    with (tmp_path / "a.png").open("rb") as file, pictures.opened(file, PNG):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    assert free == [False]


def broken_in_the_middle(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("options", [{}, {"lossless": True}])
def test_a_webp_that_lacks_its_last_byte_is_refused(tmp_path: Path, options: dict[str, bool]) -> None:
    whole = encoded("WEBP", drawn(65, 49), **options)

    assert isinstance(read(tmp_path, whole), Reference)
    for cut in (1, 2, 100):
        problem = read(tmp_path, whole[:-cut])
        assert isinstance(problem, ReferenceProblem)
        assert problem.code in ("reference-broken", "reference-cut")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (without(b"IDAT", encoded("PNG")), "its data is broken"),
        (without(b"IHDR", encoded("PNG")), "its header is broken"),
        (broken_in_the_middle(encoded("PNG")), "the checksum of a part is wrong"),
        (encoded("WEBP")[:-1], "a part is missing; export"),
        (flat_jpeg(), "its header is broken"),
        (bomb(), "more than is safe to open (179 million); make it smaller"),
    ],
)
def test_what_pillow_cannot_read_is_refused_in_words(tmp_path: Path, data: bytes, what: str) -> None:
    begun = time.monotonic()
    problem = read(tmp_path, data)

    assert isinstance(problem, ReferenceProblem)
    assert problem.code == "reference-broken"
    assert what in f"{problem.what}; {problem.hint}"
    assert time.monotonic() - begun < 5.0


def test_text_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    import zlib

    data = encoded("PNG")
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(b"\0" * 100_000_000, 9))

    problem = read(tmp_path, data[:33] + text + data[33:])

    assert isinstance(problem, ReferenceProblem)
    assert problem.code == "reference-broken"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "AVIF", "HEIF"])
def test_each_kind_that_is_whole_is_taken(tmp_path: Path, kind: str) -> None:
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()

    assert isinstance(read(tmp_path, encoded(kind)), Reference)


def test_a_picture_with_something_behind_its_end_is_taken(tmp_path: Path) -> None:
    """Phones put films and previews there."""
    for kind in ("PNG", "JPEG"):
        assert isinstance(read(tmp_path, encoded(kind) + b"and more"), Reference)


def test_a_look_tells_what_models_care_about(tmp_path: Path) -> None:
    def looked(data: bytes, *, jpeg: bool = True) -> tuple[object, ...]:
        path = tmp_path / "a"
        path.write_bytes(data)
        with path.open("rb") as file:
            found = look(file, JPEG if jpeg else PNG, checksums=True)
        assert found is not None
        return (
            found.width,
            found.height,
            found.mode,
            found.deep,
            found.orientation,
            found.animated,
            found.several,
        )

    assert looked(encoded("JPEG")) == (64, 48, "RGB", False, 1, False, False)
    assert looked(turned(6)) == (64, 48, "RGB", False, 6, False, False)
    assert looked(encoded("JPEG", drawn(mode="CMYK"))) == (64, 48, "CMYK", False, 1, False, False)
    assert looked(several("MPO")) == (32, 32, "RGB", False, 1, False, True)
    assert looked(deep_png(), jpeg=False) == (2, 2, "RGB", True, 1, False, False)
    assert looked(several("PNG"), jpeg=False) == (32, 32, "RGB", False, 1, True, False)


def test_a_thousand_pictures_are_looked_at_in_no_time(tmp_path: Path) -> None:
    data = encoded("JPEG", drawn(1200, 900))
    for number in range(1000):
        (tmp_path / f"{number}.jpg").write_bytes(data)
    references = DiskReferences()
    references.read(tmp_path, "0.jpg")  # imports what it needs

    begun = time.process_time()
    for number in range(1000):
        assert isinstance(references.read(tmp_path, f"{number}.jpg"), Reference)

    assert time.process_time() - begun < 10.0


def test_pillow_is_imported_with_the_first_picture_only(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    program = f"""
import sys
from pathlib import Path
import runner.cli, runner.api.run, runner.api.plan, runner.steps.upload
from runner.manifest.reference_files import DiskReferences
print("PIL" in sys.modules, "pillow_heif" in sys.modules)
DiskReferences().read(Path({str(tmp_path)!r}), "a.png")
print("PIL" in sys.modules, "pillow_heif" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert told.stdout.split() == ["False", "False", "True", "False"]


# --- what models refuse or turn -------------------------------------------------------------------

MANIFEST = 'version: 1\nname: odd\nmodel: grok-imagine-video\nprompt: a\njobs: [{id: "${file.stem}", rows: {glob: "*.*g"}, references: ["${file.path}"]}]\n'  # noqa: E501


def warned(folder: Path, **pictures: bytes) -> dict[str, str]:
    """Return the warnings of a manifest with a job for each picture, by code."""
    for name, data in pictures.items():
        (folder / f"{name}.jpg").write_bytes(data)
    (folder / "odd.yaml").write_text(MANIFEST)
    found = validate(folder / "odd.yaml")
    assert found.errors == 0
    assert found.jobs == len(pictures)
    return {problem.code: problem.what for problem in found.problems}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (turned(6), "picture-turned"),
        (turned(3, "WEBP"), "picture-turned"),
        (several("MPO"), "picture-mpo"),
        (encoded("JPEG", drawn(mode="CMYK")), "picture-cmyk"),
        (deep_png(), "picture-16-bit"),
        (several("PNG"), "picture-animated"),
        (several("WEBP"), "picture-animated"),
    ],
)
def test_what_models_refuse_or_turn_is_warned_of(tmp_path: Path, data: bytes, code: str) -> None:
    assert list(warned(tmp_path, a=data)) == [code]


def test_many_of_a_kind_are_one_warning(tmp_path: Path) -> None:
    found = warned(tmp_path, a=turned(6), b=turned(8), c=turned(3), d=encoded("JPEG"), e=turned(1))

    assert list(found) == ["picture-turned"]
    assert found["picture-turned"].startswith("a.jpg lies on its side")
    assert found["picture-turned"].endswith("(and so with 2 others)")


@pytest.mark.parametrize(
    ("path", "mime", "name"),
    [
        ("in/a.png", "image/png", "a.png"),
        ("in/a.png", "image/webp", "a.webp"),
        ("a.JPEG", "image/jpeg", "a.JPEG"),
        ("a.jpg", "image/png", "a.png"),
        ("holiday.mp4", "image/jpeg", "holiday.jpg"),
        ("v1.2", "image/jpeg", "v1.2.jpg"),
        ("a", "video/mp4", "a.mp4"),
        ("a.mp4", "audio/mp4", "a.m4a"),
        ("a.odd", "application/x-odd", "a.odd"),
    ],
)
def test_an_uploaded_name_ends_as_the_content_is(path: str, mime: str, name: str) -> None:
    assert name_for(path, mime) == name
