"""Mended pictures: what a model takes, always the same, kept, and sent as it was planned."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from runner.manifest import reference_files
from runner.manifest.copies import Copies
from runner.manifest.mending import Mended, Wanted
from runner.manifest.reference_files import DiskReferences, open_verified
from runner.manifest.references import ReferenceProblem
from runner.model import Reference
from runner.results.media import JPEG
from tests.drawn import deep_png, drawn, encoded, junk_jpeg, png, several, turned

USUAL = Wanted(most_bytes=10_000_000, mimes=("image/jpeg", "image/png", "image/webp"))
JPEGS = Wanted(most_bytes=10_000_000, mimes=("image/jpeg",))


def read(folder: Path, data: bytes, wanted: Wanted = USUAL) -> Reference | ReferenceProblem:
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / "a.jpg").write_bytes(data)
    return DiskReferences(copies=Copies(folder / "mended")).read(folder / "in", "a.jpg", wanted)


def mended(folder: Path, data: bytes, wanted: Wanted = USUAL) -> tuple[Reference, Image.Image]:
    """Return the reference to a copy, and the copy as everybody sees it."""
    found = read(folder, data, wanted)
    assert isinstance(found, Reference), found
    assert found.file.parent == folder / "mended"
    content = found.file.read_bytes()
    assert (found.sha256, found.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert found.mime in wanted.mimes
    assert found.size_bytes <= wanted.most_bytes
    picture = Image.open(io.BytesIO(content))
    picture.load()
    assert Image.MIME[picture.format or ""] == found.mime
    assert (picture.mode, getattr(picture, "n_frames", 1)) == ("RGB", 1)
    assert picture.getexif().get(0x0112, 1) == 1
    return found, picture


def near(picture: Image.Image, at: tuple[int, int], colour: tuple[int, int, int]) -> bool:
    found = picture.getpixel(at)
    assert isinstance(found, tuple)
    return all(abs(one - other) < 40 for one, other in zip(found, colour, strict=True))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_what_a_model_takes_is_sent_as_it_is(tmp_path: Path, kind: str) -> None:
    data = encoded(kind)

    found = read(tmp_path, data)

    assert isinstance(found, Reference)
    assert found.file == tmp_path / "in" / "a.jpg"
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert not (tmp_path / "mended").exists()


@pytest.mark.parametrize(
    ("orientation", "red", "blue"), [(6, (43, 4), (19, 4)), (8, (4, 59), (28, 59)), (3, (59, 43), (59, 19))]
)
def test_a_turned_picture_is_upright(
    tmp_path: Path, orientation: int, red: tuple[int, int], blue: tuple[int, int]
) -> None:
    _, picture = mended(tmp_path, turned(orientation))

    assert picture.size == ((64, 48) if orientation == 3 else (48, 64))
    assert near(picture, red, (255, 0, 0))
    assert near(picture, blue, (0, 0, 255))


def test_colours_for_print_become_those_of_screens(tmp_path: Path) -> None:
    _, picture = mended(tmp_path, encoded("JPEG", drawn(mode="CMYK")))

    assert near(picture, (4, 4), (255, 0, 0))


def test_a_profile_is_applied_and_left_out(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 3

    _, picture = mended(tmp_path, encoded("JPEG", exif=exif, icc_profile=profile))

    assert "icc_profile" not in picture.info
    assert near(picture, (60, 44), (255, 0, 0))


def test_deep_colours_keep_how_bright_they_are(tmp_path: Path) -> None:
    _, colour = mended(tmp_path, deep_png())
    _, grey = mended(tmp_path, png(depth=16, colours=0, data=(b"\0" + b"\x80\x00" * 2) * 2))

    assert near(colour, (0, 0), (0x12, 0x34, 0x12)) or near(colour, (0, 0), (0x12, 0x12, 0x12))
    assert grey.getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "MPO", "AVIF"])
def test_the_first_of_several_frames_is_sent(tmp_path: Path, kind: str) -> None:
    _, picture = mended(tmp_path, several(kind))

    assert near(picture, (5, 5), (0, 0, 0))


def test_what_is_transparent_becomes_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (20, 20), (255, 0, 0, 0))

    _, picture = mended(tmp_path, encoded("PNG", clear), JPEGS)

    assert picture.getpixel((3, 3)) == (255, 255, 255)


def test_heic_becomes_jpeg(tmp_path: Path) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()

    found, picture = mended(tmp_path, encoded("HEIF"))

    assert found.mime == "image/jpeg"
    assert near(picture, (4, 4), (255, 0, 0))


@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
def test_what_no_model_takes_becomes_png(tmp_path: Path, kind: str) -> None:
    (tmp_path / "b.tif").write_bytes(encoded(kind))
    refused = DiskReferences().read(tmp_path, "b.tif")

    found, picture = mended(tmp_path, encoded(kind))

    assert isinstance(refused, ReferenceProblem)
    assert refused.hint == "`mend: true` makes a PNG or JPEG of it"
    assert found.mime == "image/png"
    assert near(picture, (4, 4), (255, 0, 0))
    for broken in (encoded(kind)[:-3000], encoded(kind)[:20]):
        assert isinstance(read(tmp_path, broken), ReferenceProblem)


def test_of_a_raw_picture_no_preview_is_sent(tmp_path: Path) -> None:
    tags = {50706: b"\1\4\0\0"}

    found = read(tmp_path, encoded("TIFF", tiffinfo=tags))

    assert isinstance(found, ReferenceProblem)
    assert "a raw picture of a camera" in found.what


def test_a_large_picture_is_made_to_fit(tmp_path: Path) -> None:
    noise = Image.effect_noise((900, 700), 90).convert("RGB")

    for most_bytes in (300_000, 40_000, 2_000):
        wanted = Wanted(most_bytes=most_bytes, mimes=USUAL.mimes)
        mended(tmp_path, encoded("PNG", noise), wanted)


def test_a_film_is_left_alone(tmp_path: Path) -> None:
    film = (Path(__file__).parents[1] / "fixtures" / "media" / "clip.mp4").read_bytes()

    found = read(tmp_path, film)

    assert isinstance(found, Reference)
    assert found.file.name == "a.jpg"


# --- broken ones ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        encoded("JPEG", drawn(640, 480))[:-2],
        encoded("JPEG", drawn(640, 480))[:-1],
        encoded("JPEG", drawn(640, 480), progressive=True)[:-2],
        encoded("JPEG", drawn(640, 480), restart_marker_rows=1)[:-2],
        junk_jpeg(),
    ],
)
def test_a_jpeg_without_its_end_mark_or_with_junk_is_refused_and_repaired_when_asked(
    tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "b.jpg").write_bytes(data)
    refused = DiskReferences().read(tmp_path, "b.jpg")

    found, picture = mended(tmp_path, data)

    assert isinstance(refused, ReferenceProblem)
    assert refused.code == "reference-cut"
    assert "`mend: true`" in refused.hint
    assert found.odd == ("mended", "repaired")
    assert near(picture, (picture.width // 16, picture.height // 16), (255, 0, 0))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("share", [0.4, 0.9, 0.99])
def test_a_jpeg_that_lacks_part_of_the_picture_is_not_repaired(
    tmp_path: Path, share: float, options: dict[str, int]
) -> None:
    data = encoded("JPEG", Image.effect_noise((640, 480), 90).convert("RGB"), **options)

    found = read(tmp_path, data[: int(len(data) * share)])

    assert isinstance(found, ReferenceProblem)
    assert found.code == "reference-broken"
    assert "cut" in found.what


# --- always the same, and kept --------------------------------------------------------------------


def test_the_same_picture_gives_the_same_copy(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()

    one, _ = mended(tmp_path / "one", turned(6))
    two, _ = mended(tmp_path / "two", turned(6))

    assert one.sha256 == two.sha256


def test_a_copy_that_was_made_is_used_whatever_would_be_made_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, _ = mended(tmp_path, turned(6))
    monkeypatch.setattr(
        reference_files, "mend_picture", lambda *_, **__: Mended(data=encoded("JPEG"), media=JPEG)
    )

    after, _ = mended(tmp_path, turned(6))
    other, _ = mended(tmp_path, turned(8))

    assert after == before
    assert other.sha256 == hashlib.sha256(encoded("JPEG")).hexdigest()


def test_a_copy_that_is_too_large_for_another_model_is_made_anew_and_both_stay(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded("JPEG", Image.effect_noise((600, 400), 90).convert("RGB"), exif=exif)
    large, _ = mended(tmp_path, data)
    wanted = Wanted(most_bytes=large.size_bytes - 1, mimes=USUAL.mimes)

    small, _ = mended(tmp_path, data, wanted)

    assert small.size_bytes < large.size_bytes
    assert mended(tmp_path, data)[0] == large
    assert mended(tmp_path, data, wanted)[0] == small


def test_a_copy_that_was_damaged_is_made_anew(tmp_path: Path) -> None:
    found, _ = mended(tmp_path, turned(6))
    found.file.write_bytes(b"damaged")

    assert mended(tmp_path, turned(6))[0] == found


def test_what_was_planned_is_what_is_sent_even_if_the_picture_is_gone(tmp_path: Path) -> None:
    found, _ = mended(tmp_path, turned(6))
    (tmp_path / "in" / "a.jpg").unlink()

    with open_verified(found) as content:
        assert hashlib.sha256(content.read()).hexdigest() == found.sha256


def test_a_folder_that_takes_no_copy_is_told(tmp_path: Path) -> None:
    (tmp_path / "mended").write_text("a file is in the way")

    found = read(tmp_path, turned(6))

    assert isinstance(found, ReferenceProblem)
    assert found.code == "reference-not-kept"
    assert str(tmp_path / "mended") in found.what


def test_a_long_wait_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    references = DiskReferences(copies=Copies(tmp_path / "mended"), tell=told.append)
    for number in range(reference_files.TOLD_AFTER + 1):
        (tmp_path / "a.jpg").write_bytes(turned(6) + bytes([number]))
        references.read(tmp_path, "a.jpg", USUAL)

    assert told == [f"mended 50 pictures so far, kept in {tmp_path / 'mended'}"]
