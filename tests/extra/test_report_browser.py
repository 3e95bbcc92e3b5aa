"""The report in a real browser, opened from the disk: its pictures, its films, and one job at large."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browsing import until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.extra


def test_a_video_plays_while_the_mouse_is_on_it(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed)

    page.locator(".tile").first.hover()
    page.wait_for_selector(".tile video.playing")
    page.wait_for_selector(".tile canvas")

    moved = "v => new Promise(f => { const a = v.currentTime; setTimeout(() => f(v.currentTime !== a && v.muted), 400); })"
    assert page.locator(".tile video").evaluate(moved)
    page.mouse.move(5, 5)
    page.wait_for_selector(".tile video", state="detached")


def test_the_keyboards_focus_plays_it_too(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed)

    page.locator("#view").focus()
    page.keyboard.press("Tab")

    page.wait_for_selector(".tile:first-child video.playing")


def test_who_wants_less_motion_sees_none(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed, reduced_motion="reduce")

    page.locator(".tile").first.hover()
    page.wait_for_selector(".tile canvas")
    page.wait_for_timeout(300)

    assert page.locator(".tile video").count() == 0


def test_posters_images_sound_and_what_is_missing_are_all_something_to_look_at(
    open_page: Callable[..., Page], mixed: Path
) -> None:
    page = open_page(mixed, height=2400)

    for job, what in {
        "cat-ink-1": "canvas",
        "poster": "img",
        "narrator": ".wave",
        "broken": ".state-word",
        "lost": ".nothing",
    }.items():
        page.wait_for_selector(f'.tile:has([aria-label^="{job},"]) .picture {what}')
    painted = """canvas => canvas.width > 100 && canvas.height > 60"""
    assert page.locator(".tile canvas").first.evaluate(painted)


def test_an_open_job_plays_and_tells_everything(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed)

    page.locator('.tile-main[aria-label^="cat-ink-2,"]').click()
    video = page.locator(".lightbox video")
    video.evaluate("v => new Promise(f => v.addEventListener('timeupdate', () => v.currentTime > 0 && f()))")

    assert video.evaluate("v => v.controls && !v.error")
    told = page.locator(".lightbox .info").inner_text()
    for words in ("cat in ink", "seed", "task_0000", "charged", "finished", "cat-ink-2 #1.mp4"):
        assert words in told
    assert "polls" not in told
    page.locator(".lightbox summary").click()
    told = page.locator(".lightbox .info").inner_text()
    for words in ("duration", "polls", "attempts", "round"):
        assert words in told


def test_a_failed_job_says_what_to_type_with_its_id_quoted(
    open_page: Callable[..., Page], mixed: Path
) -> None:
    page = open_page(mixed, permissions=["clipboard-read", "clipboard-write"])
    command = "rivya-batch retry mixed.yaml --only 'hostile one'"

    page.locator('.tile-main[aria-label^="hostile one,"]').click()
    page.get_by_label(f"Copy: {command}").click()

    until(page, "document.querySelector('#said').innerText === 'Copied'")
    assert page.evaluate("navigator.clipboard.readText()") == command


def test_an_uncertain_job_names_the_three_answers(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed)

    page.locator('.tile-main[aria-label^="unknown,"]').click()

    lines = page.locator(".lightbox .command code").all_inner_texts()
    assert lines[:3] == [
        f"rivya-batch resolve mixed.yaml unknown {flag}"
        for flag in ("--attach TASK_ID", "--resend", "--abandon")
    ]


def test_the_arrows_go_on_and_escape_gives_the_focus_back(
    open_page: Callable[..., Page], mixed: Path
) -> None:
    page = open_page(mixed)
    title = page.locator("#lightbox-title")

    page.locator('.tile-main[aria-label^="cat-ink-1,"]').click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert title.inner_text() == "cat-oil-1"
    page.keyboard.press("ArrowLeft")
    assert title.inner_text() == "cat-ink-2"
    page.keyboard.press("Escape")

    until(page, "document.activeElement.ariaLabel?.startsWith('cat-ink-2,')")
    assert page.locator("dialog[open]").count() == 0
    assert page.locator("video").count() <= 1


def test_by_the_keyboard_alone_one_comes_back_to_the_clip_that_was_open(
    open_page: Callable[..., Page], mixed: Path
) -> None:
    page = open_page(mixed)

    for key in ("Tab", "Enter", "Tab", "Enter"):  # the link that skips to the results, then the first of them
        page.keyboard.press(key)
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")

    until(page, "document.activeElement.ariaLabel?.startsWith('cat-ink-2,')")


def test_escape_empties_the_search_and_then_leaves_it(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed)

    page.keyboard.press("/")
    page.keyboard.type("oil")
    page.keyboard.press("Escape")
    until(page, "document.activeElement.id === 'search' && !document.activeElement.value")
    page.keyboard.press("Escape")
    until(page, "document.activeElement.id === 'view'")
    page.keyboard.press("?")

    page.wait_for_selector("#help-dialog[open]")


def test_the_focus_stays_inside_an_open_job(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed)
    inside = "document.activeElement.closest('dialog') !== null"

    page.locator('.tile-main[aria-label^="broken,"]').click()
    for key in ["Tab"] * 14 + ["Shift+Tab"] * 20:
        page.keyboard.press(key)
        assert page.evaluate(inside), key
