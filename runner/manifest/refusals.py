"""What the schema of manifests has against one, with places and in words.

The schema decides (`schemas/manifest.schema.json`, or the one derived from a synced catalogue); here each refusal is
traced to the line and column it is about, and said as a person would say it. What a keyword has no words for yet is
refused all the same, in general ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from runner.contract import Contract, check_prompt, param_problem
from runner.contract.judging import Judge, Refusal
from runner.contract.phrases import listed, number_alone, number_text, shown, suggest
from runner.manifest.findings import Findings, Spot
from runner.manifest.json_schema import OWN_KEY
from runner.manifest.misspelt import MISPLACED, no_such_key
from runner.manifest.model_names import likely_contract, param_hints, report_unknown_model
from runner.manifest.row_files import holds_rows
from runner.manifest.section import said
from runner.manifest.yaml_tree import YamlList, YamlMap
from runner.model import ModelId

VERSION: Final = 1


def judge_manifest(
    root: YamlMap, spot: Spot, findings: Findings, *, judge: Judge, contracts: Mapping[ModelId, Contract]
) -> frozenset[int]:
    """Report what the schema has against a manifest; return the indices of the jobs that are wrong.

    A misspelt model does not hide the other mistakes: the rest is judged as if the likeliest model stood there.
    """
    judged = _Judged(root, spot, findings, contracts)
    for refusal in judge.refusals(root):
        judged.report(refusal)
        if refusal.keyword == "enum" and refusal.path and refusal.path[-1] == "model":
            meant = likely_contract(refusal.value, contracts)
            above = refusal.path[:-1]
            if meant is not None:
                for inside in judge.refusals_by(f"model:{meant.id}", judged.value(above)):
                    judged.report(
                        Refusal(
                            path=above + inside.path,
                            keyword=inside.keyword,
                            wanted=inside.wanted,
                            value=inside.value,
                            schema=inside.schema,
                        )
                    )
    return frozenset(judged.wrong_jobs)


@dataclass(frozen=True, slots=True)
class _Words:
    what: str
    code: str
    hint: str = ""


class _Judged:
    """A manifest under judgement: finds places, and says what is wrong there."""

    def __init__(
        self, root: YamlMap, spot: Spot, findings: Findings, contracts: Mapping[ModelId, Contract]
    ) -> None:
        self._root = root
        self._spot = spot
        self._findings = findings
        self._contracts = contracts
        self.wrong_jobs: set[int] = set()

    def value(self, path: tuple[str | int, ...]) -> Any:
        """Return what is at a path."""
        value: Any = self._root
        for step in path:
            value = value[step]
        return value

    def report(self, refusal: Refusal) -> None:
        """Say one refusal, which may be about several keys."""
        path = refusal.path
        if len(path) > 1 and path[0] == "jobs" and isinstance(path[1], int):
            self.wrong_jobs.add(path[1])
        match refusal.keyword:
            case "additionalProperties" | "unevaluatedProperties":
                known = _known(refusal.schema)
                for key in refusal.value:
                    if key not in known and not (not path and re.match(OWN_KEY, key)):
                        self._unknown_key(path, key, known)
            case "propertyNames":
                pass  # reported by what is inside it
            case "required":
                for key in refusal.wanted:
                    if key not in refusal.value:
                        self._say(self._place(path), _missing(path, key), path)
            case "dependentRequired":
                self._say(
                    self._place((*path, "exclude")),
                    _Words("exclude is here without a matrix", "no-matrix"),
                    path,
                )
            case "enum" if path and path[-1] == "model":
                if isinstance(refusal.value, str):  # else its type is refused as well
                    report_unknown_model(refusal.value, self._place(path), self._findings, self._contracts)
            case _ if (inside := _param_path(path)) is not None:
                self._param(path, inside, refusal)
            case "maxLength" if path[-1] == "prompt":
                self._prompt(path, refusal)
            case _:
                self._value(path, refusal)

    def _value(self, path: tuple[str | int, ...], refusal: Refusal) -> None:
        if _is_name(path, refusal, self.value):
            name = str(refusal.value)
            spot = self._key_place(path, name)
            if refusal.keyword == "pattern":
                hint = "a name is letters of a-z, digits, `_` and `-`, and does not begin with a digit"
                self._say(spot, _Words(f"{shown(name)} cannot be a name", "bad-name", hint), path)
            else:
                report_unknown_model(name, spot, self._findings, self._contracts)
            return
        self._say(self._place(path), _wording(path, refusal), path)

    def _unknown_key(self, path: tuple[str | int, ...], key: str, known: list[str]) -> None:
        spot = self._key_place(path, key)
        contract = self._contract(path)
        if path and path[-1] == "params" and contract is not None:
            problem = param_problem(contract, key, None, "additionalProperties")
            self._say(spot, _Words(problem.what, problem.code, problem.hint), path)
            return
        hints = param_hints(contract, known=known) if _is_job(path) else {}
        if _is_job(path) and path:
            hints = {**MISPLACED, **hints}  # what is a param of the model is meant as one
        thousands = _thousands(self.value(path), key)
        if thousands is not None:
            words = _Words(
                "a number has a comma in it, which begins another key", "comma-in-number", thousands
            )
            self._say(spot, words, path)
            return
        where = f"`{self._place(path).path}`" if path else "the top level"
        like = suggest(key, known)
        hint = hints.get(key) or (f"did you mean `{like}`?" if like else f"there are {listed(known)}")
        self._say(spot, _Words(no_such_key(where, key), "unknown-key", hint), path)

    def _param(self, path: tuple[str | int, ...], inside: int, refusal: Refusal) -> None:
        key = str(path[inside])
        contract = self._contract(path)
        at = path[: inside + 1]
        if contract is None:  # wrong for any model
            self._say(self._key_place(path[:inside], key), _reserved(key), path)
            return
        deep = len(path) > inside + 1
        problem = param_problem(contract, key, self.value(at), "items" if deep else refusal.keyword)
        by_key = problem.code in ("unknown-param", "reserved-param")
        spot = self._key_place(path[:inside], key) if by_key else self._place(at)
        self._say(spot, _Words(problem.what, problem.code, problem.hint), path)

    def _prompt(self, path: tuple[str | int, ...], refusal: Refusal) -> None:
        contract = self._contract(path)
        problem = check_prompt(contract, refusal.value) if contract is not None else None
        if problem is None:
            self._say(self._place(path), _wording(path, refusal), path)
        else:
            self._say(self._place(path), _Words(problem.what, problem.code, problem.hint), path)

    def _contract(self, path: tuple[str | int, ...]) -> Contract | None:
        """Return the contract that the params or the prompt at a path are for: the job's own, else the default."""
        job = self.value(path[:2]) if path[:1] == ("jobs",) and len(path) > 1 else self._root
        named = job.get("model", self._root.get("model")) if isinstance(job, YamlMap) else None
        if not isinstance(named, str):
            return None
        return self._contracts.get(ModelId(named)) or likely_contract(named, self._contracts)

    # --- places ---

    def _place(self, path: tuple[str | int, ...]) -> Spot:
        spot = self._spot
        value: Any = self._root
        for step in path:
            if isinstance(value, YamlMap):
                spot = spot.inside(value.value_at(str(step)), step)
                value = value.get(str(step))
            elif isinstance(value, YamlList) and isinstance(step, int):
                spot = spot.inside(value.item_at(step), step)
                value = value[step]
        return spot

    def _key_place(self, path: tuple[str | int, ...], key: str) -> Spot:
        node = self.value(path)
        at = node.key_at(key) if isinstance(node, YamlMap) else self._place(path).at
        return self._place(path).inside(at, key)

    def _say(self, spot: Spot, words: _Words, path: tuple[str | int, ...]) -> None:
        job = self.value(path[:2]) if path[:1] == ("jobs",) and len(path) > 1 else None
        id_ = job.get("id") if isinstance(job, YamlMap) else None
        self._findings.error(
            spot, words.what, words.code, words.hint, job=id_ if isinstance(id_, str) else ""
        )


