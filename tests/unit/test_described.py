"""What the service's own description lacks of what is relied on."""

from __future__ import annotations

import copy
from typing import Any

from runner.sandbox.catalogue import load_catalogue
from runner.sandbox.openapi import openapi_document
from runner.sandbox.options import SandboxOptions
from runner.service.rivya.described import missing_in


def document() -> dict[str, Any]:
    return copy.deepcopy(openapi_document(load_catalogue(None), SandboxOptions()))


def test_the_sandbox_describes_all_that_is_relied_on() -> None:
    assert missing_in(document()) == []


def test_a_path_a_method_and_a_field_that_are_gone_are_named() -> None:
    changed = document()
    del changed["paths"]["/api/v1/credits"]
    changed["paths"]["/api/v1/files"] = {"put": {}}
    create = changed["paths"]["/api/v1/generations"]["post"]["requestBody"]["content"]["application/json"]
    create["schema"] = {
        "allOf": [{"properties": {"model": {}, "prompt": {}}}, {"properties": {"params": {}}}]
    }

    assert missing_in(changed) == [
        "POST /api/v1/files",
        "path /api/v1/credits",
        "request field client_request_id",
    ]


def test_other_spellings_of_the_same_are_no_difference() -> None:
    """Paths behind a server's own, another name of the id, a body that is not described."""
    paths = {path.removeprefix("/api/v1"): item for path, item in document()["paths"].items()}
    paths["/generations/{id}"] = paths.pop("/generations/{taskId}")
    paths["/generations"] = {"post": {}}

    assert missing_in({"servers": [{"url": "https://rivya.ai/api/v1/"}], "paths": paths}) == []


def test_what_is_no_description_is_none() -> None:
    others: list[Any] = [None, {}, {"paths": []}, {"paths": {}}, {"error": {"code": "not_found"}}]

    assert [missing_in(other) for other in others] == [None] * 5


def test_parts_that_refer_to_themselves_end() -> None:
    schema = {"$ref": "#/components/schemas/A"}
    loop = {
        "paths": {"/api/v1/generations": {"post": {"requestBody": {"content": {"x": {"schema": schema}}}}}}
    }
    loop["components"] = {
        "schemas": {"A": {"anyOf": [schema, schema]}, "B": {"$ref": "#/components/schemas/B"}}
    }

    assert "path /api/v1/models" in (missing_in(loop) or [])
