"""Misspelt keys, read as the ones that were probably meant, so that no mistake hides behind another.

Each is reported, so nothing of its job is sent; but what stands under it is checked in the same round. Which key is
meant is what the hint says. A key that is there is never replaced.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from runner.contract import Contract, param_problem
from runner.contract.params import suggest_param
from runner.contract.phrases import shown, suggest
from runner.manifest.findings import Findings, Spot
from runner.manifest.model_names import likely_contract
from runner.manifest.what_if import SETTABLE
from runner.manifest.yaml_tree import YamlList, YamlMap
from runner.model import ModelId

TOP_KEYS: Final = SETTABLE | {"version", "name", "jobs"}
JOB_KEYS: Final = frozenset(
    ["id", "model", "prompt", "params", "references", "matrix", "exclude", "include", "rows", "repeat"]
)
MISPLACED: Final = {
    "name": "a job is named by `id:`",
    "output": "`output:` is written once, at the top of the manifest",
    "vars": "`vars:` is written once, at the top of the manifest",
    "csv": "write `rows: file.csv`",
    "glob": 'write `rows: {glob: "assets/*.png"}`',
    "take": "write `repeat:`",
    **dict.fromkeys(("takes", "count", "copies", "samples"), "for several takes write `repeat: 3`"),
    **dict.fromkeys(("image", "images", "video", "file", "files"), "write `references: [a.png]`"),
}


def no_such_key(where: str, key: str) -> str:
    """Return the words for a key that is none."""
    return f"{where} has no key {shown(key)}"


class Misspelt:
    """Reads misspelt keys of a manifest as what is meant, and reports each.

    Args:
        findings: Takes them.
        contracts: The models there are.
    """

    def __init__(self, findings: Findings, contracts: Mapping[ModelId, Contract]) -> None:
        self._findings = findings
        self._contracts = contracts
        self._params: frozenset[str] | None = None  # of all models
        self._likely: dict[str, Contract | None] = {}  # by a name that no model has
        self.jobs: set[int] = set()  # which have one, by their index

    def read(self, root: YamlMap, spot: Spot) -> YamlMap:
        """Return the manifest with the keys that are meant; the jobs are changed in place."""
        root = self._meant(root, spot, TOP_KEYS, where="the top level")
        root = self._with_params(root, spot, root, job="")
        jobs = root.get("jobs")
        if not isinstance(jobs, YamlList):
            return root
        list_spot = spot.inside(root.value_at("jobs"), "jobs")
        for index, item in enumerate(jobs):
            if not isinstance(item, YamlMap) or not (
                item.keys() - JOB_KEYS or self._contract_of_unknown(item, root)
            ):
                continue
            place = list_spot.inside(jobs.item_at(index), index)
            before = self._findings.reported
            id_ = item.get("id")
            job = id_ if isinstance(id_, str) else ""
            read = self._meant(item, place, JOB_KEYS, where=f"`{place.path}`", job=job)
            jobs[index] = self._with_params(read, place, root, job=job)
            if self._findings.reported > before:
                self.jobs.add(index)
        return root

    def _meant(
        self, node: YamlMap, spot: Spot, known: Collection[str], *, where: str, job: str = ""
    ) -> YamlMap:
        meant: dict[str, str] = {}
        for key in node:
            if key in known or key.startswith("x-") or key in MISPLACED or key in self._params_of_all():
                continue
            like = suggest(key, sorted(known))
            if like is not None and like not in node and like not in meant.values():
                meant[key] = like
                hint = f"did you mean `{like}`?"
                place = spot.inside(node.key_at(key), key)
                self._findings.error(place, no_such_key(where, key), "unknown-key", hint, job=job)
        return _renamed(node, meant)

    def _with_params(self, node: YamlMap, spot: Spot, root: YamlMap, *, job: str) -> YamlMap:
        params, contract = node.get("params"), self._contract_of_unknown(node, root)
        if contract is None or not isinstance(params, YamlMap):
            return node
        params_spot = spot.inside(node.value_at("params"), "params")
        meant: dict[str, str] = {}
        for key in params:
            like = None if key in contract.params else suggest_param(contract, key)
            if like is not None and like not in params and like not in meant.values():
                meant[key] = like
                problem = param_problem(contract, key, None, "additionalProperties")
                place = params_spot.inside(params.key_at(key), key)
                self._findings.error(place, problem.what, problem.code, problem.hint, job=job)
        # A mapping may stand in several places, by aliases: this one alone is changed.
        return _with(node, "params", _renamed(params, meant)) if meant else node

    def _contract_of_unknown(self, node: YamlMap, root: YamlMap) -> Contract | None:
        """Return the contract that the params of a job, or of the top, are for, where it lacks one of them."""
        params, model = node.get("params"), node.get("model", root.get("model"))
        if not isinstance(params, YamlMap) or not isinstance(model, str):
            return None
        contract = self._contracts.get(ModelId(model))
        if contract is None:
            if model not in self._likely:
                self._likely[model] = likely_contract(model, self._contracts)
            contract = self._likely[model]
        if contract is None or not contract.complete or params.keys() <= contract.params.keys():
            return None
        return contract

    def _params_of_all(self) -> frozenset[str]:
        if self._params is None:
            self._params = frozenset(key for each in self._contracts.values() for key in each.params)
        return self._params


def _renamed(node: YamlMap, meant: Mapping[str, str]) -> YamlMap:
    if not meant:
        return node
    renamed = YamlMap(node.at)
    for key, value, key_at, value_at in node.entries():
        renamed.add(meant.get(key, key), value, key_at, value_at)
    return renamed


def _with(node: YamlMap, name: str, value: Any) -> YamlMap:
    changed = YamlMap(node.at)
    for key, old, key_at, value_at in node.entries():
        changed.add(key, value if key == name else old, key_at, value_at)
    return changed
