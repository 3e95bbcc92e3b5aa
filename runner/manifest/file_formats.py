"""What a file of rows is by its first bytes, where that is something else than its name says."""

from __future__ import annotations

import codecs
import re
from typing import Final

from runner.manifest.ordinary_files import Unreadable

_PACKED: Final = b"PK\x03\x04"
_OLD_OFFICE: Final = b"\xd0\xcf\x11\xe0"
_AGAIN: Final = "download or save the table again: this may be a page to sign in, or an error"
# By how they begin: what it is, and what to do.
_BINARY: Final = (
    (_PACKED, "is a workbook, or another packed file", "a workbook is named .xlsx"),
    (
        _OLD_OFFICE,
        "is a workbook of an old format (.xls), or one with a password",
        "save it as .xlsx without a password",
    ),
    (b"%PDF-", "is a PDF", "save the table as .csv or .xlsx"),
    (
        b"{\\rtf",
        "is a text with formatting (RTF)",
        "save it as plain text (in TextEdit: Format, Make Plain Text)",
    ),
    (b"SQLite format 3\0", "is a database", "export its table as .csv"),
    (b"PAR1", "is a Parquet file", "save it as .csv or .jsonl"),
    (b"\x1f\x8b", "is compressed (gzip)", "unpack it"),
    (b"\x89PNG", "is a picture", "for a folder of pictures write `rows: {glob: ...}`"),
    (b"\xff\xd8\xff", "is a picture", "for a folder of pictures write `rows: {glob: ...}`"),
)
_PAGE: Final = re.compile(r"\s*<(?:!doctype html|html|head|body|table|\?xml)[\s>]", re.IGNORECASE)
_OBJECT: Final = re.compile(r'\s*(?P<list>\[\s*)?\{\s*"[^"]*"\s*:')


def refuse_other_format(head: bytes, *, as_text: bool, as_table: bool) -> None:
    r"""Refuse a file that is not what its name says.

    Args:
        head: Its first bytes, about a thousand.
        as_text: By its name it is text of some kind; else it is a workbook.
        as_table: Of these, a table with a header (.csv, .tsv).

    Raises:
        Unreadable: It is something else.

    >>> refuse_other_format(b"id,text\n", as_text=True, as_table=True)
    """
    if not as_text:
        if head and not head.startswith((_PACKED, _OLD_OFFICE)) and _is_text(head):
            if _PAGE.match(_decoded(head)):
                raise Unreadable("is not a workbook but a page of HTML or XML", "other-format", _AGAIN)
            raise Unreadable(
                "is not a workbook but text", "other-format", "a table saved as text is named .csv"
            )
        return
    for begins, what, hint in _BINARY:
        if head.startswith(begins):
            raise Unreadable(what, "other-format", hint)
    text = _decoded(head)
    if _PAGE.match(text):
        raise Unreadable("is a page of HTML or XML", "other-format", _AGAIN)
    if as_table and (found := _OBJECT.match(text)):
        name = ".json: a list of objects" if found["list"] else ".jsonl: an object on each line"
        raise Unreadable("is JSON, not a table", "other-format", f"name it {name}")


def _is_text(head: bytes) -> bool:
    return head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" not in head


def _decoded(head: bytes) -> str:
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return head.decode("utf-16" if wide else "utf-8", "ignore").removeprefix("\ufeff")
