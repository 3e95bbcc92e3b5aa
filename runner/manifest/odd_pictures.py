"""Pictures that can be read, and that models refuse, turn or show in other colours."""

from __future__ import annotations

from typing import Final

from runner.manifest.findings import Findings, Spot
from runner.manifest.pictures import Look

REPAIRED: Final = "repaired"
MENDED: Final = "mended"  # no warning: that is what was asked for
NOT_FETCHED: Final = "not fetched"
_HINT: Final = "`mend: true` at the top of the manifest sends copies that models take"
# What is odd, in words for one and for many; and the code of the warning.
_KINDS: Final = {
    "turned": ("lies on its side but for what its EXIF says, which models may not heed", "picture-turned"),
    "several": (
        "holds further pictures behind the first (MPO, as phones write it), which models may refuse",
        "picture-mpo",
    ),
    "print": ("is in colours for print (CMYK), which models refuse or show wrong", "picture-cmyk"),
    "deep": ("has 16 bits for each colour, which models may refuse", "picture-16-bit"),
    "animated": ("is animated; models take its first picture, or refuse it", "picture-animated"),
    NOT_FETCHED: ("is a url: `plan` and `run` fetch it, and judge what is there", "url-not-fetched"),
    REPAIRED: (
        "has no end mark, or junk between its parts: a repaired copy is sent, look at it",
        "picture-repaired",
    ),
}


def oddities(found: Look) -> tuple[str, ...]:
    """Return what is odd about a picture, as names of kinds."""
    odd = {
        "turned": found.orientation != 1,
        "several": found.several,
        "print": found.mode == "CMYK",
        "deep": found.deep,
        "animated": found.animated,
    }
    return tuple(kind for kind, is_so in odd.items() if is_so)


class OddPictures:
    """Counts them by what is odd; each kind is one warning, at the first of them."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[set[str], str, Spot, str]] = {}

    def take(self, path: str, kinds: tuple[str, ...], spot: Spot, job: str) -> None:
        """Take a picture that a job names."""
        for kind in kinds:
            if kind == MENDED:
                continue
            paths, *_ = self._found.setdefault(kind, (set(), path, spot, job))
            paths.add(path)

    def report(self, findings: Findings) -> None:
        """Report what was found."""
        for kind, (paths, first, spot, job) in self._found.items():
            words, code = _KINDS[kind]
            more = len(paths) - 1
            others = f" (and so with {more:,} other{'s' if more > 1 else ''})" if more else ""
            hint = "" if kind in (REPAIRED, NOT_FETCHED) else _HINT
            findings.warn(spot, f"{first} {words}{others}", code, hint, job=job)
