"""The shape of the package: imports point down, pure rules touch nothing, each kind of IO has one home.

The order is data. A new module fails the first test until someone decides where it belongs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.package_source import (
    PACKAGE,
    dotted,
    for_each,
    imports,
    modules,
    nodes,
    own,
    top_entries,
)

# No clock, no socket, no randomness, no files: time and draws are passed in.
RULES: tuple[str, ...] = (
    "contract",
    "fingerprint",
    "host.mounts",
    "host.surroundings",
    "lifecycle",
    "manifest.placeholders",
    "manifest.yaml12",
    "manifest.yaml_scalars",
    "manifest.yaml_syntax",
    "manifest.yaml_text",
    "manifest.yaml_tree",
    "money",
    "pace",
    "results.coding",
    "results.media",
    "results.mpeg_audio",
    "results.ranges",
    "results.verdict",
    "service.account",
    "service.addresses",
    "service.amounts",
    "service.hiding",
    "service.protocol",
    "service.reply",
    "service.retry_after",
    "service.rivya",
    "words",
)

# Top first. A module may import what stands below its own line, or beside it as long as no circle forms.
# A package (`store/`) is one entry, unless one of its modules is named by itself.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("cli",),
    ("api",),
    ("web", "reports", "progress"),
    ("engine",),
    ("steps",),
    (
        "manifest",
        "results",
        "service",
        "service.rivya.endpoints",
        "store",
        "host.environment",
        "host.workspace",
        "host.drives",
    ),
    ("manifest.json_schema",),
    (
        "schemas",
        "results.boxes",
        "results.containers",
        "results.ebml",
        "results.excerpts",
        "host",
        "store.migrations",
        "store.shared_tables",
    ),
    RULES,
    ("model",),
    ("errors",),
    ("__init__",),
)

PURE = frozenset({*RULES, "model", "errors"})
IMPURE_IMPORTS = frozenset(
    {"time", "random", "secrets", "uuid", "socket", "ssl", "select", "selectors", "http", "urllib.request",
     "httpx", "httpx_aiohttp", "aiohttp", "requests", "asyncio", "anyio", "trio", "threading", "subprocess",
     "multiprocessing", "os", "io", "shutil", "tempfile", "glob", "fcntl", "mmap", "sqlite3", "sqlite_utils",
     "logging"}
)  # fmt: skip
IMPURE_CALLS = frozenset(
    {"open", "print", "input", "now", "utcnow", "today", "read_text", "read_bytes", "write_text",
     "write_bytes", "exists", "is_file", "is_dir", "stat", "iterdir", "unlink", "mkdir", "touch"}
)  # fmt: skip

# Who may use a library that reaches outside. The sandbox is another program and is looked at by itself.
HOMES: dict[str, frozenset[str]] = {
    "sqlite_utils": frozenset({"store", "store.migrations"}),
    "psycopg": frozenset({"store"}),
    "obstore": frozenset({"results"}),
    "httpx": frozenset({"service", "service.rivya.endpoints", "results"}),
    "httpx_aiohttp": frozenset({"service"}),
    "aiohttp": frozenset({"service"}),
    "yaml": frozenset({"manifest.yaml12"}),
    "jsonschema": frozenset({"contract"}),
    "openpyxl": frozenset({"manifest"}),
    "PIL": frozenset({"manifest", "reports"}),
    "av": frozenset({"reports", "results"}),
    "pillow_heif": frozenset({"manifest"}),
    "apprise": frozenset({"progress"}),
    "click": frozenset({"cli"}),
    "rich": frozenset({"cli", "progress"}),
    "starlette": frozenset({"web"}),
    "uvicorn": frozenset({"web"}),
}


@cache
def entry(name: str) -> str | None:
    """Return the entry of LAYERS that the module `name` belongs to: its own name or its package's."""
    known = {each for layer in LAYERS for each in layer}
    parts = name.split(".")
    return next((at for end in range(len(parts), 0, -1) if (at := ".".join(parts[:end])) in known), None)


def layer(name: str) -> int:
    found = entry(name)
    assert found is not None, f"runner.{name} is not in LAYERS"
    return next(index for index, names in enumerate(LAYERS) if found in names)


def in_sandbox(name: str) -> bool:
    return name.split(".")[0] == "sandbox"


