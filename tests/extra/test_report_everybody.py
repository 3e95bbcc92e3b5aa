"""The report in a real browser, for everybody: keyboard, dark, every width, axe; and obedient to nobody's text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner.reports.data import Report
from tests.browsing import HOSTILE, axe_findings, overflow

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.extra


def test_nobodys_text_becomes_code(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed)

    for tab in ("grid", "table", "numbers", "gallery"):
        page.click(f"#tab-{tab}")
    page.locator('.tile-main[aria-label^="hostile one,"]').click()

    assert page.locator(".lightbox .prompt").evaluate("p => p.textContent") == HOSTILE
    assert page.title() == "mixed · rivya-batch"
    assert page.locator("img[onerror]").count() == 0


def test_every_key_does_what_the_help_says(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed)
    selected = page.locator("[role=tab][aria-selected=true]")

    for key, name in (("2", "Grid"), ("3", "Table"), ("4", "Stats"), ("1", "Gallery")):
        page.keyboard.press(key)
        assert selected.inner_text() == name
    page.keyboard.press("?")
    assert "Keyboard" in page.locator("#help-dialog").inner_text()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("poster2")
    assert selected.inner_text() == "Gallery"
    page.keyboard.press("Escape")
    assert page.locator("#search").input_value() == ""
    page.locator("#tab-gallery").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-grid"
    page.keyboard.press("e")
    assert page.locator("#export-dialog").is_visible()


def test_arrows_move_over_the_gallery(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed)
    focused = "document.activeElement.closest('.tile')?.job.id"
    page.locator("#view").focus()
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "cat-ink-1"

    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "cat-ink-2"
    page.keyboard.press("ArrowDown")
    below = page.evaluate("document.activeElement.getBoundingClientRect().top")
    page.keyboard.press("ArrowUp")
    assert page.evaluate(focused) == "cat-ink-2"
    assert page.evaluate("document.activeElement.getBoundingClientRect().top") < below
    page.keyboard.press("End")
    assert page.evaluate(focused) == "lost"
    page.keyboard.press("Enter")
    assert page.locator("#lightbox-title").inner_text() == "lost"


@pytest.mark.parametrize("tab", ["gallery", "table"])
def test_the_focus_stays_on_its_job_when_a_key_narrows_the_list(
    open_page: Callable[..., Page], long_night: Path, tab: str
) -> None:
    page = open_page(long_night)
    page.click(f"#tab-{tab}")
    focused = "document.activeElement.closest('.tile, tr')?.job.id"
    kind = ".link" if tab == "table" else ".tile-main"
    page.locator(kind).first.focus()
    page.keyboard.press("f")
    for _ in range(25):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("f")
    chosen = page.evaluate(focused)

    page.keyboard.press("v")
    assert page.locator("#summary").inner_text().startswith("2 of")
    assert page.evaluate(focused) == chosen
    page.keyboard.press("f")  # it is no longer picked, and leaves the list
    assert page.evaluate(focused) == "canal-fog-1"
    page.keyboard.press("f")
    assert page.evaluate("document.activeElement.id") == "view"
    page.keyboard.press("v")


def test_it_is_dark_where_the_system_is_and_as_one_chooses(
    open_page: Callable[..., Page], mixed: Path
) -> None:
    page = open_page(mixed, color_scheme="dark")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(ground)

    page.keyboard.press("t")
    light = page.evaluate(ground)
    page.reload()

    assert dark == "rgb(16, 17, 19)"
    assert light == page.evaluate(ground) == "rgb(250, 249, 247)"


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 3840])
def test_no_width_makes_it_scroll_sideways(open_page: Callable[..., Page], mixed: Path, width: int) -> None:
    page = open_page(mixed, width=width, height=844)

    for tab in ("gallery", "grid", "table", "numbers"):
        page.click(f"#tab-{tab}")
        assert overflow(page) <= 0, tab
    page.click("#tab-gallery")
    page.locator('.tile-main[aria-label^="cat-ink-1,"]').click()
    assert overflow(page) <= 0
    assert page.locator(".lightbox").evaluate("d => d.scrollWidth - d.clientWidth") <= 0


def test_a_run_without_jobs_says_what_to_type(
    open_page: Callable[..., Page], reports: Callable[..., tuple[Path, Report]]
) -> None:
    page = open_page(reports("empty", lambda media: [])[0])

    for tab in ("grid", "table", "numbers", "gallery"):
        page.click(f"#tab-{tab}")

    assert "rivya-batch run empty.yaml" in page.locator("#panel").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Callable[..., Page], mixed: Path, scheme: str) -> None:
    page = open_page(mixed, bypass_csp=True, color_scheme=scheme, reduced_motion="reduce")
    page.wait_for_selector(".tile canvas")

    looked = {}
    for tab in ("gallery", "grid", "table", "numbers"):
        page.click(f"#tab-{tab}")
        looked[tab] = axe_findings(page)
    page.keyboard.press("?")
    looked["help"] = axe_findings(page)
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    looked["export"] = axe_findings(page)
    page.keyboard.press("Escape")
    page.click("#tab-gallery")
    for job in ("cat-ink-1", "broken", "unknown", "narrator"):
        page.locator(f'.tile-main[aria-label^="{job},"]').click()
        looked[job] = axe_findings(page)
        page.keyboard.press("Escape")

    assert looked == {what: [] for what in looked}
