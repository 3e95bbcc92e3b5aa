"""Who is let in to the live page, and what is never given out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from runner.reports.data import Invocation
from runner.web.app import live_app
from runner.web.feed import Feed
from runner.web.page_state import PageReader, Target
from runner.web.server import hosts_of, listening_socket
from tests.report_rows import Row, add, new_state

pytestmark = pytest.mark.anyio

HOST, OWN = "127.0.0.1:8000", "http://127.0.0.1:8000"
TOKEN = "the-secret-token"
HOME = f"/t/{TOKEN}/"
CLIP = bytes(range(256)) * 4


class Levers:
    """Stands for a run that can be held and stopped."""

    def __init__(self) -> None:
        self.moved: list[str] = []

    def hold(self, held: bool) -> None:
        self.moved.append("hold" if held else "go on")

    def stop(self) -> None:
        self.moved.append("stop")


@pytest.fixture
def levers() -> Levers:
    return Levers()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder, and beside it a database that knows some of its files.

    `clip.mp4` (row 1), `page.html` (row 2), a lost file and a folder (row 3), another manifest's file (row 4).
    """
    folder = tmp_path_factory.mktemp("night") / "out"
    folder.mkdir()
    for name in ("clip.mp4", "page.html", "secret.txt"):
        (folder / name).write_bytes(CLIP)
    file = new_state(
        folder.parent / "runner.db",
        manifest="night",
        manifest_path=folder.parent / "night.yaml",
        output_dir=folder,
    )
    reference = {"path": "a.png", "file": str(folder / "clip.mp4"), "mime": "image/png", "size_bytes": 9}
    add(
        file,
        "night",
        [
            Row(id="a", files=[(folder / "clip.mp4", "video/mp4")], references=[reference]),
            Row(id="b", files=[(folder / "page.html", "text/html")]),
            Row(id="c", files=[(folder / "lost.mp4", "video/mp4"), (folder, "video/mp4")]),
            Row(id="d", files=[(folder / "secret.txt", "video/mp4")]),
        ],
    )
    with file.transaction() as conn:
        conn.execute(
            "INSERT INTO manifests (name, path, base_url, key12, output_dir, created_at, updated_at)"
            " SELECT 'other', path, base_url, key12, output_dir, created_at, updated_at"
            " FROM manifests"
        )
        conn.execute("UPDATE jobs SET manifest = 'other' WHERE job = 'd'")
    file.close()
    return folder


@asynccontextmanager
async def visitor(out: Path, levers: Levers | None = None) -> AsyncIterator[httpx.AsyncClient]:
    target = Target(
        database=out.parent / "runner.db",
        folder=out.parent,
        manifest="night",
        output_dir=out,
        invocation=Invocation(manifest="night.yaml"),
    )
    reader = PageReader(target, holder=lambda name: None)
    app = live_app(Feed(reader), title="night", token=TOKEN, hosts=frozenset({HOST}), control=levers)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=OWN) as client:
        yield client
    reader.close()


ELSEWHERE = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
FOLLOWED = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
FRAMED = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (HOME, {}, 200),
        (HOME, {"origin": OWN}, 200),
        (HOME, {"sec-fetch-site": "same-origin"}, 200),
        (HOME, FOLLOWED, 200),
        (HOME, FRAMED, 403),
        (HOME, ELSEWHERE, 403),
        (HOME, {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, 403),
        (HOME, {"origin": "https://evil.example"}, 403),
        (HOME, {"origin": "null"}, 403),
        (HOME, {"origin": "http://127.0.0.1:8001"}, 403),
        (HOME, {"host": "evil.example"}, 421),
        (HOME, {"host": "evil.example:8000"}, 421),
        (HOME, {"host": "127.0.0.1"}, 421),
        (HOME, {"host": "127.0.0.1:8001"}, 421),
        (HOME, {"host": ""}, 421),
        ("/", {}, 404),
        ("/t/", {}, 404),
        ("/t//", {}, 404),
        ("/t/wrong/", {}, 404),
        (f"/t/{TOKEN}x/", {}, 404),
        (f"/t/{TOKEN[:-1]}/", {}, 404),
        (f"/t/ü{TOKEN}/", {}, 404),
        (f"/T/{TOKEN}/", {}, 404),
        (f"/{TOKEN}/", {}, 404),
        (f"{HOME}nothing", {}, 404),
    ],
)
async def test_who_is_let_in(out: Path, path: str, headers: Mapping[str, str], status: int) -> None:
    async with visitor(out) as client:
        answer = await client.get(path, headers=headers)

    assert answer.status_code == status
    assert (b"<title>" in answer.content) == (status == 200)


