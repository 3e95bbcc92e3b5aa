"""Whom we talk to, and as whom: the base url, the key, and what may be told to which host."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from runner.errors import UsageError
from runner.service.addresses import is_loopback
from runner.service.hiding import MARK, KeyHider, hider_of


@dataclass(frozen=True, slots=True)
class Account:
    """Whom we talk to, and as whom. The key itself never appears in a repr."""

    base_url: str
    key: str = field(repr=False)
    alias: str = ""  # a lasting name of a service whose address changes (the sandbox)

    @property
    def service(self) -> str:
        """The name under which a service's tasks, prices and durations are remembered."""
        return self.alias or self.base_url

    @property
    def key12(self) -> str:
        """The first 12 hex digits of the key's SHA-256: enough to tell keys apart, useless to anyone else."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:12]

    @property
    def hider(self) -> KeyHider:
        """What takes the key out of everything that was said by others, before it is recorded or shown."""
        return hider_of(self.key)

    @property
    def name(self) -> str:
        """The name under which rates and uploads of this account are remembered."""
        return f"{self.service} {self.key12}"

    def serves(self, url: str) -> bool:
        """Say whether a url is on the service's own host and port."""
        return _origin(url) == _origin(self.base_url)

    def absolute(self, url: str) -> str:
        """Return a url as it is, or a bare path of the service under its own host; byte for byte."""
        if not url.startswith("/"):
            return url
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}:{url}" if url.startswith("//") else f"{parts.scheme}://{parts.netloc}{url}"

    def to_ask(self, url: str) -> str:
        """Return a url the service gave as it has to be asked for: whole, and with the key that it held.

        No other host is ever sent the key; a url of another host that held it stays without.
        """
        url = self.absolute(url)
        return self.hider.restored(url, in_url=True) if self.serves(url) else url

    def gives_away(self, url: str) -> bool:
        """Say whether to ask for a url would tell our key to another host than the service's own."""
        if self.serves(url):
            return False
        return MARK in unquote(url) or self.hider.text(url) != url

    @property
    def loopback(self) -> bool:
        """Whether the service is on this machine."""
        return is_loopback(self.base_url)


@lru_cache(maxsize=256)  # each url of a result is looked at several times
def _origin(url: str) -> tuple[str, str, int | None] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return None
    return parts.scheme, (parts.hostname or "").lower(), port


def checked_base_url(text: str) -> str:
    """Return a base url in the one spelling its service is known by.

    The scheme and the host in small letters, no default port, no slash at the end.

    Raises:
        UsageError: It is not https (plain http only for loopback), or holds more than host and path.
    """
    url = text.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as exc:
        raise UsageError(f"RIVYA_BASE_URL is not a url: {text!r}") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"RIVYA_BASE_URL is not a url: {text!r}", hint="something like https://rivya.ai")
    if any(mark in url for mark in "@?#\\") or any(char.isspace() or not char.isprintable() for char in url):
        raise UsageError("RIVYA_BASE_URL must hold a host only: no user, no password, no query")
    if parts.scheme == "http" and not is_loopback(url):
        raise UsageError(
            f"refusing to send a key over plain http to {parts.hostname}",
            hint="use https; http is for loopback only",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    standard = {"http": 80, "https": 443}[parts.scheme]
    port = f":{parts.port}" if parts.port not in (None, standard) else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def same_service(one: str, other: str) -> bool:
    """Return whether two base urls name one service, however an earlier version may have spelled it.

    `sandbox:` is a service too.
    """
    try:
        return one == other or checked_base_url(one) == checked_base_url(other)
    except UsageError:
        return False
