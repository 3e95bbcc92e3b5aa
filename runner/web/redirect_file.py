"""How a browser is led to a live page without its secret on anybody's command line.

Everybody on a machine can read the arguments of every process, so a browser that is started with the page's
address tells it to all. It is started with a file instead that only its owner can read and that leads there.
The file lies in the state folder: a browser in a box of its own (snap, flatpak) sees a person's folders, but
not `/tmp` nor hidden ones.
"""

from __future__ import annotations

import html
import os
from contextlib import suppress
from pathlib import Path

from runner.host.processes import is_alive

NAME = "live-{pid}.html"
PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={url}">
<title>rivya-batch</title>
<p><a href="{url}">The live page</a></p>
"""


class RedirectFile:
    """A private file that leads to an address.

    Args:
        folder: Where it goes.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME.format(pid=os.getpid())

    def lead_to(self, url: str) -> Path:
        """Write the file, readable for its owner alone, and return its path.

        Raises:
            OSError: The folder cannot be written to.
        """
        self._forget_others()
        self.path.unlink(missing_ok=True)
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(PAGE.format(url=html.escape(url)))
        return self.path

    def close(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _forget_others(self) -> None:
        """Remove what processes have left that were killed; their addresses lead nowhere any more."""
        for path in self.path.parent.glob(NAME.format(pid="*")):
            pid = path.stem.removeprefix("live-")
            if pid.isdigit() and not is_alive(int(pid)):
                path.unlink(missing_ok=True)
