"""The report in a real browser: what people stumbled over, so that nobody does again."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runner.reports.data import Report
from tests.browsing import FAILED, choose, shows, summary, until
from tests.report_rows import AUDIO, IMAGE, VIDEO, Row

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.extra
Reports = Callable[..., tuple[Path, Report]]


@pytest.fixture(scope="session")
def campaign(reports: Reports) -> Path:
    """Three products, two lights, three takes, some portrait; two kinds of failures; an axis with an empty value."""

    def rows(media: dict[str, Any]) -> list[Row]:
        tall = [clip for clip in media["video"] if clip[0].name.startswith("9x16")]
        wide = [clip for clip in media["video"] if clip[0].name.startswith("16x9")]
        made = [
            Row(
                id=f"green-bottle-marble-{product}-{light}-{take}",
                params={"aspect_ratio": "9:16" if product == "c" else "16:9"},
                axes={"product": product, "light": None if light == "none" else light, "take": take},
                files=[(tall if product == "c" else wide)[take % 2]],
            )
            for product in "abc"
            for light in ("noon", "none")
            for take in (1, 2, 3)
        ]
        refused = Row(id="refused", state="failed", error=("policy", "refused", "refused"), charges=(0.0,))
        broken = [Row(id=f"broken-{n}", state="failed", error=FAILED, charges=(0.0,)) for n in (1, 2)]
        return [
            *made,
            refused,
            *broken,
            Row(id="going", state="waiting", files=[], duration_s=None, model=VIDEO),
        ]

    return reports("campaign", rows)[0]


def test_a_click_on_the_film_leaves_the_keys_to_the_page(
    open_page: Callable[..., Page], campaign: Path
) -> None:
    page = open_page(campaign)
    page.locator(".tile-main").first.click()
    page.wait_for_selector(".stage video")
    page.locator(".stage video").click(position={"x": 200, "y": 100})
    first = page.locator("#lightbox-title").inner_text()

    page.keyboard.press("f")
    page.keyboard.press("ArrowRight")

    assert page.locator("#lightbox-title").inner_text() != first
    page.keyboard.press("ArrowLeft")
    assert page.locator("#lightbox-title").inner_text() == first
    assert page.locator(".lightbox .star").get_attribute("aria-pressed") == "true"


def test_a_portrait_clip_is_whole_in_the_grid_whatever_was_looked_at_before(
    open_page: Callable[..., Page], campaign: Path
) -> None:
    page = open_page(campaign, height=1800)
    page.wait_for_selector(".tile canvas")
    until(page, "document.querySelectorAll('.tile canvas').length >= 15")
    page.keyboard.press("2")
    page.wait_for_selector(".grid-cell canvas")
    until(page, "document.querySelectorAll('.grid-cell canvas').length >= 6")

    fits = page.locator(".grid-cell canvas").evaluate_all(
        "all => all.map(each => getComputedStyle(each).objectFit)"
    )
    assert set(fits) == {"contain"}
    page.locator(".grid-cell .tile-main").first.hover()
    page.wait_for_selector("video.moving")
    assert page.locator("video.moving").evaluate("each => getComputedStyle(each).objectFit") == "contain"


def test_the_jobs_of_one_kind_of_failure_are_shown(open_page: Callable[..., Page], campaign: Path) -> None:
    page = open_page(campaign)
    page.keyboard.press("4")
    page.locator(".failure", has_text="policy").get_by_text("Show these jobs").click()

    shows(page, ["refused"])
    choose(page, "State", "failed: generation")
    shows(page, ["broken-1", "broken-2"])


def test_how_to_fix_shows_the_commands(open_page: Callable[..., Page], campaign: Path) -> None:
    page = open_page(campaign, height=860)
    page.get_by_text("How to fix").click()

    page.wait_for_timeout(200)
    box = page.locator(".failure .command").first.bounding_box()
    assert box is not None
    assert 0 < box["y"] < 860


def test_arrows_move_in_the_grid_and_keys_mean_what_is_pointed_at(
    open_page: Callable[..., Page], campaign: Path
) -> None:
    page = open_page(campaign)
    page.keyboard.press("2")
    page.locator(".grid-cell .tile-main").first.focus()
    before = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("ArrowRight")
    after = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert before != after
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") not in (before, after)

    page.locator("#view").focus()
    page.keyboard.press("1")
    page.locator(".tile-main").nth(1).hover()
    page.keyboard.press("p")
    assert page.locator("#picked").inner_text() == "★ 1"


def test_what_is_shown_is_in_the_address(open_page: Callable[..., Page], campaign: Path) -> None:
    page = open_page(campaign)
    choose(page, "product", "b")
    page.locator(".tile-main").nth(2).click()
    title = page.locator("#lightbox-title").inner_text()
    link = page.url
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")

    page.go_back()  # on a phone: a gesture

    assert page.locator("#lightbox").is_hidden()
    assert page.locator(".tile").count() == 6
    page.reload()
    assert "6 of 22" in summary(page)
    page.goto("about:blank")
    page.goto(link)
    assert page.locator("#lightbox-title").inner_text() == title
    page.keyboard.press("Escape")
    assert "6 of 22" in summary(page)
    page.keyboard.press("2")
    page.reload()
    assert page.locator("#tab-grid").get_attribute("aria-selected") == "true"


def test_the_round_column_is_a_column(open_page: Callable[..., Page], campaign: Path) -> None:
    page = open_page(campaign, width=1920)
    page.keyboard.press("3")

    size = "all => all.map(each => [getComputedStyle(each).fontSize, getComputedStyle(each).borderTopLeftRadius])"
    cells = page.locator("tr.done").first.locator("td.round, td.polls").evaluate_all(size)
    assert len(cells) == 2
    assert cells[0] == cells[1]


def test_where_there_is_no_grid_there_is_none(open_page: Callable[..., Page], reports: Reports) -> None:
    place, _ = reports(
        "langs",
        lambda media: (
            [Row(id=f"job {n}", axes={"n": n}) for n in range(1)] * 1 + [Row(id="b", axes={"n": 0})]
        ),
    )
    page = open_page(place)
    page.keyboard.press("2")

    assert page.locator(".panel > .empty").is_visible()
    assert page.locator(".grid").is_hidden()


def test_rows_on_a_phone_differ(open_page: Callable[..., Page], campaign: Path) -> None:
    page = open_page(campaign, width=390, height=844)
    page.locator("#tab-table").click()

    assert page.locator("tr.done .picture").first.is_visible()
    ends = page.locator("tr.done .link .end")
    assert len(set(ends.all_inner_texts())) > 4
    for end in ends.all()[:4]:
        box = end.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 390


def test_an_empty_value_is_called_so(open_page: Callable[..., Page], campaign: Path) -> None:
    page = open_page(campaign)
    page.keyboard.press("2")
    page.locator("#grid-rows").select_option("axis light")

    heads = page.locator(".grid-side .grid-head").all_inner_texts()
    assert "(empty)" in heads
    assert "null" not in heads


def test_a_printed_page_has_every_picture_and_no_page_is_blank(
    open_page: Callable[..., Page], campaign: Path
) -> None:
    page = open_page(campaign)
    page.evaluate(
        "window.print = () => { window.printed = document.querySelectorAll('.sheet-of-all canvas').length; }"
    )
    page.click("#export")
    page.click("#export-print")
    until(page, "window.printed > 0")
    assert page.evaluate("window.printed") == 18

    data = page.pdf(format="A4")
    pages = len(re.findall(rb"/Type\s*/Page\b", data))
    assert pages <= 3, "22 small pictures, four in a row"


def test_what_is_under_way_stands_beside_what_is_done(open_page: Callable[..., Page], campaign: Path) -> None:
    page = open_page(campaign)

    order = page.locator("#progress span").evaluate_all("all => all.map(each => each.className)")
    assert order == ["done", "failed", "waiting"]
    assert (
        page.locator("#progress span").first.evaluate("each => getComputedStyle(each).forcedColorAdjust")
        == "none"
    )


_CUT = """node => node.scrollWidth > node.clientWidth || node.scrollHeight > node.clientHeight"""


@pytest.mark.parametrize(("width", "height"), [(360, 740), (390, 844)])
def test_what_needs_attention_is_read_whole(
    open_page: Callable[..., Page], campaign: Path, width: int, height: int
) -> None:
    page = open_page(campaign, width=width, height=height)

    words = page.locator(".notice p")
    words.wait_for()
    assert "3 jobs need attention" in words.inner_text()
    assert not words.evaluate(_CUT)


def test_small_tiles_of_the_grid_tell_their_whole_take(
    open_page: Callable[..., Page], reports: Reports
) -> None:
    def rows(media: dict[str, Any]) -> list[Row]:
        axes = itertools.product("abc", ("wood", "marble"), ("dawn", "noon", "dusk"), (1, 2, 3))
        return [
            Row(
                id=f"{product}-{surface}-{light}-{take}",
                axes={"product": product, "surface": surface, "light": light, "take": take},
                files=[media["video"][0]],
            )
            for product, surface, light, take in axes
        ]

    page = open_page(reports("wall", rows)[0].as_uri() + "#grid", width=800, height=1000)

    notes = page.locator(".grid-cell .narrow .note")
    notes.first.wait_for()
    told = notes.evaluate_all(f"nodes => nodes.map(node => [node.textContent, ({_CUT})(node)])")
    assert any("take" in text for text, _ in told)
    assert [text for text, cut in told if cut] == []


@pytest.mark.parametrize(("width", "height"), [(1280, 860), (768, 1024), (390, 844), (1920, 1080)])
def test_the_pictures_begin_in_the_first_third(
    open_page: Callable[..., Page], mixed: Path, width: int, height: int
) -> None:
    page = open_page(mixed, width=width, height=height)

    box = page.locator(".tile").first.bounding_box()
    assert box is not None
    assert box["y"] <= height / 3


@pytest.mark.parametrize("width", [768, 1280, 1920])
def test_no_column_of_credits_by_model_is_cut_off(
    open_page: Callable[..., Page], reports: Reports, width: int
) -> None:
    models = (VIDEO, AUDIO, IMAGE, "bytedance-seedance-2-0-image-to-video", "google-veo-3-1-fast-with-audio")
    place, _ = reports(
        f"models-{width}", lambda _: [Row(id=model, model=model, charges=(12_345.5,)) for model in models]
    )
    page = open_page(place, width=width)

    page.keyboard.press("4")

    cut = """[...document.querySelectorAll('.card .plain th, .card .plain td')].filter(cell => {
        const inside = cell.closest('.table-wrap').getBoundingClientRect().right;
        const range = document.createRange();
        range.selectNodeContents(cell);
        return range.getBoundingClientRect().right > inside + 0.5;
    }).map(cell => cell.textContent)"""
    assert page.locator(".card .plain").first.locator("tbody tr").count() == 5
    assert page.evaluate(cut) == []


def test_cells_that_would_hold_very_many_are_split_by_another_axis(
    open_page: Callable[..., Page], reports: Reports
) -> None:
    """Two products, three lights and sixteen seeds in three takes: none is behind a `+12`."""
    place, _ = reports(
        "seeds",
        lambda media: [
            Row(
                id=f"{product}-{light}-{seed}-{take}",
                axes={"product": product, "light": light, "seed": seed, "take": take},
                files=media["image"][:1],
            )
            for product in ("cup", "jar")
            for light in ("noon", "dusk", "night")
            for seed in range(16)
            for take in (1, 2, 3)
        ],
    )
    page = open_page(place)

    page.keyboard.press("2")

    assert page.locator("#grid-rows option:checked").inner_text() == "product × seed (32)"
    assert page.locator(".grid-side .grid-head").first.inner_text() == "cup · 0"
    assert page.locator(".rest").count() == 0
    assert page.locator(".grid-cell").first.locator(".tile").count() == 3


def test_a_printed_picture_is_whole_and_each_of_several_is_there(
    open_page: Callable[..., Page], reports: Reports
) -> None:
    place, _ = reports(
        "paper",
        lambda media: [
            Row(id="one", model=IMAGE, files=media["image"][:1]),
            Row(id="four", model=IMAGE, files=(media["image"] * 4)[:4]),
        ],
    )
    page = open_page(place, bypass_csp=True)
    page.wait_for_selector(".tile img")
    page.evaluate("window.print = () => { window.printed = true; }, 0")  # a function would be called

    page.keyboard.press("e")
    page.click("#export-print")
    until(page, "window.printed === true")
    page.emulate_media(media="print")

    captions = page.locator(".sheet-of-all figcaption").all_inner_texts()
    assert captions == ["one", "four, 1", "four, 2", "four, 3", "four, 4"]
    higher = """[...document.querySelectorAll('.sheet-of-all .shot')].filter(shot =>
        shot.firstElementChild.getBoundingClientRect().height > shot.getBoundingClientRect().height + 1).length"""
    assert page.evaluate(higher) == 0
