"""Taking the API key out of what others say, however they spell it."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest

from runner.service.hiding import MARK, SECRET_CHARS, KeyHider

KEY = "rvya_sk_test/0123456789+abcdef=="
Spelled = Callable[[str], str]


def in_base64(before: str) -> Spelled:
    return lambda key: base64.b64encode(f"{before}{key} and so on".encode()).decode()


SPELLINGS: dict[str, Spelled] = {
    "plain": str,
    "shouted": str.upper,
    "as a host": str.lower,
    "json: escaped slash": lambda key: key.replace("/", "\\/"),
    "json: codes": lambda key: "".join(f"\\u{ord(char):04X}" for char in key),
    "json: one code": lambda key: key.replace("+", "\\u002b"),
    "json in json": lambda key: json.dumps(json.dumps(f"é{key}").replace("/", "\\/"))[8:-3],
    "javascript": lambda key: "".join(f"\\u{{{ord(char):x}}}" for char in key),
    "python": lambda key: key.replace("=", "\\x3d"),
    "markdown": lambda key: key.replace("_", "\\_"),
    "percent": lambda key: quote(key, safe=""),
    "percent twice": lambda key: quote(quote(key, safe=""), safe=""),
    "percent, all of it": lambda key: "".join(f"%{ord(char):02x}" for char in key),
    "html": lambda key: "".join(f"&#{ord(char)};" for char in key),
    "html, in hex": lambda key: "".join(f"&#x{ord(char):X};" for char in key),
    "html twice": lambda key: html.escape("".join(f"&#{ord(char):03};" for char in key)),
    "base64": in_base64(""),
    "base64, one letter on": in_base64("x"),
    "base64, of a header": in_base64("Authorization: Bearer "),
    "base64 for urls": lambda key: base64.urlsafe_b64encode(f"??>{key}".encode()).decode(),
    "cut off": lambda key: key[: len(key) // 2],
    "cut off by a letter": lambda key: key[:-1],
}


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
def test_no_half_of_the_key_is_left_in_a_text(spelled: Spelled) -> None:
    hidden = KeyHider(KEY).text(f"sent: {spelled(KEY)} (and more) {spelled(KEY)}!")

    assert hidden.count(MARK) == 2
    assert hidden.startswith("sent: ")
    assert hidden.endswith("!")
    left = hidden.replace(MARK, "").lower()
    assert not [piece for piece in (KEY[:8], KEY[8:16], KEY[16:24]) if piece in left]


def test_every_string_of_an_answer_is_looked_at_at_any_depth_names_too() -> None:
    answer = {"a": [{"b": [f"x{KEY}", 1, None, True, 2.5]}], KEY: {"c": quote(KEY, safe="")}}

    assert KeyHider(KEY).everywhere(answer) == {
        "a": [{"b": [f"x{MARK}", 1, None, True, 2.5]}],
        MARK: {"c": MARK},
    }


@pytest.mark.parametrize(
    "text",
    ["", "rvya_sk_", "keys begin with rvya_sk_", "rvya_sk_test", "100 % sure & \\ nothing", KEY[: len(KEY) // 2 - 1],
     "a%2Fb?X-Amz-Signature=0123456789&x=1", "rvya_sk_live_0123456789", "é" * 50, KEY[16:]],
)  # fmt: skip
def test_what_does_not_give_the_key_away_stays_as_it_is(text: str) -> None:
    assert KeyHider(KEY).text(text) == text


def test_a_key_too_short_to_be_one_hides_no_words() -> None:
    short = "a" * (SECRET_CHARS - 1)

    assert KeyHider(short).text(f"x {short} x") == f"x {short} x"
    assert KeyHider("").text("x%y") == "x%y"
    assert KeyHider("").restored(MARK) == MARK


def test_an_id_is_put_together_again_for_the_service_that_gave_it() -> None:
    hider = KeyHider(KEY)

    assert hider.restored(hider.text(f"gen-{KEY}-7")) == f"gen-{KEY}-7"
    assert (
        hider.restored(hider.text(f"/r/{quote(KEY, safe='')}/7"), in_url=True)
        == f"/r/{quote(KEY, safe='')}/7"
    )
    assert hider.restored("gen-7") == "gen-7"


def test_a_long_key_is_no_trouble() -> None:
    key = "eyJ" + "aZ9_-" * 400

    assert KeyHider(key).text(f"x {key} y {quote(key)} z {key[:1500]}") == f"x {MARK} y {MARK} z {MARK}"
