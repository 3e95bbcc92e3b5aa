"""`${path | filter}` placeholders: compiled once, filled in often, never executed.

`${brand}` is a variable or a matrix axis, `${row.sku}` a column, `${row.sku | slug}` a column with a
filter. `$${` is a literal `${`. A text that is one placeholder and nothing else keeps the type of
its value; inside other text a value becomes text.

Filters, in the order written:

- `slug`: lower case, letters and digits of any script and `_` kept, all else becomes one `-`
- `lower`, `upper`, `trim`: what they say
- `truncate(n)`: at most n characters
- `fit`, `fit(n)`: at most 160 (or n) bytes, cut between characters as people see them; what is cut ends in eight letters
  or digits made from the whole text, so that two texts that begin alike stay two
- `default('x')`: this where the value is null, empty, or a column that a JSON row does not have
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from runner.contract.graphemes import graphemes
from runner.contract.phrases import differences_of, listed, number_text, shown, suggest

FITTING: Final = (
    160  # bytes: file systems take 255, and a prefix, a take and an extension have to fit as well
)
_MARK: Final = 8
LEAST_FIT: Final = 16
Scope: TypeAlias = Mapping[str, Any]  # {"brand": "Acme", "row": {"sku": "a-1"}, "take": 2}


class BadPlaceholder(ValueError):
    """A placeholder cannot be read or filled in.

    Args:
        what: What is wrong.
        code: A stable kebab-case name, such as `unknown-name`.
        hint: What to write instead; may be empty.
        offset: Where in the text the placeholder begins, from 0.
        column: The column of a row that is missing or unfit; empty for anything else.
    """

    def __init__(self, what: str, *, code: str, hint: str = "", offset: int = 0, column: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.code = code
        self.hint = hint
        self.offset = offset
        self.column = column


class _Missing:
    """The value of a column that a row does not have."""


_MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """One placeholder: a name, what follows its first dot, and filters."""

    head: str
    rest: str
    filters: tuple[Callable[[Any], Any], ...]
    offset: int

    @property
    def path(self) -> str:
        """The path as written, without filters."""
        return f"{self.head}.{self.rest}" if self.rest else self.head

    def value(self, scope: Scope) -> Any:
        """Return the value in this scope, filters applied; raise `BadPlaceholder` where there is none."""
        value = scope.get(self.head, _MISSING)
        if self.rest:
            value = value.get(self.rest, _MISSING) if type(value) is dict else _descend(value, self.rest)
            if value is _MISSING and "." in self.rest:
                value = _descend(scope.get(self.head), self.rest)
        if self.filters:
            try:
                for apply in self.filters:
                    value = apply(value)
            except BadPlaceholder as exc:
                raise self._bad(exc.what, exc.code) from None
        if value is _MISSING:
            raise self._missing(scope)
        return value

    def text(self, scope: Scope) -> str:
        """Return the value as it stands inside other text."""
        value = self.value(scope)
        if type(value) is str:
            return value
        try:
            return as_text(value)
        except BadPlaceholder as exc:
            raise self._bad(exc.what, exc.code) from None

    def _bad(self, what: str, code: str) -> BadPlaceholder:
        column = self.rest if self.head == "row" else ""
        return BadPlaceholder(f"`${{{self.path}}}` {what}", code=code, offset=self.offset, column=column)

    def _missing(self, scope: Scope) -> BadPlaceholder:
        group = scope.get(self.head)
        names = [name for name in group if isinstance(name, str)] if isinstance(group, Mapping) else []
        problem = _unknown(self, names if self.rest else list(scope))
        problem.column = ""  # it is not there, so it has no place
        return problem


class Template:
    """A compiled text."""

    __slots__ = ("_parts", "expressions", "fixed", "text", "whole")

    def __init__(self, text: str, parts: tuple[str | Expression, ...]) -> None:
        self.text = text
        self._parts = parts
        self.expressions = tuple(part for part in parts if not isinstance(part, str))
        self.fixed = sum(len(part) for part in parts if isinstance(part, str))  # characters
        self.whole = len(parts) == 1 and not isinstance(parts[0], str)

    @property
    def constant(self) -> bool:
        """Whether nothing is left to fill in."""
        return not self.expressions

    def uses(self, head: str) -> bool:
        """Return whether a placeholder begins with this name."""
        return any(expression.head == head for expression in self.expressions)

    def render(self, scope: Scope) -> Any:
        """Return the text filled in; the value itself when the text is one placeholder.

        Raises:
            BadPlaceholder: A name has no value here, or one that cannot stand in text.
        """
        parts = self._parts
        if self.whole:
            return parts[0].value(scope)  # type: ignore[union-attr]  # `whole` says it is an Expression
        return "".join([part if type(part) is str else part.text(scope) for part in parts])  # type: ignore[union-attr]  # only str and Expression

    def render_text(self, scope: Scope) -> str:
        """Return the text filled in, as text also when it is one placeholder (null becomes empty).

        Raises:
            BadPlaceholder: A name has no value here, or one that cannot stand in text.
        """
        if self.whole:
            return self._parts[0].text(scope)  # type: ignore[union-attr]  # `whole` says it is an Expression
        return "".join([part if type(part) is str else part.text(scope) for part in self._parts])  # type: ignore[union-attr]  # only str and Expression

    def unknown(
        self, names: Collection[str], groups: Mapping[str, Collection[str] | None]
    ) -> list[BadPlaceholder]:
        """Return what is wrong with the names, before there are any values.

        Args:
            names: Bare names in scope, such as `brand`, `take`.
            groups: Names that are followed by a dot, with what may follow; None where that is
                known only later (`{"row": ["sku", "text"], "params": None}`).
        """
        problems = []
        for expression in self.expressions:
            inside = groups.get(expression.head)
            if expression.head in groups:
                if not expression.rest:
                    problems.append(_needs_rest(expression, inside))
                elif inside is not None and not _is_inside(expression.rest, inside):
                    problems.append(_unknown(expression, inside))
            elif expression.head not in names or expression.rest:
                every = [*names, *(f"{group}.…" for group in groups)]
                problems.append(_unknown_head(expression, every, groups))
        return problems


def compile_template(text: str) -> Template:
    """Return the text, ready to be filled in.

    >>> compile_template("a ${row.name | slug}").render({"row": {"name": "Red Fox"}})
    'a red-fox'
    >>> compile_template("${seconds}").render({"seconds": 6})
    6

    Raises:
        BadPlaceholder: A placeholder is not closed, empty, or names a filter that does not exist.
    """
    if "${" not in text:
        return Template(text, (text,))
    parts: list[str | Expression] = []
    literal = ""
    position = 0
    while match := _OPENING.search(text, position):
        dollars = match.end() - match.start() - 1
        literal += text[position : match.start()] + "$" * (dollars // 2)
        if dollars % 2 == 0:
            literal += "{"
            position = match.end()
            continue
        position = _end(text, match.end())
        if literal:
            parts.append(literal)
            literal = ""
        parts.append(_expression(text[match.end() : position - 1], match.end() - 2))
    literal += text[position:]
    if literal or not parts:
        parts.append(literal)
    return Template(text, tuple(parts))


def as_text(value: Any) -> str:
    """Return a value as text: numbers as people write them, null as nothing.

    Raises:
        BadPlaceholder: The value is a list or a mapping.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_text(value)
    what = f"is {shown(value)}, which cannot stand inside text"
    raise BadPlaceholder(what, code="not-text")


