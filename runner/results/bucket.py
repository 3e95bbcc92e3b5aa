"""Results in a bucket: Amazon S3 and what speaks like it, Google Cloud ResultStorage, Azure; by the library obstore.

An object appears whole or not at all. Its SHA-256 goes with it as metadata, so that one question tells whether it is
what we have put there. Credentials come from the environment, as for every tool of that cloud, and are never told.
"""

from __future__ import annotations

import configparser
import mimetypes
import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from runner.errors import UsageError
from runner.model import ObjectPath, ResultPath, Sha256, path_of
from runner.results.bucket_errors import BucketTrouble, Conflict, NotThere, error_of, unusable
from runner.results.parts import FolderUnusable, PartFile, PlaceTrouble, Result, sha256_of
from runner.results.storage import WhatStands, storage_of

HASH = "sha256"
"""The metadata that tells what an object holds."""

CLAIMED_BYTES = 16_000_000
"""Up to this size an object is sent in one piece, which lets the bucket refuse a name that is taken."""

PIECE_BYTES = 8_000_000
PIECES_AT_ONCE = 2
LINK_LASTS = timedelta(days=7)  # as long as S3 allows
TRIAL = "try-"
TRIAL_LEFT_AFTER = timedelta(hours=1)
SHORT, LONG = "30s", "600s"  # one request may take; what carries a result needs longer: 16 MB at 0.2 Mbit/s
_RETRIES = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=60),
}  # the engine has more patience, and says so

_open: dict[str, BucketStorage] = {}
_opening = threading.Lock()


def bucket_of(place: ObjectPath) -> BucketStorage:
    """Return the bucket that a place is in; each is opened once in a process.

    Raises:
        UsageError: obstore is not installed, or what the environment says cannot be used.
    """
    name = str(place.bucket)
    with _opening:
        if name not in _open:
            quick, patient = (open_store(place.bucket, timeout) for timeout in (SHORT, LONG))
            _open[name] = BucketStorage(place.bucket, quick, patient)
        return _open[name]


def open_store(bucket: ObjectPath, timeout: str) -> Any:
    """Return obstore's way to a bucket, with how long a request may take; nothing is asked yet."""
    try:
        from obstore.store import from_url
    except ImportError:
        raise UsageError(
            f"results in a bucket ({bucket}) need one more package", hint="pip install 'rivya-batch[s3]'"
        ) from None
    options: dict[str, Any] = {
        "client_options": {"connect_timeout": "10s", "timeout": timeout},
        "retry_config": _RETRIES,
    }
    if str(bucket).startswith("s3://"):
        config = s3_config(os.environ)
        if config.get("endpoint", "").startswith("http://"):
            options["client_options"]["allow_http"] = True
        # One by one: not all that speak like S3 know how to remove many at once.
        options["config"] = {"disable_bulk_delete": True, **config}
    try:
        return from_url(str(bucket), **options)
    except Exception as exc:
        raise unusable(exc, bucket) from None


