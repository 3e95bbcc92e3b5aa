"""Reads the documentation page of one model, saved as HTML or as text, in whatever language. Pure.

What is read is what no translation touches: ids, keys, types, bounds, options, MIME types, and the two JSON examples.
Words for yes and no are learned from the page itself: `model` is required and `client_request_id` is not. A page that
was saved as text may have the cells of a table without anything between them; what then cannot be told apart is left
out, and the contract says that it has gaps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from typing import Any, Final

from runner.model import Json

_TYPES: Final = ("select", "number", "text", "string", "array", "boolean", "object")
_ROW: Final = re.compile(rf"([A-Za-z][\w.]*?)({'|'.join(_TYPES)})(.*)", re.S)
_RANGE: Final = re.compile(
    r"(?:min\s*(?P<min>-?[\d.]+))?\s*/?\s*(?:max\s*(?P<max>-?[\d.]+))?\s*/?\s*(?:step\s*(?P<step>[\d.]+))?"
)
_KIND_ROW: Final = re.compile(r"(image|video|audio)\s*([\d.]+)\s*(MB|GB)\s*(.*)", re.I)
_MIME: Final = re.compile(r"(?:image|video|audio)/[a-z0-9.+-]+")
_CATEGORIES: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("image", "इमेज", "छवि", "图像", "图片", "圖像", "圖片", "hình ảnh", "imagen", "imagem", "bild"),
        "image",
    ),
    **dict.fromkeys(("video", "वीडियो", "视频", "影片", "視頻", "vídeo", "vidéo", "動画"), "video"),
    **dict.fromkeys(("audio", "ऑडियो", "音频", "音訊", "âm thanh", "áudio", "音声"), "audio"),
}
_BLOCKS: Final = frozenset(
    {
        "p",
        "div",
        "li",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "pre",
        "tr",
        "br",
        "section",
        "dt",
        "dd",
        "table",
        "ul",
        "header",
    }
)
_NONE: Final = ("-", "–", "—", "")


def contract_of_page(text: str) -> dict[str, Json]:
    """Return the contract on a page, in the shape of the files in `schemas/contracts/`.

    Raises:
        ValueError: It is no page of a model; the text says what is missing.
    """
    lines = _lines(text)
    request, answer = _examples("\n".join(lines))
    model = str(request["model"])
    rows = list(_rows(lines))
    words = _words(rows, model)
    head = _between(lines, model, rows)
    params, sure = _params(rows, words, request.get("params"))
    kinds, max_files = _uploads(lines)
    inputs = next((found for line in head if (found := _inputs(line))), [])
    billing = next((number for number, line in enumerate(head) if line in ("FIXED", "METERED")), None)
    length = _first_number(head[billing + 1 :]) if billing is not None else None
    price = answer.get("reserved_credits")
    return {
        "id": model,
        "display_name": _title(lines, model),
        "category": next((_CATEGORIES[line.lower()] for line in head if line.lower() in _CATEGORIES), ""),
        "runtime": "async_task",
        "base_credits": price if isinstance(price, int | float) and not isinstance(price, bool) else None,
        "billing_type": head[billing] if billing is not None else None,
        "supported_modes": None,
        "max_prompt_length": length,
        "params": params,
        "api_status": "available",
        "supported_api_inputs": inputs,
        "prompt_required": _is_required(rows, "prompt", words),
        "params_required": _is_required(rows, "params", words),
        "uploads": {
            "max_files": max_files if kinds else 0 if inputs == ["text"] else None,
            "kinds": kinds,
            "notes": None,
        },
        "complete": sure and billing is not None,
        "source": f"https://rivya.ai/docs/api/models/{model}",
        "notes": None,
    }


# --- lines, rows ------------------------------------------------------------------------------------------------------


class _Page(HTMLParser):
    """Text of a page by lines; the cells of a row have tabs between them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0
        self._kept = 0

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("script", "style", "head")
        self._kept += tag == "pre"
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style", "head") and self._hidden > 0
        self._kept -= tag == "pre" and self._kept > 0
        if tag in ("td", "th"):
            self.parts.append("\t")
        elif tag in _BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data if self._kept else re.sub(r"\s+", " ", data))