def slug(text: str) -> str:
    """Return text made fit for ids and file names: `Red Fox, no. 5` becomes `red-fox-no-5`.

    Letters, marks and digits of any script and `_` stay; everything else becomes a single `-`.
    """
    if text.isascii():
        return _NOT_SLUG.sub("-", text.lower()).strip("-")
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).lower())
    kept = [
        char
        if char == "_" or (category := unicodedata.category(char))[0] in "LM" or category == "Nd"
        else "-"
        for char in folded
        if unicodedata.category(char) != "Cf"  # invisible joiners and direction marks
    ]
    return _DASHES.sub("-", "".join(kept)).strip("-")


def fit(text: str, most: int = FITTING) -> str:
    """Return a text of at most so many bytes of UTF-8: as it is, or cut and marked with a hash of the whole.

    >>> fit("a red fox in the snow", 16)
    'a red f-b9c4c406'
    """
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= most:
        return text
    mark = hashlib.sha256(data).hexdigest()[:_MARK]
    room, size, end = most - _MARK - 1, 0, 0
    for start, stop in graphemes(text):
        size += len(text[start:stop].encode("utf-8", "surrogatepass"))
        if size > room:
            break
        end = stop
    kept = text[:end].rstrip(" -_.")
    return f"{kept}-{mark}" if kept else mark


