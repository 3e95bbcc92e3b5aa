"""What is looked at before the first payment, over real connections on loopback."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from runner.api.runs import preflight, room
from runner.api.runs.preflight import Looked, look
from runner.api.runs.room import look_at_room
from runner.errors import Exit
from runner.host.surroundings import LITTLE_ROOM_FOR_RESULTS_BYTES, NO_ROOM_FOR_STATE_BYTES, Weight
from runner.service.transports import open_result_transport, trust
from tests.prepared_bytes import (
    TLS,
    Answering,
    Wire,
    api_to,
    closed_port,
    hang,
    http,
    say_nothing,
    saying,
    serving,
    take,
)

pytestmark = pytest.mark.anyio

CREDITS = http(200, b'{"current_credits": 1234}')
FORBIDDEN = http(403)  # what stores of files say to strangers
NAMES = {"elsewhere.example": "127.0.0.1", "fake.example": "198.18.0.9", "inside.example": "10.0.0.7"}


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the names of NAMES be found, and no other."""

    def getaddrinfo(host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else str(host)
        address = NAMES.get(name, name)
        if not address[0].isdigit():
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port or 0)))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "authority.pem"))
    monkeypatch.setattr(preflight, "AGAIN_S", 0.01)
    trust._trusting.cache_clear()
    yield
    trust._trusting.cache_clear()


async def looked_at(url: str, hosts: Sequence[str] = (), now: float = 0.0) -> Looked:
    async with api_to(url, now=now) as api, open_result_transport(url, 2) as results:
        return await look(api, results, hosts)


@asynccontextmanager
async def media(certificate: str = "elsewhere") -> AsyncIterator[str]:
    """A host of results."""
    async with serving(saying(FORBIDDEN), certificate) as wire:
        yield f"elsewhere.example:{wire.url.rpartition(':')[2]}"


async def test_a_service_that_answers_tells_what_the_account_holds_in_one_question() -> None:
    async with serving(saying(CREDITS)) as wire, media() as host:
        looked = await looked_at(wire.url, [host])

    assert looked.balance == 1234
    assert (looked.stop, looked.no_way_home, looked.told, looked.why_no_balance) == (None, "", [], "")
    assert [(each.what, each.weight) for each in looked.all] == [("host", Weight.FINE)]
    assert wire.lines == ["GET /api/v1/credits HTTP/1.1"]


@pytest.mark.parametrize(
    ("answer", "answers"),
    [
        (CREDITS, True),
        (http(404, b'{"error": {"code": "not_found"}}'), True),
        (http(403, b'{"error": {"code": "api_scope_missing"}}'), True),
        (http(404, b"<html>"), False),
        (http(200, b"<html>"), False),
        (http(502), False),
        (CREDITS.replace(b"content-length: ", b"content-length: 25, "), False),
    ],
)
async def test_it_is_seen_whether_the_service_gives_any_proper_answer(answer: bytes, answers: bool) -> None:
    async with serving(saying(answer)) as wire:
        looked = await looked_at(wire.url)

    assert looked.answers is answers


@pytest.mark.parametrize(
    ("hosts", "stops", "told"),
    [
        (
            ["198.18.0.7"],
            True,
            "results cannot be fetched: 198.18.0.7 is not a public address but one that proxy tools",
        ),
        (["fake.example"], True, "fake.example has the address 198.18.0.9"),
        (["inside.example:8443"], True, "inside.example has the address 10.0.0.7"),
        (["[fec0::1]:443"], True, "fec0::1 is not a public address but an address of a private network"),
        (["nowhere.example"], True, "the name nowhere.example cannot be found"),
        (["nowhere.example", "fake.example"], True, "results cannot be fetched"),
        # One that works beside them: results may have moved.
        (["nowhere.example", "GOOD"], False, "the name nowhere.example cannot be found"),
        (["GOOD", "fake.example"], False, "fake.example has the address 198.18.0.9"),
        # Whatever a host itself is in trouble with is not this machine's, nor is it looked far back.
        (["127.0.0.1:1"], False, ""),
        (["CLOSED"], False, ""),
        (["CLOSED", "198.18.0.7"], False, "198.18.0.7"),
        (["GOOD", "GOOD", "GOOD", "198.18.0.7"], False, ""),
    ],
)
async def test_hosts_of_results_are_tried_as_a_fetch_would(hosts: list[str], stops: bool, told: str) -> None:
    async with serving(saying(CREDITS)) as wire, media() as good:
        real = {"GOOD": good, "CLOSED": f"elsewhere.example:{closed_port()}"}
        looked = await looked_at(wire.url, [real.get(host, host) for host in hosts])

    assert looked.stop is None  # what is paid for is still asked for
    assert bool(looked.no_way_home) is stops
    said = looked.no_way_home or " ".join(each.words() for each in looked.told)
    assert told in said
    assert bool(said) is bool(told)


@pytest.mark.parametrize(
    ("certificate", "told"),
    [("localhost", "a self-signed certificate"), ("signed", "a certificate"), ("expired", "a certificate")],
)
async def test_a_host_of_results_that_is_not_proven_stops_payments(certificate: str, told: str) -> None:
    async with serving(saying(CREDITS)) as wire, media(certificate) as host:
        looked = await looked_at(wire.url, [host])

    assert f"elsewhere.example presents {told}" in looked.no_way_home


