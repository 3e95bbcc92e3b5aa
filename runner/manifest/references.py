"""What the manifest needs of input files, and remembers of them within one reading."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from runner.contract.phrases import shown
from runner.manifest.mending import Wanted
from runner.manifest.near_files import nearby
from runner.manifest.odd_pictures import MENDED
from runner.model import Reference, ResultPath
from runner.words import harmless

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|data:")
_PLAIN_HTTP = re.compile(
    r"http://(?!localhost\b|127\.|\[::1\])", re.IGNORECASE
)  # a service may be on this machine
_WEB = re.compile(r"https?://", re.IGNORECASE)
_REMEMBERED = 50_000  # files
_SUGGESTED = 50  # missing files that get a suggestion: a row each of 100,000 would take minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceProblem:
    """Why a file cannot be a reference: `code` is a stable name such as `reference-missing`, `hint` may be empty."""

    what: str
    hint: str
    code: str


class ReferenceReader(Protocol):
    """Looks at an input file: type by signature, size, SHA-256."""

    def read_url(
        self, url: str, mend: Wanted | None, others: Callable[[], Collection[str]]
    ) -> Reference | ReferenceProblem:
        """Return the file at a url; `others` says which urls will be asked for besides."""
        ...

    def still_has(self, reference: Reference) -> bool:
        """Return whether the file of a reference has the content it had."""
        ...

    def read(self, root: Path, text: str, mend: Wanted | None = None) -> Reference | ReferenceProblem:
        """Return the file that `text` names, relative to `root`, or a copy mended to be this, or why not."""
        ...


def bare(url: str) -> str:
    """Return a url fit to be shown: its query may be a signature."""
    return harmless(re.sub(r"^(\w+://)[^/]*@", r"\1", re.split(r"[?#]", url, maxsplit=1)[0]))


def origin_of(url: str) -> str:
    """Return the name under which the file of a url is kept."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()


def is_url(text: str) -> bool:
    """Return whether a reference names a file by its url."""
    return _WEB.match(text) is not None


_PASSED_OVER = ReferenceProblem(what="", hint="", code="passed-over")


class UrlCollector:
    """A reader that looks at nothing, and remembers which urls it was asked for."""

    def __init__(self) -> None:
        self.urls: set[str] = set()

    def read(self, root: Path, text: str, mend: Wanted | None = None) -> ReferenceProblem:
        """Pass over a file."""
        return _PASSED_OVER

    def read_url(
        self, url: str, mend: Wanted | None, others: Callable[[], Collection[str]]
    ) -> ReferenceProblem:
        """Remember a url."""
        self.urls.add(url)
        return _PASSED_OVER

    def still_has(self, reference: Reference) -> bool:
        """Know nothing."""
        return False


class References:
    """Reads each file once, however many jobs name it.

    Args:
        reader: Looks at files.
        folder: What paths are relative to.
        urls: Says which urls the whole manifest names.
    """

    def __init__(
        self, reader: ReferenceReader, folder: Path, urls: Callable[[], Collection[str]] = tuple
    ) -> None:
        self.urls = urls
        self._reader = reader
        self._folder = folder
        self._known: dict[tuple[str, Wanted | None], Reference | ReferenceProblem] = {}
        self.mended: dict[ResultPath, Reference] = {}  # copies that are sent in the place of files, so far
        self._missing = 0

    @property
    def any(self) -> bool:
        """Whether any file was asked for yet."""
        return bool(self._known)

    def read(self, text: str, mend: Wanted | None = None) -> Reference | ReferenceProblem:
        """Return the file that a job names, or why it cannot be used.

        Args:
            text: Its path, as it is written.
            mend: What a picture is to become, where it is not that already.
        """
        known = self._known.get((text, mend))
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[text, mend] = self._read(text, mend)
            if isinstance(known, Reference) and MENDED in known.odd:
                self.mended[known.file] = known
        return known

    def _read(self, text: str, mend: Wanted | None) -> Reference | ReferenceProblem:
        if is_url(url := text.strip()):
            if _PLAIN_HTTP.match(url):
                hint = "references are fetched over https only: write https://"
                return ReferenceProblem(what=f"{bare(url)} is plain http", hint=hint, code="url-reference")
            return self._reader.read_url(url, mend, self.urls)
        if _URL.match(text):
            hint = "name a file, or write an https url"
            return ReferenceProblem(
                what=f"{shown(text)} is a URL, not a file", hint=hint, code="url-reference"
            )
        found = self._reader.read(self._folder, text, mend)
        if not isinstance(found, Reference) and (found.code == "reference-missing" or "\0" in text):
            return replace(found, hint=self._nearby(text) or found.hint)
        return found

    def has_the_same(self, reference: Reference) -> bool:
        """Return whether a reference of an earlier reading is, in all that is known of it, what it was."""
        if is_url(reference.path):
            return self._reader.still_has(reference)
        return self.read(reference.path) == reference

    def _nearby(self, text: str) -> str:
        """Return a hint that names the file that was probably meant; empty where none is near."""
        self._missing += 1
        return nearby(self._folder, text) if self._missing <= _SUGGESTED else ""
