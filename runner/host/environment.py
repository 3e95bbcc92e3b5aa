"""What the environment tells us. No variable can say yes to spending."""

from __future__ import annotations

import codecs
import os
import re
import resource
from pathlib import Path

from runner.errors import UsageError
from runner.host.drives import DRIVES

DEFAULT_BASE_URL = "https://rivya.ai"
KEY_HINT = (
    "put it into RIVYA_API_KEY, or name a file with RIVYA_API_KEY_FILE; to try without a key add --sandbox"
)

LARGEST_KEY_FILE = 65_536
_seen = ""  # the key, so that the words of an error can be looked through for it


def base_url() -> str:
    """Return RIVYA_BASE_URL or the service's own address, unchecked."""
    return os.environ.get("RIVYA_BASE_URL") or DEFAULT_BASE_URL


def descriptors_left() -> int | None:
    """Return how many more files and connections this process may open; None where there is no limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return None
    return max(limit - len(os.listdir("/dev/fd")), 0)  # noqa: PTH208  # its names alone


def names_a_service() -> bool:
    """Say whether the environment names a key, a service or a proxy: without any, nothing can be asked."""
    names = ("RIVYA_API_KEY", "RIVYA_API_KEY_FILE", "RIVYA_BASE_URL")
    return any(os.environ.get(name) for name in names) or any(
        name.lower().endswith("_proxy") for name in os.environ
    )


def find_key() -> str | None:
    """Return the API key, None where none is set.

    Raises:
        UsageError: The key file cannot be read, or the key holds what no header may hold.
    """
    global _seen
    where = "RIVYA_API_KEY"
    key = os.environ.get(where)
    if not key:
        name = os.environ.get("RIVYA_API_KEY_FILE")
        if not name:
            return None
        path = Path(name).expanduser()
        where = str(path)
        try:
            key = _decoded(_read(path))
        except (OSError, UnicodeDecodeError) as exc:
            raise UsageError(f"cannot read the key file {path}: {exc}", hint=KEY_HINT) from exc
    key = _bare(key)
    if not key:
        if where == "RIVYA_API_KEY":
            return None
        raise UsageError(f"the key file {where} holds no key", hint=KEY_HINT)
    _seen = key
    if odd := next((char for char in key if not "!" <= char <= "~"), None):
        what = {" ": "a space", "\t": "a tab", "\n": "a line break", "\r": "a line break"}
        raise UsageError(
            f"the API key in {where} holds what no key has:"
            f" {what.get(odd, f'the character U+{ord(odd):04X}')} at position {key.index(odd) + 1}",
            hint="it must contain only the key",
        )
    return key


def known_key() -> str:
    """Return the key this process has met so far, whole or not; an empty text for none. Reads no file."""
    return _seen or os.environ.get("RIVYA_API_KEY", "").strip()


def _bare(text: str) -> str:
    """Return a key without what stands around it in files of variables: its name, quotes, line ends."""
    text = text.strip().strip("\ufeff").strip()
    line = _ASSIGNED.search(text)
    if line is not None:
        text = line[1].strip()
    return text[1:-1].strip() if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


_ASSIGNED = re.compile(r"^\s*(?:export\s+)?RIVYA_API_KEY\s*=(.*)$", re.M)


def _read(path: Path) -> bytes:
    """Read a key file, which may be a pipe somebody has yet to write to (`<(pass show rivya)`)."""
    DRIVES.wait_for(path, whole=True)
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    pieces: list[bytes] = []
    try:
        while sum(map(len, pieces)) <= LARGEST_KEY_FILE:
            DRIVES.wait_for_pipe(number, path)
            if not (piece := os.read(number, LARGEST_KEY_FILE)):
                break
            pieces.append(piece)
    finally:
        os.close(number)
    return b"".join(pieces)


def _decoded(data: bytes) -> str:
    """Read a small text file as editors write it: some begin it with a mark of its encoding."""
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if utf16 else "utf-8-sig")


def get_key() -> str:
    """Return the API key.

    Raises:
        UsageError: None is set.
    """
    key = find_key()
    if key is None:
        raise UsageError("there is no API key", hint=KEY_HINT)
    return key
