"""The live page in a real browser: it follows a run, holds and stops it, and obeys no other site."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from runner.web.redirect_file import RedirectFile
from tests.browsing import axe_findings, until
from tests.support import Command

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.extra

MANIFEST = """\
version: 1
name: night
model: grok-imagine-video
params: {duration: 6, resolution: 480p, aspect_ratio: 16:9}
budget: {max_credits: 900}
limits: {requests_per_second: 4}
polling: {first_s: 0.5, min_s: 0.5, max_s: 1}
jobs:
  - id: "${place}-${weather}"
    matrix: {place: [canal, roof, forest], weather: [fog, snow, rain]}
    repeat: 4
    prompt: "${place}, ${weather}"
"""


class Night:
    """A run with a live page, its address, and what it says."""

    def __init__(self, command: Command, *options: str) -> None:
        manifest = command.write("night.yaml", MANIFEST)
        self.process = command.start(
            "run", manifest, "--sandbox", "--web", "--no-open", "--sandbox-options", " ".join(options)
        )
        assert self.process.stderr is not None
        self.said: list[str] = []
        self.url = ""
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"live page (http://\S+)", line):
                self.url = found[1]
                break
        assert self.url, f"it named no address: {''.join(self.said)}"
        self.origin = self.url.partition("/t/")[0]
        threading.Thread(target=lambda: self.said.extend(self.process.stderr or ()), daemon=True).start()


RECORD = """
    const Real = EventSource;
    window.kinds = [];
    window.EventSource = class extends Real {
        addEventListener(kind, act) {
            super.addEventListener(kind, event => { window.kinds.push(kind); act(event); });
        }
    };