def _thousands(node: Any, key: str) -> str | None:
    """Return the hint for `{max_credits: 1,000}`, to YAML the keys `max_credits` and `000`; None for any other key."""
    if not isinstance(node, YamlMap) or not re.fullmatch(r"\d{3}", key) or node[key] is not None:
        return None
    keys = [*node]
    before = node[keys[keys.index(key) - 1]]
    return f"write {before}{key}" if isinstance(before, int) and not isinstance(before, bool) else None


def _known(schema: Any) -> list[str]:
    return list(schema.get("properties", {})) if isinstance(schema, Mapping) else []


def _is_job(path: tuple[str | int, ...]) -> bool:
    """Whether a path is that of a job, or of the whole manifest, which may say what jobs say."""
    return not path or (len(path) == 2 and path[0] == "jobs")


def _param_path(path: tuple[str | int, ...]) -> int | None:
    """Return where in a path the key of a param is: behind the `params` of the head or of a job."""
    if len(path) > 1 and path[0] == "params":
        return 1
    if len(path) > 3 and path[0] == "jobs" and path[2] == "params":
        return 3
    return None


def _is_name(path: tuple[str | int, ...], refusal: Refusal, value: Any) -> bool:
    """Whether a refusal is about the key of a mapping, not about a value: jsonschema gives both the same path."""
    there = value(path)
    return isinstance(there, Mapping) and isinstance(refusal.value, str) and refusal.value in there


