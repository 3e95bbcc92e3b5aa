"""What the environment tells us: the API key, in a variable or a file."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.host import environment
from runner.host.environment import find_key, known_key

KEY = "rvya_sk_test_0123456789"


@pytest.mark.parametrize(
    "data",
    [KEY.encode(), f" {KEY}\r\n".encode(), codecs.BOM_UTF8 + f"{KEY}\n".encode(), KEY.encode("utf-16"),
     codecs.BOM_UTF16_BE + f"{KEY}\r\n".encode("utf-16-be"), f'"{KEY}"\n'.encode(), f"'{KEY}'".encode(),
     f"RIVYA_API_KEY={KEY}\r\n".encode(), codecs.BOM_UTF8 + f'export RIVYA_API_KEY="{KEY}"\n'.encode(),
     f"# ours\nOTHER=x\n\nRIVYA_API_KEY = '{KEY}'\nRIVYA_BASE_URL=https://rivya.ai\n".encode()],
    ids=["plain", "with a line end", "with a mark", "UTF-16", "UTF-16, big end first", "quoted", "quoted once",
         "a variable", "an exported one", "one of several"],
)  # fmt: skip
def test_a_key_file_may_be_written_by_any_editor(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_bytes(data)
    monkeypatch.setenv("RIVYA_API_KEY_FILE", str(tmp_path / "key"))

    assert find_key() == KEY
    assert known_key() == KEY


@pytest.mark.parametrize("key", [f'"{KEY}"', f"'{KEY}'", f"RIVYA_API_KEY={KEY}"])
def test_what_stands_around_a_key_in_a_variable_is_left_out(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`docker run --env-file` keeps the quotes of its file."""
    monkeypatch.setenv("RIVYA_API_KEY", key)

    assert find_key() == KEY


@pytest.mark.parametrize("data", [b"", b"\n", codecs.BOM_UTF8, b'""', b"RIVYA_API_KEY=\n"])
def test_a_key_file_without_a_key_is_named(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_bytes(data)
    monkeypatch.setenv("RIVYA_API_KEY_FILE", str(tmp_path / "key"))

    with pytest.raises(UsageError, match="key holds no key"):
        find_key()


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
