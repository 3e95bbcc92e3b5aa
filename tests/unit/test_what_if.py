"""What `--set` may change."""

from __future__ import annotations

import pytest

from runner.manifest.json_schema import schema_of_manifests
from runner.manifest.what_if import SETTABLE, read_change
from runner.schemas import load_contracts


def test_every_key_of_the_top_but_the_jobs_and_their_names_can_be_set() -> None:
    keys = schema_of_manifests(load_contracts())["properties"]

    assert {*keys} - SETTABLE == {"version", "name", "jobs"}
    assert {*keys} >= SETTABLE


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("prompt=item #1 of two", "item #1 of two"),
        ("prompt= a cat ", "a cat"),
        ("prompt='a #1'", "a #1"),
        ("params.duration=8", 8),
        ("params.aspect_ratio=16:9", "16:9"),
    ],
)
def test_a_value_is_read_as_in_a_manifest_but_has_no_comments(text: str, value: object) -> None:
    assert read_change(text).value == value
