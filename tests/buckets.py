"""Buckets for tests: one in memory that fails as told, and a server that speaks like S3.

The one in memory needs obstore, which is an extra of the package and there for tests; the server needs moto, which
only `make test-extra` installs.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from runner.model import ObjectPath
from runner.results import bucket as buckets
from runner.results.bucket import BucketStorage
from runner.results.files import OutputFolder

ROOT = ObjectPath("s3://films/night")
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIATESTTESTTEST",
    "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-may-see",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@dataclass
class Flaky:
    """A store that does what another one does, but for what it was told to fail at.

    `fails` maps the name of a call to the errors of its next ones; None lets one pass. `after`: the call is made first,
    and only its answer is lost.
    """

    store: Any
    fails: dict[str, list[Exception | None]] = field(default_factory=dict)
    after: bool = False
    calls: list[tuple[str, str]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            self.calls.append((name, str(args[0]) if args else str(options.get("prefix", ""))))
            error = self.fails[name].pop(0) if self.fails.get(name) else None
            if error is not None and not self.after:
                raise error
            found = getattr(self.store, name)(*args, **options)
            if error is not None:
                raise error
            return found

        return call

    def names(self) -> list[str]:
        """Return the names of all objects."""
        return sorted(each["path"] for chunk in self.store.list() for each in chunk)

    def put_as_somebody(self, key: str, data: bytes) -> None:
        """Put an object as another program would: without what we say of ours."""
        self.store.put(key, data)

    def get_bytes(self, key: str) -> bytes:
        """Return what an object holds."""
        return bytes(self.store.get(key).bytes())


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Flaky:
    """Return the store behind the bucket `s3://films`."""
    store = pytest.importorskip("obstore.store", reason="obstore is not installed")
    found = Flaky(store.MemoryStore())
    monkeypatch.setattr(buckets, "_open", {"s3://films": BucketStorage(ROOT.bucket, found)})
    return found


def in_bucket(tmp_path: Path, owner: str = "autumn") -> OutputFolder:
    """Return an output folder in that bucket."""
    return OutputFolder(ROOT, owner=owner, scratch=tmp_path / "scratch")


def generic(text: str) -> Exception:
    """Return an error as obstore words them."""
    import obstore.exceptions

    return obstore.exceptions.GenericError(f"Generic S3 error: {text}\n\nDebug source:\nGeneric {{ … }}")


S3_PYTHON = Path(__file__).resolve().parents[1] / ".venv" / "s3" / "bin" / "python"
"""Has moto, which would not go together with what the lock files pin."""


class S3Server:
    """A process that speaks like S3, on loopback."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {**ENVIRONMENT, "AWS_ENDPOINT_URL": self.url}
        self.process = subprocess.Popen(
            [str(S3_PYTHON), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.1)
        raise AssertionError("moto did not start")

    def store(self, bucket: str) -> Any:
        """Return obstore's way to a bucket."""
        from obstore.store import S3Store

        return S3Store(
            bucket,
            config={
                "endpoint": self.url,
                "access_key_id": ENVIRONMENT["AWS_ACCESS_KEY_ID"],
                "secret_access_key": ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
                "region": ENVIRONMENT["AWS_DEFAULT_REGION"],
            },
            client_options={"allow_http": True},
        )

    def make(self, bucket: str) -> None:
        """Make a bucket."""
        import urllib.request

        urllib.request.urlopen(urllib.request.Request(f"{self.url}/{bucket}", method="PUT")).close()

    def objects(self, bucket: str) -> dict[str, int]:
        """Return the sizes of all objects by their names."""
        return {each["path"]: each["size"] for chunk in self.store(bucket).list() for each in chunk}

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


@dataclass
class Gate:
    """Stands before an S3 server, sees each request to it, and does what it is told to.

    `act` is asked for each request (`PUT /films/night/a.mp4`) before it is passed on, and again after that, before the
    answer is. It may return an answer to give instead, or `DROP` for none.
    """

    server: S3Server
    act: Callable[[str, bool], tuple[int, bytes] | None] = lambda what, passed: None
    seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                what = f"{self.command} {unquote(self.path)}"
                gate.seen.append(what)
                if (instead := gate.act(what, False)) is None:
                    inner = http.client.HTTPConnection("127.0.0.1", gate.server.port, timeout=30)
                    inner.request(self.command, self.path, body, dict(self.headers))
                    found = inner.getresponse()
                    data, headers = found.read(), found.getheaders()
                    status = found.status
                    inner.close()
                    instead = gate.act(what, True)
                if instead is not None:
                    status, data = instead
                    headers = [("content-type", "application/xml"), ("content-length", str(len(data)))]
                if status == DROP[0]:
                    self.close_connection = True
                    return
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = answer

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """Whoever asked was killed meanwhile."""

        self._http = Server(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stand there no more."""
        self._http.shutdown()
        self._http.server_close()


DROP = (0, b"")


def refusal(code: str, message: str) -> bytes:
    """Return what S3 says when it refuses."""
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    """Return a server that speaks like S3."""
    pytest.importorskip("obstore", reason="obstore is not installed")
    if not S3_PYTHON.exists():
        pytest.skip("moto is not installed: `make test-extra` does that")
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def gate(s3: S3Server) -> Iterator[Gate]:
    """Return a gate before that server."""
    found = Gate(s3)
    yield found
    found.close()
