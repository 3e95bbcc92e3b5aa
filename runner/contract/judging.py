"""Asks JSON Schema, through the library jsonschema, what it has against a document.

The one place that imports jsonschema, and only when something is judged: it takes a fifth of a second to import. What a
refusal means to a person is said elsewhere (`contract.params`, `manifest.refusals`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from runner.contract.once import OncePerObject

Schema = Mapping[str, Any]
Path = tuple[str | int, ...]

_REMEMBERED = 20_000  # values a schema has accepted
_SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One thing a schema has against a document.

    `path` leads to the value, `keyword` is what refused it (`type`, `enum`, …; empty for a schema that refuses
    everything), `wanted` the keyword's value, `schema` the schema it stands in.
    """

    path: Path
    keyword: str
    wanted: Any
    value: Any
    schema: Schema | bool


class Judge:
    """Judges documents by one JSON Schema (2020-12). Nothing is compiled before the first of them.

    Args:
        schema: The schema. Its references stay inside it.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    def refusals(self, document: Any) -> Iterator[Refusal]:
        """Yield what the schema has against a document, in the order of the schema's keywords."""
        yield from _refusals(self._validator, document)

    def refusals_by(self, name: str, document: Any) -> Iterator[Refusal]:
        """Yield what one definition of the schema (`#/$defs/…`) has against a document."""
        yield from _refusals(self._validator.evolve(schema={"$ref": f"#/$defs/{name}"}), document)

    @cached_property
    def _validator(self) -> Any:
        return _make_validator(self.schema)


def _refusals(validator: Any, document: Any) -> Iterator[Refusal]:
    for error in validator.iter_errors(document):
        yield Refusal(
            path=tuple(error.absolute_path),
            keyword=error.validator or "",
            wanted=error.validator_value,
            value=error.instance,
            schema=error.schema,
        )


def _make_validator(schema: Schema) -> Any:
    """Return jsonschema's validator with keywords that do the same at a tenth of the cost, and `anyOf`.

    A manifest has thousands of jobs that differ in little, and 52 models of which a job names one. Of an `anyOf` of
    types the refusal is about the type that the value has, not about all of them.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    inside = _Inside()
    keywords = {"properties": _Properties(inside), "allOf": _AllOf(), "anyOf": _AnyOf(), "$ref": _Ref()}
    return extend(Draft202012Validator, keywords)(schema)  # type: ignore[no-untyped-call]  # the stub lacks types


class _Inside:
    """Judges what is inside a document by a part of its schema, with one validator for each part."""

    def __init__(self) -> None:
        self._validators = OncePerObject[Any]()

    def errors(self, validator: Any, value: Any, rule: Any, key: str) -> Iterator[Any]:
        own = self._validators.get(rule, lambda: validator.evolve(schema=rule))
        for error in own.iter_errors(value):
            error.path.appendleft(key)
            yield error


class _Properties:
    """`properties`, which does not judge a plain value twice that the same schema has accepted."""

    def __init__(self, inside: _Inside) -> None:
        self._inside = inside
        self._accepted: set[object] = set()

    def __call__(self, validator: Any, properties: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if not isinstance(instance, dict):
            return
        for name, value in instance.items():
            if name not in properties:
                continue
            rule = properties[name]
            plain = _plain(value)
            key = None if plain is None else (id(rule), plain)
            if key is not None and key in self._accepted:
                continue
            refused = False
            for error in self._inside.errors(validator, value, rule, name):
                refused = True
                yield error
            if key is not None and not refused:
                if len(self._accepted) >= _REMEMBERED:
                    self._accepted.clear()
                self._accepted.add(key)


def _plain(value: Any) -> object:
    """Return what a value can be remembered by: types are part of it (1, 1.0 and True are equal to a set)."""
    if type(value) in _SCALARS:
        return type(value), value
    if isinstance(value, dict) and all(type(item) in _SCALARS for item in value.values()):
        return tuple((name, type(item), item) for name, item in value.items())
    return None


class _AllOf:
    """`allOf`, which looks up the ones that begin with "if this key is that constant" instead of trying each."""

    def __init__(self) -> None:
        self._known = OncePerObject[
            tuple[list[tuple[int, Any]], dict[str, dict[str, list[tuple[int, Any]]]]]
        ]()

    def __call__(self, validator: Any, rules: Any, instance: Any, schema: Any) -> Iterator[Any]:
        others, by_key = self._known.get(rules, lambda: _sorted_out(rules))
        for index, rule in others:
            yield from validator.descend(instance, rule, schema_path=index)
        if not isinstance(instance, dict):
            return
        for key, by_constant in by_key.items():
            value = instance.get(key)
            for index, rule in by_constant.get(value, ()) if type(value) is str else ():
                yield from validator.descend(instance, rule, schema_path=index)


def _sorted_out(
    rules: list[Any],
) -> tuple[list[tuple[int, Any]], dict[str, dict[str, list[tuple[int, Any]]]]]:
    others: list[tuple[int, Any]] = []
    by_key: dict[str, dict[str, list[tuple[int, Any]]]] = {}
    for index, rule in enumerate(rules):
        found = _constant_of(rule)
        if found is None:
            others.append((index, rule))
        else:
            by_key.setdefault(found[0], {}).setdefault(found[1], []).append((index, rule["then"]))
    return others, by_key


def _constant_of(rule: Any) -> tuple[str, str] | None:
    """Return the key and the text of `{"if": {"required": [key], "properties": {key: {"const": text}}}, "then": …}`."""
    if (
        not isinstance(rule, dict)
        or rule.keys() != {"if", "then"}
        or rule["if"].keys() != {"required", "properties"}
    ):
        return None
    properties: dict[str, Any] = rule["if"]["properties"]
    for key, wanted in properties.items():
        if rule["if"]["required"] == [*properties] == [key] and [*wanted] == ["const"]:
            return (key, wanted["const"]) if isinstance(wanted["const"], str) else None
    return None


class _AnyOf:
    """`anyOf`, which judges by the one schema of the value's type, where each schema is for one type."""

    def __init__(self) -> None:
        from jsonschema import Draft202012Validator

        self._plain: Any = Draft202012Validator.VALIDATORS["anyOf"]
        self._types = OncePerObject[list[str] | None]()

    def __call__(self, validator: Any, schemas: Any, instance: Any, schema: Any) -> Iterator[Any]:
        types = self._types.get(schemas, lambda: _types_of(schemas))
        if types is None:
            yield from self._plain(validator, schemas, instance, schema)
            return
        for index, name in enumerate(types):
            if validator.is_type(instance, name):
                yield from validator.descend(instance, schemas[index], schema_path=index)
                return
        from jsonschema import ValidationError

        message = f"{instance!r} is not of type {', '.join(types)}"
        yield ValidationError(
            message, validator="type", validator_value=types, instance=instance, schema=schema
        )


def _types_of(schemas: list[Any]) -> list[str] | None:
    """Return the type that each schema is for; None where one is for any, or two are for the same."""
    names = [schema.get("type") if isinstance(schema, dict) else None for schema in schemas]
    types = [name for name in names if isinstance(name, str)]
    distinct = {"number" if name == "integer" else name for name in types}
    return types if len(types) == len(distinct) == len(schemas) else None


class _Ref:
    """`$ref`, which looks each reference up once."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}

    def __call__(self, validator: Any, reference: str, instance: Any, schema: Any) -> Iterator[Any]:
        found = self._found.get(reference)
        if found is None:
            found = self._found[reference] = validator._resolver.lookup(reference)
        yield from validator.descend(instance, found.contents, resolver=found.resolver)
