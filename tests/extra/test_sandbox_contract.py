"""Schemathesis reads the sandbox's OpenAPI document and tries to catch the sandbox out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import Sandbox

pytestmark = pytest.mark.extra


def test_the_sandbox_does_what_its_openapi_document_says(
    start_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    sandbox = start_sandbox("--duration", "0.05:0.05", "--rate", "100000")

    told = subprocess.run(
        [
            str(Path(sys.executable).with_name("st")),
            "run",
            f"{sandbox.base_url}/api/v1/openapi.json",
            f"--header=Authorization: Bearer {sandbox.key}",
            # A schema cannot say what is a real picture, or which urls this sandbox gave out: valid-looking
            # requests may be refused.
            "--exclude-checks=positive_data_acceptance",
            "--max-examples=25",
            "--max-time=25",
            "--seed=1",
            "--no-shrink",
            "--continue-on-failure",
            "--warnings=off",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert told.returncode == 0, told.stdout + told.stderr
    assert "Tested: 6" in told.stdout, told.stdout
