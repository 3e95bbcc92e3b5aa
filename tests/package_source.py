"""The source of the package as tests look at it: its modules, what they import, and one rule held against many of them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "runner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One import statement: `name` is what is imported, dotted, at `line`."""

    name: str
    line: int
    lazy: bool  # inside a function
    typing: bool  # under `if TYPE_CHECKING:`, so for annotations only


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "_schemas" not in path.parts)


def top_entries() -> list[str]:
    """Return what stands at the top of the package; a folder has `/` behind its name.

    What only holds compiled code was left by a folder that is gone.
    """
    return sorted(
        path.name + "/" * path.is_dir()
        for path in PACKAGE.iterdir()
        if path.name not in {"__pycache__", "_schemas"}
        and (path.is_file() or any(each.suffix != ".pyc" for each in path.rglob("*") if each.is_file()))
    )


def dotted(path: Path) -> str:
    """Return `store.jobs` for `runner/store/jobs.py`, `store` for `runner/store/__init__.py`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree(path)))


@cache
def imports(path: Path) -> tuple[Import, ...]:
    def found(
        node: ast.AST, lazy: bool, typing: bool
    ) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
        match node:
            case ast.Import() | ast.ImportFrom():
                yield node, lazy, typing
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                lazy = True
            case ast.If() if ast.unparse(node.test).endswith("TYPE_CHECKING"):
                typing = True
        for child in ast.iter_child_nodes(node):
            if isinstance(
                child, ast.stmt | ast.match_case | ast.ExceptHandler
            ):  # an import stands in no expression
                yield from found(child, lazy, typing)

    def names(node: ast.AST) -> Iterator[str]:
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(level=0):
                # `from runner.store import jobs` may name a module: keep the longer name where it is one.
                for alias in node.names:
                    longer = f"{node.module}.{alias.name}"
                    yield longer if is_module(longer) else node.module or ""
            case ast.ImportFrom():
                yield "." * node.level + (node.module or "")

    return tuple(
        Import(name=name, line=node.lineno, lazy=lazy, typing=typing)
        for node, lazy, typing in found(tree(path), False, False)
        for name in names(node)
    )


@cache
def is_module(name: str) -> bool:
    if name.split(".")[0] != "runner":
        return False
    place = PACKAGE.joinpath(*name.split(".")[1:])
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def own(path: Path) -> list[tuple[str, Import]]:
    """Return what `path` imports from this package, as names inside it (`store.jobs`)."""
    found = [each for each in imports(path) if each.name.split(".")[0] == "runner"]
    return [(each.name.partition(".")[2] or "__init__", each) for each in found]


def for_each(paths: Sequence[Path]) -> Callable[[Callable[[Path], None]], Callable[[], None]]:
    """Hold a rule against each of these modules in one test, which names all that break it.

    A test for each pair of them would cost more in pytest than in looking.
    """

    def over_all(rule: Callable[[Path], None]) -> Callable[[], None]:
        def test() -> None:
            assert paths
            broken: list[str] = []
            for path in paths:
                try:
                    rule(path)
                except AssertionError as exc:
                    broken.append(f"{dotted(path)}: {exc}")
            assert not broken, "\n".join(broken)

        test.__name__, test.__doc__ = rule.__name__, rule.__doc__
        return test

    return over_all
