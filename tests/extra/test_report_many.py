"""The report of ten thousand jobs in a real browser: there at once, and only what is seen is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browsing import overflow

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.extra


def test_ten_thousand_jobs_open_within_a_second(open_page: Callable[..., Page], long_night: Path) -> None:
    page = open_page(long_night)
    took = "(t => t.loadEventEnd - t.startTime)(performance.getEntriesByType('navigation')[0])"
    page.wait_for_selector(".tile")
    times = [page.evaluate(took)]
    for _ in range(2):
        page.reload()
        page.wait_for_selector(".tile")
        times.append(page.evaluate(took))

    assert long_night.stat().st_size <= 6_000_000
    assert min(times) <= 1000
    assert page.evaluate("document.querySelectorAll('*').length") < 2500


@pytest.mark.parametrize("tab", ["gallery", "table"])
def test_only_what_is_visible_is_in_the_page_down_to_the_last_job(
    open_page: Callable[..., Page], long_night: Path, tab: str
) -> None:
    page = open_page(long_night)
    page.click(f"#tab-{tab}")

    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    last = page.get_by_role("button", name="greenhouse-clear-night-250")
    last.first.wait_for()

    assert last.first.is_visible()
    assert page.evaluate("document.querySelectorAll('*').length") < 2500
    assert page.evaluate("document.querySelectorAll('video').length") <= 1


def test_a_grid_of_hundreds_of_columns_draws_a_few(open_page: Callable[..., Page], long_night: Path) -> None:
    page = open_page(long_night)
    page.click("#tab-grid")
    page.locator("#grid-cols").select_option("axis take")

    page.locator(".grid").evaluate("g => g.scrollTo(g.scrollWidth, g.scrollHeight)")
    page.locator(".grid-cols .grid-head", has_text="250").wait_for()

    assert page.locator(".grid-cell").count() < 120
    assert overflow(page) <= 0


WATCH_PLAYERS = """
    window.players = new Set();
    window.most = 0;
    const source = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'src');
    Object.defineProperty(HTMLMediaElement.prototype, 'src', {...source, set(value) {
        players.add(this);
        window.most = Math.max(window.most, players.size);
        source.set.call(this, value);
    }});
    const remove = Element.prototype.removeAttribute;
    Element.prototype.removeAttribute = function (name) {
        if (name === 'src') players.delete(this);
        return remove.call(this, name);
    };
"""
TO_THE_END = """async () => {
    const most = {nodes: 0, pictures: 0};
    for (let at = 0; at < document.documentElement.scrollHeight; at += innerHeight * 9.7) {
        scrollTo(0, at);
        await new Promise(requestAnimationFrame);
        await new Promise(requestAnimationFrame);
        most.nodes = Math.max(most.nodes, document.querySelectorAll('*').length);
        most.pictures = Math.max(most.pictures, document.querySelectorAll('canvas, img').length);
    }
    return most;
}"""


def test_scrolling_through_them_all_never_holds_more_than_a_screen_or_two(
    open_page: Callable[..., Page], long_night: Path
) -> None:
    page = open_page("about:blank", bypass_csp=True)
    page.add_init_script(WATCH_PLAYERS)
    page.goto(long_night.as_uri())
    page.wait_for_selector(".tile canvas")

    most = page.evaluate(TO_THE_END)

    assert most["nodes"] < 2500
    assert most["pictures"] < 120
    assert 1 <= page.evaluate("window.most") <= 6
    page.wait_for_selector(".tile canvas")


def test_nothing_on_the_page_has_to_be_drawn_again_with_every_step(
    open_page: Callable[..., Page], long_night: Path
) -> None:
    """A blur behind a bar that stays costs a machine without a graphics card a third of every frame."""
    page = open_page(long_night)

    costly = page.evaluate(
        """() => [...document.querySelectorAll('*')].filter(node => {
            const style = getComputedStyle(node);
            return style.filter !== 'none' || style.backdropFilter !== 'none' || style.mixBlendMode !== 'normal'
                || style.backgroundAttachment === 'fixed';
        }).map(node => node.id || node.className)"""
    )

    assert costly == []


def test_a_row_that_comes_does_not_have_the_whole_table_drawn_again(
    open_page: Callable[..., Page], long_night: Path
) -> None:
    """Collapsed borders are the table's own: with every row that comes or goes, all of it is painted anew."""
    page = open_page(long_night)
    page.click("#tab-table")

    assert page.locator("table.jobs").evaluate("t => getComputedStyle(t).borderCollapse") == "separate"
    assert page.locator("table.jobs").evaluate("t => getComputedStyle(t).borderSpacing") == "0px"
