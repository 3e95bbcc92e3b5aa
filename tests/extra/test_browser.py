"""What the sandbox makes can be watched: in a real browser, in the shape that was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.extra

CLIPS = sorted((ROOT / "runner/sandbox/media").glob("*.mp4"))

PLAY = """async url => {
    const video = document.createElement('video');
    video.muted = true;
    video.src = url;
    document.body.append(video);
    await video.play();
    await new Promise(moved => video.addEventListener('timeupdate', () => video.currentTime > 0 && moved()));
    video.remove();
    return [video.videoWidth, video.videoHeight, video.duration];
}"""


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Page:
    blank = tmp_path_factory.mktemp("page") / "blank.html"
    blank.write_text("<!doctype html><title>blank</title>", encoding="utf-8")
    page = browser.new_page()
    page.set_default_timeout(20_000)
    page.goto(blank.as_uri())
    return page


def test_there_are_clips() -> None:
    assert len(CLIPS) >= 9


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.stem)
def test_a_clip_plays_in_its_aspect_ratio(page: Page, clip: Path) -> None:
    wide, high = map(int, clip.stem.partition("-")[0].split("x"))

    width, height, seconds = page.evaluate(PLAY, clip.as_uri())

    # H.264 wants even sizes, so the ratio may be off by a pixel.
    assert width / height == pytest.approx(wide / high, rel=0.02)
    assert 0.5 < seconds < 10
