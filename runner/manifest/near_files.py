"""The file that was probably meant by a path at which there is none, and how the two names differ."""

from __future__ import annotations

import json
import os
import re
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final

from runner.contract.phrases import differences_of, looks, shown, suggest

_LOOKED_AT: Final = 1_000  # files of a folder
# What an escape in double quotes made of a backslash and a letter.
_UNESCAPED: Final = {
    "\0": "0", "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r", "\x1b": "e",
    "\x85": "N", "\xa0": "_", "\u2028": "L", "\u2029": "P",
}  # fmt: skip
_DRIVE: Final = re.compile(r"([A-Za-z]):[\\/]")


def nearby(folder: Path, text: str) -> str:
    """Return a hint for a path that leads to no file; empty where nothing is near.

    Args:
        folder: What the path is relative to.
        text: The path as it was read.
    """
    if text.startswith("~"):
        return "`~` is not expanded; write the whole path"
    try:
        slashed = _with_slashes(folder, text)
        if slashed == text:
            return _alike(folder, text)
        hint = "write `/` in paths, not a backslash"
        if os.path.lexists(folder / slashed):
            return f"{hint}: {slashed}"
        return "; ".join(filter(None, [hint, _alike(folder, slashed)]))
    except (OSError, ValueError):
        return ""


def _with_slashes(folder: Path, text: str) -> str:
    """Return a path with `/` where it has backslashes, or what an escape made of one."""
    slashed = text.replace("\\", "/")
    for char, letter in _UNESCAPED.items():
        # A no-break space is in names of files too.
        if char in slashed and (char != "\xa0" or not os.path.lexists(folder / slashed)):
            slashed = slashed.replace(char, f"/{letter}")
    drive = _DRIVE.match(text)
    if drive is not None and os.path.lexists(mounted := f"/mnt/{drive[1].lower()}/{slashed[3:]}"):
        return mounted
    return slashed


def _alike(folder: Path, text: str) -> str:
    """Return a hint that names a file with nearly this path."""
    there, found = folder, PurePosixPath()
    differences: list[str] = []
    parts = PurePosixPath(text).parts or ("",)
    for index, part in enumerate(parts):
        if os.path.lexists(there / part):
            name = part
        else:
            with os.scandir(there) as entries:
                beside = list(islice(entries, _LOOKED_AT))
            same = next((each.name for each in beside if looks(each.name) == looks(part)), None)
            if same is None:
                rest = PurePosixPath(*parts[index + 1 :])
                if index < len(parts) - 1:
                    return _in_folder(
                        there, found, part, rest, [each.name for each in beside if each.is_dir()]
                    )
                return _suggested(found, part, [each.name for each in beside if not each.is_dir()])
            name = same
            differences += differences_of(part, same)
        there, found = there / name, found / name
    path = found.as_posix()
    if not differences:
        return ""
    spelled = json.dumps(path) if any("Unicode" in each for each in differences) else shown(path)
    return f"there is {spelled}, which differs {' and '.join(dict.fromkeys(differences))}"


def _in_folder(there: Path, found: PurePosixPath, wanted: str, rest: PurePosixPath, names: list[str]) -> str:
    like = suggest(wanted, names)
    if like is None or not os.path.lexists(there / like / rest):
        return ""
    return f"did you mean {(found / like / rest).as_posix()}?"


def _suggested(folder: PurePosixPath, wanted: str, names: list[str]) -> str:
    # By stem: two files are not alike for both being .png, and hero.jpg may well be hero.png.
    stems = {PurePosixPath(name).stem: name for name in names}
    like = suggest(PurePosixPath(wanted).stem, stems)
    return f"did you mean {(folder / stems[like]).as_posix()}?" if like else ""
