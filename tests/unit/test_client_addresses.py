"""Where requests go: base urls that are fit and refused, proxies of the environment."""

from __future__ import annotations

import pytest

from runner.errors import UsageError
from runner.service.account import checked_base_url, same_service
from runner.service.addresses import is_loopback
from runner.service.protocol import Meaning
from tests.prepared_bytes import BODY, KEY, QUICK, api_to, closed_port, http, saying, serving

pytestmark = pytest.mark.anyio


# --- base urls ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://rivya.ai", "https://rivya.ai"),
        ("https://rivya.ai/", "https://rivya.ai"),
        ("  https://rivya.ai//  ", "https://rivya.ai"),
        ("https://proxy.example/rivya", "https://proxy.example/rivya"),
        ("http://localhost:8080", "http://localhost:8080"),
        # One service, one name: a manifest is bound to it, prices and uploads are remembered by it.
        ("http://LOCALHOST:8080", "http://localhost:8080"),
        ("HTTPS://Rivya.AI:443/", "https://rivya.ai"),
        ("https://rivya.ai:", "https://rivya.ai"),
        ("https://rivya.ai:80", "https://rivya.ai:80"),
        ("http://127.0.0.1:80/", "http://127.0.0.1"),
        ("https://proxy.example/Rivya", "https://proxy.example/Rivya"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://127.3.2.1", "http://127.3.2.1"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
def test_base_urls_that_are_fit(text: str, url: str) -> None:
    assert checked_base_url(text) == url
    assert same_service(text, url)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("sandbox:", "sandbox:", True),
        ("sandbox:", "https://rivya.ai", False),
        ("https://RIVYA.ai:443/", "https://rivya.ai", True),
        ("https://rivya.ai/a", "https://rivya.ai/b", False),
        ("https://rivya.ai:8443", "https://rivya.ai", False),
        ("what an earlier version wrote", "https://rivya.ai", False),
    ],
)
def test_a_service_is_known_in_any_spelling(one: str, other: str, same: bool) -> None:
    assert same_service(one, other) is same


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rivya.ai",
        "//rivya.ai",
        "https://",
        "https:///path",
        "ftp://rivya.ai",
        "file:///etc/passwd",
        "https://rivya.ai:port",
        "https://rivya.ai:99999",
        "https://[::1",
        # The key over plain http to another machine, also one that only sounds like this one.
        "http://rivya.ai",
        "http://127.0.0.1.evil.example",
        "http://127.evil.example",
        "http://localhost.evil.example",
        "http://evil.example/localhost",
        "http://0.0.0.0",
        "http://10.0.0.1",
        "http://[::2]",
        # More than a host.
        "https://user@rivya.ai",
        "https://user:pass@rivya.ai",
        "https://@rivya.ai",
        "https://rivya.ai@evil.example",
        "https://rivya.ai\\@evil.example",
        "https://rivya.ai?x=1",
        "https://rivya.ai/?",
        "https://rivya.ai#x",
        "https://rivya.ai/#",
        "https://riv ya.ai",
        "https://rivya.ai\nx",
        "https://rivya.ai/\x1b[2J",
    ],
)
def test_base_urls_that_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        checked_base_url(text)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1.evil.example/", "http://127.evil.example", "http://localhost.x"]
)
def test_a_name_that_begins_like_this_machine_is_not_this_machine(url: str) -> None:
    assert not is_loopback(url)


# --- proxies --------------------------------------------------------------------------------------


async def test_a_proxy_of_the_environment_is_not_used_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(saying(http(200, b"{}"))) as proxy, serving(saying(http(201, b'{"id":"t"}'))) as wire:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with api_to(wire.url) as api:
            answer = await api.submit(BODY, "k")

    assert answer.status == 201
    assert proxy.connections == 0


async def test_a_proxy_of_the_environment_is_used_for_the_service_and_sees_no_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(saying(http(407))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with api_to("https://rivya.example") as api:
            answer = await api.submit(BODY, "k")

    assert proxy.lines == ["CONNECT rivya.example:443 HTTP/1.1"]
    assert KEY.encode() not in b"".join(proxy.heads)
    assert answer.meaning in (Meaning.UNCLEAR, Meaning.NEVER_LEFT)


@pytest.mark.parametrize(
    ("all_proxy", "goes_through"), [("http", True), ("socks5", False), ("socks5h", False)]
)
async def test_the_proxy_for_everything_is_used_where_we_can_go_through_it(
    monkeypatch: pytest.MonkeyPatch, all_proxy: str, goes_through: bool
) -> None:
    async with serving(saying(http(403))) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url.replace("http", all_proxy))
        async with api_to("https://rivya.invalid", QUICK) as api:
            await api.credits()

    assert bool(proxy.lines) is goes_through


async def test_a_proxy_that_is_not_there_never_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{closed_port()}")
    async with api_to("https://rivya.example") as api:
        assert (await api.submit(BODY, "k")).meaning is Meaning.NEVER_LEFT


@pytest.mark.parametrize(
    ("url", "serves", "counts"),
    [
        ("https://rivya.ai/api/v1/results/1.mp4", True, True),
        ("https://rivya.ai:443/api/v1/results/1.mp4?sig=1", True, True),
        ("https://rivya.ai/media/1.mp4", True, False),
        ("https://media.rivya.ai/api/v1/1.mp4", False, False),
        ("http://rivya.ai/api/v1/1.mp4", False, False),
        ("https://rivya.ai:8443/api/v1/1.mp4", False, False),
        ("no url at all", False, False),
    ],
)
async def test_a_result_counts_as_a_request_only_under_the_api_s_own_address(
    url: str, serves: bool, counts: bool
) -> None:
    async with api_to("https://rivya.ai") as service:
        assert (service.account.serves(url), service.counts(url)) == (serves, counts)