async def test_without_the_service_a_name_that_is_not_found_is_the_network_s_trouble() -> None:
    looked = await looked_at(f"http://127.0.0.1:{closed_port()}", ["nowhere.example"])

    assert looked.no_way_home == ""
    assert looked.stop is None
    assert [each.what for each in looked.told] == ["name"]


async def test_a_proxy_tool_that_makes_up_addresses_is_known_by_that_of_the_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No host is known yet; nobody need be there to be asked."""
    monkeypatch.setattr(preflight, "LONGEST_S", 0.3)

    looked = await looked_at("https://fake.example")

    assert "fake.example has the address 198.18.0.9" in looked.no_way_home
    assert "proxy tools" in looked.no_way_home
    assert "HTTPS_PROXY=http://127.0.0.1:" in looked.no_way_home


async def test_behind_a_proxy_names_are_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(saying(http(403))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        looked = await looked_at("https://fake.example", ["inside.example"])

    assert looked.stop is not None
    assert "forbids connecting to fake.example" in looked.stop[1]
    assert sorted(proxy.lines) == [
        f"CONNECT {name}:443 HTTP/1.1" for name in ("fake.example", "inside.example")
    ]


def proxy_of(proxy: Wire) -> str:
    return proxy.url.partition("//")[2]


async def test_hosts_in_no_proxy_are_asked_without_it_and_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(saying(http(503))) as proxy, media() as good:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", f"fake.example,{good}")
        looked = await looked_at("https://rivya.example", [good, "fake.example", "other.example"])

    assert sorted(proxy.lines) == [
        f"CONNECT {name}:443 HTTP/1.1" for name in ("other.example", "rivya.example")
    ]
    found = {(each.of, each.what) for each in looked.barred}
    assert found == {
        ("elsewhere.example", "address"),
        ("fake.example", "address"),
        (proxy_of(proxy), "proxy"),
    }


@pytest.mark.parametrize("skew_s", [0, 59, -59, 61, 300, -36_000])
async def test_the_clock_is_judged_by_the_first_answer(skew_s: int) -> None:
    """Whatever the answer is: a gateway's page has the time as well."""
    date = "Sun, 29 Nov 2026 01:00:00 GMT"
    async with serving(saying(http(502, b"<html>", Date=date))) as wire:
        looked = await looked_at(wire.url, now=1_795_914_000.0 - skew_s)

    assert [each.what for each in looked.told] == (["clock"] if abs(skew_s) > 60 else [])
    assert looked.stop is None


@pytest.mark.parametrize(
    ("answers", "refused"),
    [
        ([http(401, b'{"error": {"code": "api_key_revoked", "message": "gone"}}')], True),
        ([http(401, b'{"error": {"code": "api_key_invalid"}}'), CREDITS], False),
        ([http(401, b'{"error": {"code": "api_key_invalid"}}'), http(500)], False),
        ([http(401, b"<html>log in</html>", content_type="text/html")], False),
        ([http(403, b'{"error": {"code": "api_scope_denied"}}')], False),
        ([http(403, b'{"error": {"code": "forbidden"}}')], False),
        ([http(503, b'{"error": {"code": "public_api_disabled"}}')], False),
        ([http(429)], False),
        ([http(200, b"<html>")], False),
    ],
)
async def test_only_a_key_that_is_refused_twice_is_refused(answers: list[bytes], refused: bool) -> None:
    left = list(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        await take(reader, wire)
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()

    async with serving(answer) as wire:
        looked = await looked_at(wire.url)

    assert bool(looked.refusal) is refused
    assert (looked.stop is not None and looked.stop[0] is Exit.REFUSED) is refused
    assert looked.told == []
    assert looked.balance is not None or looked.why_no_balance
    assert len(wire.lines) == (2 if b" 401 " in answers[0] and b"error" in answers[0] else 1)


@pytest.mark.parametrize("answering", [hang, say_nothing])
async def test_a_service_that_does_not_answer_is_left_to_the_run(
    monkeypatch: pytest.MonkeyPatch, answering: Answering
) -> None:
    monkeypatch.setattr(preflight, "LONGEST_S", 0.3)
    began = time.monotonic()
    async with serving(answering) as wire, media() as host:
        looked = await looked_at(wire.url, [host])

    assert time.monotonic() - began < 5
    assert (looked.stop, looked.no_way_home, looked.told, looked.balance) == (None, "", [], None)


def test_room_is_looked_for_where_results_and_where_the_database_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out, database = tmp_path / "out" / "night", tmp_path / "state" / "runner.db"
    disks = dict.fromkeys((out, database.parent), (1, LITTLE_ROOM_FOR_RESULTS_BYTES))
    monkeypatch.setattr(room, "free_room", disks.__getitem__)

    assert [each.weight for each in look_at_room(out, database)] == [Weight.FINE]  # one disk is told once
    disks[database.parent] = (2, NO_ROOM_FOR_STATE_BYTES - 1)
    fine, full = look_at_room(out, database)

    assert (fine.weight, full.weight) == (Weight.FINE, Weight.STOP)
    assert f"where the state database is ({database.parent})" in full.found
