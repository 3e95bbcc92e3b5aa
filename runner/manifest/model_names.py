"""Models as a manifest names them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from runner.contract import Contract
from runner.contract.phrases import shown, suggest
from runner.manifest.findings import Findings, Spot
from runner.model import ModelId

_STATUS: Mapping[str, str] = {
    "coming_soon": "is announced, and not there yet (coming_soon)",
    "studio_only": "is for Rivya's own studio only (studio_only)",
}


def find_contract(
    model: str, spot: Spot, findings: Findings, contracts: Mapping[ModelId, Contract], *, job: str = ""
) -> Contract | None:
    """Return the contract of a model, or report at `spot` that there is none, or that it cannot be called.

    For a misspelt model it is the contract of the one that was probably meant, so that the other mistakes are
    found as well; what was reported keeps the job from being sent.
    """
    contract = contracts.get(ModelId(model))
    if contract is None:
        report_unknown_model(model, spot, findings, contracts, job=job)
        return likely_contract(model, contracts)
    if not contract.callable:
        why = (
            "is a chat model"
            if contract.category == "chat"
            else _STATUS.get(contract.api_status or "", f"is {shown(contract.api_status)}")
        )
        hint = "" if contract.category == "chat" else "`rivya-batch models sync` shows when that changes"
        what = f"{model} {why}; the API cannot run it as a job"
        findings.error(spot, what, "model-not-callable", hint, job=job)
        return None
    return contract


def likely_contract(model: object, contracts: Mapping[ModelId, Contract]) -> Contract | None:
    """Return the contract of the model whose name is nearest to a misspelt one, or None where none is near."""
    like = suggest(model, contracts) if isinstance(model, str) else None
    return contracts[ModelId(like)] if like else None


def report_unknown_model(
    model: str, spot: Spot, findings: Findings, contracts: Mapping[ModelId, Contract], *, job: str = ""
) -> None:
    """Report at `spot` that there is no such model."""
    like = suggest(model, contracts)
    hint = f"did you mean `{like}`?" if like else "`rivya-batch models` lists them"
    findings.error(spot, f"there is no model {shown(model)}", "unknown-model", hint, job=job)


def param_hints(contract: Contract | None, *, known: Collection[str]) -> dict[str, str]:
    """Return, for the params of a model, the hint that they belong under `params:`."""
    if contract is None:
        return {}
    return {key: f"write `{key}` under `params:`" for key in contract.params if key not in known}
