"""The report's page fed by a stream of events, as the live page is."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runner.reports import page as report_page
from runner.reports.data import Report
from tests.browsing import FAILED, choose, shows, summary
from tests.report_rows import Row

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.extra


class Live:
    """A server of the page and of a stream of events for it."""

    def __init__(self) -> None:
        self.events: queue.Queue[tuple[str, Any] | None] = queue.Queue()
        live = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                if self.path != "/events":
                    self.send_header("content-type", "text/html; charset=utf-8")
                    self.end_headers()
                    data = json.dumps({"v": 1, "live": "/events"})
                    self.wfile.write(report_page.page("mixed", data, connect="'self'"))
                    return
                self.send_header("content-type", "text/event-stream")
                self.end_headers()
                while (event := live.events.get()) is not None:
                    self.wfile.write(f"event: {event[0]}\ndata: {json.dumps(event[1])}\n\n".encode())
                    self.wfile.flush()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"


@pytest.fixture
def live() -> Iterator[Live]:
    live = Live()
    yield live
    live.events.put(None)
    live.server.shutdown()
    live.server.server_close()


def test_the_same_page_follows_a_stream_of_events(
    open_page: Callable[..., Page], live: Live, reports: Callable[..., tuple[Path, Report]]
) -> None:
    _, before = reports(
        "stream",
        lambda media: [
            Row(id="a", axes={"look": "ink"}),
            Row(id="b", state="waiting", axes={"look": "oil"}, duration_s=None),
        ],
    )
    _, after = reports(
        "stream",
        lambda media: [
            Row(id="a", axes={"look": "ink"}),
            Row(id="b", state="failed", error=FAILED, axes={"look": "clay"}, charges=(0.0,)),
            Row(id="c", axes={"look": "oil"}),
            Row(id="d", axes={"look": "oil"}),
        ],
    )
    page = open_page(live.url)

    live.events.put(("report", report_page.payload(before)))
    page.wait_for_selector(".tile.waiting")
    assert summary(page) == "2 jobs"
    changed = report_page.columns(after.jobs[1:])
    live.events.put(("jobs", {"head": report_page.head(after), **changed}))
    page.wait_for_selector(".tile.failed")

    shows(page, ["a", "b", "c", "d"])
    assert "1 job needs attention" in page.locator("#notice").inner_text()
    choose(page, "look", "oil")
    shows(page, ["c", "d"])
