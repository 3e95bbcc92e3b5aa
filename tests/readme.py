"""The generated parts of pages: `python -m tests.readme --write` fills, `--check` compares.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from runner.lifecycle.rules import may_become
from runner.model import State
from runner.reports.metrics import METRICS
from runner.service.rivya.open_questions import OPEN_QUESTIONS
from tests.package_source import top_entries
from tests.support import clean_environment
from tests.unit.test_layers import LAYERS

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
MAP = ROOT / "runner" / "README.md"
SEAM = ROOT / "runner" / "service" / "README.md"
REPORTS = ROOT / "runner" / "reports" / "README.md"
PAGES = (README, MAP, SEAM, REPORTS)
BLANK = "\n\n"
PART = re.compile(r"(?P<head><!-- generated: (?P<name>\w+) -->\n).*?(?P<tail><!-- end -->)", re.S)


def help_text() -> str:
    """Return what `rivya-batch --help` prints at 100 columns, as a block of code."""
    told = subprocess.run(
        [sys.executable, "-m", "runner", "--help"],
        cwd=ROOT,
        env=clean_environment(COLUMNS="100", NO_COLOR="1"),
        capture_output=True,
        text=True,
        check=True,
    )
    return f"```text\n$ rivya-batch --help\n{told.stdout.rstrip()}\n```\n"


def targets() -> str:
    """Return the targets of the Makefile that say what they do, as a table."""
    found = re.findall(r"^([a-z-]+):.*?## (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    rows = [f"| `make {name}` | {words} |\n" for name, words in found]
    return "| target | does |\n| --- | --- |\n" + "".join(rows)


def floors() -> str:
    """Return the floors of the package, top first, one line each."""
    lines = [
        textwrap.fill(
            ", ".join(names),
            100,
            initial_indent=f"{number:>2}  ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )
        for number, names in enumerate(LAYERS, 1)
    ]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def top() -> str:
    """Return what stands at the top of the package, the highest floor first, each with the first words of its code."""
    order = [entry for layer in LAYERS for entry in layer]
    rows = []
    for name in sorted(top_entries(), key=lambda name: (_run_state(name, order), name)):
        code = MAP.parent / name / "__init__.py" if name.endswith("/") else MAP.parent / name
        if code.suffix == ".py":
            told = ast.get_docstring(ast.parse(code.read_text(encoding="utf-8"))) or ""
            rows.append(f"| `{name}` | {' '.join(told.partition(BLANK)[0].split())} |\n")
    return "| at the top | what it is |\n| --- | --- |\n" + "".join(rows)


def _run_state(name: str, order: list[str]) -> int:
    entry = name.rstrip("/").removesuffix(".py")
    return order.index(entry) if entry in order else len(order)


def states() -> str:
    """Return the states of a job, what is true in each, and what it may become, as a table."""
    code = (ROOT / "runner" / "model.py").read_text(encoding="utf-8")
    true = dict(re.findall(r'^    [A-Z]+ = "(\w+)"  # (.+)$', code.partition("class State(")[2], re.M))
    rows = []
    for old in State:
        after = ", ".join(f"`{new}`" for new in State if new is not old and may_become(old, new))
        rows.append(f"| `{old}` | {true[old]} | {after} |\n")
    return "| state | what is true | may become |\n| --- | --- | --- |\n" + "".join(rows)


def open_questions() -> str:
    """Return what the documentation of the service leaves open, as a table."""
    rows = [f"| {row.open} | {row.assumed} | {row.otherwise} |\n" for row in OPEN_QUESTIONS]
    return "| open | the runner assumes | where it is otherwise |\n| --- | --- | --- |\n" + "".join(rows)


def metrics() -> str:
    """Return the numbers for Prometheus, as a table."""
    rows = [f"| `{name}` | {kind} | {words} |\n" for name, (kind, words) in METRICS.items()]
    return "| metric | type | meaning |\n| --- | --- | --- |\n" + "".join(rows)


PARTS: dict[str, Callable[[], str]] = {
    "help": help_text,
    "targets": targets,
    "floors": floors,
    "top": top,
    "states": states,
    "open": open_questions,
    "metrics": metrics,
}


def filled(text: str) -> str:
    """Return `text` with each generated part as it should be."""
    return PART.sub(lambda part: f"{part['head']}{PARTS[part['name']]()}{part['tail']}", text)


def main(arguments: list[str]) -> int:
    """Write or check the pages; return 0, or 1 when one is out of date."""
    if arguments not in (["--write"], ["--check"]):
        print("usage: python -m tests.readme --write | --check", file=sys.stderr)
        return 2
    stale = 0
    for page in PAGES:
        old = page.read_text(encoding="utf-8")
        new = filled(old)
        if arguments == ["--write"]:
            page.write_text(new, encoding="utf-8")
        elif old != new:
            print(f"{page.relative_to(ROOT)} is out of date: run `make readme`", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