# --- words ------------------------------------------------------------------------------------------

_MISSING: Final = {
    "version": _Words(
        "the manifest does not say its version", "missing-key", f"write `version: {VERSION}` at the top"
    ),
    "name": _Words(
        "the manifest has no name",
        "missing-key",
        "write `name: my-manifest`; it names the rows in the database and the output folder",
    ),
    "jobs": _Words("the manifest has no jobs", "missing-key", "write `jobs:` and a list under it"),
    "id": _Words(
        "this job has no id",
        "missing-key",
        "write `id:`; it names the job for good, so derive it from its content",
    ),
    "prices": _Words(
        "the file of prices has none", "missing-key", "write `prices: {grok-imagine-video: 12}`"
    ),
}

_EXAMPLES: Final = {
    "budget": "`budget: {max_credits: 500}`",
    "limits": "`limits: {in_flight: 50}`",
    "polling": "`polling: {min_s: 5}`",
    "retry": "`retry: {failed_rounds: 1}`",
    "idempotency": "`idempotency: {resend_within: 1h}`",
    "uploads": "`uploads: {reuse_within: 1h}`",
    "output": "`output: {dir: results}`",
    "params": "`params: {duration: 6}`",
    "vars": "`vars: {brand: Acme}`",
    "matrix": "`matrix: {look: [cinematic, anime]}`",
    "prices": "`prices: {grok-imagine-video: 12}`",
}

# What a list is a list of, by the key it stands under.
_LISTS: Final = {
    "references": "a list of files",
    "jobs": "a list of jobs",
    "exclude": "a list of combinations",
    "include": "a list of combinations",
}
_LIST_HINTS: Final = {
    "jobs": "begin each job with `- id:`",
    "exclude": "for example [{subject: dog, look: anime}]",
    "include": "for example [{subject: dog, look: anime}]",
}
_EMPTY: Final = {
    "jobs": _Words("the list of jobs is empty", "empty-value"),
    "matrix": _Words("the matrix has no axis", "empty-matrix"),
}
_ROWS: Final = _Words("rows names no file", "missing-key", "write {file: …} or {glob: …}")
_REFERENCE: Final = _Words(
    "a reference is a file or another job's result, and this is neither or both",
    "refused",
    "write a path, {file: a.heic, mend: true}, or {job: still-1}",
)
_PRICE: Final = _Words(
    "a price needs `credits` or `per`", "missing-key", "write {credits: 12}, or {per: {duration: 1.67}}"
)
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def _missing(path: tuple[str | int, ...], key: str) -> _Words:
    return _MISSING.get(key) or _Words(f"{_shown_path(path)} needs the key `{key}`", "missing-key")


def _reserved(key: str) -> _Words:
    return _Words(
        f"{key} cannot be written by hand",
        "reserved-param",
        "name the files under `references:`; they are uploaded and filled in for you",
    )