_LONGEST = 500  # characters of one placeholder
_OPENING = re.compile(r"\$+\{")
_NOT_SLUG = re.compile(r"[^a-z0-9_]+")
_DASHES = re.compile(r"-{2,}")
_FILTER = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\((.*)\))?\s*", re.DOTALL)
_QUOTED = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)")\s*""")


def _end(text: str, start: int) -> int:
    """Return the position after the `}` that closes what was opened before `start`; quotes hide it."""
    quote = ""
    filters = False
    for position in range(start, min(len(text), start + _LONGEST)):
        char = text[position]
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"" and filters:  # an apostrophe in a column name is no quote
            quote = char
        elif char == "|":
            filters = True
        elif char == "}":
            return position + 1
        elif char == "\n":
            break
    what = "a placeholder is opened with `${` and not closed"
    raise BadPlaceholder(what, code="bad-placeholder", hint="write $${ for a literal ${", offset=start - 2)


def _expression(inside: str, offset: int) -> Expression:
    path, *filters = _split(inside)
    path = path.strip()
    if not path:
        hint = "write a name, such as ${row.sku}, or $${ for a literal ${"
        raise BadPlaceholder("a placeholder is empty", code="bad-placeholder", hint=hint, offset=offset)
    head, _, rest = path.partition(".")
    return Expression(
        head=head.strip(),
        rest=rest.strip(),
        filters=tuple(_filter(text, offset) for text in filters),
        offset=offset,
    )


def _split(inside: str) -> list[str]:
    pieces = [""]
    quote = ""
    for char in inside:
        if quote:
            quote = "" if char == quote else quote
        elif char == "|":
            pieces.append("")
            continue
        elif char in "'\"" and len(pieces) > 1:
            quote = char
        pieces[-1] += char
    return pieces


def _filter(text: str, offset: int) -> Callable[[Any], Any]:
    match = _FILTER.fullmatch(text)
    name, argument = (match[1], match[2]) if match else (text.strip(), None)
    if name in _SIMPLE and argument is None:
        return _over_text(_SIMPLE[name])
    if name == "truncate" and argument is not None and argument.strip().isdecimal() and int(argument[:9]) > 0:
        limit = int(argument[:9])
        return _over_text(lambda value: value[:limit].rstrip())
    if name == "fit":
        if argument is None:
            return _over_text(fit)
        if argument.strip().isdecimal() and int(argument[:9]) >= LEAST_FIT:
            most = int(argument[:9])
            return _over_text(lambda value: fit(value, most))
    if name == "default" and argument is not None:
        if quoted := _QUOTED.fullmatch(argument):
            return _default(quoted[1] if quoted[1] is not None else quoted[2])
        if argument.strip().isdecimal():
            return _default(int(argument[:18]))
    if name in _USAGE:
        what, hint = f"the filter `{name}` is not written like this", f"write `{_USAGE[name]}`"
    else:
        like = suggest(name, _USAGE)
        what = f"there is no filter {shown(name)}"
        hint = f"did you mean `{like}`?" if like else f"there are {', '.join(_USAGE.values())}"
    raise BadPlaceholder(what, code="bad-filter", hint=hint, offset=offset)


