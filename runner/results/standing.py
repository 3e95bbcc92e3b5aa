"""At which output names files may stand, by one look at each folder: forty names are not asked for where none is.

What it knows is what stood there when it looked, and what this process has put there since. Whoever asks still looks at
the very name a file is to get; what it spares is the question after other endings of it.
"""

from __future__ import annotations

import os
import threading
import unicodedata
from pathlib import Path

_BITS = 1 << 21  # 256 kB: of 100,000 names at which nothing stands, 5,000 are asked for in vain
_FIRST_LOOK = 2_000  # names, which take a few milliseconds
_WORTH_ALL_OF_IT = 100  # jobs, which take longer, asked for name by name, than to read 20,000 names


class StandingNames:
    """The output names of one folder. It says yes too often, and no only where nothing stood.

    Safe to ask from several threads.

    Args:
        root: The output folder; it need not exist.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._bits = bytearray(_BITS // 8)  # a bit for the hash of each name: memory that does not grow
        self._known: set[str] = set()  # folders of which all names are in it
        self._asked: dict[str, int] = {}  # how often for others, which are large or cannot be read
        self._lock = threading.Lock()

    def may_stand(self, stem: str) -> bool:
        """Say whether files may stand that have the names of this job's results, whatever their endings."""
        folder = stem.rpartition("/")[0]
        with self._lock:
            if folder not in self._known and not self._look(folder):
                return True
            place = hash(_folded(stem)) % _BITS
            return bool(self._bits[place >> 3] & 1 << (place & 7))

    def add(self, stem: str) -> None:
        """Remember that files of this job may stand there now."""
        with self._lock:
            self._add(_folded(stem))

    def _add(self, stem: str) -> None:
        place = hash(stem) % _BITS
        self._bits[place >> 3] |= 1 << (place & 7)

    def _look(self, folder: str) -> bool:
        """Read the names of a folder; say whether these are all."""
        asked = self._asked[folder] = self._asked.get(folder, 0) + 1
        if asked not in (1, _WORTH_ALL_OF_IT):
            return False
        beginning = _folded(f"{folder}/") if folder else ""
        try:
            with os.scandir(self._root / folder) as entries:
                for count, entry in enumerate(entries):
                    if count == _FIRST_LOOK and asked == 1:
                        return False
                    self._add_file(beginning, entry.name)
        except FileNotFoundError:
            pass  # whoever makes it adds what is put there
        except OSError:  # one that may be written to and not read, or a drive that is away
            return False
        self._known.add(folder)
        del self._asked[folder]
        return True

    def _add_file(self, beginning: str, name: str) -> None:
        stem = beginning + _folded(name.rpartition(".")[0])
        self._add(stem)
        first, plus, number = stem.rpartition("+")
        if plus and number.isdecimal():
            self._add(first)


def _folded(name: str) -> str:
    """Return what names share that some disks take for one: they differ in case or in how Unicode spells them."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
