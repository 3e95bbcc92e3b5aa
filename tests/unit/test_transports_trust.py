"""Whom we believe over https, what is said where nothing is proven, and that nothing was sent then."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import certifi
import pytest

from runner.errors import UsageError
from runner.host.surroundings import Weight
from runner.service import transports
from runner.service.http import Timeouts
from runner.service.protocol import Meaning
from runner.service.transports import check, trust
from tests.prepared_bytes import (
    BODY,
    KEY,
    PATIENT,
    TLS,
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

AUTHORITY = TLS / "authority.pem"
CREATED = http(201, b'{"id":"t"}')


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    trust._trusting.cache_clear()
    yield
    trust._trusting.cache_clear()


# --- certificates that prove nothing ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("certificate", "trusts", "found", "do"),
    [
        ("localhost", None, "self-signed", "SSL_CERT_FILE"),
        ("signed", None, "an authority that this machine does not know", "SSL_CERT_FILE"),
        ("signed", "localhost", "is not in SSL_CERT_FILE", "SSL_CERT_FILE"),
        ("expired", "authority", "has expired by the clock of this machine (20", "renew"),
        ("early", "authority", "not valid yet by the clock of this machine (20", "set that clock"),
        ("elsewhere", "authority", "for another name", "RIVYA_BASE_URL"),
    ],
)
async def test_a_certificate_that_proves_nothing_is_said_plainly_and_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch, certificate: str, trusts: str | None, found: str, do: str
) -> None:
    if trusts is not None:
        monkeypatch.setenv("SSL_CERT_FILE", str(TLS / f"{trusts}.pem"))
    async with serving(saying(CREATED), certificate) as wire, api_to(wire.url) as api:
        answer = await api.submit(BODY, "k")

    assert answer.meaning is Meaning.NEVER_LEFT
    assert answer.finding is not None
    assert answer.finding.weight is Weight.STOP
    assert found in answer.finding.found
    assert do in answer.finding.do
    assert answer.message == f"no connection: {answer.finding.found}"
    assert wire.heads == []


@pytest.mark.parametrize(
    ("certificate", "named"),
    [
        ("signed", {"SSL_CERT_FILE": "authority.pem"}),
        ("signed", {"SSL_CERT_FILE": "signed.pem"}),  # the very certificate
        ("localhost", {"SSL_CERT_FILE": "localhost.pem"}),
        ("signed", {"SSL_CERT_DIR": "hashed"}),
        ("signed", {"SSL_CERT_DIR": "nowhere:hashed"}),
        ("signed", {"SSL_CERT_FILE": "localhost.pem", "SSL_CERT_DIR": "hashed"}),
        ("signed", {"SSL_CERT_FILE": "authority.pem", "SSL_CERT_DIR": "nowhere"}),
    ],
)
async def test_what_a_person_names_is_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificate: str, named: dict[str, str]
) -> None:
    shutil.copytree(TLS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "hashed").mkdir()
    shutil.copy(AUTHORITY, tmp_path / "hashed" / "f20e0b1e.0")
    monkeypatch.chdir(tmp_path)
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    async with (
        serving(saying(CREATED), certificate) as wire,
        api_to(wire.url.replace("127.0.0.1", "localhost")) as api,
    ):
        answer = await api.submit(BODY, "k")

    assert answer.status == 201, answer


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
async def test_a_bundle_that_only_others_read_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, str(AUTHORITY))
    async with serving(saying(CREATED), "signed") as wire, api_to(wire.url) as api:
        answer = await api.submit(BODY, "k")
        assert answer.finding is not None
        assert f'SSL_CERT_FILE="${name}"' in answer.finding.do

        monkeypatch.setenv(name, "/nowhere/ca.pem")
        answer = await api.submit(BODY, "k")

    assert answer.finding is not None
    assert f"{name} names /nowhere/ca.pem, which is not there" in answer.finding.do


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SSL_CERT_FILE", "nothing.pem", "SSL_CERT_FILE names nothing.pem, which is not there"),
        ("SSL_CERT_FILE", "folder", "SSL_CERT_FILE names folder, which cannot be read"),
        ("SSL_CERT_FILE", "empty.pem", "SSL_CERT_FILE names empty.pem, which is empty"),
        ("SSL_CERT_FILE", "text.pem", "SSL_CERT_FILE names text.pem, which holds no certificates"),
        ("SSL_CERT_FILE", "binary.cer", "SSL_CERT_FILE names binary.cer, which holds no certificates"),
        ("SSL_CERT_DIR", "nothing", "SSL_CERT_DIR names nothing, which is not there"),
        ("SSL_CERT_DIR", "text.pem", "SSL_CERT_DIR names text.pem, which is not there"),
        ("SSL_CERT_DIR", "folder", "SSL_CERT_DIR names folder, which holds no certificates"),
    ],
)
def test_certificates_that_are_not_there_are_said_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "authority.pem").write_text("under a name nobody looks for")
    (tmp_path / "empty.pem").write_text("\n")
    (tmp_path / "text.pem").write_text("no certificate at all")
    (tmp_path / "binary.cer").write_bytes(ssl.PEM_cert_to_DER_cert(AUTHORITY.read_text()))
    monkeypatch.setenv(variable, value)

    with pytest.raises(UsageError) as caught:
        check("https://rivya.example")

    assert caught.value.message.startswith(said)
    check("http://127.0.0.1:1")  # nobody has to prove anything there


def test_the_system_s_certificates_are_trusted_wherever_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A Python built for another distribution looks in the wrong place; a small container has none at all."""
    nowhere = ssl.get_default_verify_paths()._replace(
        openssl_cafile=str(tmp_path / "cert.pem"), openssl_capath=str(tmp_path / "certs")
    )
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nowhere)
    monkeypatch.setattr(trust, "_KEPT_BY_SYSTEMS", (str(tmp_path / "other.pem"),))
    monkeypatch.setenv("SSL_CERT_FILE", "")  # set to nothing is not set

    bundled = trust.trusted().cert_store_stats()["x509_ca"]
    shutil.copy(AUTHORITY, tmp_path / "other.pem")
    trust._trusting.cache_clear()
    found = trust.trusted().cert_store_stats()["x509_ca"]

    assert bundled == Path(certifi.where()).read_text(encoding="utf-8").count("BEGIN CERTIFICATE")
    assert found == 1
    shutil.copy(TLS / "localhost.pem", tmp_path / "cert.pem")
    trust._trusting.cache_clear()
    assert [each["subject"] for each in trust.trusted().get_ca_certs()] == [((("commonName", "localhost"),),)]


