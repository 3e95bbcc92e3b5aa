"""Results: which hosts we go to."""

from __future__ import annotations

import logging
import socket
from typing import Any

import anyio
import anyio.abc
import httpx
import pytest

from runner.results.fetch_errors import ResultTrouble, ResultUnacceptable, ResultUnavailable
from runner.results.parts import PartFile
from tests import result_hosts
from tests.result_hosts import LARGE, Host, answer, fetch, fetch_real, left, trouble

pytestmark = pytest.mark.anyio

OTHER = "https://93.184.216.35"


part = result_hosts.part


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://93.184.216.34/x",
        "data:video/mp4;base64,AAAA",
        "/results/x.mp4",
        "",
        "https://",
        "https:///x",
        "not a url at all",
        "https://[::1",
        "https://exa\udc80mple.com/",
        "https://xn--/",
        "https://a\0b/",
        "http://93.184.216.34/x?sig=SECRET",
        "https://user:SECRET@93.184.216.34/x",
        "https://93.184.216.34:0/x",
        "https://93.184.216.34:70000/x",
        "https://127.0.0.1/x",
        "https://127.1.2.3/x",
        "https://[::1]/x",
        "https://0.0.0.0/x",
        "https://10.0.0.1/x",
        "https://172.16.0.1/x",
        "https://192.168.1.1/x",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/x",
        "https://224.0.0.1/x",
        "https://255.255.255.255/x",
        "https://[fe80::1]/x",
        "https://[fc00::1]/x",
        "https://[::ffff:10.0.0.1]/x",
        "https://[::ffff:169.254.169.254]/x",
        "https://[2002:7f00:1::]/x",
        "https://[64:ff9b::a00:1]/x",
        "https://[::]/x",
    ],
)
async def test_a_url_we_do_not_go_to_is_never_asked(part: PartFile, url: str) -> None:
    host = Host([answer()])

    await trouble(ResultUnacceptable, host, part, url)

    assert host.asked == []
    assert left(part) == []


@pytest.mark.parametrize("url", ["https://2130706433/x", "https://0x7f.1/x", "https://127.1/x"])
async def test_numbers_that_only_a_resolver_reads_are_looked_up(part: PartFile, url: str) -> None:
    host = Host([answer()])

    with pytest.raises(ResultTrouble):
        await fetch(host, part, url)

    assert host.asked == []


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 443)) for each in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def test_a_name_is_judged_by_every_address_it_has(
    part: PartFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, "93.184.216.34", "192.168.0.7")
    host = Host([answer()])

    error = await trouble(ResultUnacceptable, host, part, "https://media.example/x?sig=SECRET")

    assert "192.168.0.7" in error.message
    assert error.out_of_reach == "media.example"
    assert "HTTPS_PROXY" in error.hint
    assert host.asked == []


async def test_a_name_with_public_addresses_is_asked(part: PartFile, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "93.184.216.34", "93.184.216.35")
    host = Host([answer()])

    await fetch(host, part, "https://media.example/x")

    assert host.asked[0].url.host == "media.example"


async def test_a_name_that_is_not_found_is_temporary(part: PartFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    error = await trouble(ResultUnavailable, Host([answer()]), part, "https://media.example/x")

    assert error.out_of_reach == "media.example"


async def test_a_host_that_cannot_be_got_to_is_told_from_one_that_breaks_off(
    part: PartFile,
) -> None:
    """The engine stops paying for what cannot be brought home from here."""

    async def speaks_no_tls(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, speaks_no_tls)
        url = f"https://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}/x"
        with pytest.raises(ResultUnavailable) as unproven:
            await fetch_real(url, part)
        group.cancel_scope.cancel()
    with pytest.raises(ResultUnavailable) as down:
        await fetch_real(url, part)
    broken = await trouble(ResultUnavailable, Host([answer(body=[b"x", OSError(101, "gone")])]), part)
    dropped = await trouble(ResultUnavailable, Host([httpx.ReadError("gone")]), part)

    assert unproven.value.out_of_reach == down.value.out_of_reach == httpx.URL(url).netloc.decode()
    assert (broken.out_of_reach, dropped.out_of_reach) == ("", "")


async def test_behind_a_proxy_names_are_the_proxys_business(
    part: PartFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, "10.0.0.1")

    await fetch(Host([answer()]), part, "https://media.example/x", proxied=True)

    await trouble(ResultUnacceptable, Host([answer()]), part, "https://10.0.0.1/x", proxied=True)


async def test_redirects_to_other_https_hosts_are_followed(part: PartFile) -> None:
    host = Host(
        [
            answer(302, b"", location=f"{OTHER}/two?sig=SECRET2"),
            answer(307, b"", location="three"),
            answer(301, b"", location="//93.184.216.36/four"),
            answer(),
        ]
    )

    await fetch(host, part)

    assert [str(request.url) for request in host.asked[1:]] == [
        f"{OTHER}/two?sig=SECRET2",
        f"{OTHER}/three",
        "https://93.184.216.36/four",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http://93.184.216.35/x",
        "https://127.0.0.1/x",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:10.0.0.1]/x",
        "https://user:SECRET@93.184.216.35/x",
        "file:///etc/passwd",
        "data:video/mp4;base64,AAAA",
        "javascript:alert(1)",
        "https://[::1",
        "https://exa mple/",
        "https://xn--/",
        "https://93.184.216.35:99999999/",
    ],
)
async def test_no_redirect_leads_where_we_do_not_go(part: PartFile, url: str) -> None:
    host = Host([answer(302, b"", location=url), answer()])

    with pytest.raises(ResultTrouble) as caught:
        await fetch(host, part)

    assert isinstance(caught.value, ResultUnacceptable | ResultUnavailable)
    assert len(host.asked) == 1
    assert left(part) == []


async def test_redirects_end(part: PartFile) -> None:
    host = Host([answer(302, b"", location="/again")])

    error = await trouble(ResultUnavailable, host, part)

    assert "redirects more than 5 times" in error.message
    assert len(host.asked) == 6


async def test_a_redirect_to_nowhere_is_trouble(part: PartFile) -> None:
    await trouble(ResultUnavailable, Host([answer(302, b"")]), part)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:9/x", True),
        ("http://[::1]:9/x", True),
        ("https://93.184.216.34/x", True),
        ("http://93.184.216.34/x", False),
        ("http://192.168.1.1/x", False),
        ("https://192.168.1.1/x", False),
        ("file:///etc/passwd", False),
    ],
)
async def test_a_service_on_this_machine_may_have_its_results_here(
    part: PartFile, url: str, allowed: bool
) -> None:
    host = Host([answer()])

    if allowed:
        await fetch(host, part, url, allow_loopback=True)
    else:
        await trouble(ResultUnacceptable, host, part, url, allow_loopback=True)

    assert len(host.asked) == int(allowed)


async def test_a_signed_url_is_never_logged(part: PartFile, caplog: pytest.LogCaptureFixture) -> None:
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    try:
        await fetch(Host([answer()]), part)
        await trouble(ResultUnavailable, Host([answer(500)]), part)
    finally:
        root.setLevel(before)

    assert "SECRET" not in caplog.text


async def test_what_is_noted_beside_a_part_holds_no_url(part: PartFile) -> None:
    reply = answer(body=[LARGE[:700_000], httpx.ReadError("")], etag='"v1"', content_length=str(len(LARGE)))

    await trouble(ResultUnavailable, Host([reply]), part)

    notes = part.path.with_name("hero.part.json").read_text()
    assert "SECRET" not in notes
    assert "results" not in notes
