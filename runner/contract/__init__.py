"""What one remote model accepts and costs, and the rules that judge a job against it.

A `Contract` is read from `schemas/contracts/<model id>.json` (see `runner.schemas`) or,
defensively, from an element of the service's own list of models. `canonical_params`,
`check_prompt` and `check_references` say what is wrong with a job before anything is sent.
Everything here is pure.
"""

from runner.contract.json_contract import contract_from_json
from runner.contract.params import canonical_params, minimal_job, param_problem
from runner.contract.phrases import shown, suggest
from runner.contract.prompt import check_prompt
from runner.contract.references import check_references, picture_limits
from runner.contract.terms import (
    DEFAULT_UPLOAD_KINDS,
    MEBIBYTE,
    MEGABYTE,
    REFERENCE_PARAM,
    Contract,
    Param,
    ParamProblem,
    ParamType,
    UploadKind,
    Uploads,
)

__all__ = [
    "DEFAULT_UPLOAD_KINDS",
    "MEBIBYTE",
    "MEGABYTE",
    "REFERENCE_PARAM",
    "Contract",
    "Param",
    "ParamProblem",
    "ParamType",
    "UploadKind",
    "Uploads",
    "canonical_params",
    "check_prompt",
    "check_references",
    "contract_from_json",
    "minimal_job",
    "param_problem",
    "picture_limits",
    "shown",
    "suggest",
]
