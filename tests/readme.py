"""The generated parts of README.md: `python -m tests.readme --write` fills them, `--check` compares.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support import clean_environment

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
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


PARTS: dict[str, Callable[[], str]] = {"help": help_text, "targets": targets}


def filled(text: str) -> str:
    """Return `text` with each generated part as it should be."""
    return PART.sub(lambda part: f"{part['head']}{PARTS[part['name']]()}{part['tail']}", text)


def main(arguments: list[str]) -> int:
    """Write or check README.md; return 0, or 1 when it is out of date."""
    if arguments not in (["--write"], ["--check"]):
        print("usage: python -m tests.readme --write | --check", file=sys.stderr)
        return 2
    old = README.read_text(encoding="utf-8")
    new = filled(old)
    if arguments == ["--write"]:
        README.write_text(new, encoding="utf-8")
    elif old != new:
        print("README.md is out of date: run `make readme`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
