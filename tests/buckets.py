"""Buckets for tests: one in memory that fails as told, and a server that speaks like S3.

The one in memory needs obstore, which is an extra of the package and there for tests; the server needs moto, which
only `make test-extra` installs.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


class S3Server:
    """A process that speaks like S3, on loopback. It may be stopped and go on with nothing lost."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {**ENVIRONMENT, "AWS_ENDPOINT_URL": self.url}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
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


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    """Return a server that speaks like S3."""
    for needed in ("obstore", "moto", "flask"):
        pytest.importorskip(needed, reason=f"{needed} is not installed: `make test-extra` does")
    server = S3Server()
    yield server
    server.stop()
