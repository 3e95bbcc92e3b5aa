"""What the environment tells us. No variable can say yes to spending."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from runner.errors import UsageError

DEFAULT_BASE_URL = "https://rivya.ai"
KEY_HINT = (
    "put it into RIVYA_API_KEY, or name a file with RIVYA_API_KEY_FILE; to try without a key add --sandbox"
)


def base_url() -> str:
    """Return RIVYA_BASE_URL or the service's own address, unchecked."""
    return os.environ.get("RIVYA_BASE_URL") or DEFAULT_BASE_URL


def descriptors_left() -> int | None:
    """Return how many more files and connections this process may open; None where there is no limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return None
    return max(limit - len(os.listdir("/dev/fd")), 0)  # noqa: PTH208  # its names alone


def find_key() -> str | None:
    """Return the API key, None where none is set.

    Raises:
        UsageError: The key file cannot be read, or the key holds what no header may hold.
    """
    key = os.environ.get("RIVYA_API_KEY")
    if not key:
        name = os.environ.get("RIVYA_API_KEY_FILE")
        if not name:
            return None
        path = Path(name).expanduser()
        try:
            key = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise UsageError(f"cannot read the key file {path}: {exc}", hint=KEY_HINT) from exc
    key = key.strip()
    if not key:
        return None
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(
            "the API key holds characters that no key has (a line break, a space?)", hint=KEY_HINT
        )
    return key


def get_key() -> str:
    """Return the API key.

    Raises:
        UsageError: None is set.
    """
    key = find_key()
    if key is None:
        raise UsageError("there is no API key", hint=KEY_HINT)
    return key
