"""The schemas are for other programs too: another library compiles them, strictly, and judges manifests alike."""

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
const [documents, schema, ...others] = process.argv.slice(1).map((name) => JSON.parse(fs.readFileSync(name)));
const validate = new Ajv({strict: true}).compile(schema);
for (const other of others) new Ajv({strict: true}).compile(other);
console.log(JSON.stringify(documents.map((document) => validate(document))));
"""


@pytest.mark.extra
def test_ajv_in_strict_mode_compiles_each_and_judges_as_we_do(tmp_path: Path) -> None:
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not here")
    for command in (["npm", "init", "-y"], ["npm", "install", "--silent", f"ajv@{AJV}"]):
        if subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode:
            pytest.skip("npm cannot fetch ajv")
    documents = [read_yaml(text, file="m.yaml").value for text in TEXTS]
    (tmp_path / "documents.json").write_text(json.dumps(documents))
    manifests = schemas_dir() / "manifest.schema.json"
    others = sorted({*schemas_dir().glob("*.schema.json")} - {manifests})

    found = subprocess.run(
        ["node", "-e", PROGRAM, "documents.json", str(manifests), *map(str, others)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert len(others) == 3
    assert found.returncode == 0, found.stderr
    judge = Judge(read_schema("manifest.schema.json"))
    assert json.loads(found.stdout) == [
        next(judge.refusals(document), None) is None for document in documents
    ]
