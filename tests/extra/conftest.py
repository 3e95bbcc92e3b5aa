"""A browser for all tests that want one, and pages that fail a test when anything about them is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runner.reports import page as report_page
from runner.reports.data import Invocation, Report, collect
from tests.browsing import mixed_rows
from tests.report_rows import Row, add, clips, new_state, night

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")  # while Playwright runs, no test beside it can run an event loop of its own
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: make test-extra"
    )
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("there is no browser here: apt install chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a page that fails the test on any error, any dialog and any request that is not for a file."""
    opened = []
    wrong: list[str] = []

    def asked(request: Any) -> None:
        if not request.url.startswith(("file:", "blob:", "data:", "http://127.0.0.1:")):
            wrong.append(request.url)

    def refuse(dialog: Any) -> None:
        wrong.append(dialog.message)
        dialog.dismiss()

    def open_it(where: Path | str, *, width: int = 1280, height: int = 900, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", refuse)
        page.on("request", asked)
        opened.append(context)
        page.goto(where.as_uri() if isinstance(where, Path) else where)
        return page

    yield open_it
    for context in opened:
        context.close()
    assert not wrong


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Report]]:
    """Write the report of some jobs and return its path: `reports("name", lambda media: [Row(…), …])`."""

    def write(name: str, rows: Callable[[dict[str, Any]], list[Row]]) -> tuple[Path, Report]:
        folder = tmp_path_factory.mktemp(name)
        out = folder / "out"
        media = clips(out)
        file = new_state(
            folder / "state" / "runner.db",
            manifest=name,
            manifest_path=folder / f"{name}.yaml",
            output_dir=out,
        )
        add(file, name, rows(media))
        report = collect(
            file.conn,
            name,
            output_dir=out,
            written_at="2026-11-22T20:00:00Z",
            invocation=Invocation(manifest=f"{name}.yaml"),
        )
        file.close()
        report_page.write_report(report, out / "report.html")
        return out / "report.html", report

    return write


@pytest.fixture(scope="session")
def mixed(reports: Callable[..., tuple[Path, Report]]) -> Path:
    return reports("mixed", mixed_rows)[0]


@pytest.fixture(scope="session")
def long_night(reports: Callable[..., tuple[Path, Report]]) -> Path:
    return reports("night", lambda media: night(10_000, media))[0]