def test_on_a_mac_the_keychain_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    library = ModuleType("truststore")

    def context(protocol: int) -> str:
        made.append(protocol)
        return "the keychain's"

    library.SSLContext = context  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "truststore", library)
    monkeypatch.setattr(sys, "platform", "darwin")

    assert str(trust.trusted()) == "the keychain's"
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
    assert isinstance(trust.trusted(), ssl.SSLContext)
    assert made == [ssl.PROTOCOL_TLS_CLIENT]


# --- what never left ---------------------------------------------------------------------------------


async def test_a_port_that_speaks_plain_http_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        await reader.read(100)
        writer.write(http(400, b"plain http here"))
        await writer.drain()

    async with serving(answer) as wire, api_to(wire.url.replace("http:", "https:")) as api:
        got = await api.submit(BODY, "k")

    assert got.meaning is Meaning.NEVER_LEFT
    assert got.finding is not None
    assert "does not speak TLS on that port" in got.finding.found
    assert got.finding.weight is Weight.STOP


async def test_a_handshake_that_breaks_off_or_never_ends_left_nothing() -> None:
    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        await reader.read(100)

    async def stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        await asyncio.sleep(60)

    for answering, waits in (
        (drop, PATIENT),
        (stay, Timeouts(connect_s=0.3, read_s=5.0, total_s=5.0)),
        (stay, Timeouts(connect_s=5.0, read_s=5.0, total_s=0.3)),
    ):
        async with serving(answering) as wire, api_to(wire.url.replace("http:", "https:"), waits) as api:
            answer = await api.submit(BODY, "k")
        assert answer.meaning is Meaning.NEVER_LEFT, answer
        assert answer.finding is None or answer.finding.weight is Weight.WARNING


