"""What the environment tells us: the API key, in a variable or a file."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from runner import environment
from runner.environment import find_key, known_key
from runner.errors import UsageError

KEY = "rvya_sk_test_0123456789"


@pytest.mark.parametrize(
    "data",
    [KEY.encode(), f" {KEY}\r\n".encode(), codecs.BOM_UTF8 + f"{KEY}\n".encode(), KEY.encode("utf-16"),
     codecs.BOM_UTF16_BE + f"{KEY}\r\n".encode("utf-16-be")],
    ids=["plain", "with a line end", "with a mark", "UTF-16", "UTF-16, big end first"],
)  # fmt: skip
def test_a_key_file_may_be_written_by_any_editor(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_bytes(data)
    monkeypatch.setenv("RIVYA_API_KEY_FILE", str(tmp_path / "key"))

    assert find_key() == KEY
    assert known_key() == KEY


@pytest.mark.parametrize(
    ("key", "what"),
    [
        (f"{KEY}\nsecond line", "a line break at position 24"),
        (f"Bearer {KEY}", "a space at position 7"),
        (f"{KEY}\u200b", "the character U+200B at position 24"),
        (f"{KEY[:4]}\u00e9{KEY[4:]}", "the character U+00E9 at position 5"),
        (f"\N{LEFT DOUBLE QUOTATION MARK}{KEY}", "the character U+201C at position 1"),
    ],
)
def test_what_no_key_holds_is_named_with_its_place_and_without_the_key(
    key: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_seen", "")
    monkeypatch.setenv("RIVYA_API_KEY", key)

    with pytest.raises(UsageError) as caught:
        find_key()

    assert what in caught.value.message
    assert KEY[:10] not in caught.value.message
