"""Whom we believe when a host says who it is: the certificates of this machine, or those a person names.

`SSL_CERT_FILE` and `SSL_CERT_DIR` replace the system's certificates, as for OpenSSL itself. What they name
has to be there: OpenSSL would go on without, and believe nobody.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from runner.errors import UsageError

# Where Linux distributions keep what they trust, for a Python that was built on another one.
_KEPT_BY_SYSTEMS = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, BSD, macOS
)
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")  # the names OpenSSL looks for in a folder


def trusted() -> ssl.SSLContext:
    """Return the context that proves hosts over https. Its certificates are read once (30 to 60 ms).

    Raises:
        UsageError: SSL_CERT_FILE or SSL_CERT_DIR names what cannot be used.
    """
    return _trusting(os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", ""))


@lru_cache(maxsize=1)
def _trusting(file: str, folder: str) -> ssl.SSLContext:
    if file or folder:
        return _named(file, folder)
    if sys.platform == "darwin":
        import truststore  # what the keychain trusts: a company's own authority too

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = _proving()
    places = ssl.get_default_verify_paths()
    kept_in = Path(places.openssl_cafile), Path(places.openssl_capath)
    if kept_in[0].is_file() or _holds_certificates(kept_in[1]):
        context.load_verify_locations(
            kept_in[0] if kept_in[0].is_file() else None, kept_in[1] if kept_in[1].is_dir() else None
        )
    elif kept := next((place for place in _KEPT_BY_SYSTEMS if Path(place).is_file()), None):
        context.load_verify_locations(kept)
    else:
        import certifi  # a container without any

        context.load_verify_locations(certifi.where())
    return context


def _named(file: str, folder: str) -> ssl.SSLContext:
    """Trust what a person names, also where it is older than the strictest rules or no root itself."""
    context = _proving()
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if file:
        _load(context, file)
    if folder and any(_holds_certificates(Path(each)) for each in folder.split(os.pathsep)):
        context.load_verify_locations(capath=folder)
    elif not file:
        there = all(Path(each).is_dir() for each in folder.split(os.pathsep))
        raise UsageError(
            f"SSL_CERT_DIR names {folder}, "
            + ("which holds no certificates" if there else "which is not there"),
            hint=f"`openssl rehash {folder}` gives them the names that are looked for; {_UNSET}"
            if there
            else _UNSET,
        )
    return context


def _load(context: ssl.SSLContext, file: str) -> None:
    def wrong(why: str, hint: str = "") -> UsageError:
        return UsageError(f"SSL_CERT_FILE names {file}, {why}", hint=f"{hint}; {_UNSET}" if hint else _UNSET)

    try:
        empty = not Path(file).read_bytes().strip()
        if not empty:
            context.load_verify_locations(file)
    except FileNotFoundError as exc:
        raise wrong("which is not there") from exc
    except ssl.SSLError as exc:
        raise wrong(
            "which holds no certificates (PEM)",
            "`openssl x509 -inform der -in FILE` makes PEM of a .cer or .der",
        ) from exc
    except OSError as exc:
        raise wrong(f"which cannot be read: {exc.strerror}") from exc
    if empty:
        raise wrong("which is empty")


_UNSET = "without it, the certificates of this system are trusted"


_unread = False


def leave_others_unread() -> None:
    """Let nobody but `trusted` read certificates as aiohttp is imported; for a process that is all ours.

    aiohttp reads them twice then, for contexts of its own: an eighth of the CPU with which a run begins. Each request of
    ours over https brings the context of `trusted`. Others that use aiohttp in this process would trust nobody.
    """
    global _unread
    _unread = True


@contextmanager
def importing() -> Iterator[None]:
    """Import aiohttp inside the block: see `leave_others_unread`. Other threads read what they want meanwhile."""
    if not _unread:
        yield
        return
    mine, read = threading.get_ident(), ssl.SSLContext.set_default_verify_paths

    def read_by_others(context: ssl.SSLContext) -> None:
        if threading.get_ident() != mine:
            read(context)

    ssl.SSLContext.set_default_verify_paths = read_by_others  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        ssl.SSLContext.set_default_verify_paths = read  # type: ignore[method-assign]


def _proving() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # asks for a proof, and for the right name


def _holds_certificates(folder: Path) -> bool:
    try:
        return any(_HASHED.fullmatch(name) for name in os.listdir(folder))  # noqa: PTH208  # its names alone
    except OSError:
        return False
