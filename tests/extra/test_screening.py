"""The screening room in a real browser: takes side by side, judged by keyboard alone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner.reports.data import Report
from tests.browsing import FAILED, axe_findings, until
from tests.report_rows import Row, night

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.extra
Reports = Callable[..., tuple[Path, Report]]


@pytest.fixture(scope="session")
def takes(reports: Reports) -> Path:
    """Two subjects by two lights, three takes each, and two jobs that failed."""
    return reports(
        "takes",
        lambda media: [
            *(
                Row(
                    id=f"{subject}-{light}-{take}",
                    axes={"subject": subject, "light": light, "take": take},
                    files=[media["video"][take]],
                )
                for subject in ("cat", "dog")
                for light in ("noon", "dusk")
                for take in (1, 2, 3)
            ),
            Row(
                id="broken-1",
                axes={"subject": "cat", "light": "noon", "take": 4},
                state="failed",
                error=FAILED,
            ),
            Row(
                id="broken-2",
                axes={"subject": "owl", "light": "noon", "take": 1},
                state="failed",
                error=FAILED,
            ),
        ],
    )[0]


def left(page: Page) -> str:
    return page.locator("#room .position").inner_text()


def title(page: Page) -> str:
    return page.locator("#room-title").inner_text()


def test_takes_are_judged_by_keyboard_alone(open_page: Callable[..., Page], takes: Path) -> None:
    page = open_page(takes)
    page.wait_for_selector(".tile")
    page.keyboard.press("s")
    assert (title(page), left(page)) == ("cat · noon", "12 of 12 left · 0 picked · 0 rejected")
    assert page.locator(".clip").count() == 3, "what failed is left out"
    until(page, "[...document.querySelectorAll('.clip video')].every(each => each.currentTime > 0.2)")
    at = "[...document.querySelectorAll('.clip video')].map(each => each.currentTime)"
    until(page, f"(at => Math.max(...at) - Math.min(...at) < 0.15)({at})")

    page.keyboard.press("x")
    page.keyboard.press("p")
    page.keyboard.press("4")  # the last of three: the next combination comes by itself

    assert (title(page), left(page)) == ("cat · dusk", "9 of 12 left · 1 picked · 1 rejected")
    page.keyboard.press("u")
    assert (title(page), left(page)) == ("cat · noon", "10 of 12 left · 1 picked · 1 rejected")
    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("w")
    page.keyboard.type("warm, keep")
    page.keyboard.press("Enter")
    assert "warm, keep" in page.locator(".clip").nth(1).inner_text()
    assert title(page) == "cat · dusk"
    page.keyboard.press("ArrowUp")
    assert title(page) == "cat · dusk", "what is all judged does not come up again"
    page.keyboard.press("o")
    page.keyboard.press("ArrowUp")
    assert title(page) == "cat · noon"
    page.keyboard.press("Escape")
    assert page.locator("#room").is_hidden()
    assert page.locator("#picked").inner_text() == "★ 1"


def test_two_at_a_time_until_one_is_left(open_page: Callable[..., Page], takes: Path) -> None:
    page = open_page(takes)
    page.wait_for_selector(".tile")
    page.keyboard.press("s")
    page.keyboard.press("k")
    assert page.locator(".clip").count() == 2
    page.keyboard.press("ArrowRight")  # take 2 against take 3 now
    assert page.locator(".clip .id").all_inner_texts() == ["take 3", "take 2"]
    page.keyboard.press("u")
    assert page.locator(".clip .id").all_inner_texts() == ["take 1", "take 2"]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")

    assert left(page) == "9 of 12 left · 1 picked · 2 rejected"
    assert title(page) == "cat · dusk"
    page.keyboard.press("u")
    assert left(page) == "12 of 12 left · 0 picked · 0 rejected", "the contest is undone at once"


def test_it_ends_with_what_to_type_next(open_page: Callable[..., Page], takes: Path) -> None:
    page = open_page(takes)
    page.wait_for_selector(".tile")
    page.keyboard.press("s")
    for _ in range(12):
        page.keyboard.press("p")

    assert "0 of 12 left" in left(page)
    assert "rivya-batch again takes.yaml --picked" in page.locator("#room").inner_text()


def test_a_narrow_room_has_its_title_above_its_buttons(open_page: Callable[..., Page], takes: Path) -> None:
    page = open_page(takes, width=400)
    page.keyboard.press("s")
    page.wait_for_selector("#room[open]")
    titles = page.locator("#room .lightbox-title").bounding_box()
    button = page.locator("#room .lightbox-head .small").first.bounding_box()
    assert titles is not None
    assert button is not None
    assert titles["y"] + titles["height"] <= button["y"]
    assert "cat · noon" in title(page)
    assert page.evaluate("(each => each.scrollWidth <= each.clientWidth)(document.querySelector('#room h2'))")


def test_what_is_said_and_typed_next_can_be_read_in_the_room(
    open_page: Callable[..., Page], takes: Path
) -> None:
    page = open_page(takes, color_scheme="light")
    page.keyboard.press("s")
    page.wait_for_selector("#room[open]")
    for _ in range(12):
        page.keyboard.press("p")
    page.wait_for_selector("#said.shown:popover-open")  # above the room
    colours = page.evaluate(
        "(([box, text]) => [getComputedStyle(box).backgroundColor, getComputedStyle(text).color])"
        "([document.querySelector('#room .command'), document.querySelector('#room .command code')])"
    )
    assert colours == ["rgb(38, 36, 33)", "rgb(241, 239, 236)"]


def test_the_room_is_in_the_address(open_page: Callable[..., Page], takes: Path) -> None:
    page = open_page(takes)
    page.wait_for_selector(".tile")
    page.keyboard.press("s")
    page.keyboard.press("ArrowDown")
    assert title(page) == "cat · dusk"

    page.reload()
    assert title(page) == "cat · dusk"
    page.keyboard.press("Escape")
    page.locator(".tile-main").nth(7).click()
    page.keyboard.press("c")
    page.wait_for_selector("#room[open]")
    assert title(page) == "dog · noon"
    assert page.locator(".clip.now .id").inner_text() == "take 2"
    page.go_back()
    page.wait_for_selector("#room", state="hidden")
    assert page.locator(".tile").count() > 0


def test_the_grid_shows_every_tile_of_three_axes(open_page: Callable[..., Page], takes: Path) -> None:
    page = open_page(takes, height=2000)
    page.keyboard.press("2")

    assert page.locator(".grid-cell .tile").count() == 14
    assert page.locator(".rest").count() == 0
    assert page.locator(".grid-cell").first.locator(".note").all_inner_texts() == [
        "take 1",
        "take 2",
        "take 3",
        "take 4",
    ]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing_in_the_room(
    open_page: Callable[..., Page], takes: Path, scheme: str, width: int
) -> None:
    page = open_page(takes, bypass_csp=True, color_scheme=scheme, reduced_motion="reduce", width=width)
    page.wait_for_selector(".tile")
    page.click("#screen")
    page.wait_for_selector(".clip video")
    assert axe_findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_ten_thousand_jobs_with_marks_open_in_a_second(
    open_page: Callable[..., Page], reports: Reports
) -> None:
    place, _ = reports("marked", lambda media: night(10_000, media))
    text = place.read_text("utf-8")
    marks = ",".join(f'[{n},"picked",{n % 6},"a word",1790000000]' for n in range(0, 10_000, 2))
    assert '"picks":[]' in text
    place.write_text(text.replace('"picks":[]', f'"picks":[{marks}]'), "utf-8")
    page = open_page("about:blank")

    def opened() -> float:
        began = time.perf_counter()
        page.goto(place.as_uri())
        page.wait_for_selector(".tile")
        return time.perf_counter() - began

    quickest = min(opened() for _ in range(5))
    busy = os.getloadavg()[0] > 2 * (os.cpu_count() or 1)
    assert quickest < (4.0 if busy else 1.0)
    assert (
        page.locator("#picked").inner_text() == "★ 5,000"
        or int(page.locator("#picked").inner_text()[2:].replace(",", "")) > 4900
    )
    began = time.perf_counter()
    page.keyboard.press("s")
    page.wait_for_selector(".clip")
    assert time.perf_counter() - began < (8.0 if busy else 2.0)