def s3_config(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what has to be told beyond what obstore reads from the environment: endpoint, and a profile's keys.

    Raises:
        UsageError: The profile that is named has no keys that can be used.
    """
    config: dict[str, str] = {}
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    profile = environment.get("AWS_PROFILE")
    given = any(
        environment.get(name)
        for name in (
            "AWS_ACCESS_KEY_ID",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_SKIP_SIGNATURE",
        )
    )
    if not given:
        home = Path(environment.get("HOME") or Path.home()) / ".aws"
        found = _section(
            Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials"), profile or "default"
        )
        more = _section(
            Path(environment.get("AWS_CONFIG_FILE") or home / "config"),
            f"profile {profile}" if profile and profile != "default" else "default",
        )
        found = {**more, **found}
        for name, ours in (
            ("aws_access_key_id", "access_key_id"),
            ("aws_secret_access_key", "secret_access_key"),
            ("aws_session_token", "session_token"),
        ):
            if found.get(name):
                config[ours] = found[name]
        if profile and "access_key_id" not in config:
            raise UsageError(
                f"the AWS profile {profile} has no keys of its own in {home}",
                hint=f'type: eval "$(aws configure export-credentials --profile {profile} --format env)"',
            )
        endpoint = endpoint or found.get("endpoint_url")
        region = found.get("region")
        if region and not (environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")):
            config["region"] = region
    if endpoint:
        config["endpoint"] = endpoint
    return config


def _section(path: Path, name: str) -> dict[str, str]:
    reader = configparser.RawConfigParser()
    try:
        reader.read(path, encoding="utf-8")
        return dict(reader[name]) if name in reader else {}
    except (OSError, ValueError, configparser.Error):
        return {}


class BucketStorage:
    """One bucket.

    Args:
        bucket: Its name, with the scheme.
        store: What obstore has for it.
        patient: The same, for requests that carry a result.
    """

    def __init__(self, bucket: ObjectPath, store: Any, patient: Any = None) -> None:
        self.bucket = bucket
        self._store = store
        self._patient = patient if patient is not None else store
        self._claims = True  # whether it refuses a name that is taken

    def prepare(self, root: ResultPath) -> None:
        """Write, read and remove a tiny object below a place; see `ResultStorage`."""
        parts = _object(root) / ".parts"
        trial = parts / f"{TRIAL}{secrets.token_hex(8)}"
        try:
            with self._errors(root):
                self._put(trial, b"1", mime="text/plain", mode="create")
                try:
                    self._put(trial, b"2", mime="text/plain", mode="create")
                    self._claims = False  # some take the word and do not keep to it
                except Conflict:
                    self._claims = True
                self._store.get(trial.key).bytes()
                self._store.delete(trial.key)
                self._remove_old_trials(parts)
        except BucketTrouble as exc:
            if exc.lasts:
                raise FolderUnusable(exc.message, hint=exc.hint) from exc
            raise

    def _remove_old_trials(self, parts: ObjectPath) -> None:
        """Remove what a killed process may have left."""
        now = datetime.now(UTC)
        for chunk in self._store.list(prefix=parts.key):
            for each in chunk:
                name = each["path"].rpartition("/")[2]
                if name.startswith(TRIAL) and now - each["last_modified"] > TRIAL_LEFT_AFTER:
                    self._store.delete(each["path"])

    def exists(self, path: ResultPath) -> bool:
        """See `ResultStorage`."""
        return self._head(path) is not None

    def size(self, path: ResultPath) -> int | None:
        """See `ResultStorage`."""
        found = self._head(path)
        return None if found is None else int(found["size"])

    def sizes(self, root: ResultPath) -> Callable[[str], int | None]:
        """See `ResultStorage`: a list of all is a question for each thousand."""
        found: dict[str, int] = {}
        with self._errors(root):
            for chunk in self._store.list(prefix=_object(root).key):
                for each in chunk:
                    found[f"{self.bucket}/{each['path']}"] = each["size"]
        inside = f"{root}/"
        return lambda path: found.get(path) if path.startswith(inside) else _elsewhere(path)

    def look(self, path: ResultPath, sha256: Sha256, size_bytes: int) -> WhatStands:
        """See `ResultStorage`."""
        found = self._head(path)
        if found is None:
            return WhatStands.NOTHING
        same = found["size"] == size_bytes and (found[HASH] or self._hashed(path)) == sha256
        return WhatStands.SAME if same else WhatStands.OTHER

    def holds(self, path: ResultPath, sha256: Sha256, size_bytes: int) -> bool:
        """See `ResultStorage`."""
        return self.look(path, sha256, size_bytes) is WhatStands.SAME

    def sha256(self, path: ResultPath) -> Sha256:
        """See `ResultStorage`."""
        found = self._head(path)
        if found is None:
            raise PlaceTrouble(f"there is no {path} any more")
        return Sha256(found[HASH] or self._hashed(path))

    def read(self, path: ResultPath, most_bytes: int) -> bytes | None:
        """See `ResultStorage`; what cannot be asked for now is no answer, and raises."""
        try:
            with self._errors(path):
                found = self._store.get(_object(path).key)
                pieces, came = list[bytes](), 0
                for piece in found.stream(min_chunk_size=min(most_bytes, 1_000_000)):
                    pieces.append(bytes(piece))
                    came += len(piece)
                    if came >= most_bytes:
                        break
                return b"".join(pieces)[:most_bytes]
        except NotThere:
            return None

    def stream(self, path: ResultPath, first: int, after: int) -> Iterator[bytes]:
        """Yield bytes of an object from one number to before another."""
        with self._errors(path):
            found = self._patient.get(_object(path).key, options={"range": (first, after)})
            yield from map(bytes, found.stream(min_chunk_size=256_000))

    def write(self, path: ResultPath, data: bytes, *, mime: str) -> None:
        """See `ResultStorage`."""
        with self._errors(path):
            self._put(_object(path), data, mime=mime, mode="overwrite")

    def write_new(self, path: ResultPath, data: bytes, *, mime: str) -> bool:
        """See `ResultStorage`."""
        if not self._claims and self.exists(path):
            return False
        try:
            with self._errors(path):
                self._put(_object(path), data, mime=mime, mode="create" if self._claims else "overwrite")
        except Conflict:
            return False
        return True

    def take(self, part: PartFile, path: ResultPath, result: Result) -> None:
        """See `ResultStorage`: the part goes when the object is known to be there, whole."""
        self.put_file(part.path, path, result.sha256, result.size_bytes, mime=result.file.mime)
        part.discard()

    def put_file(self, source: Path, path: ResultPath, sha256: Sha256, size_bytes: int, *, mime: str) -> None:
        """See `ResultStorage`; it is there when this returns.

        Raises:
            PlaceTrouble: Something else is there.
            BucketTrouble: It is not known to be there whole.
        """
        key = _object(path).key
        attributes = {"Content-Type": mime, HASH: sha256}
        with self._errors(path):
            try:
                if size_bytes <= CLAIMED_BYTES and self._claims:
                    self._patient.put(key, source, attributes=attributes, mode="create")
                elif self._head(path) is not None:
                    raise Conflict(str(path))
                else:
                    self._patient.put(
                        key,
                        source,
                        attributes=attributes,
                        chunk_size=PIECE_BYTES,
                        max_concurrency=PIECES_AT_ONCE,
                    )
            except Exception as exc:
                if not isinstance(error_of(exc, path), Conflict):
                    raise
                # Perhaps it was ours, and only the answer was lost.
        found = self._head(path)
        if found is not None and (found["size"], found[HASH]) == (size_bytes, sha256):
            return
        if found is None:
            raise BucketTrouble(f"{path} was accepted and is not there", hint="run again to continue")
        raise PlaceTrouble(f"something else is where a result should go: {path}", hint="move it away")

    def rename(self, source: ResultPath, target: ResultPath) -> None:
        """See `ResultStorage`: a copy that is seen to be whole, then the removal."""
        if not isinstance(source, ObjectPath) or source.bucket != self.bucket:
            self._fetch_in(source, target)
            return
        with self._errors(target):
            before = self._head(source)
            self._patient.copy(_object(source).key, _object(target).key)
            after = self._head(target)
            if before is None or after is None or before["size"] != after["size"]:
                raise BucketTrouble(f"{source} could not be copied to {target}")
            self._store.delete(_object(source).key)

    def _fetch_in(self, source: ResultPath, target: ResultPath) -> None:
        """Move a file here that is elsewhere."""
        elsewhere = storage_of(source)
        with tempfile.TemporaryDirectory() as folder:
            if isinstance(source, Path):
                copy = source
            else:
                copy = Path(folder, "copy")
                elsewhere.copy_out(source, copy)
            with copy.open("rb") as file:
                sha256 = sha256_of(file)
            mime = mimetypes.guess_type(target.name)[0] or "application/octet-stream"
            self.put_file(copy, target, sha256, copy.stat().st_size, mime=mime)
        elsewhere.remove(source)

    def remove(self, path: ResultPath) -> None:
        """See `ResultStorage`."""
        with suppress(NotThere), self._errors(path):
            self._store.delete(_object(path).key)

    def copy_out(self, path: ResultPath, target: Path) -> None:
        """See `ResultStorage`."""
        with self._errors(path):
            found = self._patient.get(_object(path).key)
            size, came = found.meta["size"], 0
            with target.open("wb") as file:
                for piece in found.stream(min_chunk_size=1_000_000):
                    file.write(piece)
                    came += len(piece)
        if came != size:
            raise BucketTrouble(f"{path} came in part only: {came:,} of {size:,} bytes")

    def names_in(self, folder: ResultPath) -> list[str]:
        """See `ResultStorage`."""
        with self._errors(folder):
            found = self._store.list_with_delimiter(prefix=_object(folder).key)
        return sorted(each["path"].rpartition("/")[2] for each in found["objects"])

    def standing(self, bare: ResultPath, count: int) -> Iterator[tuple[ResultPath, str]]:
        """See `ResultStorage`: none, for to look for forty names is forty questions; the sidecar tells of earlier ones."""
        return iter(())

    def link(self, path: ResultPath) -> str:
        """See `ResultStorage`: whoever has the link may fetch the object for a week."""
        from obstore import sign

        with self._errors(path):
            return str(sign(self._store, "GET", _object(path).key, LINK_LASTS))

    def settle(self, folders: Collection[ResultPath]) -> None:
        """See `ResultStorage`: what a bucket has accepted stays."""

    def _put(self, path: ObjectPath, data: bytes, *, mime: str, mode: str) -> None:
        try:
            self._store.put(path.key, data, attributes={"Content-Type": mime}, mode=mode)
        except Exception as exc:
            found = error_of(exc, path)
            if mode != "create" or not found.unknown_condition:
                raise found from None
            self._claims = False
            self._store.put(path.key, data, attributes={"Content-Type": mime})

    def _head(self, path: ResultPath) -> dict[str, Any] | None:
        """Return `{"size": 5, "e_tag": "…", "sha256": "…"}`; None where nothing is."""
        try:
            with self._errors(path):
                found = self._store.get(_object(path).key, options={"head": True})
                return {**found.meta, HASH: found.attributes.get(HASH)}
        except NotThere:
            return None

    def _hashed(self, path: ResultPath) -> Sha256:
        """Read all of an object that somebody else has put there: nothing else tells what it holds."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "copy")
            self.copy_out(path, copy)
            with copy.open("rb") as file:
                return sha256_of(file)

    @contextmanager
    def _errors(self, path: ResultPath) -> Iterator[None]:
        """Turn what obstore raises into ours."""
        try:
            yield
        except PlaceTrouble:
            raise
        except Exception as exc:
            raise error_of(exc, path) from None


def _object(place: ResultPath) -> ObjectPath:
    assert isinstance(place, ObjectPath), place
    return place


def _elsewhere(path: str) -> int | None:
    there = path_of(path)
    return storage_of(there).size(there)