"""


@contextmanager
def another_site(script: str) -> Iterator[str]:
    """Serve a page of somebody else on this machine; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(f"<!doctype html><title>evil</title><script>{script}</script>".encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def test_films_appear_and_play_while_the_run_goes_on(
    command: Command, open_page: Callable[..., Page]
) -> None:
    night = Night(command, "--duration 2:6")
    page = open_page(night.url)
    page.wait_for_selector(".now.running")
    assert page.locator(".tile").count() > 0

    page.wait_for_selector(".tile.done canvas")
    page.locator(".tile.done .tile-main").first.hover()
    until(page, "document.querySelector('video.moving')?.currentTime > 0.1")

    assert page.locator("#now b").nth(1).inner_text().isdigit()
    assert "of 900" in page.locator("#now").inner_text()
    page.wait_for_selector(".now.ended", timeout=60_000)
    assert night.process.wait(timeout=20) == 0
    assert "36" in page.locator("#facts b").first.inner_text()
    assert "rivya-batch serve" in page.locator("#now").inner_text()
    assert (
        str(command.workspace / "out" / "night" / "sandbox" / "report.html")
        in page.locator("#now").inner_text()
    )


def test_the_private_file_leads_to_the_page(
    command: Command, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    night = Night(command, "--duration 2:6")

    page = open_page(RedirectFile(tmp_path).lead_to(night.url))
    page.wait_for_selector(".now.running")

    assert page.url == night.url
    night.process.kill()


def test_other_jobs_changes_disturb_nobody(command: Command, open_page: Callable[..., Page]) -> None:
    night = Night(command, "--duration 1:8")
    page = open_page(night.url)
    page.wait_for_selector(".tile.done canvas")
    page.locator(".tile.done .tile-main").first.hover()
    page.wait_for_selector("video.moving.playing")
    page.locator("#search").focus()
    page.evaluate(
        """() => {
            window.film = document.querySelector('video.moving');
            window.chosen = document.querySelector('#filters select');
            window.chosen.focus();
            window.before = document.querySelector('#facts b').textContent;
        }"""
    )

    until(page, "document.querySelector('#facts b').textContent !== window.before")
    page.wait_for_timeout(300)

    assert page.evaluate("window.film.isConnected && !window.film.paused")
    assert page.evaluate("document.activeElement === window.chosen")

    page.locator(".tile:not(.done) .tile-main").first.focus()
    name = page.evaluate("document.activeElement.closest('.tile').job.id")
    until(
        page, "name => [...document.querySelectorAll('.tile.done')].some(tile => tile.job.id === name)", name
    )
    assert page.evaluate("document.activeElement.closest('.tile')?.job.id") == name
    night.process.kill()


def test_an_open_job_goes_on_while_it_is_looked_at(command: Command, open_page: Callable[..., Page]) -> None:
    night = Night(command, "--duration 3:6")
    page = open_page(night.url)
    page.locator(".tile-main").nth(0).click()
    assert "done" not in page.locator(".lightbox .state-line").inner_text()

    page.wait_for_selector(".lightbox .stage video", timeout=30_000)

    assert "done" in page.locator(".lightbox .state-line").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#lightbox-title").inner_text() == "canal-fog-2"
    night.process.kill()


def test_pause_resume_and_stop(command: Command, open_page: Callable[..., Page]) -> None:
    night = Night(command, "--duration 2:3")
    page = open_page(night.url)

    page.get_by_role("button", name="Pause").click()
    page.wait_for_selector(".now.held")
    assert page.evaluate("document.activeElement.textContent") == "Resume"
    # What is under way comes home, and then nothing moves.
    until(page, "!document.querySelector('#progress .waiting, #progress .submitting')")
    planned = page.locator("#progress").get_attribute("aria-label") or ""
    assert "planned" in planned
    page.get_by_role("button", name="Resume").click()
    page.wait_for_selector("#progress .waiting")
    page.get_by_role("button", name="Stop…").click()
    page.get_by_role("button", name="Keep running").click()
    page.wait_for_selector(".now.running")
    page.get_by_role("button", name="Stop…").click()
    page.get_by_role("button", name="Stop", exact=True).click()

    assert night.process.wait(timeout=20) == 130
    page.wait_for_selector(".now.ended")
    assert "rivya-batch run" in page.locator("#now").inner_text()
    assert not page.locator(".now-buttons").is_visible()


def test_a_connection_that_breaks_is_made_again(command: Command, browser: Browser) -> None:
    night = Night(command, "--duration 1:9")
    page = browser.new_page()
    page.add_init_script(RECORD)
    asked: list[str] = []

    def break_the_first(route: Any) -> None:
        asked.append(route.request.url)
        if len(asked) > 1:
            route.continue_()
            return
        with httpx.stream("GET", route.request.url) as answer:
            told = ""
            for piece in answer.iter_text():
                told += piece
                if told.count("\n\n") >= 2:
                    break
        route.fulfill(status=200, content_type="text/event-stream", body=told)

    page.route("**/events", break_the_first)
    page.goto(night.url)
    page.wait_for_selector(".tile.done canvas")
    page.wait_for_selector(".now.running")

    assert len(asked) == 2
    # Not everything once more, but what has changed since.
    kinds = page.evaluate("window.kinds")
    assert kinds[0] == "report"
    assert set(kinds[1:]) <= {"jobs", "head"}
    assert "jobs" in kinds
    assert page.locator("#progress").get_attribute("aria-label")
    night.process.kill()
    page.wait_for_selector(".now.lost")
    assert "Reconnecting" in page.locator("#now").inner_text()
    assert not page.locator(".now-buttons").is_visible()
    page.close()


def test_a_page_to_look_at_has_no_buttons(command: Command, open_page: Callable[..., Page]) -> None:
    night = Night(command, "--duration 1:9")
    server = command.start("serve", "--sandbox", "--no-open")
    assert server.stdout is not None
    page = open_page(server.stdout.readline().strip())

    page.wait_for_selector(".now.running")
    page.wait_for_selector(".tile.done canvas")

    assert not page.locator(".now-buttons").is_visible()
    night.process.kill()
    page.wait_for_selector(".now.killed")
    assert "rivya-batch run" in page.locator("#now").inner_text()


def test_another_site_can_neither_read_nor_drive_it(command: Command, browser: Browser) -> None:
    """Even one that has learned the address."""
    night = Night(command, "--duration 1:9")
    script = """
        const url = URL;
        const tries = {
            read: () => fetch(url).then(answer => answer.text()),
            blind: () => fetch(url + 'control', {method: 'POST', mode: 'no-cors', body: '{"do": "hold"}'})
                .then(() => { throw 0; }),
            drive: () => fetch(url + 'control', {method: 'POST', body: '{"do": "hold"}'}),
            form: () => new Promise((ok, no) => {
                const form = document.createElement('form');
                form.method = 'POST'; form.enctype = 'text/plain'; form.action = url + 'control'; form.target = 'frame';
                const input = document.createElement('input');
                input.name = '{"do": "hold", "x": "'; input.value = '"}';
                form.append(input);
                const frame = document.createElement('iframe');
                frame.name = 'frame';
                document.documentElement.append(frame, form);
                frame.onload = () => no();
                form.submit();
            }),
            listen: () => new Promise((ok, no) => {
                const stream = new EventSource(url + 'events');
                stream.addEventListener('report', ok);
                stream.onerror = no;
            }),
            image: () => new Promise((ok, no) => {
                const image = new Image(); image.onload = ok; image.onerror = no; image.src = url + 'result/1/1/x';
            }),
            film: () => new Promise((ok, no) => {
                const film = document.createElement('video'); film.onloadeddata = ok; film.onerror = no;
                film.src = url + 'result/1/1/x';
            }),
            script: () => new Promise((ok, no) => {
                const script = document.createElement('script'); script.onload = ok; script.onerror = no;
                script.src = url; document.documentElement.append(script);
            }),
        };
        window.result = Promise.all(Object.entries(tries).map(([name, go]) => go().then(() => name, () => null)))
            .then(names => names.filter(Boolean));
    """.replace("URL", json.dumps(night.url))
    watching = browser.new_page()
    watching.goto(night.url)
    watching.wait_for_selector(".tile.done canvas", timeout=30_000)

    with another_site(script) as url:
        evil = browser.new_page()
        evil.goto(url)
        assert evil.evaluate("window.result") == []
        evil.goto(f"{night.origin.replace('127.0.0.1', 'localhost')}/t/wrong/")
        assert "There is nothing here" in evil.locator("body").inner_text()
        evil.close()

    watching.wait_for_timeout(1500)
    assert watching.locator(".now.running").count() == 1
    assert [line for line in night.said if "held" in line] == []
    watching.close()
    night.process.kill()


def test_it_fits_a_phone(command: Command, open_page: Callable[..., Page]) -> None:
    night = Night(command, "--duration 1:9 --chaos 0.3")
    page = open_page(night.url, width=390, height=844)
    page.wait_for_selector(".now.running")

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator(".now-buttons button").first.is_visible()
    night.process.kill()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(command: Command, open_page: Callable[..., Page], scheme: str) -> None:
    night = Night(command, "--duration 1:9")
    page = open_page(night.url, bypass_csp=True, color_scheme=scheme, reduced_motion="reduce")
    page.wait_for_selector(".now.running")
    page.wait_for_selector(".tile.done canvas")

    assert axe_findings(page) == []
    page.get_by_role("button", name="Stop…").click()
    assert axe_findings(page) == []
    night.process.kill()


def test_a_pick_of_the_live_page_is_in_the_report_and_on_the_next_page(
    command: Command, open_page: Callable[..., Page]
) -> None:
    """Another port is another origin to the browser: what is picked must not live there."""
    night = Night(command, "--duration 0.2:0.5")
    page = open_page(night.url)
    page.wait_for_selector(".tile.done canvas")
    id_ = page.locator(".tile.done .id").first.inner_text()
    page.locator(".tile.done").first.hover()
    page.get_by_label(f"Pick {id_}", exact=True).click()
    until(page, "document.querySelector('#picked').textContent === '★ 1'")
    page.wait_for_selector(".now.ended", timeout=60_000)
    assert night.process.wait(timeout=20) == 0

    page.goto((command.workspace / "out" / "night" / "sandbox" / "report.html").as_uri())
    assert page.locator("#picked").inner_text() == "★ 1"
    page.keyboard.press("v")
    assert page.locator(".tile .id").all_inner_texts() == [id_]
    told = command("pick", "night.yaml", "--sandbox", "--json").json["picks"]
    assert [each["id"] for each in told] == [id_]