def _lines(text: str) -> list[str]:
    if re.search(r"<(html|body|table|div)\b", text[:20_000], re.I):
        page = _Page()
        page.feed(text)
        page.close()
        text = "".join(page.parts)
    return [
        stripped
        for line in text.splitlines()
        if (stripped := line.strip(" \u00a0\ufeff").strip("\t").strip())
    ]


def _rows(lines: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (key, type, the cells behind), or one text of all cells where nothing is between them."""
    for line in lines:
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) > 3 and cells[1] in _TYPES and re.fullmatch(r"[A-Za-z][\w.]*", cells[0]):
            yield cells[0], cells[1], cells[2:]
        elif len(cells) == 1 and (found := _ROW.fullmatch(line)) and found[3]:
            yield found[1], found[2], [found[3]]


def _examples(text: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the smallest request and the answer to it."""
    found = [value for value in _objects(text) if isinstance(value.get("model"), str)]
    request = next((value for value in found if "status" not in value), None)
    if request is None:
        msg = "it has no example of a request: no JSON object with a `model`"
        raise ValueError(msg)
    answer = next((value for value in found if "reserved_credits" in value), {})
    return request, answer


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    decoder, at = json.JSONDecoder(), 0
    while (at := text.find("{", at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        if isinstance(value, dict):
            yield value


def _words(rows: Sequence[tuple[str, str, list[str]]], model: str) -> tuple[str, str]:
    """Return this page's words for yes and no."""
    yes = next((_before(cells, model) for key, _, cells in rows if key == "model"), "")
    no = next((_before(cells, "-") for key, _, cells in rows if key == "client_request_id"), "")
    if not yes or not no:
        msg = "it has no table of the request's fields (`model`, `client_request_id`)"
        raise ValueError(msg)
    return yes, no


def _before(cells: Sequence[str], mark: str) -> str:
    return cells[0] if len(cells) > 1 else cells[0].partition(mark)[0].strip()


def _is_required(rows: Sequence[tuple[str, str, list[str]]], key: str, words: tuple[str, str]) -> bool | None:
    cells = next((cells for name, _, cells in rows if name == key), None)
    if cells is None:
        return None
    return True if cells[0].startswith(words[0]) else False if cells[0].startswith(words[1]) else None


def _between(lines: Sequence[str], model: str, rows: Sequence[tuple[str, str, list[str]]]) -> list[str]:
    """Return the lines from the model's id to the first table: labels, and the values below them."""
    begin = next((number for number, line in enumerate(lines) if line == model), 0)
    for number, line in enumerate(lines[begin:], begin):
        if next(_rows([line]), ("", "", []))[0] == "model":
            return [part.strip() for each in lines[begin:number] for part in each.split("\t") if part.strip()]
    return list(lines[begin:])


def _title(lines: Sequence[str], model: str) -> str:
    """Return the name in the title that the id is made of; the id where there is none."""
    for line in lines:
        found = re.match(r"(.{1,80}?)\s+API(\s|$)", line)
        if found is not None and re.sub(r"[^a-z0-9]+", "-", found[1].lower()).strip("-") == model:
            return found[1].strip()
    return model


def _inputs(line: str) -> list[str]:
    parts = [part.strip() for part in line.split(",")]
    return parts if parts and all(part in ("text", "file") for part in parts) else []


def _first_number(lines: Sequence[str]) -> int | None:
    """Return the number that a line begins with, of the first lines: `5000 characters`, `5,000 …`."""
    for line in lines[:3]:
        if (found := re.match(r"(\d[\d,.\u00a0 ]*)", line)) is not None:
            return int(re.sub(r"\D", "", found[1]))
    return None


# --- params, uploads --------------------------------------------------------------------------------------------------

_OWN: Final = frozenset({"model", "prompt", "params", "client_request_id"})


def _params(
    rows: Sequence[tuple[str, str, list[str]]], words: tuple[str, str], example: object
) -> tuple[list[dict[str, Json]], bool]:
    """Return the params, and whether all of them could be told apart from their neighbours."""
    shown = example if isinstance(example, Mapping) else {}
    found: list[dict[str, Json]] = []
    sure = True
    for key, kind, cells in rows:
        if key in _OWN or any(each["key"] == key for each in found):
            continue
        param, certain = _param(key, kind, cells, words, shown.get(key))
        if param is not None:
            found.append(param)
            sure = sure and certain
    return found, sure and all(any(each["key"] == key for each in found) for key in shown)


def _param(
    key: str, kind: str, cells: Sequence[str], words: tuple[str, str], example: Json
) -> tuple[dict[str, Json] | None, bool]:
    required = cells[0].startswith(words[0])
    if not required and not cells[0].startswith(words[1]):
        return None, True
    certain = True
    if len(cells) >= 4:
        default, bounds, options = cells[1], cells[2], cells[3]
        description = cells[4] if len(cells) > 4 else ""
    else:
        rest = cells[0][len(words[0] if required else words[1]) :].strip()
        default, bounds, options, description, certain = _apart(rest, kind, example)
    values = None if options in _NONE else [each.strip() for each in options.split(",") if each.strip()]
    low = _RANGE.fullmatch(bounds.strip())
    numbers = {name: _number(low[name]) if low else None for name in ("min", "max", "step")}
    return {
        "key": key,
        "type": "select" if values and kind != "array" else kind,
        "required": required,
        "default": None if default in _NONE else _as_type(default, kind),
        **numbers,
        "options": values,
        "description": description or None,
    }, certain


def _apart(rest: str, kind: str, example: Json) -> tuple[str, str, str, str, bool]:
    """Tell apart default, bounds, options and description that stand in a row with nothing between them."""
    spelled = "" if example is None else json.dumps(example) if isinstance(example, bool) else str(example)
    certain = True
    if spelled and rest.startswith(spelled):
        default = spelled
    elif rest.startswith("-") and not re.match(r"-\d", rest):
        default = "-"
    else:
        default = re.split(r"-|min ", rest, maxsplit=1)[0]
        certain = kind == "number"
    rest = rest[len(default) :]
    bounds = "-"
    if rest.startswith("-"):
        rest = rest[1:]
    elif (found := _RANGE.match(rest)) is not None and found[0]:
        bounds, rest = found[0], rest[found.end() :]
    else:
        certain = False
    if rest.startswith("-"):
        return default, bounds, "-", rest[1:].strip(), certain
    if kind != "select" and "," not in rest:
        return default, bounds, "-", rest.strip(), certain
    # The last option runs into the description: what is no ASCII is no option, nor is what begins a word with a
    # capital behind a small letter or a digit.
    head, comma, last = rest.rpartition(", ")
    edge = re.search(r"(?<=[a-z0-9%])(?=[A-Z][a-z])|(?=[^\x00-\x7f])", last)
    options = head + comma + (last[: edge.start()] if edge is not None else last)
    description = last[edge.start() :] if edge is not None else ""
    return default, bounds, options, description.strip(), certain and edge is not None


def _as_type(text: str, kind: str) -> Json:
    if kind != "number":
        return text
    return _number(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else text


def _number(text: str | None) -> float | int | None:
    if not text:
        return None
    number = float(text)
    return int(number) if number.is_integer() else number


def _uploads(lines: Sequence[str]) -> tuple[list[Json], int | None]:
    """Return the kinds of files a model takes, and how many at most."""
    kinds: list[Json] = []
    first = len(lines)
    for number, line in enumerate(lines):
        cells = [cell.strip() for cell in line.split("\t")]
        found = _KIND_ROW.fullmatch(" ".join(cells)) if _MIME.search(line) else None
        if found is None:
            continue
        first = min(first, number)
        size = float(found[2]) * (1000 if found[3].upper() == "GB" else 1)
        kinds.append(
            {
                "kind": found[1].lower(),
                "max_mb": int(size) if size.is_integer() else size,
                "mime": list(_MIME.findall(found[4])),
            }
        )
    above = [part.strip() for line in lines[max(first - 12, 0) : first] for part in line.split("\t")]
    counts = [int(line) for line in above if re.fullmatch(r"\d{1,3}", line)]
    return kinds, counts[-1] if counts else None