def test_every_module_has_a_place() -> None:
    lost = [
        dotted(path) for path in modules() if not in_sandbox(dotted(path)) and entry(dotted(path)) is None
    ]

    assert not lost, f"not in LAYERS of {Path(__file__).name}: {lost}; decide where each belongs and add it"


def test_there_is_something_to_look_at() -> None:
    assert len(modules()) > 5
    assert any(own(path) for path in modules())


@for_each(modules())
def test_imports_are_absolute_and_point_down(path: Path) -> None:
    here = dotted(path)
    assert not [f"line {each.line}: {each.name}" for each in imports(path) if each.name.startswith(".")]
    if in_sandbox(here) or here == "__init__":  # the door to `api.programs`: it opens when somebody asks
        return

    up = [
        f"line {each.line}: runner.{here} imports runner.{name}, which stands above it"
        for name, each in own(path)
        if not in_sandbox(name) and layer(name) < layer(here)
    ]

    assert not up


@for_each(modules())
def test_a_module_imports_its_sibling_not_its_package(path: Path) -> None:
    package = dotted(path).rpartition(".")[0]

    assert not [each for name, each in own(path) if package and name == package]


def test_no_circle_among_modules() -> None:
    """Only what runs at import time counts: a lazy import cannot knot the start, nor one for annotations."""
    graph = {
        dotted(path): {
            name for name, each in own(path) if not each.lazy and not each.typing and name != "__init__"
        }
        for path in modules()
    }
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " imports ".join((*trail[trail.index(name) :], name))
        if name in done:
            return
        for below in sorted(graph.get(name, ())):
            # A package may gather its own modules: `store/__init__` importing `store.jobs` is no circle.
            if not below.startswith(f"{name}."):
                walk(below, (*trail, name))
        done.add(name)

    for name in sorted(graph):
        walk(name, ())


@for_each(modules())
def test_pure_rules_reach_nothing_outside(path: Path) -> None:
    if entry(dotted(path)) not in PURE:
        return
    reached = [
        f"line {each.line}: import {each.name}"
        for each in imports(path)
        if each.name in IMPURE_IMPORTS or each.name.split(".")[0] in IMPURE_IMPORTS
    ]
    for node in nodes(path):
        if isinstance(node, ast.Call):
            called = node.func
            name = (
                called.attr
                if isinstance(called, ast.Attribute)
                else called.id
                if isinstance(called, ast.Name)
                else ""
            )
            if name in IMPURE_CALLS:
                reached.append(f"line {node.lineno}: {name}()")

    assert not reached, f"runner.{dotted(path)} is a pure rule"


@for_each(modules())
def test_each_kind_of_io_has_one_home(path: Path) -> None:
    here = dotted(path)
    if in_sandbox(here):
        return
    astray = [
        f"line {each.line}: {each.name} belongs to {sorted(HOMES[top]) or 'the sandbox'}"
        for each in imports(path)
        if (top := each.name.split(".")[0]) in HOMES and entry(here) not in HOMES[top] and not each.typing
    ]

    assert not astray


@for_each([path for path in modules() if dotted(path).split(".")[0] == "cli"])
def test_the_command_line_goes_through_api(path: Path) -> None:
    """It parses, calls `api` and prints: what it does, a program can do. Errors it may put in words anywhere."""
    past = [
        f"line {each.line}: runner.{name}; let `api` ask"
        for name, each in own(path)
        if name.split(".")[0] in {"store", "steps", "results"}
        and name != "store.error_words"
        and not each.typing
    ]

    assert not past


SPOKEN_TO_SQLITE = frozenset(
    {"execute", "executemany", "executescript", "cursor", "fetchone", "fetchmany", "fetchall"}
)
# What the store gives to be printed as it is: its keys are a promise to programs, not the names of columns.
PRINTED_AS_IT_IS = frozenset({"jobs.last_errors", "jobs.last_warnings", "ledger.by_manifest_model_day"})


# What the rest of the store stands on: the only ones of it that hand on what a database has answered.
GROUND = frozenset({"store.connection", "store.tables", "store.postgres"})


def in_store(path: Path) -> bool:
    return entry(dotted(path)) in {"store", "store.migrations", "store.shared_tables"}


