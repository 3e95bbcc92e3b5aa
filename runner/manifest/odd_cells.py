"""Cells that look like no text anybody meant: what programs write where a value is missing or a formula is broken."""

from __future__ import annotations

import re
from typing import Final

from runner.manifest.findings import Findings, Spot
from runner.model import Severity

CODE: Final = "odd-cell"
# By what they become in lower letters, as a whole cell.
_BROKEN: Final = frozenset(
    # What Excel, LibreOffice and Google Sheets call a value that is not there, in their languages.
    {
        "#n/a",
        "#na",
        "#n/d",
        "#n/b",
        "#nv",
        "#nd",
        "#i/t",
        "#yok",
        "#нд",
        "#н/д",
        "#hiányzik",
        "#n/disp",
        "#n/dis",
    }
    | {
        "#není_k_dispozici",
        "#getting_data",
        "#loading",
        "loading...",
        "#ref!",
        "#name?",
        "#value!",
        "#error!",
    }
)
# Such as `#BEZUG!`, `#¿NOMBRE?`, `#ДЕЛ/0!`, `#DĚLENÍ_NULOU!`; and `###`, what does not fit its column.
_IN_ANY_LANGUAGE: Final = re.compile(
    r"#[¡¿]?(?=[^a-z]+$)[^\W\d_](?:[^\W\d]|/0){1,23}[!?]|#{3,}|(?i:err:\d{3})"
)
_MISSING: Final = frozenset(
    {
        "nan",
        "-nan",
        "none",
        "null",
        "undefined",
        "n/a",
        "<na>",
        "nat",
        "nil",
        "[object object]",
        "[object undefined]",
    }
    | {"<null>", "(null)", "<none>", "\\n", "1.#qnan", "#null", "#undefined", "#none"}
)
_MAY_BE_MEANT: Final = frozenset({"none", "n/a", "nil"})  # "accessories: none"
_LONGEST: Final = 28


def is_odd(text: str, *, inside: bool = False) -> bool:
    """Say whether the whole text of a cell looks like no text anybody meant.

    Args:
        text: The cell, or what became of it.
        inside: It is put into other text, where `none` and the like may be meant.

    >>> is_odd(" #REF! "), is_odd("null and void")
    (True, False)
    >>> is_odd("#BEZUG!"), is_odd("#¿NOMBRE?"), is_odd("Err:502"), is_odd("#wow!")
    (True, True, True, False)
    """
    if len(text) > _LONGEST + 2:
        return False
    said = text.strip()
    if inside and said.lower() in _MAY_BE_MEANT:
        return False
    return said.lower() in _MISSING or _is_broken(said)


def _is_broken(said: str) -> bool:
    return said.lower() in _BROKEN or _IN_ANY_LANGUAGE.fullmatch(said) is not None


class OddCells:
    """Counts them by what they say and what they became; each kind is one warning, at the first of them."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, bool], tuple[int, Spot, str]] = {}
        self.jobs: set[str] = set()  # ids of those that have one

    def take(self, text: str, became: str, spot: Spot, job: str, *, inside: bool = False) -> None:
        """Take an odd cell that becomes a prompt, an id or a reference, or a part of one."""
        said = text.strip()
        self.jobs.add(job)
        count, first, of = self._found.get((said, became, inside), (0, spot, job))
        self._found[said, became, inside] = count + 1, first, of

    def report(self, findings: Findings) -> None:
        """Report what was found."""
        for (said, became, inside), (count, spot, job) in self._found.items():
            verbs = ("have", "has") if inside else ("are", "is")
            are = (
                f"{count} {became}s {verbs[0]}"
                if count > 1
                else f"{'an' if became == 'id' else 'a'} {became} {verbs[1]}"
            )
            reason = "a broken formula" if _is_broken(said) else "a missing value"
            what = f"{are} `{said}`{' in it' if inside else ''}, which looks like {reason}" + (
                " (here the first of them)" if count > 1 else ""
            )
            findings.report(
                spot,
                what,
                CODE,
                "fix the table; as it is, this row would be paid for",
                job=job,
                severity=Severity.WARNING,
            )
