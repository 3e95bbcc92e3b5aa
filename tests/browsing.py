"""What tests in a real browser share: what a page shows, and what axe-core finds wrong with it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.report_rows import AUDIO, BEGAN_S, IMAGE, Row

if TYPE_CHECKING:
    from playwright.sync_api import Page

AXE = Path(sys.prefix) / "axe" / "axe.min.js"  # put there by `make test-extra` where npm is
HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    ' ${row.x} \\ "q" \u2028 雪'
)
FAILED = ("generation", "internal_error", "the task failed: out of time")


def axe_findings(page: Page) -> list[str]:
    """Return what axe-core finds wrong with a page as it is now; needs a context with `bypass_csp`."""
    if not AXE.exists():
        pytest.skip("there is no axe-core: make test-extra fetches it where npm is")
    if not page.evaluate("'axe' in window"):
        page.add_script_tag(path=str(AXE))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:300]} {node.get('failureSummary', '')}"
        for each in found["violations"]
        for node in each["nodes"][:3]
    ]


def until(page: Page, condition: str, given: Any = None) -> None:
    """Wait for a condition; the page's policy forbids Playwright's own way, which evaluates text."""
    for _ in range(300):
        if page.evaluate(condition, given):
            return
        page.wait_for_timeout(100)
    raise AssertionError(condition)


def ids(page: Page) -> list[str]:
    return page.locator(".tile .caption .id").all_inner_texts()


def shows(page: Page, wanted: list[str]) -> None:
    """Hold that a page shows these jobs: as soon as it has drawn them, for a busy browser draws late."""
    for _ in range(100):
        if ids(page) == wanted:
            return
        page.wait_for_timeout(100)
    assert ids(page) == wanted


def choose(page: Page, what: str, value: str) -> None:
    page.get_by_label(what, exact=True).select_option(value)


def summary(page: Page) -> str:
    return page.locator("#summary").inner_text()


def overflow(page: Page) -> int:
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def mixed_rows(media: dict[str, Any]) -> list[Row]:
    """Two subjects by three looks in two takes, and one of every other kind of thing."""
    rows = []
    for n in range(12):
        subject, look, take = ("cat", "dog")[n // 6], ("ink", "oil", "clay")[n // 2 % 3], n % 2 + 1
        name = f"{subject}-{look}-{take}"
        mine = media["video"][0][0].with_name(f"{name} #1.mp4")
        shutil.copy(media["video"][n % len(media["video"])][0], mine)
        rows.append(
            Row(
                id=name,
                prompt=f"{subject} in {look}",
                params={"duration": 6, "aspect_ratio": ("16:9", "9:16")[n % 2], "seed": n},
                axes={"subject": subject, "look": look, "take": take},
                files=[(mine, "video/mp4")],
                charges=(float(n + 1),),
                submitted_s=BEGAN_S + n * 30,
                duration_s=20.0 + n * 3,
            )
        )
    reference = {
        "path": "assets/it's ${here}.png",
        "file": str(media["image"][0][0]),
        "kind": "image",
        "mime": "image/png",
        "size_bytes": 9,
        "sha256": "0" * 64,
    }
    rows += [
        Row(id="poster", model=IMAGE, params={"aspect_ratio": "3:4"}, files=media["image"][:2], charges=(4.0,)),
        Row(id="narrator", model=AUDIO, params={"speed": 0.9}, files=media["audio"][:1], charges=(1.5,)),
        Row(id="hostile one", state="failed", prompt=HOSTILE, error=("policy", "refused", HOSTILE), charges=(0.0,)),
        Row(id="broken", state="failed", error=FAILED, references=[reference], charges=(0.0,)),
        Row(id="unknown", state="uncertain", duration_s=None),
        Row(id="lost", files=[(media["video"][0][0].with_name("not there.mp4"), "video/mp4")]),
        Row(id="old", listed=False, files=media["video"][:1]),
    ]  # fmt: skip
    return rows
