"""What `--set` may change."""

from __future__ import annotations

from runner.manifest.json_schema import schema_of_manifests
from runner.manifest.what_if import SETTABLE
from runner.schemas import load_contracts


def test_every_key_of_the_top_but_the_jobs_and_their_names_can_be_set() -> None:
    keys = schema_of_manifests(load_contracts())["properties"]

    assert {*keys} - SETTABLE == {"version", "name", "jobs"}
    assert {*keys} >= SETTABLE