async def test_without_the_token_not_even_its_shape_is_told(out: Path) -> None:
    async with visitor(out) as client:
        answers = [await client.get(path) for path in ("/", "/t/wrong/", "/t/wrong/events", "/favicon.ico")]

    assert len({(answer.status_code, answer.text) for answer in answers}) == 1
    assert TOKEN not in answers[0].text + str(answers[0].headers)


@pytest.mark.parametrize(
    "path", [HOME, "/", f"{HOME}result/1/1/clip.mp4", f"{HOME}nothing", f"{HOME}control"]
)
async def test_every_answer_keeps_other_sites_out(out: Path, path: str) -> None:
    async with visitor(out) as client:
        answer = await client.get(path)

    headers = answer.headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert not [name for name in headers if name.startswith("access-control")]


async def test_the_page_may_run_its_own_script_and_reach_its_own_address_only(out: Path) -> None:
    async with visitor(out) as client:
        answer = await client.get(HOME)

    rules = dict(rule.strip().split(" ", 1) for rule in answer.headers["content-security-policy"].split(";"))
    assert rules["connect-src"] == "'self'"
    assert rules["script-src"].startswith("'sha256-")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("do", ["hold", "go on", "stop"])
async def test_the_page_moves_the_run(out: Path, levers: Levers, do: str) -> None:
    async with visitor(out, levers) as client:
        answer = await client.post(f"{HOME}control", json={"do": do}, headers={"origin": OWN})

    assert answer.status_code == 202
    assert levers.moved == [do]


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("POST", f"{HOME}control", {}, '{"do": "stop"}', 403),
        ("POST", f"{HOME}control", {"origin": "https://evil.example"}, '{"do": "stop"}', 403),
        ("POST", f"{HOME}control", {"origin": "null"}, '{"do": "stop"}', 403),
        ("POST", f"{HOME}control", {"origin": "http://localhost:8000"}, '{"do": "stop"}', 403),
        ("POST", f"{HOME}control", {"origin": OWN, **ELSEWHERE}, '{"do": "stop"}', 403),
        ("POST", f"{HOME}control", {"origin": OWN, "host": "evil.example"}, '{"do": "stop"}', 421),
        ("POST", "/t/wrong/control", {"origin": OWN}, '{"do": "stop"}', 404),
        ("GET", f"{HOME}control?do=stop", {"origin": OWN}, "", 405),
        ("PUT", f"{HOME}control", {"origin": OWN}, '{"do": "stop"}', 405),
        ("OPTIONS", f"{HOME}control", {"origin": "https://evil.example"}, "", 403),
        ("POST", f"{HOME}control", {"origin": OWN}, '{"do": "burn"}', 400),
        ("POST", f"{HOME}control", {"origin": OWN}, '{"do": ["stop"]}', 400),
        ("POST", f"{HOME}control", {"origin": OWN}, "[]", 400),
        ("POST", f"{HOME}control", {"origin": OWN}, "[" * 900, 400),
        ("POST", f"{HOME}control", {"origin": OWN}, "stop", 400),
        ("POST", f"{HOME}switches", {"origin": "https://evil.example"}, '{"rows": [1], "off": true}', 403),
        ("POST", "/t/wrong/switches", {"origin": OWN}, '{"rows": [1], "off": true}', 404),
        ("GET", f"{HOME}switches", {"origin": OWN}, "", 405),
        ("POST", f"{HOME}switches", {"origin": OWN}, '{"rows": [1], "off": true}', 405),  # read-only
        ("POST", f"{HOME}control", {"origin": OWN}, '{"do": "stop"}' + " " * 2000, 400),
        ("POST", HOME, {"origin": OWN}, '{"do": "stop"}', 405),
    ],
)
async def test_nobody_else_moves_it(
    out: Path, levers: Levers, method: str, path: str, headers: Mapping[str, str], body: str, status: int
) -> None:
    async with visitor(out, levers) as client:
        answer = await client.request(method, path, headers=headers, content=body)

    assert answer.status_code == status
    assert levers.moved == []


