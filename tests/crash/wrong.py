"""The package with one thing wrong on purpose: key and body are committed after the answer, as SDKs do it.

A crash test that cannot fail proves nothing; this is what it has to catch.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support import ROOT

WRONG = '''

# --- what follows is wrong on purpose ---

import secrets as _secrets

_keys = {}


def idempotency_key(**parts):
    """A fresh key for each process, as a client has that keeps none."""
    return _keys.setdefault(tuple(sorted(map(str, parts.items()))), "wrong-" + _secrets.token_hex(16))


class _Back(Exception):
    pass


async def intend(context, rows, *, soon=False):
    """Find out what is to be sent, and commit nothing."""
    found = []

    def look(row, conn):
        found.append(_intent(conn, context=context, row=row))
        raise _Back

    for row in rows:
        try:
            await context.writer.write(partial(look, row))
        except _Back:
            pass
    return found


async def send(context, ready):
    """Send, then commit."""
    answer = await context.service.submit(ready.job.body, ready.job.key)

    def both(conn):
        sent = _intent(conn, context=context, row=ready.job.row)
        return _record(conn, context, sent.job, answer)

    done = await context.writer.write(both)
    return Submitted(
        job=done.job, state=done.state, answer=answer, stop=done.stop, delay_s=done.delay_s, failure=done.failure
    )


async def withdraw(context, ready):
    """There is nothing to put back."""


async def submit(context, row):
    """Do both for one that was sent before."""
    (ready,) = await intend(context, [row])
    return await send(context, ready) if ready.may_leave else await _right_submit(context, row)
'''


def wrong_package(folder: Path) -> Path:
    """Copy the package, spoil its submit step, and return the folder for PYTHONPATH."""
    shutil.copytree(ROOT / "runner", folder / "runner", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "schemas", folder / "schemas")
    module = folder / "runner" / "steps" / "submit.py"
    text = module.read_text(encoding="utf-8")
    for name in (
        "async def submit(",
        "async def intend(",
        "async def send(",
        "async def withdraw(",
        "def _intent(",
        "def _record(",
        "idempotency_key(",
    ):
        assert name in text, (
            f"submit.py has no {name!r} any more: this copy would not be wrong in the way meant"
        )
    for name in ("submit", "intend", "send", "withdraw"):
        text = text.replace(f"async def {name}(", f"async def _right_{name}(")
    module.write_text(text + WRONG, encoding="utf-8")
    return folder
