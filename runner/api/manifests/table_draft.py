"""The manifest that `init --from` drafts for a table: each guess from names and contents of columns is a comment."""

from __future__ import annotations

import codecs
import json
import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice
from pathlib import Path
from typing import Any, Final

from runner.contract import Contract, canonical_params, minimal_job
from runner.contract.terms import Param
from runner.errors import UsageError
from runner.manifest.findings import Findings, SourceText, Spot
from runner.manifest.lines import likely_encodings
from runner.manifest.names import file_key, id_trouble, output_trouble
from runner.manifest.placeholders import BadPlaceholder, compile_template
from runner.manifest.references import bare
from runner.manifest.render import problem_line
from runner.manifest.row_files import open_rows
from runner.manifest.rows import Reading
from runner.manifest.text_rows import TextRows
from runner.manifest.xlsx_rows import XlsxRows
from runner.model import ModelId, Severity

MOST_ROWS: Final = 200_000  # of a table that are looked at
_DISTINCT: Final = 1_000  # values of a column that are judged
_FOLDERS: Final = 200  # folders that are looked through for files
_TRIED: Final = 200  # file names that are looked for in each

# Names of columns as `_plain` leaves them, the likeliest first.
_ID_NAMES: Final = (
    "id", "sku", "nr", "no", "number", "nummer", "numero", "code", "key", "shot", "shotid", "slug", "artikelnummer",
    "artikelnr", "artikel", "article", "item", "ref", "referenz", "name", "filename", "dateiname", "scene", "szene",
    "product", "produkt", "title", "titel", "titre", "titulo",
)  # fmt: skip
_PROMPT_NAMES: Final = (
    "prompt", "text", "prompttext", "description", "beschreibung", "bildbeschreibung", "descripcion", "descrizione",
    "caption", "texte", "texto", "line", "concept", "idea", "idee", "motiv", "scene", "szene", "content", "inhalt",
    "title", "titel", "titre", "titulo",
)  # fmt: skip
_MODEL_NAMES: Final = frozenset({"model", "modell", "modele", "modelo", "modello"})
# Other names of params, by what `_plain` makes of their keys.
_PARAM_NAMES: Final = (
    {"duration", "durationseconds", "durations", "seconds", "secs", "sec", "length", "lengths", "dauer", "dauers",
     "lange", "langes", "sekunden", "sek", "duree", "duracion", "durata", "durationsec", "durationinseconds",
     "lengthseconds", "lengthinseconds", "dauersek", "dauersekunden", "dauerinsekunden", "langeinsekunden", "durees",
     "duracions", "duratas"},
    {"aspectratio", "aspect", "ratio", "ar", "format", "imagesize", "seitenverhaltnis"},
    {"resolution", "res", "auflosung", "resolucion"},
    {"negativeprompt", "negative", "neg"},
    {"seed"},
    {"voice", "stimme", "speaker", "sprecher"},
    {"languagecode", "language", "lang", "sprache"},
    {"style", "stil"},
    {"mode", "modus"},
)  # fmt: skip
_PICTURE_NAMES: Final = frozenset(
    {"image", "images", "imageurl", "imagelink", "imagesrc", "img", "imgurl", "picture", "pictureurl", "photo", "photourl",
     "bild", "bildurl", "bilder", "foto", "fotourl", "produktbild", "reference", "referenz", "thumbnail", "video",
     "videourl", "film", "audio", "audiourl", "imagen", "immagine", "imagem"}
)  # fmt: skip
_MEDIA: Final = re.compile(
    r".*\.(?:png|jpe?g|webp|gif|bmp|tiff?|heic|avif|mp4|mov|webm|mkv|mp3|m4a|wav|ogg|flac)", re.I
)
_ATTACHED: Final = re.compile(
    r"(?:[^(),]+\(https?://[^\s()]+\)(?:,\s*)?)+", re.I
)  # as Airtable and Notion write them
_URL: Final = re.compile(r"https?://", re.I)
_MARKS: Final = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column: `values` has a text for each row, empty where it has none."""

    name: str
    values: Sequence[str]
    sparse: bool = False  # some rows do not have it at all

    @property
    def path(self) -> str:
        return f"row.{self.name}"

    @property
    def plain(self) -> str:
        return _plain(self.name)

    @property
    def filled(self) -> list[str]:
        return [value for value in self.values if value]

    @property
    def distinct(self) -> list[str]:
        return list(islice(dict.fromkeys(self.filled), _DISTINCT))


@dataclass(slots=True)
class _Draft:
    """What was decided: pairs of what is written and why."""

    id: tuple[str, str] = ("", "")
    prompt: tuple[str, str] | None = None
    model: tuple[str, str] | None = None
    params: dict[str, tuple[str, str]] = field(default_factory=dict)
    references: list[tuple[str, str]] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    only: _Column | None = None  # where the table has no other


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafted:
    """The part of a manifest that is made from a table, and how many rows it has."""

    jobs: str
    params: Mapping[str, Any]  # that the model needs, and no column has
    rows: int


def drafted_jobs(
    table: Path, manifest: Path, contract: Contract, contracts: Mapping[ModelId, Contract]
) -> Drafted:
    """Return the job of a manifest that has one for each row of a table.

    Args:
        table: The file of rows.
        manifest: Where the manifest is to be: paths in it are relative to its folder.
        contract: Of the model all jobs get, unless a column names them.
        contracts: The models there are.

    Raises:
        UsageError: The table cannot be read, or has no rows.
    """
    folder = manifest.absolute().parent
    name = os.path.relpath(table.absolute(), folder).replace(os.sep, "/")
    encoding = _encoding_of(table)
    reading = Reading(encoding=encoding)
    if table.suffix.lower() == ".txt":
        reading = Reading(encoding=encoding, delimiter=_delimiter_of(table, reading))
    columns, sheets = _read(table, reading)
    draft = _Draft(only=columns[0] if len(columns) == 1 else None)
    free = {column.name: column for column in columns if _is_usable(column.name)}
    draft.unused += [column.name for column in columns if column.name not in free]
    _find_model(draft, free, contracts, contract.id)
    _find_references(draft, free, contract, folder, Path(name).parent.as_posix())
    prompt = _find_prompt(draft, free, contract)
    _find_params(draft, free, contract)
    used = _find_id(draft, list(free.values()), prompt, numbered="line" in free and reading.delimiter is None)
    draft.unused += [column.name for column in free.values() if column not in used]
    needed = minimal_job(contract).get("params")
    return Drafted(
        jobs=_text(draft, name, reading, sheets),
        params={
            key: value
            for key, value in (needed if isinstance(needed, dict) else {}).items()
            if key not in draft.params
        },
        rows=len(columns[0].values) if columns else 0,
    )


# --- reading ---


def _encoding_of(table: Path) -> str | None:
    """Return the code page of a text that is not UTF-8; None where it tells by itself, or is no text."""
    if table.suffix.lower() not in (".csv", ".tsv", ".tab", ".txt"):
        return None
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with table.open("rb") as file:
            head = file.read(4)
            if head.startswith(_MARKS):
                return None
            if len(head) == 4 and head[1] == head[3] == 0:
                return "utf-16-le"
            if len(head) == 4 and head[0] == head[2] == 0:
                return "utf-16-be"
            decoder.decode(head)
            while piece := file.read(1_000_000):
                decoder.decode(piece)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return _likely_encoding(table)
    except OSError as exc:
        raise UsageError(f"cannot read {table}: {exc.strerror or exc}") from exc
    return None


def _likely_encoding(table: Path) -> str:
    """Return the encoding that makes letters of what is no UTF-8 in a text; windows-1252 where that cannot be told."""
    with table.open("rb") as file:
        lines = [line for line in file.readlines(1_000_000) if not line.isascii()]
    return likely_encodings(b"".join(lines[:1000]), 0)[0][0]


def _delimiter_of(table: Path, reading: Reading) -> str | None:
    """Return what separates the cells of a text that is a table, such as what Excel calls "Unicode Text"."""
    findings = Findings()
    spot = Spot(SourceText(str(table)), (1, 1))
    rows = open_rows(table.absolute().parent, table.name, spot, findings, reading)
    for _ in rows.read() if rows is not None else ():
        pass
    return rows.delimiter if isinstance(rows, TextRows) else None


def _read(table: Path, reading: Reading) -> tuple[list[_Column], Sequence[str]]:
    """Read the columns of a table, without those that are empty; and the sheets that a workbook has."""
    findings = Findings()
    spot = Spot(SourceText(str(table)), (1, 1))
    rows = open_rows(table.absolute().parent, table.name, spot, findings, reading)
    values: dict[str, list[str]] = {
        column: [] for column in (rows.columns if rows is not None else None) or ()
    }
    had: Counter[str] = Counter()
    count = 0
    for row in islice(rows.read(), MOST_ROWS) if rows is not None else ():
        for column, value in row.values.items():
            if isinstance(value, str | int | float) or value is None:
                cells = values.setdefault(str(column), [])
                cells += [""] * (count - len(cells))
                cells.append(_as_cell(value))
                had[str(column)] += 1
        count += 1
    if not count:
        problem = next((each for each in findings.problems() if each.severity is Severity.ERROR), None)
        what = problem_line(problem) if problem is not None else f"{table} has no rows"
        raise UsageError(what, hint="the first line of a table names its columns")
    columns = [
        _Column(name=column, values=[*cells, *[""] * (count - len(cells))], sparse=had[column] < count)
        for column, cells in values.items()
    ]
    sheets = rows.sheets if isinstance(rows, XlsxRows) else ()
    return [column for column in columns if any(column.values)], sheets


def _as_cell(value: str | float | None) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value)


def _is_usable(name: str) -> bool:
    """Return whether a placeholder can name the column."""
    try:
        return bool(compile_template(f"${{row.{name}}}").render({"row": {name: "x"}}) == "x")
    except BadPlaceholder:
        return False


def _plain(name: str) -> str:
    """Return a name in letters and digits only: `Aspect ratio`, `aspect_ratio` and `aspectRatio` are one."""
    folded = unicodedata.normalize("NFKD", name.casefold().replace("ß", "ss"))
    return "".join(char for char in folded if char.isalnum())


# --- guessing ---


def _find_model(
    draft: _Draft, free: dict[str, _Column], contracts: Mapping[ModelId, Contract], default: ModelId
) -> None:
    for column in free.values():
        known = [value for value in column.distinct if ModelId(value) in contracts]
        if column.plain in _MODEL_NAMES and known:
            some = f" | default('{default}')" if len(column.filled) < len(column.values) else ""
            draft.model = (f"${{{column.path}{some}}}", "guessed: it names models")
            del free[column.name]
            return


def _find_references(
    draft: _Draft, free: dict[str, _Column], contract: Contract, folder: Path, beside: str
) -> None:
    most = contract.uploads.max_files
    for column in list(free.values()):
        values = column.distinct
        if values and sum(bool(_ATTACHED.fullmatch(value)) for value in values) * 2 > len(values):
            why = "names with URLs in brackets: as references a column with the URLs alone is needed"
            draft.unused.append(f"{column.name} ({why})")
            del free[column.name]
            continue
        urls = sum(bool(_URL.match(value)) for value in values) * 2 > len(values)
        if urls and not (column.plain in _PICTURE_NAMES or _are_media(map(bare, values))):
            draft.unused.append(f"{column.name} (URLs, of pages it seems: files may be references)")
            del free[column.name]
        elif urls or _are_media(values):
            del free[column.name]
            if most is not None and len(draft.references) >= most:
                takes = "takes no files" if not most else "takes no more files"
                draft.unused.append(f"{column.name} ({contract.id} {takes})")
                continue
            some = " | default('')" if column.sparse else ""
            if urls:
                why = "guessed: it names files on the web; `plan` fetches them once"
                draft.references.append((f"${{{column.path}{some}}}", why))
                continue
            prefix, found = _place_of(values[:_TRIED], folder, beside)
            there = (
                "all of them are"
                if found == len(values[:_TRIED])
                else f"{found} of {len(values[:_TRIED])} are"
            )
            draft.references.append(
                (f"{prefix}${{{column.path}{some}}}", f"guessed: it names files; {there} there")
            )


def _are_media(values: Iterable[str]) -> bool:
    """Return whether most of these are names of pictures, films or sounds."""
    named = [bool(_MEDIA.fullmatch(value)) for value in values]
    return sum(named) * 2 > len(named)


def _place_of(values: Sequence[str], folder: Path, beside: str) -> tuple[str, int]:
    """Return the folder in which most of these files are, as a prefix, and how many."""
    first = "" if beside == "." else f"{beside}/"
    prefixes = dict.fromkeys(("", first))
    for prefix in tuple(prefixes):
        try:
            inside = sorted(islice(_inside(folder, prefix).iterdir(), _FOLDERS))
        except OSError:
            continue
        for path in inside:
            if not path.name.startswith(".") and path.is_dir():
                prefixes[f"{prefix}{path.name}/"] = None
    counted = {
        prefix: sum(_inside(folder, f"{prefix}{value}").is_file() for value in values) for prefix in prefixes
    }
    best = max(prefixes, key=lambda prefix: counted[prefix])
    return (best if counted[best] else first), counted[best]


def _inside(folder: Path, path: str) -> Path:
    # The folder may still have to be made, and a path through it with `..` leads nowhere before.
    return Path(os.path.normpath(folder / path))


def _find_prompt(draft: _Draft, free: dict[str, _Column], contract: Contract) -> _Column | None:
    texts = [column for column in free.values() if any(not _is_number(value) for value in column.distinct)]
    by_name = _ranked(texts, _PROMPT_NAMES)
    # A title is a prompt only where nothing longer is; what is called a prompt is one.
    longest = max(texts, key=_mean_length, default=None)
    called = [each for each in texts if "prompt" in each.plain and "neg" not in each.plain]
    likely = [each for each in by_name if longest and _mean_length(each) * 4 >= _mean_length(longest)]
    column = next(iter([each for each in by_name if each in called] + called + likely), None)
    why = "guessed from its name"
    if column is None:
        if contract.prompt_required is False:
            return None
        column, why = longest, "guessed: it has the longest texts"
    if column is None:
        raise UsageError("no column of the table has texts that could be prompts")
    empty = len(column.values) - len(column.filled)
    draft.prompt = (f"${{{column.path}}}", why + (f"; {empty} of its cells are empty" if empty else ""))
    del free[column.name]
    return column


def _find_params(draft: _Draft, free: dict[str, _Column], contract: Contract) -> None:
    for by_name in (True, False):
        for param in contract.params.values():
            for column in list(free.values()):
                if param.key in draft.params:
                    break
                if by_name:
                    fits, why = column.plain in _names_of(param), "guessed from its name"
                else:
                    fits, why = _has_options(param, column), "guessed: its values are options of it"
                wrong = (
                    [value for value in column.distinct if not _is_taken(contract, param.key, value)]
                    if fits
                    else []
                )
                if not fits:
                    continue
                del free[column.name]
                if wrong and len(wrong) * 2 > len(column.distinct):
                    draft.unused.append(f"{column.name} ({param.key} does not take {_quoted(wrong[0])})")
                    continue
                if wrong:
                    why += f"; it does not take {_quoted(wrong[0])}"
                draft.params[param.key] = _with_default(param, column, why)


def _names_of(param: Param) -> set[str]:
    key = _plain(param.key)
    return {key} | next((names for names in _PARAM_NAMES if key in names), set())


def _has_options(param: Param, column: _Column) -> bool:
    """Return whether all values of a column are options of a param, and not such as stand for anything."""
    options = set(param.options or ())
    values = set(column.distinct)
    return (
        bool(values) and values <= options and any(len(value) > 2 and not value.isalpha() for value in values)
    )


def _is_taken(contract: Contract, key: str, value: str) -> bool:
    _, problems = canonical_params(contract, {key: value})
    return not any(problem.key == key and problem.severity is Severity.ERROR for problem in problems)


def _with_default(param: Param, column: _Column, why: str) -> tuple[str, str]:
    """Return the placeholder of a param; cells that are empty get its default, or what most others have."""
    if len(column.filled) == len(column.values):
        return f"${{{column.path}}}", why
    default = param.default
    if default is None or isinstance(default, bool | list | dict):
        default = Counter(column.filled).most_common(1)[0][0]
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    text = str(default)
    if not text.isdecimal() and "'" in text:
        return f"${{{column.path}}}", why
    written = text if isinstance(default, int) and text.isdecimal() else f"'{text}'"
    return f"${{{column.path} | default({written})}}", f"{why}; {text} where its cell is empty"


def _find_id(draft: _Draft, free: list[_Column], prompt: _Column | None, *, numbered: bool) -> list[_Column]:
    """Decide what the ids are made of; return the columns. `numbered`: the rows are lines, which have numbers."""
    named = _ranked(free, _ID_NAMES)
    texts = [prompt] if prompt is not None else []
    short = [column for column in free if column not in named and _mean_length(column) <= 60]
    rows = len(free[0].values) if free else len(prompt.values) if prompt is not None else 0
    bearable = (
        max(1, rows // 50) if rows >= 10 else 0
    )  # ids that are mended sooner than another column is taken
    why = "guessed: unique in every row"
    tried = [
        (named, 0),
        (named, bearable),
        *(((texts, 0), (short, 0)) if numbered else ((short, 0), (texts, 0))),
    ]
    for columns, least in tried:
        for column in columns:
            if (found := _id_of((column,), least)) is not None:
                draft.id = (found[0], f"{why}; {found[1]} to mend" if found[1] else why)
                return [column]
    ordered = [*named, *texts, *short]
    for pair in islice(combinations(ordered, 2), 30):
        if (found := _id_of(pair, 0)) is not None:
            draft.id = (found[0], "guessed: together they are unique in every row")
            return list(pair)
    best = ordered[:1]
    path = best[0].path if best else "row.id"
    draft.id = (f"${{{path} | slug | fit(60)}}", "no column is unique in every row: add one, such as sku")
    return best


def _id_of(columns: Sequence[_Column], bearable: int) -> tuple[str, int] | None:
    """Return the text of an id from these columns, and how many rows it does not suit; None for too many."""
    plain = len(columns) == 1 and _mean_length(columns[0]) <= 40 and columns[0].plain not in _PROMPT_NAMES[:4]
    ways = ("", " | slug", " | slug | fit(60)") if plain else (" | slug | fit(60)",)
    best: tuple[int, str] | None = None
    for way in ways:
        text = "-".join(f"${{{column.path}{way}}}" for column in columns)
        render = compile_template(text).render_text
        wrong = _unsuited(
            render({"row": {c.name: c.values[n] for c in columns}}) for n in range(len(columns[0].values))
        )
        if wrong <= bearable and (best is None or wrong < best[0]):
            best = (wrong, text)
            if not wrong:
                break
    return (best[1], best[0]) if best is not None else None


def _unsuited(ids: Iterable[str]) -> int:
    """Return how many of these are no ids, or taken."""
    taken: set[str] = set()
    wrong = 0
    for id_ in ids:
        key = file_key(id_)
        wrong += key in taken or id_trouble(id_) is not None or output_trouble(id_) is not None
        taken.add(key)
    return wrong


def _ranked(columns: Iterable[_Column], names: Sequence[str]) -> list[_Column]:
    """Return the columns that are named so, the likeliest name first."""
    return sorted((each for each in columns if each.plain in names), key=lambda each: names.index(each.plain))


def _mean_length(column: _Column) -> float:
    values = column.distinct
    return math.fsum(map(len, values)) / len(values) if values else 0.0


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?[\d.,]+", text) is not None


# --- writing ---


def _text(draft: _Draft, name: str, reading: Reading, sheets: Sequence[str]) -> str:
    file = _quoted(name.replace("${", "$${"))
    lines: list[tuple[str, str]] = [(f"  - id: {_quoted(draft.id[0])}", draft.id[1])]
    if reading.encoding is not None or reading.delimiter is not None:
        encoding = f", encoding: {reading.encoding}" if reading.encoding is not None else ""
        said = "tab" if reading.delimiter == "\t" else f'"{reading.delimiter}"'
        tabs = f", delimiter: {said}" if reading.delimiter is not None else ""
        why = (
            "it is not UTF-8; are its letters right?" if encoding else "each line looks like a row of a table"
        )
        lines.append((f"    rows: {{file: {file}{tabs}{encoding}}}", f"guessed: {why}"))
    elif len(sheets) > 1:
        why = f"guessed: the first of {len(sheets)} sheets"
        lines.append((f"    rows: {{file: {file}, sheet: {_quoted(sheets[0])}}}", why))
    else:
        lines.append((f"    rows: {file}", _doubt(draft, name)))

    def add(key: str, guess: tuple[str, str]) -> None:
        lines.append((f"{key}: {_quoted(guess[0])}", guess[1]))

    if draft.model is not None:
        add("    model", draft.model)
    if draft.prompt is not None:
        add("    prompt", draft.prompt)
    if draft.params:
        lines.append(("    params:", ""))
        for key, guess in draft.params.items():
            add(f"      {key}", guess)
    if draft.references:
        lines.append(("    references:", ""))
        lines += [(f"      - {_quoted(text)}", why) for text, why in draft.references]
    text = "".join(f"{line}   # {_comment(why)}\n" if why else f"{line}\n" for line, why in lines)
    if draft.unused:
        text += f"    # not used: {_comment(', '.join(draft.unused))}\n"
    return text


def _doubt(draft: _Draft, name: str) -> str:
    """Return what to say of a table of one column whose header may be a prompt as well."""
    column = draft.only
    if column is None or column.plain in _PROMPT_NAMES or "prompt" in column.plain or name.endswith(".txt"):
        return ""
    return f"its first line, {_quoted(column.name)}, names the column; if it is a prompt, name the file .txt"


def _quoted(text: str) -> str:
    return json.dumps(text if len(text) <= 500 else f"{text[:499]}…", ensure_ascii=not text.isprintable())


def _comment(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)[:1000]
