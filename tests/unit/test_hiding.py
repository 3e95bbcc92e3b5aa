"""Taking the API key out of what others say, however they spell it."""

from __future__ import annotations

import base64
import codecs
import html
import json
import random
import time
from collections.abc import Callable
from typing import Any
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
    "zero-width space inside": lambda key: f"{key[:15]}\u200b{key[15:]}",
    "soft hyphens": lambda key: f"{key[:5]}\u00ad{key[5:22]}\u00ad{key[22:]}",
    "zero-width joiners all over": lambda key: "\u200d".join(key),
    "bidi mark inside": lambda key: f"{key[:10]}\u202a{key[10:]}",
    "variation selectors": lambda key: "\ufe0f".join(key),
    "accents": lambda key: "\u0301".join(key),
    "line break inside": lambda key: f"{key[:20]}\r\n  {key[20:]}",
    "line break inside, as json has it": lambda key: f"{key[:20]}\\n{key[20:]}",
    "letter by letter": " ".join,
    "letter by letter, as a list": lambda key: str(list(key)),
    "invisible, as html has it": lambda key: "&zwnj;".join(key),
    "full width": lambda key: "".join(chr(ord(char) + 0xFEE0) if char.isalnum() else char for char in key),
    "hex": lambda key: key.encode().hex(),
    "hex, shouted, in pairs": lambda key: key.encode().hex(":").upper(),
    "hex of a program": lambda key: ", ".join(hex(ord(char)) for char in key),
    "hex of utf-16": lambda key: key.encode("utf-16-be").hex(),
    "code points": lambda key: " ".join(f"U+{ord(char):04X}" for char in key),
    "codes": lambda key: str(list(key.encode())),
    "octal codes": lambda key: " ".join(f"{ord(char):o}" for char in key),
    "bits": lambda key: " ".join(f"{ord(char):08b}" for char in key),
    "base64 of base64": lambda key: in_base64("x")(base64.b64encode(f"ab{key}".encode()).decode()),
    "base64 of hex": lambda key: in_base64("x")(key.encode().hex()),
    "base64 of utf-16": lambda key: base64.b64encode(f"x{key}".encode("utf-16-be")).decode(),
    "base64 in lines": lambda key: base64.encodebytes(f"{'x' * 40}{key}".encode()).decode().strip(),
    "base64 of the end": lambda key: in_base64("...")(key[14:]),
    "base32": lambda key: base64.b32encode(f"xyz{key}".encode()).decode(),
    "html without semicolons": lambda key: "".join(f"&#{ord(char)}" for char in key),
    "html by name": lambda key: key.replace("_", "&lowbar;").replace("+", "&amp;plus;"),
    "percent u": lambda key: "".join(f"%u{ord(char):04x}" for char in key),
    "eight digits": lambda key: "".join(f"\\U{ord(char):08x}" for char in key),
    "octal": lambda key: "".join(f"\\{ord(char):03o}" for char in key),
    "css": lambda key: "".join(f"\\{ord(char):x} " for char in key),
    "css, six digits": lambda key: "".join(f"\\{ord(char):06x}" for char in key),
    "quoted-printable": lambda key: "".join(f"={ord(char):02X}" for char in key),
    "quoted-printable, in lines": lambda key: f"{key[:20]}=\r\n{key[20:]}",
    "percent in html in json": lambda key: json.dumps(
        "".join(f"&#37;{ord(char):02x}" for char in key).replace("&", "\u0026")
    )[1:-1],
    "backwards": lambda key: key[::-1],
    "rotated": lambda key: codecs.encode(key, "rot13"),
    "the end alone": lambda key: key[10:],
    "the end of the end": lambda key: key[-16:],
    "the middle": lambda key: key[10:28],
    "cut off": lambda key: key[: (len(key) + 1) // 2],
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


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("key", ["rvya_sk_live_4fA9bZ71kQxT0pLmW2wSdR", "sk-Zx81_kPq07-LmV2wSdR_9tYbN3uEa65"])
def test_no_part_of_any_key_is_left_in_any_spelling(key: str, spelled: Spelled) -> None:
    """What is found in an answer's bytes is found in its strings too, and what is hidden stays hidden."""
    hider, text = KeyHider(key), f"Bearer {spelled(key)}, it said"

    hidden = hider.text(text)

    assert hidden.count(MARK) == 1
    assert hider.may_hold(json.dumps({"message": text}))
    assert hider.text(hidden) == hidden
    assert not hider.may_hold(json.dumps({"message": hidden}))


def test_every_string_of_an_answer_is_looked_at_at_any_depth_names_too() -> None:
    answer = {"a": [{"b": [f"x{KEY}", 1, None, True, 2.5]}], KEY: {"c": quote(KEY, safe="")}}

    assert KeyHider(KEY).everywhere(answer) == {
        "a": [{"b": [f"x{MARK}", 1, None, True, 2.5]}],
        MARK: {"c": MARK},
    }


@pytest.mark.parametrize(
    "text",
    ["", "rvya_sk_", "keys begin with rvya_sk_", "rvya_sk_test", "100 % sure & \\ nothing", KEY[: len(KEY) // 2 - 1],
     "a%2Fb?X-Amz-Signature=0123456789&x=1", "rvya_sk_live_0123456789", "é" * 50, KEY[20:],
     "rvya_sk_test", KEY[12:20], KEY[:12].encode().hex(), "114, 118, 121, 97, 95", "see 0123456789, 9abcdef0"],
)  # fmt: skip
def test_what_does_not_give_the_key_away_stays_as_it_is(text: str) -> None:
    assert KeyHider(KEY).text(text) == text


@pytest.mark.parametrize(
    "spelled",
    [list(KEY), list(KEY.encode()), [f"{ord(char):x}" for char in KEY], [KEY[:12], KEY[12:20], KEY[20:]]],
    ids=["letters", "codes", "hex", "parts"],
)
def test_a_list_that_spells_the_key_is_hidden_as_a_whole(spelled: list[Any]) -> None:
    assert KeyHider(KEY).everywhere({"error": [{"message": spelled}, [1, "x"], []]}) == {
        "error": [{"message": [MARK]}, [1, "x"], []]
    }


def test_ordinary_answers_are_left_alone() -> None:
    hider = KeyHider("rvya_sk_live_4fA9bZ71kQxT0pLmW2")
    draw = random.Random(7)
    for size in (16, 32, 64):
        for _ in range(500):
            data = draw.randbytes(size)
            for text in (data.hex(), base64.b64encode(data).decode(), str(list(data)), quote(data)):
                assert hider.text(f"id {text} & more") == f"id {text} & more"


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    ["%25", "%2", "\\", "\\u{0", "&amp;", "&#0", "=3D", "é", "a\u0315\u0300", KEY[:14], "[1, 2]", "  "],
)
def test_the_time_it_takes_grows_with_the_text_alone(piece: str) -> None:
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        begun = time.process_time()
        KeyHider(KEY).text(text)
        return time.process_time() - begun

    assert seconds(400_000) < 20.0  # what goes by the square takes minutes


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


@pytest.mark.parametrize("key", ["\0" * 40, "​​", "é" * 20])
def test_what_is_no_key_hides_nothing(key: str) -> None:
    """A key file of zeros is refused in words, and words go through here."""
    assert KeyHider(key).text("the API key holds what no key has") == "the API key holds what no key has"
