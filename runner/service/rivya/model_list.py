"""The service's list of models: what GET /api/v1/models answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.contract import Contract, contract_from_json
from runner.model import ModelId


def contracts_from_list(document: object) -> dict[ModelId, Contract]:
    """Return the contracts in an answer of GET /api/v1/models: `{"object": "list", "data": [...]}`.

    Elements without a usable id are left out; anything else gives an empty mapping.
    """
    elements: Any = document.get("data") if isinstance(document, Mapping) else document
    contracts: dict[ModelId, Contract] = {}
    for element in elements if isinstance(elements, list) else []:
        try:
            contract = contract_from_json(element)
        except (ValueError, TypeError, AttributeError, KeyError):
            continue
        contracts[contract.id] = contract
    return contracts
