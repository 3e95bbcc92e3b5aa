"""References by url: fetched once, before anything is paid, judged and sent like files, by the rules of result hosts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.drawn import encoded, turned
from tests.imitation.fixtures import Bench, said

PICTURE = encoded("JPEG")


@dataclass
class Shop:
    """A host of files: path to content, or to a status; it remembers what it was asked for."""

    files: dict[str, bytes | int] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    url: str = ""

    @property
    def paths(self) -> list[str]:
        return sorted(path for path, _ in self.asked)


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shop.asked.append((self.path, dict(self.headers)))
            path = self.path.partition("?")[0]
            found = shop.files.get(path, 404)
            status = 302 if path in shop.redirects else found if isinstance(found, int) else 200
            body = found if isinstance(found, bytes) else b"<html>no</html>"
            self.send_response(status)
            if path in shop.redirects:
                self.send_header("Location", shop.redirects[path])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    shop.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield shop
    server.shutdown()
    server.server_close()


def from_table(bench: Bench, *urls: str, **head: Any) -> list[str]:
    rows = "".join(f"{number},{url}\n" for number, url in enumerate(urls))
    (bench.manifest.parent / "shop.csv").write_text(f"n,picture\n{rows}")
    entry = {
        "id": "row-${row.n}",
        "prompt": "a ${row.n}",
        "rows": "shop.csv",
        "references": ["${row.picture}"],
    }
    return bench.write([entry], **head)


def test_a_column_of_urls_is_fetched_once_and_uploaded(bench: Bench, shop: Shop) -> None:
    shop.files = {"/a.jpg": PICTURE, "/b": encoded("PNG")}
    from_table(bench, f"{shop.url}/a.jpg?sig=SECRET", f"{shop.url}/b", f"{shop.url}/a.jpg?sig=SECRET")

    plan = bench.command("plan", bench.manifest)
    asked = shop.paths
    outcome = bench.run()
    shop.files = {}
    again = bench.run()

    assert plan.code == 0, said(plan)
    assert "fetching 2 files named by url" in plan.stderr
    assert asked == ["/a.jpg?sig=SECRET", "/b"]
    assert (outcome.code, again.code) == (0, 0), said(outcome) + said(again)
    assert shop.paths == asked, "what was fetched is kept"
    assert bench.states() == {"done": 3}
    names = sorted(
        item["name"]
        for post in bench.service.ledger.posts
        for item in post.data["params"]["referenceMediaItems"]
    )
    assert names == ["a.jpg", "a.jpg", "b.png"]
    for _, headers in shop.asked:
        assert bench.service.key not in str(headers)
    assert "SECRET" not in plan.stdout + plan.stderr + outcome.stdout + outcome.stderr


def test_what_cannot_be_had_or_is_no_picture_stops_everything_and_can_be_left_out(
    bench: Bench, shop: Shop
) -> None:
    shop.files = {"/a.jpg": PICTURE, "/page.jpg": b"<html>log in</html>", "/cut.jpg": PICTURE[:500]}
    from_table(bench, *(f"{shop.url}/{name}" for name in ("a.jpg", "gone.jpg", "page.jpg", "cut.jpg")))

    refused = bench.run()
    left_out = bench.run("--skip-invalid")

    assert refused.code == 2
    assert f"{shop.url}/gone.jpg was refused: HTTP 404" in refused.stderr
    assert f"{shop.url}/page.jpg" in refused.stderr
    assert f"{shop.url}/cut.jpg is not a whole image/jpeg file" in refused.stderr
    assert "shop.csv:3" in refused.stderr
    assert left_out.code == 3, said(left_out)
    assert bench.states() == {"done": 1}


def test_validate_asks_nobody(bench: Bench, shop: Shop) -> None:
    shop.files = {"/a.jpg": PICTURE}
    from_table(bench, f"{shop.url}/a.jpg")

    found = bench.command("validate", bench.manifest)

    assert found.code == 0, said(found)
    assert "`plan` and `run` fetch it" in found.stderr
    assert shop.asked == []


def test_a_picture_by_url_is_mended_like_a_file(bench: Bench, shop: Shop) -> None:
    shop.files = {"/a.jpg": turned(6), "/fine.jpg": PICTURE}
    from_table(bench, f" {shop.url}/a.jpg ", f"{shop.url}/fine.jpg", mend=True)

    plan = bench.command("plan", bench.manifest, "--json")

    assert plan.code == 0, said(plan)
    assert [item["path"] for item in plan.json["mended"]] == [f"{shop.url}/a.jpg"]


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("https://10.0.0.1/a.jpg", "is not a public address but an address of a private network"),
        ("https://169.254.169.254/latest/meta-data", "an address of the local link alone"),
        ("http://93.184.216.34/a.jpg", "is plain http"),
        ("https://user:word@93.184.216.34/a.jpg", "the url holds a user name"),
    ],
)
def test_where_results_are_not_fetched_from_references_are_not_either(
    bench: Bench, url: str, what: str
) -> None:
    from_table(bench, url)

    plan = bench.command("plan", bench.manifest)

    assert plan.code == 2, said(plan)
    assert what in plan.stderr
    assert "word" not in plan.stderr


def test_this_machine_is_asked_only_where_the_service_is_on_it(bench: Bench, shop: Shop) -> None:
    shop.files = {"/a.jpg": PICTURE}
    from_table(bench, f"{shop.url}/a.jpg")
    bench.command.environment["RIVYA_BASE_URL"] = "https://api.example.com"

    plan = bench.command("plan", bench.manifest)

    assert plan.code == 2, said(plan)
    assert shop.asked == []


def test_a_redirect_leads_to_no_other_scheme_or_network(bench: Bench, shop: Shop) -> None:
    shop.redirects = {"/a.jpg": "https://192.168.0.1/a.jpg"}
    from_table(bench, f"{shop.url}/a.jpg")

    plan = bench.command("plan", bench.manifest)

    assert plan.code == 2, said(plan)
    assert "an address of a private network" in plan.stderr


@pytest.mark.slow
def test_a_busy_host_is_asked_again(bench: Bench, shop: Shop) -> None:
    shop.files = {"/a.jpg": 503}
    from_table(bench, f"{shop.url}/a.jpg")

    plan = bench.command("plan", bench.manifest)

    assert plan.code == 2, said(plan)
    assert len(shop.asked) == 3
    assert "HTTP 503" in plan.stderr


def test_a_kept_file_that_was_damaged_is_fetched_anew(bench: Bench, shop: Shop) -> None:
    shop.files = {"/a.jpg": PICTURE}
    from_table(bench, f"{shop.url}/a.jpg")
    bench.command("plan", bench.manifest)
    (kept,) = (bench.command.workspace / "state" / "fetched").iterdir()
    kept.write_bytes(b"damaged")

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    assert len(shop.asked) == 2
    assert kept.read_bytes() == PICTURE


def test_a_url_that_holds_our_key_is_not_asked(bench: Bench, shop: Shop) -> None:
    shop.files = {"/a.jpg": PICTURE}
    from_table(bench, f"{shop.url}/a.jpg?key={bench.service.key}")

    plan = bench.command("plan", bench.manifest)

    assert plan.code == 2, said(plan)
    assert "our API key" in plan.stderr
    assert shop.asked == []
    assert bench.service.key not in plan.stderr


def test_a_folder_where_nothing_can_be_kept_is_told(bench: Bench, shop: Shop) -> None:
    shop.files = {"/a.jpg": PICTURE}
    from_table(bench, f"{shop.url}/a.jpg")
    state = bench.command.workspace / "state"
    state.mkdir(exist_ok=True)
    (state / "fetched").write_text("a file is in the way")

    plan = bench.command("plan", bench.manifest)

    assert plan.code in (2, 5), said(plan)
    assert "fetched" in plan.stderr
    assert "Traceback" not in plan.stderr


@pytest.mark.slow
def test_nothing_half_fetched_is_left(bench: Bench, shop: Shop) -> None:
    shop.files = {"/a.jpg": PICTURE, "/b.jpg": b"<html>no</html>", "/c.jpg": 503}
    from_table(bench, *(f"{shop.url}/{name}.jpg" for name in "abc"))

    bench.command("plan", bench.manifest)

    (kept,) = (bench.command.workspace / "state" / "fetched").iterdir()
    assert kept.read_bytes() == PICTURE


def test_a_rehearsal_fetches_nothing_and_uses_what_a_plan_has_fetched(bench: Bench, shop: Shop) -> None:
    shop.files = {"/a.jpg": PICTURE}
    from_table(bench, f"{shop.url}/a.jpg")
    rehearse = ("run", bench.manifest, "--sandbox", "--sandbox-options", "--duration 0.1")

    before = bench.command(*rehearse)
    asked = shop.paths
    plan = bench.command("plan", bench.manifest)
    after = bench.command(*rehearse)
    apart = bench.command(*rehearse, "--state", "apart/one.db")

    assert (before.code, plan.code, after.code, apart.code) == (2, 0, 0, 0), said(apart)
    assert (bench.command.workspace / "apart" / "one-results").is_dir()
    assert "names 1 file that is on the web and not fetched yet" in before.stderr
    assert "`rivya-batch plan" in before.stderr
    assert (asked, shop.paths) == ([], ["/a.jpg"])