def _wording(path: tuple[str | int, ...], refusal: Refusal) -> _Words:
    """Return the words for a value that the schema refuses at its own place."""
    value = refusal.value
    key = str(path[-1]) if path else ""
    match refusal.keyword:
        case "const" if path == ("version",):
            return _version(value)
        case "type" | "const" if (found := _duration(key, refusal)) is not None:
            return found
        case "type" | "const":
            return _wrong_type(path, value, _wanted(path, refusal))
        case "pattern":
            return _Words(*_pattern(key, value, refusal))
        case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
            return _Words(f"{key} is {shown(value)}; it takes {_range(refusal.schema)}", "out-of-range")
        case "minLength":
            what = "a reference is empty" if path[-2:-1] == ("references",) else f"{key} is empty"
            return _Words(what, "empty-value")
        case "minProperties" if key == "rows":
            return _ROWS
        case "minItems" | "minProperties" if key in _EMPTY:
            return _EMPTY[key]
        case "minItems" if path[-2:-1] == ("matrix",):
            return _Words(f"the axis {key} has no values", "empty-matrix")
        case "minProperties":
            return _Words("a combination is a mapping from axis to value, not an empty one", "wrong-type")
        case "anyOf" if key == "rows":
            return _ROWS
        case "anyOf" | "" if "references" in path[-3:-1]:
            return _REFERENCE
        case "anyOf" if path[:1] == ("prices",):
            return _PRICE
        case "maxProperties" if key == "rows":
            return _Words(
                "rows takes `glob` alone, or `file` and how to read it", "refused", "remove one of them"
            )
        case "enum":
            options = [str(option) for option in refusal.wanted]
            like = suggest(str(value), options)
            hint = f"did you mean {like}?" if like else ""
            return _Words(
                f"{key} is {shown(value)}, which is not one of {listed(options)}", "not-an-option", hint
            )
        case keyword:
            what = f"{_shown_path(path)} is {shown(value)}, which the schema of manifests refuses"
            return _Words(
                what, "refused", f"its rule is {keyword}: {shown(refusal.wanted)}" if keyword else ""
            )