@for_each([path for path in modules() if not in_store(path)])
def test_nobody_goes_past_the_store(path: Path) -> None:
    assert not [each.line for name, each in own(path) if name in GROUND - {"store.connection"}]


@for_each([path for path in modules() if not in_store(path)])
def test_all_sql_lives_in_the_store(path: Path) -> None:
    """Others may pass a transaction on; they say nothing to it, see no row of it, and know of no one database."""
    if in_sandbox(dotted(path)):
        return
    spoken = []
    for node in nodes(path):
        match node:
            case ast.Attribute(value=ast.Name(id="sqlite3"), attr=name):
                spoken.append(f"line {node.lineno}: sqlite3.{name}")
            case ast.Call(func=ast.Attribute(attr=name)) if name in SPOKEN_TO_SQLITE:
                spoken.append(f"line {node.lineno}: .{name}()")
            case ast.ImportFrom(module="sqlite3"):
                spoken.append(
                    f"line {node.lineno}: from sqlite3 import; write Connection of store.connection"
                )

    assert not spoken


@for_each([path for path in modules() if in_store(path) and dotted(path) not in GROUND])
def test_the_store_gives_records_and_no_rows(path: Path) -> None:
    """Each value that leaves it has a name that mypy knows; what a column is called is nobody else's to know."""
    functions = [node for node in nodes(path) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    loose = [
        f"line {node.lineno}: {node.name} gives {ast.unparse(node.returns)}; make it a record"
        for node in functions
        if node.returns is not None
        and not node.name.startswith("_")
        and f"{path.stem}.{node.name}" not in PRINTED_AS_IT_IS
        and {"Row", "SelectedRow", "Cursor", "Any", "object"}
        & set(re.findall(r"\w+", ast.unparse(node.returns)))
    ]

    assert not loose


def test_what_the_store_gives_to_be_printed_is_there() -> None:
    known = {
        f"{path.stem}.{node.name}"
        for path in modules()
        if in_store(path)
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef)
    }

    assert known >= PRINTED_AS_IT_IS


@for_each(modules())
def test_a_row_of_a_job_is_changed_by_a_verb(path: Path) -> None:
    """Who moves a job says what has happened to it, with named and typed facts; the store knows the columns."""
    if entry(dotted(path)) == "store":
        return
    moved = [
        f"line {node.lineno}: {ast.unparse(node.func)}"
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "moves"
        and (node.func.attr.startswith("_") or any(keyword.arg is None for keyword in node.keywords))
    ]

    assert not moved


# What only the dialect of a service may say: paths, headers, fields and codes of its API.
DIALECT = re.compile(
    r"/api/v1.*|authorization|bearer|idempotency-key|insufficient_credits|idempotency_conflict|public_api_disabled"
    r"|validation_failed|api_key\w*|api_scope\w*|primary_url|current_credits|requestid|durationtoken|referencemediaitems"
    r"|client_request_id",
    re.I,
)
# What models take is data, and so are the names of their params; two of them are refused by name.
PARAMS = frozenset({"contract.terms", "contract.params"})


@for_each(
    [path for path in modules() if entry(dotted(path)) not in {"service.rivya", "service.rivya.endpoints"}]
)
def test_one_folder_speaks_the_dialect_of_the_service(path: Path) -> None:
    """Whoever else looks at an answer asks what it means: no header, field or code, and no number of a status."""
    here = dotted(path)
    if in_sandbox(here) or here in PARAMS or here.startswith("results."):  # hosts of results are any hosts
        return
    docs = {
        id(node.body[0].value)
        for node in nodes(path)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and isinstance(node.body[0], ast.Expr)
    }
    spoken = []
    for node in nodes(path):
        match node:
            case ast.Constant(value=str(text)) if DIALECT.fullmatch(text) and id(node) not in docs:
                spoken.append(f"line {node.lineno}: {text!r}")
            case ast.Compare(
                left=ast.Attribute(value=ast.Name(id="answer"), attr="status"), comparators=[other]
            ):
                if any(
                    isinstance(each, ast.Constant) and isinstance(each.value, int) for each in ast.walk(other)
                ):
                    spoken.append(f"line {node.lineno}: {ast.unparse(node)}")
            case ast.Compare() if "answer.code" in ast.unparse(node):
                spoken.append(f"line {node.lineno}: {ast.unparse(node)}")

    assert not spoken