async def test_a_page_without_a_run_of_its_own_moves_nothing(out: Path) -> None:
    async with visitor(out) as client:
        answer = await client.post(f"{HOME}control", json={"do": "stop"}, headers={"origin": OWN})

    assert answer.status_code == 405


@pytest.mark.parametrize("path", ["result/1/1/clip.mp4", "reference/1/1/a.png", "result/1/1/any-other-name"])
async def test_files_that_the_database_names_are_sent(out: Path, path: str) -> None:
    async with visitor(out) as client:
        answer = await client.get(HOME + path)

    assert (answer.status_code, answer.content) == (200, CLIP)
    assert answer.headers["content-type"] == ("image/png" if path.startswith("ref") else "video/mp4")
    assert answer.headers["content-disposition"].startswith("inline")


@pytest.mark.parametrize(
    "path",
    [
        "result/9/1/clip.mp4",
        "result/1/2/clip.mp4",
        "result/1/0/clip.mp4",
        "result/4/1/secret.txt",  # another manifest's
        "result/3/1/lost.mp4",  # no longer there
        "result/3/2/folder",
        "reference/1/2/a.png",
        "reference/1/0/a.png",
        "reference/2/1/a.png",
        "other/1/1/clip.mp4",
        f"result/{2**63}/1/clip.mp4",
        f"result/1/{10**30}/clip.mp4",
        "result/-1/1/clip.mp4",
        "result/1/1/",
        "secret.txt",
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "result/1/1/../../../../etc/passwd",
        "result/1/1/..%2f..%2f..%2fsecret.txt",
        "result/..%2f1/1/clip.mp4",
        "//etc/passwd",
        "%2e%2e/runner.db",
        "runner.db",
    ],
)
async def test_nothing_else_is_ever_sent(out: Path, path: str) -> None:
    async with visitor(out) as client:
        answer = await client.get(HOME + path)

    assert answer.status_code == 404
    assert CLIP not in answer.content


async def test_what_is_no_film_picture_or_sound_is_never_shown(out: Path) -> None:
    async with visitor(out) as client:
        answer = await client.get(f"{HOME}result/2/1/page.html")

    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("wanted", "status", "got"),
    [
        ("bytes=0-9", 206, CLIP[:10]),
        ("bytes=1000-", 206, CLIP[1000:]),
        ("bytes=-24", 206, CLIP[-24:]),
        ("bytes=5000-", 416, b""),
        ("lines=1-2", 400, None),
    ],
)
async def test_a_part_of_a_film_is_sent(out: Path, wanted: str, status: int, got: bytes | None) -> None:
    async with visitor(out) as client:
        answer = await client.get(f"{HOME}result/1/1/clip.mp4", headers={"range": wanted})

    assert answer.status_code == status
    if got is not None:
        assert answer.content == got
    if status == 206:
        assert answer.headers["content-range"].endswith(f"/{len(CLIP)}")


async def test_the_document_says_where_its_events_come_from(out: Path) -> None:
    async with visitor(out) as client:
        text = (await client.get(HOME)).text

    data = text.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]
    assert json.loads(data) == {"v": 1, "live": "events"}


def test_the_socket_is_on_this_machine_only() -> None:
    with listening_socket() as listener:
        address, port = listener.getsockname()
        assert address == "127.0.0.1"
        assert hosts_of(listener) == {f"127.0.0.1:{port}", f"localhost:{port}"}
        with pytest.raises(OSError, match="in use"):
            listening_socket(port)
