"""The page for a client in a real browser: a star, a word, and a file that the command reads."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner.api.picks import read_picks
from runner.reports.client import ClientClip, client_page
from tests.browsing import axe_findings, until
from tests.report_rows import MEDIA

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.extra


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    clips = []
    for n, source in enumerate(sorted(MEDIA.glob("16x9-*.mp4"))[:3], start=1):
        shutil.copy(source, tmp_path / f"{n}.mp4")
        clips.append(
            ClientClip(id=f"clip-{n}", round=1, title=f"Clip {n}", files=[(f"{n}.mp4", "video/mp4")])
        )
    place = tmp_path / "index.html"
    place.write_bytes(client_page("Acme </script><b>", "night", "0123", clips))
    return place


def test_a_client_stars_and_writes_and_sends_a_file_back(
    open_page: Callable[..., Page], shared: Path
) -> None:
    page = open_page(shared, width=390, height=844)
    page.get_by_label("★ Clip 2").click()
    page.get_by_label("A word about Clip 3").fill("too dark ☾")
    assert page.locator("#count").inner_text() == "3 clips, 1 starred"
    with page.expect_download() as download:
        page.click("#save")
    told = read_picks(str(download.value.path()))

    assert told.manifest == "night"
    assert {id_: (round_, change.verdict, change.word) for id_, (round_, change) in told.picks.items()} == {
        "clip-2": (1, "picked", None),
        "clip-3": (1, None, "too dark ☾"),
    }
    page.reload()
    assert page.get_by_label("★ Clip 2").get_attribute("aria-pressed") == "true"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_prints_a_contact_sheet(open_page: Callable[..., Page], shared: Path) -> None:
    page = open_page(shared)
    until(page, "[...document.querySelectorAll('.still')].every(each => each.width > 300)")

    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) == 1
    page.emulate_media(media="print")
    assert page.locator(".still").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Callable[..., Page], shared: Path, scheme: str) -> None:
    page = open_page(shared, bypass_csp=True, color_scheme=scheme)
    page.get_by_label("★ Clip 2").click()
    page.wait_for_timeout(2600)

    assert axe_findings(page) == []
