"""The schema of manifests is for other programs too: another library compiles it, strictly, and judges alike."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from runner.contract.judging import Judge
from runner.manifest.yaml12 import read_yaml
from runner.schemas import read_schema, schemas_dir
from tests.unit.test_judging import TEXTS

AJV = "8.17.1"
PROGRAM = """
const Ajv = require("ajv/dist/2020"), fs = require("fs");
const [schema, documents] = process.argv.slice(1).map((name) => JSON.parse(fs.readFileSync(name)));
const ajv = new Ajv({strict: true}), validate = ajv.compile(schema);
console.log(JSON.stringify(documents.map((document) => validate(document))));
"""


@pytest.mark.extra
def test_ajv_in_strict_mode_compiles_it_and_judges_as_we_do(tmp_path: Path) -> None:
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not here")
    for command in (["npm", "init", "-y"], ["npm", "install", "--silent", f"ajv@{AJV}"]):
        if subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode:
            pytest.skip("npm cannot fetch ajv")
    documents = [read_yaml(text, file="m.yaml").value for text in TEXTS]
    (tmp_path / "documents.json").write_text(json.dumps(documents))
    schema = schemas_dir() / "manifest.schema.json"

    found = subprocess.run(
        ["node", "-e", PROGRAM, str(schema), "documents.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 0, found.stderr
    judge = Judge(read_schema("manifest.schema.json"))
    assert json.loads(found.stdout) == [
        next(judge.refusals(document), None) is None for document in documents
    ]
