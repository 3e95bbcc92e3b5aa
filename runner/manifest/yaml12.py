"""YAML as people mean it: the core schema of YAML 1.2, with a place for every key and value.

PyYAML's own constructors follow YAML 1.1, where `16:9` is 969 and `no` is false, keep the last of two
equal keys, and die or never end on hostile input. So only its event stream is used here; what an
event means, and how much of it there may be, is decided below. Everything wrong becomes a
`Problem`; nothing raises.

Where the parser behind it still follows YAML 1.1, or refuses what 1.2 allows, `yaml_text` helps; most manifests never
ask it, so it is imported when one does.

What is text: whatever is quoted, and every plain scalar that `yaml_scalars` leaves as it is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import yaml

from runner.manifest.yaml_scalars import plain_value
from runner.manifest.yaml_syntax import (
    NO_BLANK,
    NO_BLANK_HINT,
    TAB,
    TAB_HINT,
    CommentCheck,
    CutTexts,
    cut_anchor,
    plain_words,
)
from runner.manifest.yaml_tree import At, YamlDocument, YamlList, YamlMap
from runner.model import Place, Problem

if TYPE_CHECKING:
    from runner.manifest.yaml_text import Fitted

MAX_BYTES = 64_000_000
MAX_DEPTH = 64
MAX_ALIASED = 10_000  # values that may come from aliases, counted as if written out
MAX_MERGED = 300_000  # values that may come from merge keys, counted as if written out
MAX_VALUES = 5_000_000
MAX_PROBLEMS = 200

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
_UNPRINTABLE_ASCII = re.compile("[^\t\n\r\x20-\x7e]")  # the other one takes 3 ms to compile
_LINE_BREAKS = {"\x85": '"\\N"', "\u2028": '"\\L"', "\u2029": '"\\P"'}  # to YAML 1.1; and their escapes
_FLOW_QUESTION = re.compile(r"[\[{,]\s*\?[^\s,\]}]")
_INDENTED_BY_TAB = re.compile(r" *\t")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def decode(data: bytes, *, file: str) -> str | Problem:
    """Return the text of UTF-8 bytes (with or without a byte order mark), or what is wrong with them."""
    start = Place(file=file, line=1, column=1)
    if len(data) > MAX_BYTES:
        what = (
            f"the file is {len(data) / 1e6:.0f} MB; at most {MAX_BYTES / 1e6:.0f} MB are read as one document"
        )
        hint = "keep the rows in a .csv or .jsonl file, which may be of any size"
        return Problem(place=start, what=what, hint=hint, code="too-large")
    if data.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
        hint = "save it as UTF-8"
        return Problem(
            place=start, what="the file is not UTF-8 but UTF-16 or UTF-32", hint=hint, code="not-utf8"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line_start = data.rfind(b"\n", 0, exc.start) + 1
        before = data[line_start : exc.start].decode("utf-8", "replace")
        end = data.find(b"\n", exc.start)
        source = data[line_start : len(data) if end < 0 else end].decode("utf-8", "replace")
        place = Place(file=file, line=data.count(b"\n", 0, exc.start) + 1, column=len(before) + 1)
        what = f"this is not UTF-8 text (byte 0x{data[exc.start]:02x})"
        return Problem(
            place=place, what=what, hint="save the file as UTF-8", code="not-utf8", source=source.rstrip("\r")
        )


def read_yaml(text: str, *, file: str) -> YamlDocument:
    """Read one YAML document.

    Args:
        text: The whole text; a leading byte order mark is dropped.
        file: Name to show in problems.

    Returns:
        The tree and the problems. Merge keys (`<<`) are merged: the keys of the mapping itself win, then
        those of the earlier mapping in a list. Duplicate keys, tags and keys that are not text are
        reported and skipped; syntax errors, and more depth, aliases or values than any manifest
        needs, end the reading.
    """
    text = text.removeprefix("\ufeff")
    reader = _Reader(text, file)
    document = reader.read()
    if reader.may_be_fitted:
        from runner.manifest.yaml_text import fitted

        if (other := fitted(text, dashes=reader.at_dash)) is not None:
            return _Reader(text, file, other).read()
    return document if reader.odd_indent is None else _read_indented(text, file, document, reader.odd_indent)


def _read_indented(text: str, file: str, document: YamlDocument, first: Problem) -> YamlDocument:
    """Return what a text says that is indented with blanks that are none: one problem for all, and no other for them."""
    from runner.manifest.yaml_text import ordinary_indents

    meant, lines = ordinary_indents(text)
    again = _Reader(meant, file).read()
    if not again.complete or any(problem.code == first.code for problem in again.problems):
        return document  # they stand for something else
    others = f" (and in {lines - 1:,} other line{'s' if lines > 2 else ''})" if lines > 1 else ""
    first = replace(first, what=f"{first.what}{others}")
    return replace(again, problems=(first, *again.problems))


class _Stop(Exception):
    """Reading cannot go on; the reason is already among the problems."""


@dataclass(slots=True)
class _Anchor:
    """A finished value that an alias may repeat. Not frozen: one is made per anchor, in the hot path."""

    value: Any
    values: int
    height: int


class _Frame:
    """An open mapping or list."""

    __slots__ = ("anchor", "count", "height", "key", "key_at", "merged", "merging", "node", "skip_value")

    def __init__(self, node: YamlMap | YamlList, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: str | None = None
        self.key_at: At = (1, 1)
        self.skip_value = False  # the key was refused, so its value goes nowhere
        self.merging = False  # the key is `<<`, and its value is still to come
        self.merged: list[YamlMap] | None = None  # what `<<` brought
        self.count = 1  # values inside, as if every alias were written out
        self.height = 1


_NO_KEY = object()


class _Reader:
    """Builds the tree from events; holds the budget of depth, aliases and values."""

    def __init__(self, text: str, file: str, instead: Fitted | None = None) -> None:
        self.text = text
        self.file = file
        self.instead = instead  # what is parsed in the place of the text
        self.may_be_fitted = False  # the text was refused for something that `fitted` may help with
        self.odd_indent: Problem | None = None  # the first line that is indented with something like a blank
        self.at_dash = False  # it was refused for a tab behind a dash
        self.suspects = self.questions = self.halves = False  # whether each scalar needs a look
        self.lines: list[str] | None = None
        self.problems: list[Problem] = []
        self.frames: list[_Frame] = []
        self.cut = CutTexts(text, self._line)
        self.anchors: dict[str, _Anchor | None] = {}  # None while the value is still open
        self.aliased = 0
        self.merged = 0
        self.values = 0
        self.root: Any = None
        self.root_at: At = (1, 1)

    def read(self) -> YamlDocument:
        complete = True
        try:
            self._refuse_unprintable()
            self.suspects = not self.text.isascii() and self._has_suspects()
            self.questions = "?" in self.text and _FLOW_QUESTION.search(self.text) is not None
            self.halves = "\\" in self.text and _HALF.search(self.text) is not None
            self._consume(yaml.parse(self.instead.text if self.instead else self.text, Loader=_LOADER))
        except _Stop:
            complete = False
        except yaml.MarkedYAMLError as exc:
            complete = False
            self._syntax(exc)
        except (yaml.YAMLError, UnicodeError, RecursionError, ValueError) as exc:
            complete = False
            self._problem((1, 1), f"this is not YAML ({type(exc).__name__})", "yaml-syntax")
        return YamlDocument(
            value=self.root,
            at=self.root_at,
            problems=(*self.problems, *self.cut.problems(self.file)),
            complete=complete,
        )

    def _has_suspects(self) -> bool:
        from runner.manifest.yaml_text import SUSPECTS

        return SUSPECTS.search(self.text) is not None

    def _refuse_unprintable(self) -> None:
        if len(self.text) > MAX_BYTES:
            self._stop(
                (1, 1), "the document is too large", "too-large", "keep the rows in a .csv or .jsonl file"
            )
        unprintable = _UNPRINTABLE_ASCII if self.text.isascii() else re.compile(_UNPRINTABLE)
        if found := unprintable.search(self.text):
            from runner.manifest.yaml_text import lines_of

            before = lines_of(self.text[: found.start()] + ".")
            at = (len(before), len(before[-1]))
            if escape := _LINE_BREAKS.get(found[0]):
                what = f"there is an invisible line break here (U+{ord(found[0]):04X})"
                hint = f"delete it, or write it as an escape in double quotes ({escape})"
                self._stop(at, what, "odd-line-break", hint)
            what = f"there is an invisible control character here (U+{ord(found[0]):04X})"
            code = ord(found[0])
            escape = f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}"
            hint = f'delete it, or write it as an escape in double quotes ("{escape}")'
            self._stop(at, what, "control-character", hint)

    def _consume(self, events: Iterator[Any]) -> None:
        documents = 0
        comments = CommentCheck(self.text)
        for event in events:
            kind = type(event)
            if comments.needed and (found := comments.look(event)):
                self._problem(found, NO_BLANK, "comment-without-space", NO_BLANK_HINT)
            if kind is yaml.ScalarEvent:
                self._scalar(event)
            elif kind is yaml.MappingStartEvent:
                self._open(YamlMap(_at(event)), event)
            elif kind is yaml.SequenceStartEvent:
                self._open(YamlList(_at(event)), event)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._close()
            elif kind is yaml.AliasEvent:
                self._alias(event)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    what = "a second document begins here"
                    self._stop(
                        _at(event), what, "many-documents", "one file holds one manifest; remove the `---`"
                    )
        if not documents:
            self._problem((1, 1), "the file is empty", "empty-file")

    def _scalar(self, event: Any) -> None:
        tag = event.tag
        at = (event.start_mark.line + 1, event.start_mark.column + 1)
        if tag is not None:
            self._tag(tag, at)
        text, style = event.value, event.style  # the style of a plain scalar is empty
        if self.instead is not None:
            text = self._restored(text, style, at)
        if self.halves and style == '"' and not _is_text(text):
            self._half_character(at)
        value = text if style else plain_value(text)
        if self.suspects and not style and (meant := self._slip(text, event, at)) is not None:
            value = plain_value(meant)
        if event.anchor is not None:
            self._anchor(event, at)
            self.anchors[event.anchor] = _Anchor(value, 1, 0)
        frame = self.frames[-1] if self.frames else None
        if not style and (event.anchor is not None or self.cut.suspects):
            self.cut.look(event, frame.key if frame is not None else None)
        if frame is not None and type(frame.node) is YamlMap and not frame.skip_value and frame.key is None:
            self._key(frame, value, text, style, at)
        else:
            self._put(value, at, 1, 0)

    def _restored(self, text: str, style: str, at: At) -> str:
        """Return what a scalar says in the text as it was written."""
        assert self.instead is not None
        found = self.instead.restored(text, style)
        if found is None:
            below = range(at[0], at[0] + 1000)
            number = next((n for n in below if _INDENTED_BY_TAB.match(self._line(n))), at[0])
            self._stop((number, 1), TAB, "yaml-syntax", TAB_HINT)
        return found

    def _half_character(self, at: At) -> NoReturn:
        found = _HALF.search(self._line(at[0]), at[1] - 1)
        at = (at[0], found.start() + 1) if found else at
        self._stop(at, _HALF_CHARACTER, "lone-surrogate", _HALF_HINT)

    def _slip(self, text: str, event: Any, at: At) -> str | None:
        """Report what a plain scalar has in the place of a blank, a colon or a quote; return what was meant."""
        frame = self.frames[-1] if self.frames else None
        if frame is None or type(frame.node) is YamlList:
            role: Literal["key", "value", "alone"] = "alone"
        elif frame.skip_value:
            return None
        elif frame.key is None:
            role = "key"
        else:
            role = "value" if frame.key_at[0] == at[0] else "alone"
        from runner.manifest.yaml_text import slip_of

        slip = slip_of(text, role=role, in_brackets=frame is not None and self._is_in_brackets(at))
        if slip is None:
            return None
        self._problem((at[0], at[1] + slip.offset), slip.what, slip.code, slip.hint)
        self._note_indent()
        return slip.meant

    def _note_indent(self) -> None:
        """Note the last problem, where it is the first about what a line is indented with."""
        last = self.problems[-1]
        if (
            last.code == "odd-blank"
            and not last.source[: last.place.column].strip()
            and self.odd_indent is None
        ):
            self.odd_indent = last

    def _is_in_brackets(self, at: At) -> bool:
        """Return whether the collection that is open began with a bracket."""
        began = self.frames[-1].node.at
        return self._char(began) in ("[", "{")

    def _key(self, frame: _Frame, value: Any, spelled: str, style: str, at: At) -> None:
        node = frame.node
        assert isinstance(node, YamlMap)
        if type(value) is not str:
            what = f"the key `{spelled}` is not text" if spelled else "a key is missing before the colon"
            self._problem(at, what, "key-not-text", f'put it in quotes: "{spelled}"' if spelled else "")
            frame.skip_value = True
            return
        if self.questions and self._line(at[0])[at[1] - 2 : at[1] - 1] == "?":
            # To YAML 1.2 it is a part of the key, to the parser it is none.
            hint = f'remove the `?`, or put the key in quotes: "?{_short(value)}"'
            self._problem(
                (at[0], at[1] - 1), f"a `?` stands before the key `{_short(value)}`", "key-question", hint
            )
        if value == "<<" and not style:
            if frame.merged is not None:
                hint = "write one list: `<<: [*one, *other]`; the earlier one wins"
                self._problem(at, "the key `<<` is here twice", "duplicate-key", hint)
                frame.skip_value = True
                return
            frame.key, frame.key_at = value, at
            frame.merging, frame.merged = True, []
        elif value in node:
            line = node.key_at(value)[0]
            what = f"the key `{_short(value)}` is here twice (first on line {line})"
            self._problem(at, what, "duplicate-key", "keep one of them", self._path(value))
            frame.skip_value = True
        else:
            frame.key = sys.intern(value)
            frame.key_at = at

    def _open(self, node: YamlMap | YamlList, event: Any) -> None:
        if event.tag is not None:
            self._tag(event.tag, node.at)
        if event.anchor is not None:
            self._anchor(event, node.at)
        if self.frames:
            frame = self.frames[-1]
            if type(frame.node) is YamlMap and not frame.skip_value and frame.key is None:
                what = "a key is a list or a mapping"
                hint = 'keys are plain text; a placeholder is written "${name}", in quotes'
                self._problem(node.at, what, "key-not-text", hint)
                # What follows until the end of this key is read into a node that nobody keeps.
                frame.key = None
                node_frame = _Frame(node, event.anchor)
                node_frame.key_at = node.at
                self._push(node_frame, node.at)
                frame.skip_value = True
                frame.key_at = (-1, -1)  # marks: the key itself is still open
                return
        self._push(_Frame(node, event.anchor), node.at)

    def _push(self, frame: _Frame, at: At) -> None:
        if len(self.frames) >= MAX_DEPTH:
            self._stop(at, f"this is nested more than {MAX_DEPTH} levels deep", "too-deep")
        if frame.anchor is not None:
            self.anchors[frame.anchor] = None
        self.frames.append(frame)

    def _close(self) -> None:
        frame = self.frames.pop()
        if frame.merged:
            self._merge(frame)
        if frame.anchor is not None:
            self.anchors[frame.anchor] = _Anchor(frame.node, frame.count, frame.height)
        self._put(frame.node, frame.node.at, frame.count, frame.height)

    def _take_merge(self, frame: _Frame, value: Any, at: At, count: int) -> None:
        """Take the value of `<<`; it is merged when the mapping ends, since the mapping's own keys win."""
        frame.key, frame.merging = None, False
        sources = value if type(value) is YamlList else [value]
        if not all(type(source) is YamlMap for source in sources):
            what = "`<<` takes a mapping, or a list of mappings"
            self._problem(
                at, what, "merge-key", "for example `<<: *wide`, where `&wide` stands before a mapping"
            )
            return
        self.merged += count
        if self.merged > MAX_MERGED:
            what = f"merge keys (`<<`) here stand for more than {MAX_MERGED:,} values"
            self._stop(at, what, "alias-bomb", "write what all jobs share at the top of the manifest")
        frame.merged = sources

    def _merge(self, frame: _Frame) -> None:
        own = frame.node
        assert isinstance(own, YamlMap)
        merged = YamlMap(own.at)
        for source in frame.merged or ():
            for key, value, key_at, value_at in source.entries():
                if key not in own and key not in merged:
                    merged.add(key, value, key_at, value_at)
        for key, value, key_at, value_at in own.entries():
            merged.add(key, value, key_at, value_at)
        frame.node = merged

    def _is_merged(self) -> bool:
        """Return whether what comes now is the value of `<<`, or in its list."""
        frames = self.frames
        return bool(frames) and (
            frames[-1].merging
            or (len(frames) > 1 and frames[-2].merging and type(frames[-1].node) is YamlList)
        )

    def _alias(self, event: Any) -> None:
        at = _at(event)
        name = event.anchor
        self.cut.repeated(name)
        anchor = self.anchors.get(name, _NO_KEY)
        if anchor is _NO_KEY:
            hint = "text that begins with `*` needs quotes"
            self._stop(at, f"`*{_short(name)}` repeats something that is not there", "unknown-alias", hint)
        if anchor is None:
            self._stop(at, f"`*{_short(name)}` contains itself", "alias-loop", "write the value out")
        assert isinstance(anchor, _Anchor)
        if not self._is_merged():  # these are counted there
            self.aliased += anchor.values
        if self.aliased > MAX_ALIASED or len(self.frames) + anchor.height > MAX_DEPTH:
            what = f"aliases (`*name`) here stand for more than {MAX_ALIASED:,} values"
            self._stop(at, what, "alias-bomb", "use `vars`, `matrix` or `rows` for what repeats")
        frame = self.frames[-1] if self.frames else None
        if frame is not None and type(frame.node) is YamlMap and not frame.skip_value and frame.key is None:
            self._problem(at, "a key is an alias (`*name`)", "key-not-text", "write the key out")
            frame.skip_value = True
        else:
            self._put(anchor.value, at, anchor.values, anchor.height)

    def _put(self, value: Any, at: At, count: int, height: int) -> None:
        self.values += 1
        if self.values > MAX_VALUES:
            self._stop(
                at,
                f"there are more than {MAX_VALUES:,} values",
                "too-large",
                "keep the rows in a .jsonl file",
            )
        if not self.frames:
            self.root, self.root_at = value, at
            return
        frame = self.frames[-1]
        frame.count += count
        if height >= frame.height:
            frame.height = height + 1
        node = frame.node
        if type(node) is YamlList:
            node.add(value, at)
        elif frame.skip_value:
            if frame.key_at == (-1, -1):
                frame.key_at = (1, 1)  # that was the refused key; its value is still to come
            else:
                frame.skip_value = False
        elif frame.merging:
            self._take_merge(frame, value, at, count)
        elif type(node) is YamlMap and frame.key is not None:
            node.add(frame.key, value, frame.key_at, at)
            frame.key = None

    def _tag(self, tag: str, at: At) -> None:
        shown = tag.replace("tag:yaml.org,2002:", "!!")
        what = f"tags (`{_short(shown)}`) are not supported"
        self._problem(at, what, "tag", "leave the tag out; quotes make text of anything")

    def _anchor(self, event: Any, at: At) -> None:
        if name := cut_anchor(self._line(at[0])[at[1] - 1 :], event.anchor):
            what = f"the name of the anchor `&{_short(name)}` has other characters than letters, digits, `-` and `_`"
            self._problem(
                at, what, "anchor-name", "give it another name; text that begins with `&` needs quotes"
            )

    def _path(self, key: str) -> str:
        path = ""
        for frame in self.frames:
            if type(frame.node) is YamlList:
                path += f"[{len(frame.node)}]"
            elif frame.key is not None:
                path += f".{frame.key}" if path else frame.key
        return f"{path}.{key}" if path else key

    def _syntax(self, exc: yaml.MarkedYAMLError) -> None:
        mark, context = exc.problem_mark, exc.context_mark
        at = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        began = (context.line + 1, context.column + 1) if context else None
        self.may_be_fitted = self.instead is None and (
            self._char(at) == "\t"
            or "tab character" in (exc.problem or "")
            or "escape" in (exc.problem or "")
        )
        self.at_dash = self._line(at[0])[: at[1] - 1].rstrip(" ").endswith("-")
        if (
            self.halves
            and "escape" in (exc.problem or "")
            and _HALF.match(self._line(at[0]), max(at[1] - 3, 0))
        ):
            self._problem((at[0], at[1] - 2), _HALF_CHARACTER, "lone-surrogate", _HALF_HINT)
            return
        if slip := self._slip_near(at, began):
            if (slip[0], slip[2]) not in [((p.place.line, p.place.column), p.code) for p in self.problems]:
                self._problem(*slip)
                self._note_indent()
            return
        what, hint, use_context = plain_words(
            exc.problem or "", exc.context or "", self._line(at[0]), at, began, before=self._line(at[0] - 1)
        )
        if began is not None and use_context:
            at = began
        elif not self._char(at) and self.frames:
            at = self.frames[-1].node.at  # the end of the text is no help; what is open there is
        from runner.manifest.yaml_text import ends_curly

        if use_context and ends_curly(self._line(at[0])):
            hint = f"a curly quote closes nothing: type a straight one, `{self._char(at)}`"
        if "${" in self._line(at[0]) and not use_context and '"' not in hint:
            hint = f'{hint}; a value with a placeholder is safest in quotes: "${{name}}"'.removeprefix("; ")
        self._problem(at, what, "yaml-syntax", hint)

    def _slip_near(self, at: At, began: At | None) -> tuple[At, str, str, str] | None:
        """Return the problem of a character that explains a syntax error: in its line, or in one before."""
        if not self.suspects:
            return None
        from runner.manifest.yaml_text import slip_in, strange_at

        if slip := strange_at(self._line(at[0]), at[1] - 1):
            return at, slip.what, slip.code, slip.hint
        before = next((n for n in range(at[0] - 1, max(at[0] - 4, 0), -1) if self._line(n).strip()), at[0])
        for number in dict.fromkeys((at[0], before, began[0] if began else at[0])):
            if slip := slip_in(self._line(number)):
                return (number, slip.offset + 1), slip.what, slip.code, slip.hint
        return None

    def _char(self, at: At) -> str:
        line = self._line(at[0])
        return line[at[1] - 1] if at[1] <= len(line) else ""

    def _line(self, number: int) -> str:
        if self.lines is None:
            from runner.manifest.yaml_text import lines_of

            self.lines = lines_of(self.text)
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def _problem(self, at: At, what: str, code: str, hint: str = "", path: str = "") -> None:
        place = Place(file=self.file, line=at[0], column=at[1])
        self.problems.append(
            Problem(place=place, what=what, hint=hint, code=code, path=path, source=self._line(at[0]))
        )
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Stop

    def _stop(self, at: At, what: str, code: str, hint: str = "") -> NoReturn:
        self._problem(at, what, code, hint)
        raise _Stop


def _at(event: Any) -> At:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_text(value: str) -> bool:
    """Return whether a text has no half characters in it."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


_HALF_CHARACTER = "there is half a character here (a lone surrogate such as `\\ud83d`)"
_HALF_HINT = "write both halves, or the character itself"
