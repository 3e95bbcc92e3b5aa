"""Frozen promises: a fingerprint that changes pays again for finished work, a key that changes pays twice.

Never edit a vector below. A new version gets its own vectors, and the old ones stay.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import pytest

from runner.fingerprint import (
    canonical,
    choice_token,
    fingerprint,
    idempotency_key,
    price_shape,
    result_token,
)
from runner.model import Fingerprint, JobId

SHA_A, SHA_B = "a" * 64, "b" * 64

FP1: list[tuple[str, dict[str, Any], str]] = [
    (
        "least",
        {"model": "z-image", "prompt": None, "params": {}},
        "fp1:24382453f019b2f91e068963a0e5dbca483b08e66867f5950752af2cc5236b23",
    ),
    (
        "readme",
        {
            "model": "grok-imagine-video",
            "prompt": "cat, cinematic, slow push-in",
            "params": {"mode": "normal", "duration": 6, "resolution": "480p", "aspect_ratio": "16:9"},
            "references": (),
        },
        "fp1:d93ffa77815c48d0b18a87cf121cd89d3cd8a8733df543a734eebf19f9dc6203",
    ),
    (
        "whole float",
        {"model": "grok-imagine-video", "prompt": "p", "params": {"duration": 10.0}},
        "fp1:2025ef93c7583d57b624aee688acf09174f26f95594841693abb6b507c85976a",
    ),
    (
        "text six",
        {"model": "sora-2", "prompt": "p", "params": {"n_frames": "10"}},
        "fp1:70b263d4ed44a700eca1c3cf36b2102394fbf742af0ef7788fc04fc4706ff946",
    ),
    (
        "decimals",
        {"model": "m", "prompt": "p", "params": {"a": 0.1, "b": 1e-07, "c": 1e22, "d": -2.5}},
        "fp1:e5d3d9cda57e1e25d3ecdb99849ce5ccc7cc750b225b6708417ae9cc775e4e99",
    ),
    (
        "nested",
        {
            "model": "m",
            "prompt": "p",
            "params": {"list": [1, "1", None, True, {"k": []}], "b": {"z": 1, "a": 2}},
        },
        "fp1:bdadd0c3978592da98cc2e3cb6da3145d628374bfa1b1a50b6ee602d9c54d0ba",
    ),
    (
        "references",
        {"model": "kling", "prompt": "p", "params": {}, "references": (SHA_A, SHA_B)},
        "fp1:f708e40125479d7f1e3252457b065531269c097757b01fc0a5a9b9354dc0e916",
    ),
    (
        "scripts",
        {
            "model": "m",
            "prompt": "\u0437\u0438\u043c\u0430 \u51ac \u2744\ufe0f \u05e9\u05dc\u05d2 caf\xe9",
            "params": {"\u0441\u0442\u0438\u043b\u044c": "\u925b\u7b46"},
        },
        "fp1:2cc5f401d74186dfedc513cb50505d5c958d60c6a397e7eb59a9592436269eb9",
    ),
    (
        "controls",
        {"model": "m", "prompt": 'tab\t nl\n quote" back\\ nul\x00 esc\x1b </script>', "params": {}},
        "fp1:a5a4a5276e5856c1c83180097941a43ef87b9d63389eae45eec0b315532956f6",
    ),
    (
        "half an emoji",
        {"model": "m", "prompt": "\ud83d", "params": {}},
        "fp1:ce718eca2aa8f68b9fc4e2edf3e175f9ae34557b4995f61fa94f166fcad7ed71",
    ),
    (
        "long",
        {"model": "m", "prompt": "\U0001f989" * 5000, "params": {}},
        "fp1:ab9b13a6f9bd9d0889ec09df217ab354c120ab4fc712f64593c7740d48495a31",
    ),
]

RB1: list[tuple[str, dict[str, Any], str]] = [
    (
        "first",
        {
            "manifest": "autumn-launch",
            "job": "hero",
            "fingerprint": "fp1:24382453f019b2f91e068963a0e5dbca483b08e66867f5950752af2cc5236b23",
            "round_": 1,
            "revision": 1,
        },
        "rb1-gen-167157f2c3fbbd23240b69643c58cb4d820ee42",
    ),
    (
        "second revision",
        {
            "manifest": "autumn-launch",
            "job": "hero",
            "fingerprint": "fp1:24382453f019b2f91e068963a0e5dbca483b08e66867f5950752af2cc5236b23",
            "round_": 1,
            "revision": 2,
        },
        "rb1-gen-b87bef62b38e1bbf45f4e9d47438d55ef6f8db5",
    ),
    (
        "second round",
        {
            "manifest": "autumn-launch",
            "job": "hero",
            "fingerprint": "fp1:24382453f019b2f91e068963a0e5dbca483b08e66867f5950752af2cc5236b23",
            "round_": 2,
            "revision": 1,
        },
        "rb1-gen-783db946d8b736df9487675acfba068f8e4e79e",
    ),
    (
        "other job",
        {
            "manifest": "autumn-launch",
            "job": "cat-cinematic-3",
            "fingerprint": Fingerprint("fp1:" + "0" * 64),
            "round_": 1,
            "revision": 1,
        },
        "rb1-gen-feb7ca8a5968abea6347dc06849e8c8463316ee",
    ),
    (
        "scripts",
        {
            "manifest": "a",
            "job": "\u0437\u0438\u043c\u0430 \u51ac",
            "fingerprint": Fingerprint("fp1:" + "0" * 64),
            "round_": 12,
            "revision": 34,
        },
        "rb1-gen-0e90c4918d7b16c8fe53be24a7548991d683f58",
    ),
]


@pytest.mark.parametrize(("given", "frozen"), [pytest.param(g, f, id=n) for n, g, f in FP1])
def test_fingerprints_are_frozen(given: dict[str, Any], frozen: str) -> None:
    assert fingerprint(**given) == frozen


@pytest.mark.parametrize(("given", "frozen"), [pytest.param(g, f, id=n) for n, g, f in RB1])
def test_keys_are_frozen(given: dict[str, Any], frozen: str) -> None:
    assert idempotency_key(**given) == frozen


def test_the_recipes_of_fp1_and_rb1_in_other_words() -> None:
    """A later program can compute them without this one."""
    text = '{"model":"z-image","params":{},"prompt":null,"references":[]}'
    found = "fp1:" + hashlib.sha256(b"fp1\n" + text.encode()).hexdigest()
    key = (
        "rb1-gen-" + hashlib.sha256(f'rb1\n["autumn-launch","hero","{found}",1,1]'.encode()).hexdigest()[:39]
    )

    assert found == FP1[0][2]
    assert key == RB1[0][2]


def test_all_frozen_vectors_differ() -> None:
    assert len({frozen for _, _, frozen in FP1}) == len(FP1)
    assert len({frozen for _, _, frozen in RB1}) == len(RB1)


def print_of(**changes: Any) -> str:
    return fingerprint(
        **{"model": "m", "prompt": "p", "params": {"duration": 6}, "references": (), **changes}
    )


# --- what is the same -----------------------------------------------------------------------------


@pytest.mark.parametrize(("one", "other"), [(6, 6.0), (0, 0.0), (0, -0.0), (10**20, 1e20), (-3, -3.0)])
def test_a_whole_number_is_one_value_however_it_is_written(one: int, other: float) -> None:
    assert print_of(params={"n": one}) == print_of(params={"n": other})
    assert print_of(params={"n": [{"n": one}]}) == print_of(params={"n": [{"n": other}]})


def test_the_order_of_params_makes_no_difference() -> None:
    params = {"b": 1, "a": {"y": 1, "x": 2}, "c": [1, 2]}
    turned = OrderedDict([("c", (1, 2)), ("a", MappingProxyType({"x": 2, "y": 1})), ("b", 1)])

    assert print_of(params=params) == print_of(params=turned)


def test_references_count_in_any_kind_of_sequence() -> None:
    assert print_of(references=[SHA_A, SHA_B]) == print_of(references=(SHA_A, SHA_B))


# --- what is different ----------------------------------------------------------------------------

DIFFERENT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"model": "m"}, {"model": "M"}),
    ({"prompt": None}, {"prompt": ""}),
    ({"prompt": "p"}, {"prompt": "p "}),
    ({"prompt": "p"}, {"prompt": "p\n"}),
    # Exactly what is sent counts: other code points, another request.
    ({"prompt": "caf\u00e9"}, {"prompt": "cafe\u0301"}),
    ({"params": {"n": 6}}, {"params": {"n": "6"}}),
    ({"params": {"n": 1}}, {"params": {"n": True}}),
    ({"params": {"n": 0}}, {"params": {"n": False}}),
    ({"params": {"n": None}}, {"params": {}}),
    ({"params": {"n": None}}, {"params": {"n": "null"}}),
    ({"params": {"n": 0.1}}, {"params": {"n": 0.1 + 1e-16}}),
    ({"params": {"a": "1,b:2"}}, {"params": {"a": "1", "b": "2"}}),
    ({"params": {"n": [1, 2]}}, {"params": {"n": [2, 1]}}),
    ({"params": {"n": []}}, {"params": {"n": {}}}),
    ({"references": (SHA_A, SHA_B)}, {"references": (SHA_B, SHA_A)}),
    ({"references": (SHA_A,)}, {"references": (SHA_A, SHA_A)}),
    ({"references": ()}, {"references": (SHA_A,)}),
    ({"params": {"references": [SHA_A]}}, {"references": (SHA_A,)}),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_another_request_has_another_fingerprint(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert print_of(**one) != print_of(**other)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_json_cannot_say_has_no_fingerprint(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        print_of(params={"n": value})


@pytest.mark.parametrize(
    "text", ["", "\0", "\u2028", "🦉" * 5000, "\ud83d", "עברית\u200f", "\x1b[31m", "</script>"]
)
def test_any_text_has_a_fingerprint_and_a_key(text: str) -> None:
    found = print_of(prompt=text, model=text, params={text: text})
    key = idempotency_key(manifest=text, job=JobId(text), fingerprint=found, round_=1, revision=1)

    assert re.fullmatch(r"fp1:[0-9a-f]{64}", found)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", key)
    assert found == print_of(prompt=text, model=text, params={text: text})


def test_canonical_text_is_json_that_reads_back_as_the_same_value() -> None:
    value = {"z": [1, 2.5, None, True, "16:9"], "a": {"é": "ö"}, "big": 1e22}

    text = canonical(value)

    assert text == '{"a":{"é":"ö"},"big":10000000000000000000000,"z":[1,2.5,null,true,"16:9"]}'
    assert json.loads(text) == value


def test_canonical_text_does_not_depend_on_how_it_was_made() -> None:
    draw = random.Random(7)
    items = [(f"k{n}", draw.choice([n, float(n), str(n), [n, {"x": n}]])) for n in range(30)]
    texts = set()
    for _ in range(20):
        draw.shuffle(items)
        texts.add(canonical(dict(items)))

    assert len(texts) == 1


# --- keys -----------------------------------------------------------------------------------------


def key_of(**changes: Any) -> str:
    given = {
        "manifest": "m",
        "job": "j",
        "fingerprint": Fingerprint("fp1:" + "0" * 64),
        "round_": 1,
        "revision": 1,
    }
    return idempotency_key(**{**given, **changes})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"manifest": "n"}),
        ({}, {"job": "k"}),
        ({}, {"fingerprint": Fingerprint("fp1:" + "1" * 64)}),
        ({}, {"round_": 2}),
        ({}, {"revision": 2}),
        ({"round_": 2, "revision": 1}, {"round_": 1, "revision": 2}),
        ({"round_": 1, "revision": 11}, {"round_": 11, "revision": 1}),
        ({"manifest": "a", "job": "b-c"}, {"manifest": "a-b", "job": "c"}),
        ({"manifest": 'a","b', "job": "c"}, {"manifest": "a", "job": 'b","c'}),
    ],
)
def test_another_payment_has_another_key(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert key_of(**one) != key_of(**other)


def test_a_key_is_one_for_all_sends_and_fits_any_service() -> None:
    assert key_of() == key_of()
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", key_of())


# --- shapes of prices -----------------------------------------------------------------------------


def shape(**changes: Any) -> str:
    given = {
        "model": "m",
        "params": {"duration": 6},
        "kinds": ["image"],
        "metered": False,
        "prompt_length": 9,
    }
    return price_shape(**{**given, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "n"},
        {"params": {"duration": 10}},
        {"kinds": []},
        {"kinds": ["video"]},
        {"kinds": ["image"] * 2},
    ],
)
def test_what_may_change_the_price_is_another_shape(changes: dict[str, Any]) -> None:
    assert shape(**changes) != shape()


def test_the_text_has_no_price_unless_the_model_is_metered() -> None:
    assert shape(prompt_length=1) == shape(prompt_length=5000)
    assert shape(metered=True, prompt_length=1) != shape(metered=True, prompt_length=2)
    assert shape(params={"duration": 6.0}) == shape()


FIRST = "fp1:24382453f019b2f91e068963a0e5dbca483b08e66867f5950752af2cc5236b23"


def test_what_stands_for_another_jobs_result_is_frozen() -> None:
    """It is made of that job's fingerprint and of how often what it made was replaced, not of the file."""
    tokens = [
        result_token(FIRST),
        result_token(FIRST, edition=1),
        result_token(FIRST, take=2, result=3, frame="last"),
        choice_token([result_token(FIRST, take=1), result_token(FIRST, take=2)]),
    ]

    assert tokens[0] == f'job:["{FIRST}",0,0,1,null]'
    assert [
        fingerprint(model="grok-imagine-video", prompt="p", params={}, references=[SHA_A, token])[:20]
        for token in tokens
    ] == ["fp1:a3b082567d62d0c6", "fp1:50ff41aac704cca3", "fp1:f192a3365b245653", "fp1:74b2ac5f580e975e"]
