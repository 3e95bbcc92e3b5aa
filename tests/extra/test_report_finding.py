"""The report in a real browser: filters, sorting, the grid, the table and the numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner.reports.data import Report
from tests.browsing import choose, ids, overflow, shows, summary
from tests.report_rows import AUDIO, IMAGE, Row

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.extra


def test_filters_narrow_and_can_be_cleared(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed, height=2400)
    assert summary(page) == "18 jobs"

    choose(page, "subject", "cat")
    choose(page, "look", "oil")
    shows(page, ["cat-oil-1", "cat-oil-2"])
    page.get_by_text("Clear filters").click()
    choose(page, "State", "failed")
    shows(page, ["hostile one", "broken"])
    choose(page, "State", "removed")
    shows(page, ["old"])
    choose(page, "State", "")
    choose(page, "Model", AUDIO)
    shows(page, ["narrator"])
    choose(page, "Model", "")
    page.fill("#search", "CLAY dog")
    page.wait_for_selector("#summary:has-text('2 of 18')")
    shows(page, ["dog-clay-1", "dog-clay-2"])
    page.fill("#search", "no such thing")
    page.get_by_text("No jobs match these filters.").wait_for()


def test_sorting_puts_what_has_no_value_last(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed, height=2400)

    choose(page, "Sort", "duration")
    up = ids(page)
    choose(page, "Sort", "duration down")
    down = ids(page)

    assert up[0] == "cat-ink-1"
    assert up[-1] == down[-1] == "unknown"


def test_the_head_says_what_needs_attention_and_shows_it(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed)
    assert "3 jobs need attention" in page.locator("#notice").inner_text()

    page.get_by_text("Show them").click()
    shows(page, ["hostile one", "broken", "unknown"])
    page.get_by_text("How to fix").click()

    lines = page.locator("#panel .command code").all_inner_texts()
    assert "rivya-batch retry mixed.yaml --class generation" in lines
    assert "rivya-batch retry mixed.yaml --class policy" in lines


def test_the_grid_sets_one_side_against_another(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed)
    page.click("#tab-grid")

    def heads(place: str) -> list[str]:
        return page.locator(f".grid-{place} .grid-head").all_inner_texts()

    assert (heads("side"), heads("cols")) == (["cat", "dog"], ["ink", "oil", "clay"])
    assert page.locator(".grid-rest").inner_text().startswith("6 jobs with no subject and no look")
    page.locator("#grid-cols").select_option("axis take")
    page.locator("#grid-rows").select_option("model")
    assert heads("cols") == ["1", "2", "no take"]
    assert not page.locator(".grid-rest").is_visible()
    assert heads("side") == ["grok-imagine-video", IMAGE, AUDIO]
    cell = page.get_by_label("grok-imagine-video, 1: cat-ink-1, done, video")
    assert cell.count() == 1
    notes = page.locator(
        ".grid-cell", has=page.get_by_label("grok-imagine-video, 2: cat-ink-2, done, video")
    ).locator(".note")
    assert notes.all_inner_texts() == [
        f"{subject} · {look}" for subject in ("cat", "dog") for look in ("ink", "oil", "clay")
    ]


@pytest.mark.parametrize("width", [1280, 1440, 1920])
def test_a_grid_that_nearly_fits_is_made_to_fit(
    open_page: Callable[..., Page], reports: Callable[..., tuple[Path, Report]], width: int
) -> None:
    place, _ = reports(
        "five",
        lambda media: [
            Row(id=f"{place} {light} {take}", axes={"place": place, "light": light, "take": take})
            for place in ("canal", "roof") for light in ("fog", "sun", "snow", "dusk", "rain") for take in (1, 2, 3)
        ],
    )  # fmt: skip
    page = open_page(place, width=width)
    page.click("#tab-grid")

    assert page.locator(".grid-cols .grid-head").count() == 5
    assert page.locator(".grid").evaluate("g => g.scrollWidth - g.clientWidth") <= 0


def test_a_grid_of_jobs_that_lack_both_sides_shows_them_nevertheless(
    open_page: Callable[..., Page], mixed: Path
) -> None:
    page = open_page(mixed)
    page.click("#tab-grid")
    page.fill("#search", "poster")
    page.wait_for_selector("#summary:has-text('1 of 18')")

    assert page.get_by_label("no subject, no look: poster, done, image").count() == 1
    assert not page.locator(".grid-rest").is_visible()


@pytest.mark.parametrize("width", [320, 390, 1100, 1280])
def test_no_number_of_the_head_is_broken_into_two_lines(
    open_page: Callable[..., Page], mixed: Path, width: int
) -> None:
    page = open_page(mixed, width=width)

    lines = "all => all.map(b => b.offsetHeight / parseFloat(getComputedStyle(b).lineHeight))"
    assert page.locator("#facts b").evaluate_all(lines) == pytest.approx([1] * 2, abs=0.1)
    assert overflow(page) <= 0


def test_the_table_has_room_for_minutes(
    open_page: Callable[..., Page], reports: Callable[..., tuple[Path, Report]]
) -> None:
    place, _ = reports("minutes", lambda media: [Row(id="long", duration_s=183.0)])
    page = open_page(place)
    page.click("#tab-table")

    took = page.locator("td.duration")

    assert took.inner_text() == "3 min 03 s"
    assert took.evaluate("cell => cell.scrollWidth <= cell.clientWidth")


def test_the_table_sorts_by_its_heads(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed, height=1400)
    page.click("#tab-table")
    first = page.locator("table.jobs tbody tr .link").first

    page.locator("th button", has_text="Credits").click()
    page.locator("th button", has_text="Credits").click()

    assert page.locator("th[aria-sort=descending]").inner_text().startswith("Credits")
    assert first.inner_text() == "dog-clay-2"
    assert page.locator("table.jobs").get_attribute("aria-rowcount") == "19"
    page.locator("table.jobs tbody tr", has_text="poster").click()
    assert page.locator("#lightbox-title").inner_text() == "poster"


def test_the_numbers_are_drawn_and_told(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed)
    page.click("#tab-numbers")

    labels = [chart.get_attribute("aria-label") for chart in page.locator("svg.chart").element_handles()]

    assert [label.partition(":")[0] for label in labels if label] == [
        "Jobs over time",
        "Task duration",
        "Credits over time",
    ]
    assert "15 done, 2 failed" in (labels[0] or "")
    assert page.locator("svg.chart path.line").count() == 3
    assert page.locator("svg.chart rect.column").count() > 3
    assert page.locator("tfoot").inner_text().split() == ["All", "19", "190", "10", "103.5", "79.5"]


def test_what_differs_for_every_job_is_no_filter(
    open_page: Callable[..., Page], reports: Callable[..., tuple[Path, Report]]
) -> None:
    place, _ = reports(
        "shots",
        lambda media: [
            Row(
                id=f"shot {n}",
                axes={"sku": f"A-{n}", "text": f"a lamp, number {n}", "seconds": (6, 10)[n % 2]},
            )
            for n in range(4)
        ],
    )
    page = open_page(place)

    names = page.locator("#filters .pick span").all_inner_texts()

    assert names == ["State", "seconds", "Picks", "Sort", "Size"]
    page.click("#tab-grid")
    assert page.locator("#grid-rows").input_value() == "axis seconds"
    assert "sku (4)" in page.locator("#grid-rows").inner_text()


def test_the_stats_tell_the_credits_by_model(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed, width=1600)

    head = page.locator("#facts").inner_text()
    assert "103.5" in head
    assert "190\u00a0estimated" in head
    assert "10\u00a0reserved" in head
    page.keyboard.press("4")
    told = page.locator(".card", has_text="Credits by model").inner_text()
    assert "grok-imagine-video" in told
    assert "z-image" in told