def _over_text(function: Callable[[str], str]) -> Callable[[Any], Any]:
    def apply(value: Any) -> Any:
        if type(value) is str:
            return function(value)
        return value if value is _MISSING else function(as_text(value))

    return apply


def _default(instead: str | int) -> Callable[[Any], Any]:
    def apply(value: Any) -> Any:
        return instead if value is _MISSING or value is None or value == "" else value

    return apply


_SIMPLE: Final[Mapping[str, Callable[[str], str]]] = {
    "slug": slug,
    "lower": str.lower,
    "upper": str.upper,
    "trim": str.strip,
}
_USAGE: Final = {
    **{name: name for name in _SIMPLE},
    "truncate": "truncate(40)",
    "fit": "fit(60)",
    "default": "default('x')",
}


def _descend(value: Any, rest: str) -> Any:
    """Return what `rest` names inside a mapping: a key as it is, else step by step at the dots."""
    if type(value) is not dict and not isinstance(value, Mapping):
        return _MISSING
    found = value.get(rest, _MISSING)
    if found is _MISSING and "." in rest:
        head, _, tail = rest.partition(".")
        return _descend(value.get(head.strip()), tail.strip())
    return found


# What a name that is not always there comes from.
_FROM: Final = {"row": "rows: file.csv", "file": 'rows: {glob: "assets/*.png"}', "take": "repeat: 3"}


def _is_inside(rest: str, inside: Collection[str]) -> bool:
    return rest in inside or rest.partition(".")[0].strip() in inside


def _needs_rest(expression: Expression, inside: Collection[str] | None) -> BadPlaceholder:
    example = next(iter(inside), "name") if inside is not None else "name"
    what = f"`${{{expression.head}}}` does not say which part"
    hint = f"write ${{{expression.head}.{example}}}"
    return BadPlaceholder(what, code="unknown-name", hint=hint, offset=expression.offset)


def _unknown(expression: Expression, inside: Collection[str]) -> BadPlaceholder:
    like = suggest(expression.rest, inside)
    noun = "column" if expression.head == "row" else "name"
    what = f"there is no {noun} {shown(expression.rest or expression.head)} here"
    there = f"there are {listed([*inside])}" if inside else "there are none"
    hint = f"did you mean ${{{expression.head}.{like}}}? {there}" if like else there
    if like and (
        differences := [each for each in differences_of(expression.rest, like) if "capital" not in each]
    ):
        hint = f"did you mean ${{{expression.head}.{like}}}? It differs {' and '.join(differences)}"
    return BadPlaceholder(what, code="unknown-name", hint=hint, offset=expression.offset)


def _unknown_head(
    expression: Expression, every: list[str], groups: Mapping[str, Collection[str] | None]
) -> BadPlaceholder:
    what = f"there is no name {shown(expression.path)} here"
    for group, inside in groups.items():
        if not expression.rest and inside is not None and expression.head in inside:
            hint = f"did you mean ${{{group}.{expression.head}}}?"
            return BadPlaceholder(what, code="unknown-name", hint=hint, offset=expression.offset)
    if expression.head in _FROM and expression.head not in groups:
        hint = f"${{{expression.path}}} comes with `{_FROM[expression.head]}`, which this job does not have"
        return BadPlaceholder(what, code="unknown-name", hint=hint, offset=expression.offset)
    like = suggest(expression.head, [name for name in every if not name.endswith(".…")] + list(groups))
    there = f"there are {listed(every)}" if every else "there are none here (see `vars`, `matrix`, `rows`)"
    if like is None:
        hint = there
    elif like in groups:
        hint = f"did you mean ${{{like}.{expression.rest or '…'}}}? {there}"
    else:
        hint = f"did you mean ${{{like}}}? {there}"
    return BadPlaceholder(what, code="unknown-name", hint=hint, offset=expression.offset)
