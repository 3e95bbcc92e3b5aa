"""The sandbox's OpenAPI document describes what it does."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from runner.sandbox.catalogue import PUBLIC_FIELDS, load_catalogue
from tests.contract.sandbox_inside import GROK, KEY, MP4, Inside, inside

pytestmark = pytest.mark.anyio


async def document(sandbox: Inside) -> dict[str, Any]:
    answer = await sandbox.http.get("/api/v1/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def checker(spec: dict[str, Any], name: str) -> jsonschema.Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": spec["components"]}
    return jsonschema.Draft202012Validator(schema)


async def test_answers_fit_their_schemas() -> None:
    faults = ({"on": "task", "do": "task_fails", "after": 1},)
    async with inside(faults=faults, file_ttl_s=60) as sandbox:
        spec = await document(sandbox)
        assert spec["openapi"].startswith("3.1")
        for answer in (await sandbox.finished(), await sandbox.finished()):
            checker(spec, "Generation").validate(answer)
        checker(spec, "PublicApiFile").validate((await sandbox.upload()).json())
        checker(spec, "PublicApiFile").validate((await sandbox.upload(MP4, "video")).json())
        checker(spec, "Credits").validate((await sandbox.get("/api/v1/credits")).json())
        models = (await sandbox.http.get("/api/v1/models")).json()
        checker(spec, "ModelList").validate(models)
        assert len(models["data"]) == 52
        assert all(set(model) == set(PUBLIC_FIELDS) for model in models["data"])
        checker(spec, "Error").validate((await sandbox.poll("none")).json())


async def test_every_path_it_names_answers_with_a_status_it_names() -> None:
    async with inside() as sandbox:
        spec = await document(sandbox)
        for path, methods in spec["paths"].items():
            for method, operation in methods.items():
                concrete = path.replace("{taskId}", "x").replace("{fileId}", "x")
                for headers in ({}, {"authorization": f"Bearer {KEY}"}):
                    answer = await sandbox.http.request(method, concrete, headers=headers)
                    assert str(answer.status_code) in operation["responses"], (method, path)


@pytest.mark.parametrize(
    ("params", "fits"),
    [
        ({"aspect_ratio": "16:9", "duration": 6}, True),
        ({"aspect_ratio": 969}, False),
        ({"duration": "6"}, False),
        ({"duration": 6.5}, False),
        ({"lighting": "soft"}, False),
    ],
)
async def test_the_schema_of_a_request_agrees_with_what_is_accepted(
    params: dict[str, Any], fits: bool
) -> None:
    async with inside() as sandbox:
        body = {**GROK, "params": params}
        spec = await document(sandbox)
        assert checker(spec, "GenerationRequest").is_valid(body) is fits
        assert ((await sandbox.submit(body)).status_code == 201) is fits


async def test_every_model_that_can_be_called_is_described() -> None:
    async with inside() as sandbox:
        schemas = (await document(sandbox))["components"]["schemas"]
        assert {name.removeprefix("Generate-") for name in schemas if name.startswith("Generate-")} == set(
            load_catalogue()
        )