def _shown_path(path: tuple[str | int, ...]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    return f"`{text}`" if text else "the top level"


def _version(value: object) -> _Words:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _Words(
            f"version takes the number {VERSION}, not {said(value)}",
            "wrong-type",
            f"write `version: {VERSION}`",
        )
    if value > VERSION:
        what = f"version {shown(value)} is made for a newer rivya-batch; this one reads version {VERSION}"
        return _Words(what, "future-version", "install a newer rivya-batch")
    return _Words(
        f"there is no version {shown(value)} of manifests", "bad-version", f"write `version: {VERSION}`"
    )


def _duration(key: str, refusal: Refusal) -> _Words | None:
    """Return the words for what should be a duration; None for anything else."""
    schema = refusal.schema if isinstance(refusal.schema, Mapping) else {}
    if "90s" not in schema.get("examples", ()):
        return None
    value = refusal.value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    units = f"write its unit: {value}s, {value}m, {value}h or {value}d"
    hint = units if number else "a number and s, m, h or d, such as 90m"
    return _Words(f"{key} is {shown(value)}, which is not a duration", "bad-duration", hint)


def _pattern(key: str, value: object, refusal: Refusal) -> tuple[str, str, str]:
    duration = _duration(key, refusal)
    if duration is not None:
        return duration.what, duration.code, duration.hint
    if key == "name":
        near = re.sub(r"[^a-z0-9]+", "-", str(value).lower()[:200]).strip("-")[:63]
        hint = "1 to 63 of a-z, 0-9 and -, beginning with a letter or digit"
        hint = f"{hint}; for example {near}" if near else hint
        return f"{shown(value)} cannot be the name of a manifest", "bad-name", hint
    if key == "delimiter":
        return f"a delimiter is one character, not {shown(value)}", "bad-delimiter", "or `tab`"
    if key == "max_result_bytes":
        what = f"{key} is {shown(value)}, which is not a size"
        return what, "bad-size", "a number of bytes, or 500MB, 2GB, 1GiB"
    return f"{key} is {shown(value)}, which does not fit {refusal.wanted}", "refused", ""


def _wanted(path: tuple[str | int, ...], refusal: Refusal) -> str:
    """Return what a value should have been, for "takes …, not …"."""
    key = path[-1] if path else ""
    schema = refusal.schema if isinstance(refusal.schema, Mapping) else {}
    types = refusal.wanted if isinstance(refusal.wanted, list) else [refusal.wanted]
    if refusal.keyword == "const" and refusal.wanted == "auto":
        return "a whole number or auto" if key == "in_flight" else "a number or auto"
    if types == ["string", "number", "boolean", "null"]:
        return "text, a number or true/false"
    if types == ["array"]:
        return _LISTS.get(str(key), "a list of values")
    if types == ["string", "object"]:
        return "the name of a file, {file: …}, or {glob: …}"
    auto = " or auto" if schema.get("default") == "auto" else ""
    names = {
        "object": "a mapping",
        "string": "text",
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
    }
    return names.get(types[0], str(types[0])) + auto


_NO_BLANK_BEHIND: Final = re.compile(r"[A-Za-z_]+:\S")


def _wrong_type(path: tuple[str | int, ...], value: object, wanted: str) -> _Words:
    if not path:
        hint = "begin with `version: 1`; `rivya-batch init` writes an example"
        return _Words(f"a manifest is a mapping, not {said(value)}", "wrong-type", hint)
    key, above = path[-1], path[-2] if len(path) > 1 else ""
    if isinstance(key, int):
        return _wrong_item(str(above), str(path[-3]) if len(path) > 2 else "", value)
    hint = _LIST_HINTS.get(key, "")
    if key == "jobs" and isinstance(value, str) and holds_rows(value):
        hint = (
            f"one job is made for each row by `rows:` in a job; `rivya-batch init --from {value}` writes it"
        )
    if wanted == "a mapping":
        example = f"write {_EXAMPLES[key]}" if key in _EXAMPLES else "write a key and a value under it"
        hint = "remove the key, or write something under it" if value is None else example
    elif key == "prompt" and isinstance(value, list):
        hint = 'for a job of each write `matrix: {text: […]}`, `prompt: "${text}"`, and ${text} in the id'
    elif wanted == "a list of files" and isinstance(value, str):
        hint = f"write a list: [{value}]"
    elif wanted == "a list of values" and value is not None and not isinstance(value, dict | list):
        hint = f"write a list: [{shown(value)}]"
    return _Words(
        f"{key} takes {wanted}, not {said(value)}", "wrong-type", hint or _quoting_hint(value, wanted)
    )


def _wrong_item(key: str, above: str, value: object) -> _Words:
    """Return the words for an item of a list, by the key the list stands under."""
    if key == "references":
        return _Words(f"a reference is the path of a file, not {said(value)}", "wrong-type")
    if key == "jobs":
        hint = "begin it with `- id:`"
        if isinstance(value, str) and _NO_BLANK_BEHIND.match(value):
            hint = "put a space behind each colon: `- id: …`"
        elif isinstance(value, str):
            hint = "begin it with `- id:`; for one prompt a line write `rows: prompts.txt` in a job"
        return _Words(f"a job is a mapping, not {said(value)}", "wrong-type", hint)
    if key in ("exclude", "include"):
        return _Words(f"a combination is a mapping from axis to value, not {said(value)}", "wrong-type")
    if above == "prices":
        return _Words(f"a price is {{params: …, credits: …}}, not {said(value)}", "wrong-type")
    what = f"a value of the axis {key} is {said(value)}; it must be text, a number or true/false"
    return _Words(what, "wrong-type")


def _range(schema: Any) -> str:
    low, above, high = schema.get("minimum"), schema.get("exclusiveMinimum"), schema.get("maximum")
    if high is not None:
        return (
            f"{number_text(low)} to {number_text(high)}" if low is not None else f"up to {number_text(high)}"
        )
    if above is not None:
        return f"more than {number_text(above)}"
    whole = "integer" in schema.get("type", ()) or low == 1
    return f"{'a whole number' if whole else 'a number'} from {number_text(low)}"


def _quoting_hint(value: object, wanted: str) -> str:
    """Return the hint that quotes would help, or that they are too many."""
    if wanted.startswith("text"):
        if isinstance(value, bool | int | float):
            return f'put it in quotes: "{shown(value)}"'
        if value is None:
            return "remove the key, or write the text after it; one that begins with `#` needs quotes"
        return "a text that begins with a bracket needs quotes; a placeholder is written ${name}"
    if "number" in wanted and isinstance(value, str) and _NUMBER.fullmatch(value):
        return f"write it without quotes: {value}"
    if "number" in wanted and isinstance(value, str) and (alone := number_alone(value)) is not None:
        return f"write the number alone: {alone}"
    return ""
