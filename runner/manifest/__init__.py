"""Manifests: read, expanded, checked, and every problem told with its place.

`open_manifest` reads the head and returns an `OpenManifest` whose `jobs()` stream. What is written where:
`runner.manifest.yaml12` reads YAML with places, `head` the settings, `entry` one item of `jobs:`, `matrix` and
`rows` what multiplies it, `expansion` makes the jobs, `names` judges ids and output names.
"""

from runner.manifest.inputs import Input
from runner.manifest.load import OpenManifest, open_manifest
from runner.manifest.references import ReferenceProblem, ReferenceReader
from runner.manifest.render import (
    in_order,
    picture,
    problem_json,
    problem_line,
    problem_text,
    problems_text,
    visible,
)

__all__ = [
    "Input",
    "OpenManifest",
    "ReferenceProblem",
    "ReferenceReader",
    "in_order",
    "open_manifest",
    "picture",
    "problem_json",
    "problem_line",
    "problem_text",
    "problems_text",
    "visible",
]
