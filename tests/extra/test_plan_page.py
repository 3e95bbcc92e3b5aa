"""`plan --web` in a real browser: frames with prices, switches that change the sum at once, and a run that fills them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.browsing import axe_findings, overflow, until
from tests.support import Command

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.extra

MANIFEST = """\
version: 1
name: night
model: grok-imagine-video
params: {duration: 6, resolution: 480p, aspect_ratio: 16:9}
budget: {max_credits: 900}
polling: {first_s: 0.5, min_s: 0.5, max_s: 1}
jobs:
  - id: "${place}-${weather}"
    matrix: {place: [canal, roof, forest], weather: [fog, snow, rain]}
    repeat: 2
    prompt: "${place}, ${weather}, one slow camera move"
"""


def plan_page(command: Command, *options: str) -> str:
    """Serve the plan of `night.yaml`; return its address."""
    process = command.start("plan", "night.yaml", "--sandbox", "--web", "--no-open", *options)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/t/\S+/", url), url
    return url


def facts(page: Page) -> list[str]:
    return page.locator("#facts b").all_inner_texts()


def test_from_the_plan_to_the_morning_on_one_page(command: Command, open_page: Callable[..., Page]) -> None:
    command.write("night.yaml", MANIFEST)
    page = open_page(plan_page(command))
    page.wait_for_selector(".tile.planned")
    assert facts(page) == ["at least 180", "18 jobs"]
    assert "rivya-batch run night.yaml --sandbox" in page.locator("#now").inner_text()
    frame = page.locator(".tile").first
    assert "canal, fog, one slow camera move" in frame.inner_text()
    assert "≥ 10 credits" in frame.inner_text()

    frame.locator(".switch").click()
    assert facts(page) == ["at least 170", "17 jobs"], "at once"
    page.keyboard.press("2")
    page.get_by_label("Submit all of rain").click()  # three places, two takes
    assert facts(page) == ["at least 110", "11 jobs"]
    page.get_by_label("Submit all of rain").click()
    page.get_by_label("Submit all of snow").click()
    assert facts(page) == ["at least 110", "11 jobs"]
    until(page, "document.querySelectorAll('.grid-head .switch[aria-pressed=false]').length === 1")
    page.reload()
    page.wait_for_selector(".tile")
    assert facts(page) == ["at least 110", "11 jobs"], "it is kept"

    page.keyboard.press("1")
    page.locator(".tile").first.hover()
    page.keyboard.press("o")
    assert facts(page) == ["at least 120", "12 jobs"]
    until(page, "document.querySelectorAll('.tile.off').length === 6")

    ran = command("run", "night.yaml", "--sandbox", "--sandbox-options", "--duration 0.5:2")

    assert ran.code == 0, ran.stderr
    assert "night: all 12 jobs are done; 6 switched off" in ran.stdout
    page.wait_for_selector(".tile.done canvas")
    until(page, "document.querySelectorAll('.tile.done').length === 12")
    assert page.locator(".tile.off").count() == 6
    assert "credits" in page.locator(".tile.off .price").first.inner_text(), (
        "what it would cost is still there"
    )
    assert "6 switched off" in page.locator("#facts").inner_text().replace("\xa0", " ")
    ids = page.locator(".tile .caption .id").all_inner_texts()
    assert ids[:3] == ["canal-fog-1", "canal-fog-2", "canal-snow-1"], "the frames are where they were"
    page.locator(".tile.done .tile-main").first.click()
    page.keyboard.press("p")
    page.keyboard.press("Escape")
    assert page.locator("#picked").inner_text() == "★ 1"
    page.locator(".tile.off .switch").first.click()
    listed = command("switch", "night.yaml", "--sandbox")
    assert len(listed.stdout.split()) == 5


def test_what_a_run_would_stop_at_is_told_until_it_fits(
    command: Command, open_page: Callable[..., Page]
) -> None:
    command.write("night.yaml", MANIFEST.replace("900}", "900, max_credits_per_day: 175}"))
    page = open_page(plan_page(command))
    page.wait_for_selector(".tile.planned")
    warning = page.locator("#now [aria-label=Warnings]")
    assert "more than max_credits_per_day (175): the run will stop there" in warning.inner_text()

    page.locator(".tile .switch").first.click()

    until(page, "document.querySelector('#now [aria-label=Warnings]').hidden")


def test_an_edited_manifest_is_planned_anew(command: Command, open_page: Callable[..., Page]) -> None:
    manifest = command.write("night.yaml", MANIFEST)
    page = open_page(plan_page(command))
    page.wait_for_selector(".tile.planned")

    manifest.write_text(MANIFEST.replace("repeat: 2", "repeat: 3"))

    until(page, "document.querySelectorAll('#facts b')[1].textContent === '27 jobs'")
    manifest.write_text(MANIFEST.replace("repeat: 2", "repeat: no"))
    until(page, "document.querySelector('#now').textContent.includes('has mistakes now')")
    manifest.write_text(MANIFEST)
    until(page, "document.querySelectorAll('#facts b')[1].textContent === '18 jobs'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(command: Command, open_page: Callable[..., Page], scheme: str) -> None:
    command.write("night.yaml", MANIFEST)
    url = plan_page(command)
    for width in (1280, 400):
        page = open_page(url, width=width, bypass_csp=True, color_scheme=scheme, reduced_motion="reduce")
        page.wait_for_selector(".tile.planned")
        page.locator(".tile .switch").first.click()
        for view in ("gallery", "grid", "table"):
            page.click(f"#tab-{view}")
            page.wait_for_timeout(300)
            assert axe_findings(page) == [], view
            assert overflow(page) <= 0
        page.keyboard.press("1")
        page.locator(".tile-main").nth(1).click()
        page.wait_for_timeout(300)
        assert axe_findings(page) == []
        page.keyboard.press("o")
        assert page.locator(".lightbox .switch[aria-pressed=false]").count() == 1
        page.keyboard.press("o")
        page.keyboard.press("Escape")
        page.locator(".tile .switch").first.click()
