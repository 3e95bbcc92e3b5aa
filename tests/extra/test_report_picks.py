"""The report in a real browser: picks, and what one takes away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from runner.api.picks import read_picks
from runner.manifest import open_manifest
from runner.manifest.reference_files import DiskReferences
from runner.model import Severity
from runner.reports.data import Report
from runner.schemas import load_contracts
from tests.browsing import HOSTILE, choose, shows
from tests.report_rows import AUDIO, IMAGE, Row

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.extra


def test_picks_outlive_the_page(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed, height=2400)
    page.locator("#view").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("f")
    page.locator(".tile", has_text="poster").hover()
    page.get_by_label("Pick poster").click()

    page.reload()
    page.keyboard.press("v")

    shows(page, ["cat-ink-2", "poster"])
    assert page.locator("#picked").inner_text() == "★ 2"


def test_a_browser_that_remembers_nothing_still_works(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page("about:blank", bypass_csp=True)
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('denied'); }})"
    )
    page.goto(mixed.as_uri())

    page.locator(".tile").first.hover()
    page.get_by_label("Pick cat-ink-1").click()
    page.keyboard.press("v")

    shows(page, ["cat-ink-1"])
    assert "until you close this page" in page.locator("#said").inner_text()


def test_the_selection_is_exported_as_ids(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed)
    choose(page, "State", "failed")
    page.keyboard.press("Escape")

    page.click("#export")
    with page.expect_download() as download:
        page.click("#export-ids")

    assert download.value.suggested_filename == "mixed-ids.txt"
    assert Path(download.value.path()).read_text("utf-8") == "hostile one\nbroken\n"


def test_an_exported_manifest_means_the_same_jobs(
    open_page: Callable[..., Page], reports: Callable[..., tuple[Path, Report]], tmp_path: Path
) -> None:
    texts = [HOSTILE, "${a} $${b} $$${c} $", "tab\tand\nlines\r\n", "'single' \"double\" # no comment: yes", "- ~ null",
             "\x7f\x85\ufeff\ud7ff\ue000\U0001f989", " spaces "]  # fmt: skip
    place, report = reports(
        "texts",
        lambda media: [
            *(Row(id=f"text {n}", prompt=text) for n, text in enumerate(texts)),
            Row(id="Ünïcode-雪", params={"duration": 6, "aspect_ratio": "16:9", "resolution": "480p"}),
            Row(id="text 1", listed=False, prompt="an older one"),
            Row(id="sound", model=AUDIO, params={"voice": "TX3LPaxmHKxFdv7VOQHJ", "stability": 0.5}),
        ],
    )
    page = open_page(place)

    page.click("#export")
    with page.expect_download() as download:
        page.click("#export-manifest")
    manifest = tmp_path / download.value.suggested_filename
    download.value.save_as(manifest)
    opened = open_manifest(
        manifest, contracts=load_contracts(), references=DiskReferences(), workspace=tmp_path
    )
    jobs = list(opened.jobs())

    assert not [str(problem) for problem in opened.problems if problem.severity is Severity.ERROR]
    assert opened.settings is not None
    assert opened.settings.name == "texts-selection"
    wanted = [job for job in report.jobs if job.listed]
    assert [(job.id, job.model, job.prompt) for job in jobs] == [
        (job.id, job.model, job.prompt) for job in wanted
    ]
    assert dict(jobs[-1].params) == {"voice": "TX3LPaxmHKxFdv7VOQHJ", "stability": 0.5}


def test_references_are_exported_as_they_were_written(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed)
    page.fill("#search", "broken")
    page.wait_for_selector("#summary:has-text('1 of 18')")

    page.click("#export")
    with page.expect_download() as download:
        page.click("#export-manifest")

    text = Path(download.value.path()).read_text("utf-8")
    assert """"assets/it's $${here}.png\"""" in text


def test_a_result_taken_by_a_job_is_exported_as_the_file_that_it_is(
    open_page: Callable[..., Page], reports: Callable[..., tuple[Path, Report]]
) -> None:
    def rows(media: dict[str, Any]) -> list[Row]:
        path, mime = media["image"][0]
        taken = {"path": "job: still", "mime": mime, "size_bytes": 1, "of": {"jobs": ["still"]}}
        mended = {"path": "cup.png", "mime": mime, "size_bytes": 1, "file": str(path)}
        early = {"path": "job: later", "file": "", "mime": "", "size_bytes": 0, "of": {"jobs": ["later"]}}
        return [
            Row(id="film", prompt="now", references=[{**taken, "file": str(path)}]),
            Row(id="mended", prompt="now too", references=[mended]),
            Row(id="early", references=[early]),
        ]

    place, _ = reports("chain", rows)
    page = open_page(place)
    page.click("#export")
    page.click("#export-manifest")
    page.wait_for_selector("#said:has-text('early takes a result that is not on this disk yet (job: later)')")
    page.keyboard.press("Escape")
    page.fill("#search", "now")
    page.wait_for_selector("#summary:has-text('2 of 3')")

    page.click("#export")
    with page.expect_download() as download:
        page.click("#export-manifest")

    listed = yaml.safe_load(Path(download.value.path()).read_text("utf-8"))["jobs"]
    taken, mended = (job["references"][0] for job in listed)
    assert taken.startswith("out/")
    assert (place.parent.parent / taken).is_file()
    assert mended == {"file": "cup.png", "mend": True}


