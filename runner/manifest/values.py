"""Values of params, compiled: placeholders anywhere inside them are filled in for each job."""

from __future__ import annotations

from typing import Any

from runner.manifest.findings import Findings, Spot
from runner.manifest.placeholders import Scope, Template, compile_template
from runner.manifest.texts import Text, WrittenValue, compiled
from runner.manifest.yaml_tree import YamlList, YamlMap
from runner.model import Json


class Value:
    """A value that may hold placeholders at any depth."""

    __slots__ = ("_tree", "key_spot", "spot", "text", "texts")

    def __init__(self, tree: Any, written: WrittenValue, texts: list[Text], text: Text | None = None) -> None:
        self._tree = tree
        self.spot = written.spot
        self.key_spot = written.key_spot
        self.texts = texts  # those with placeholders
        self.text = texts[0] if type(tree) is Template else text  # where it is a text and no more

    def render(self, scope: Scope) -> Json:
        """Return the value filled in. A blank or null value of a lone placeholder is None.

        Raises:
            BadPlaceholder: A placeholder has no value here.
        """
        tree = self._tree
        if type(tree) is Template and tree.whole:
            value: Json = tree.render(scope)
            return None if type(value) is str and not value.strip() else value
        filled: Json = _render(tree, scope)
        return filled


def compile_value(written: WrittenValue, findings: Findings) -> Value | None:
    """Return a compiled value; None, and findings, where a placeholder in it cannot be read."""
    texts: list[Text] = []
    before = findings.reported
    tree = _compile(written.value, written.spot, findings, texts)
    if findings.reported != before:
        return None
    constant = None
    if type(written.value) is str and not texts:
        constant = Text(template=compile_template(written.value), spot=written.spot)
    return Value(tree, written, texts, constant)


def _compile(value: Any, spot: Spot, findings: Findings, texts: list[Text]) -> Any:
    if isinstance(value, str):
        text = compiled(value, spot, findings)
        if text is None:
            return value
        if text.template.constant:
            return text.template.render({})
        texts.append(text)
        return text.template
    if isinstance(value, YamlList):
        return [
            _compile(item, spot.inside(value.item_at(index), index), findings, texts)
            for index, item in enumerate(value)
        ]
    if isinstance(value, YamlMap):
        return {
            key: _compile(item, spot.inside(value.value_at(key), key), findings, texts)
            for key, item in value.items()
        }
    return value


def _render(tree: Any, scope: Scope) -> Any:
    kind = type(tree)
    if kind is Template:
        return tree.render(scope)
    if kind is list:
        return [_render(item, scope) for item in tree]
    if kind is dict:
        return {key: _render(item, scope) for key, item in tree.items()}
    return tree
