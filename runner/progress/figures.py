"""Numbers and times as people read them."""

from __future__ import annotations

import datetime
import os
import unicodedata
from pathlib import Path

from runner.model import ObjectPath, is_in_bucket
from runner.store.server_address import ServerAddress


def credits_in_words(amount: float | None) -> str:
    """Return an amount of credits: `1,234`, `0.5`; a dash for none."""
    if amount is None:
        return "-"
    return f"{amount:,.0f}" if float(amount).is_integer() else f"{amount:,.2f}"


def in_credits(amount: float) -> str:
    """Return an amount with its unit: `1 credit`, `0.5 credits`."""
    return f"{credits_in_words(amount)} credit{'' if amount == 1 else 's'}"


def counted(number: int, noun: str) -> str:
    """Return a number of things: `1 job`, `10,000 jobs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def times(number: int) -> str:
    """Return how often in words: `once`, `twice`, `7 times`."""
    return {1: "once", 2: "twice"}.get(number, f"{number:,} times")


def near(path: Path | ObjectPath | ServerAddress | str) -> str:
    """Return a path as a reader would type it here: relative when it is below the working directory."""
    if isinstance(path, (ServerAddress, ObjectPath)) or (isinstance(path, str) and is_in_bucket(path)):
        return str(path)
    try:
        here, text = os.getcwd(), os.fspath(path)  # noqa: PTH109
        if text.startswith(here + os.sep) and ".." not in text:  # most are; `relpath` takes both to pieces
            return text[len(here) + 1 :]
        relative = os.path.relpath(path)
    except (OSError, ValueError):  # the working directory is gone, or on another drive
        return str(path)
    return str(path) if relative.startswith("..") else relative


def moment(stamp: str | None) -> str:
    """Return a time of ours (RFC 3339) as a clock on the wall here shows it: `2026-11-22 23:04:05`."""
    try:
        return f"{datetime.datetime.fromisoformat(stamp or '').astimezone():%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return stamp or "?"


def padded(text: str, width: int) -> str:
    """Return text filled with spaces to so many columns of a terminal; wide letters take two."""
    return text + " " * max(0, width - columns(text))


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def span(seconds: float | None) -> str:
    """Return a time in words: `45 s`, `12 min`, `3 h 05 min`."""
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: float) -> str:
    """Return a number of bytes in words: `12 MB`."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def day_in_words(stamp: str, now_s: float) -> str:
    """Return the day of a time of ours (RFC 3339): `today`, `yesterday`, `12 days ago`, as the calendar here has it."""
    try:
        day = datetime.datetime.fromisoformat(stamp).astimezone().date()
    except ValueError:
        return stamp
    days = (datetime.datetime.fromtimestamp(now_s).astimezone().date() - day).days
    return {0: "today", 1: "yesterday"}.get(max(days, 0), f"{days} days ago")