def test_two_projects_of_one_name_do_not_share_picks(
    open_page: Callable[..., Page], reports: Callable[..., tuple[Path, Report]]
) -> None:
    """All pages of the disk share one storage; what counts is the workspace."""
    first, _ = reports("same", lambda media: [Row(id="a", files=media["video"][:1])])
    second, _ = reports("same", lambda media: [Row(id="a", files=media["video"][:1])])
    page = open_page(first)
    page.locator(".tile").first.hover()
    page.get_by_label("Pick a", exact=True).click()
    assert page.locator("#picked").inner_text() == "★ 1"

    page.goto(second.as_uri())

    assert page.locator("#picked").inner_text() == "★ 0"
    page.goto(first.as_uri())
    assert page.locator("#picked").inner_text() == "★ 1"


def test_what_was_picked_is_saved_for_the_command(open_page: Callable[..., Page], mixed: Path) -> None:
    page = open_page(mixed)
    page.locator(".tile", has_text="cat-ink-1").hover()
    page.get_by_label("Pick cat-ink-1").click()
    page.locator("#view").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    assert page.locator(".tile.rejected .id").all_inner_texts() == ["cat-ink-2"]

    page.click("#export")
    assert (
        "rivya-batch pick mixed.yaml --from mixed-picks.json" in page.locator("#export-dialog").inner_text()
    )
    with page.expect_download() as download:
        page.click("#export-picks")

    told = read_picks(str(download.value.path()))
    assert told.manifest == "mixed"
    assert {id_: change.verdict for id_, (_, change) in told.picks.items()} == {
        "cat-ink-1": "picked",
        "cat-ink-2": "rejected",
    }
    page.keyboard.press("u")
    page.keyboard.press("u")
    assert page.locator("#picked").inner_text() == "★ 0"


def test_a_new_manifest_has_the_changes_once_at_its_top(
    open_page: Callable[..., Page], mixed: Path, tmp_path: Path
) -> None:
    page = open_page(mixed)
    choose(page, "subject", "cat")
    page.click("#export")
    page.fill("#export-changes", "resolution=720p duration=10 seed=")
    page.fill("#export-takes", "2")
    with page.expect_download() as download:
        page.click("#export-manifest")
    manifest = tmp_path / download.value.suggested_filename
    download.value.save_as(manifest)
    opened = open_manifest(
        manifest, contracts=load_contracts(), references=DiskReferences(), workspace=tmp_path
    )
    jobs = list(opened.jobs())

    assert not [str(problem) for problem in opened.problems if problem.severity is Severity.ERROR]
    assert len(jobs) == 12
    assert {job.params["resolution"] for job in jobs} == {"720p"}
    assert opened.settings is not None
    assert opened.settings.budget.max_credits == 42
    assert manifest.read_text("utf-8").count("720p") == 1


def test_one_of_several_pictures_is_picked_by_its_number(
    open_page: Callable[..., Page], reports: Callable[..., tuple[Path, Report]]
) -> None:
    place, _ = reports(
        "several", lambda media: [Row(id=each, model=IMAGE, files=(media["image"] * 4)[:4]) for each in "ab"]
    )
    page = open_page(place)
    page.wait_for_selector(".tile .several .cell:nth-child(4) img")  # all that was paid for is shown
    page.locator(".tile-main").first.click()

    page.keyboard.press("3")
    page.keyboard.press("p")
    page.keyboard.press("1")
    page.keyboard.press("p")
    assert page.locator(".strip-file.is-picked").all_inner_texts() == ["★ 1", "★ 3"]
    page.keyboard.press("p")  # takes the first back
    page.keyboard.press("Escape")

    assert page.locator(".tile .cell.is-picked").count() == 1
    page.click("#export")
    with page.expect_download() as download:
        page.click("#export-picks")
    (saved,) = json.loads(Path(download.value.path()).read_text("utf-8"))["picks"]
    assert (saved["id"], saved["verdict"], saved["results"]) == ("a", "picked", [3])