@pytest.mark.parametrize(
    ("status", "said", "weight"),
    [
        (407, "wants a user name and a password", Weight.STOP),
        (403, "forbids connecting to rivya.example (HTTP 403)", Weight.STOP),
        (502, "did not connect to rivya.example (HTTP 502)", Weight.WARNING),
        (None, "", None),
    ],
)
async def test_behind_a_proxy_that_opens_no_way_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch, status: int | None, said: str, weight: Weight | None
) -> None:
    """Also where the proxy just hangs up: the service has not seen a byte."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        await take(reader, wire)

    async with serving(saying(http(status)) if status else hang_up) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//user:SECRET@"))
        async with api_to("https://rivya.example") as api:
            answer = await api.submit(BODY, "k")

    assert answer.meaning is Meaning.NEVER_LEFT
    assert KEY.encode() not in b"".join(proxy.heads)
    assert (answer.finding.weight if answer.finding else None) is weight
    assert said in answer.message
    assert "SECRET" not in f"{answer}"
    if status:
        assert proxy.url.partition("//")[2] in answer.message


async def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    port = closed_port()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    async with api_to("https://rivya.example") as api:
        answer = await api.submit(BODY, "k")

    assert f"the proxy 127.0.0.1:{port} cannot be reached (Connection refused)" in answer.message


@pytest.mark.parametrize(
    ("host", "error"),
    [
        ("rivya.example", socket.gaierror(socket.EAI_NONAME, "Name or service not known")),
        ("rivya.example", socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")),
        ("rivya..example", None),
        (f"{'x' * 70}.example", None),
    ],
)
async def test_a_name_that_is_not_found_is_said_and_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch, host: str, error: OSError | None
) -> None:
    if error is not None:

        def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
            raise error

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with api_to(f"https://{host}") as api:
        answer = await api.submit(BODY, "k")

    assert answer.meaning is Meaning.NEVER_LEFT
    assert answer.finding is not None
    assert answer.finding.weight is Weight.WARNING  # a VPN may bring it
    assert f"the name {host} cannot be found" in answer.message


async def test_a_name_that_nobody_answers_for_left_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def never(*_: Any, **__: Any) -> list[Any]:
        asked.set()
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    async with api_to("https://rivya.example", Timeouts(connect_s=5.0, read_s=5.0, total_s=0.2)) as api:
        answer = await api.submit(BODY, "k")

    assert asked.is_set()
    assert answer.meaning is Meaning.NEVER_LEFT


async def test_what_was_on_its_way_may_have_arrived() -> None:
    """Once there was a connection nothing is sure, however it ends."""
    for answering, waits in (
        (say_nothing, PATIENT),
        (hang, Timeouts(connect_s=5.0, read_s=0.2, total_s=5.0)),
        (hang, Timeouts(connect_s=5.0, read_s=5.0, total_s=0.3)),
    ):
        async with serving(answering) as wire, api_to(wire.url, waits) as api:
            answer = await api.submit(BODY, "k")
        assert answer.meaning is Meaning.UNCLEAR, answer
        assert answer.finding is None


def test_the_way_of_results_is_checked_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")

    with pytest.raises(UsageError, match=r"/nowhere/ca\.pem"):
        transports.make_transport("https://rivya.example", 2)


def test_what_aiohttp_reads_for_itself_is_left_out_only_where_the_process_is_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []
    monkeypatch.setattr(
        ssl.SSLContext,
        "set_default_verify_paths",
        lambda _: read.append(threading.current_thread().name),
        raising=False,
    )
    monkeypatch.setattr(trust, "_unread", False)
    with trust.importing():
        ssl.create_default_context()
    assert read == [threading.current_thread().name]
    trust.leave_others_unread()
    with trust.importing():
        ssl.create_default_context()
        other = threading.Thread(target=ssl.create_default_context, name="another")
        other.start()
        other.join()
    assert read[1:] == ["another"]
    ssl.create_default_context()
    assert read[2:] == [threading.current_thread().name]
