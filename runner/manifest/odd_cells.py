"""Texts nobody meant: what programs write where a value is missing, a formula is broken or letters were lost."""

from __future__ import annotations

import re
import unicodedata
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
    | {"<null>", "(null)", "<none>", "\\n", "#null", "#undefined", "#none", "pd.na", "np.nan", "#n/a n/a"}
    | {"1.#qnan", "-1.#qnan", "1.#ind", "-1.#ind", "{}", "[]"}
)
# What all of these begin with: most cells are told by their first letter.
_FIRST: Final = frozenset(words[0] for words in _BROKEN | _MISSING) | {"#", "e"}
# Of a whole prompt only: what a formula gives where it refers to an empty cell, or compares.
_COMPUTED: Final = frozenset({"0", "0.0", "0,0", "true", "false", "na", "wahr", "falsch", "vrai", "faux"})
# Part of a longer text.
_INSIDE: Final = re.compile(
    r"#(?:REF!|N/A(?!\w)|NAME\?|VALUE!|DIV/0!|NUM!|NULL!|SPILL!|CALC!)|\[object [A-Z][A-Za-z]*\]"
)
_FORMULA: Final = re.compile(
    r"=(?:[A-Za-z][A-Za-z0-9._]*\(|[$A-Za-z]{1,5}[0-9]+(?:[^A-Za-z0-9]|$)|\"|'?[\w ]+'?!)"
)
# What windows-1252 makes of the bytes behind the first of a letter in UTF-8; and those that may well follow a letter.
_BEHIND: Final = "\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_MARKS: Final = "\u00a0«»·…‚„‘’“”–—™"
# UTF-8 that was read as windows-1252, or (the last two) as the code page of old Macs.
# Its first letter comes first, so that a text without any is passed over quickly.
_TWICE: Final = re.compile(
    rf"[ÃÂÄÅÐÑÎÏ×ØÙà-ð√‚](?:(?<=[ÃÂ])[{_BEHIND}]|(?<=[ÄÅÐÑÎÏ])(?![{_MARKS}])[{_BEHIND}]"
    rf"|(?<=[ÄÅÐÑÎÏ×ØÙ])[{_BEHIND}][ÄÅÐÑÎÏ×ØÙ][{_BEHIND}]|(?<=â)(?:€|[„†][{_BEHIND}])|(?<=ð)Ÿ"
    rf"|(?<=à)[¤-\u00a7¸¹][{_BEHIND}]|(?<=ã)[\u0081‚ƒ][{_BEHIND}]|(?<=ï)(?:»¿|¿½|¼)"
    rf"|(?<=[ã-í])[{_BEHIND}]{{2}}[ã-í][{_BEHIND}]{{2}}|(?<=√)[©®†°¢ß´¶•Ø]|(?<=‚)Ä[ôúùìî¶])"
)
_LOST: Final = "\ufffd"
_MAY_BE_MEANT: Final = frozenset({"none", "n/a", "nil"})  # "accessories: none"
_LONGEST: Final = 28
_OF_LETTERS: Final = ("letters that were lost", "text read in the wrong encoding")


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
    if said[:1].lower() not in _FIRST:
        return False
    lower = said.lower()
    if inside and lower in _MAY_BE_MEANT:
        return False
    return lower in _MISSING or _is_broken(said)


def why_odd(text: str, became: str, *, inside: bool = False) -> tuple[str, str] | None:
    """Return (what is odd in a text, what it looks like), or None.

    Args:
        text: The text of a prompt, an id, a reference or a param.
        became: Which of these it is; a prompt is looked at more closely, since it is any text at all.
        inside: It is put into other text, or not of a table: `none` and the like may be meant.

    >>> why_odd("A cat, #REF!, slow", "prompt")
    ('#REF!', 'a broken formula')
    >>> why_odd("a caf\u00c3\u00a9", "prompt")[1]
    'text read in the wrong encoding'
    """
    if len(text) <= _LONGEST + 2 and is_odd(text, inside=inside):
        return text.strip(), "a broken formula" if _is_broken(text.strip()) else "a missing value"
    if became == "id":
        return None
    if text[:1] == "=" and _FORMULA.match(text):
        return _short(text), "a formula that was not computed"
    if became == "prompt" and len(text) <= _LONGEST:
        said = text.strip()
        if said.lower() in _COMPUTED:
            return said, "what a formula gives for an empty cell, or for yes or no"
        if said and not said[0].isalnum() and all(unicodedata.category(char)[0] in "PZC" for char in said):
            return said, "a missing value"
    if ("#" in text or "[object " in text) and (found := _INSIDE.search(text)):
        return found[0], "a broken formula" if found[0][0] == "#" else "a missing value"
    if not text.isascii() and became != "reference":
        if _LOST in text:
            return _LOST, "letters that were lost"
        if found := _TWICE.search(text):
            return found[0], "text read in the wrong encoding"
    return None


def _short(text: str) -> str:
    said = text.strip()
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 1]}…"


def _is_broken(said: str) -> bool:
    return said.lower() in _BROKEN or _IN_ANY_LANGUAGE.fullmatch(said) is not None


class OddCells:
    """Counts them by what they say and what they became; each kind is one warning, at the first of them."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str, str], tuple[int, Spot, str, str]] = {}
        self._rows: dict[tuple[str, str, str, str], bool] = {}
        self.jobs: set[str] = set()  # ids of those that have one

    def take(
        self, odd: tuple[str, str], became: str, spot: Spot, job: str, *, whole: bool, row: bool
    ) -> None:
        """Take what `why_odd` found in a prompt, an id, a reference or a param of a job.

        `whole` says that the text is nothing but that, `row` that it comes from a table.
        """
        said, looks = odd
        verb = ("are", "is") if whole else ("have", "has")
        self.jobs.add(job)
        # The letters differ from cell to cell where an encoding is wrong: that is one kind.
        key = ("" if looks in _OF_LETTERS else said, became, verb[0], looks)
        count, first, of, as_said = self._found.get(key, (0, spot, job, said))
        self._found[key] = count + 1, first, of, as_said
        self._rows[key] = row

    def report(self, findings: Findings) -> None:
        """Report what was found."""
        for key, (count, spot, job, said) in self._found.items():
            _, became, verb, looks = key
            if count > 1:
                plural = f"{became}s" if became in ("prompt", "id", "reference") else f"values of {became}"
                are = f"{count:,} {plural} {verb}"
            elif became in ("prompt", "id", "reference"):
                are = f"{'an' if became == 'id' else 'a'} {became} {'is' if verb == 'are' else 'has'}"
            else:
                are = f"{became} {'is' if verb == 'are' else 'has'}"
            what = f"{are} `{said}`{' in it' if verb == 'have' else ''}, which looks like {looks}" + (
                " (here the first of them)" if count > 1 else ""
            )
            row = self._rows[key]
            hint = f"fix the {'table' if row else 'manifest'}; as it is, this {'row' if row else 'job'} would be paid for"
            if looks in _OF_LETTERS and row:
                hint = "save it again as UTF-8 from where the letters are right; as it is, this would be paid for"
            findings.report(spot, what, CODE, hint, job=job, severity=Severity.WARNING)