@for_each(modules())
def test_the_sandbox_stands_alone(path: Path) -> None:
    here = dotted(path)
    for name, each in own(path):
        if in_sandbox(here):
            assert in_sandbox(name) or name == "__init__", (
                f"line {each.line}: the sandbox imports runner.{name}; it must judge us by its own code"
            )
        elif in_sandbox(name):
            assert entry(here) == "cli", f"line {each.line}: only the command that starts it imports it"
            assert each.lazy, f"line {each.line}: import the sandbox inside the command that starts it"


# --- printing: what a service says goes through one function, all that is printed through one of three doors

PRINTING = ("cli", "progress", "api", "web", "reports")
# Where bytes reach a stream: the one door, lines of progress, and what other programs read as it is.
DOORS = {
    "cli.output": "show, show_json, complain",
    "cli.init": "the path of a file",
    "cli.report": "the path of a file",
    "cli.export": "rows for other programs",
    "cli.plan": "JSON, piece by piece",
}
# Fields whose words are the service's.
THEIRS = frozenset({"task_id", "message", "what", "code", "request_id", "word", "reason", "note"})
HARMLESS = frozenset({"harmless", "harmless_lines", "json_text", "said"})


def printing() -> list[Path]:
    return [path for path in modules() if dotted(path).split(".")[0] in PRINTING]


def named(call: ast.Call) -> str:
    return ast.unparse(call.func)


@for_each(printing())
def test_nobody_prints_past_the_doors(path: Path) -> None:
    here = dotted(path)
    if here in DOORS:
        return
    past = [
        f"line {node.lineno}: {named(node)}; use show, show_json or complain of runner.cli.output"
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and named(node) in {"print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write"}
    ]

    assert not past


@for_each([path for path in printing() if dotted(path).startswith(("cli", "progress"))])
def test_json_is_written_by_one_function(path: Path) -> None:
    past = [
        f"line {node.lineno}: use json_text of runner.words"
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and named(node) == "json.dumps"
        and "ensure_ascii=True" not in ast.unparse(node)
    ]

    assert not past


def naked(node: ast.AST) -> Iterator[str]:
    """Yield the names of the service's fields in an expression that pass through no function made for them."""
    if isinstance(node, ast.Call) and named(node).rpartition(".")[2] in HARMLESS:
        return
    match node:
        case ast.Attribute(attr=name) if name in THEIRS:
            yield name
        case ast.Subscript(slice=ast.Constant(value=str(name))) if name in THEIRS:
            yield name
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str(name)), *_]) if (
            name in THEIRS
        ):
            yield name
    for child in ast.iter_child_nodes(node):
        yield from naked(child)


@for_each([path for path in printing() if dotted(path).startswith(("cli", "progress"))])
def test_the_words_of_the_service_go_into_no_line_as_they_are(path: Path) -> None:
    found = [
        f"line {node.lineno}: {name} is put into text as it is; use harmless of runner.words"
        for node in nodes(path)
        if isinstance(node, ast.FormattedValue)
        for name in naked(node.value)
    ]

    assert not found


def test_the_doors_are_where_they_are_said_to_be() -> None:
    assert not {name for name in DOORS if not (PACKAGE / f"{name.replace('.', '/')}.py").is_file()}


def test_no_two_classes_share_a_name() -> None:
    """Whoever meets a name in a trace, or searches for it, finds one class."""
    homes: dict[str, list[str]] = {}
    for path in modules():
        for node in nodes(path):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(f"{dotted(path)}:{node.lineno}")

    assert not {name: where for name, where in homes.items() if len(where) > 1}


def test_a_module_is_named_for_its_noun() -> None:
    """A command has one name in `cli/` and in `api/`; elsewhere a name that comes a third time says too little."""
    homes: dict[str, list[str]] = {}
    for path in modules():
        if path.stem not in {"__init__", "__main__"} and path.parent.name != "cli":
            homes.setdefault(path.stem, []).append(dotted(path))

    assert not {name: where for name, where in homes.items() if len(where) > 2}


def test_the_top_of_the_package_is_seen_at_one_glance() -> None:
    """Whoever opens `runner/` sees nouns, and a module that belongs to one of them goes there."""
    assert len(top_entries()) <= 26
