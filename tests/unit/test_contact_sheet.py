"""A contact sheet in one file: pages that hold all, what cannot be shown told, any text in its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from runner.reports import stills
from runner.reports.contact_sheet import COLUMNS, PAGE, ROWS, SheetShot, draw_sheet


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "tall.png"
    Image.new("RGB", (300, 900), (200, 30, 30)).save(path)
    return path


def test_a_pdf_has_pages_of_a4_for_all_of_them(picture: Path, tmp_path: Path) -> None:
    shots = [
        SheetShot(title=f"{n} 雪 " + "a" * 300, path=picture, mime="image/png")
        for n in range(COLUMNS * ROWS + 1)
    ]

    drawn = draw_sheet("A night", shots, tmp_path / "sheet.pdf", "PDF")

    data = (tmp_path / "sheet.pdf").read_bytes()
    assert data.startswith(b"%PDF")
    assert (drawn.pages, drawn.blank, b"/Count 2" in data) == (2, 0, True)
    assert b"[ 0 0 595.2 841.92 ]" in data


def test_one_picture_is_as_tall_as_it_has_to_be_and_nothing_is_cropped(picture: Path, tmp_path: Path) -> None:
    shots = [SheetShot(title="tall", path=picture, mime="image/png")] * (COLUMNS + 1)

    draw_sheet("A night", shots, tmp_path / "sheet.png", "PNG")

    with Image.open(tmp_path / "sheet.png") as sheet:
        red = [(x, y) for x in range(0, sheet.width, 4) for y in range(0, sheet.height, 4)
               if sheet.getpixel((x, y)) == (200, 30, 30)]  # fmt: skip
        assert sheet.width == PAGE[0]
        assert sheet.height < PAGE[1]
    first_row = [y for x, y in red if x < PAGE[0] // COLUMNS and y < sheet.height // 2]
    wide = [x for x, y in red if x < PAGE[0] // COLUMNS and y == first_row[0]]
    assert (max(first_row) - min(first_row)) / (max(wide) - min(wide)) == pytest.approx(3, rel=0.15)


def test_what_cannot_be_shown_is_counted(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture.read_bytes()[:60])
    monkeypatch.setattr(stills, "find_spec", lambda _: None)
    monkeypatch.setattr("shutil.which", lambda _: None)
    shots = [
        SheetShot(title="film", path=picture, mime="video/mp4"),
        SheetShot(title="broken", path=broken, mime="image/png"),
        SheetShot(title="sound", path=picture, mime="audio/mpeg"),
        SheetShot(title="fine", path=picture, mime="image/png"),
    ]

    assert draw_sheet("A night", shots, tmp_path / "sheet.jpg", "JPEG").blank == 2
