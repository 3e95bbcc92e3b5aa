"""The bundled contracts by name, for tests."""

from __future__ import annotations

from runner.contract import Contract
from runner.model import ModelId
from runner.schemas import load_contracts


def load_contract(model: str) -> Contract:
    return load_contracts()[ModelId(model)]
