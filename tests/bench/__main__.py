"""`python -m tests.bench`: measure, print one table, exit 1 when a target is missed."""

from __future__ import annotations

import argparse
import fnmatch
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from tests.bench.machine import machine_lines
from tests.bench.nights import Night, crowd
from tests.bench.table import Line, Target, as_markdown, as_text

WIDE = Night(
    work="500 jobs, 200 in flight, 10 s, 50/s given",
    jobs=500,
    duration="10",
    rate=50,
    window=200,
    targets=(
        Target(field="total_s", most=35),
        Target(field="cpu_s", most=10),
        Target(field="peak_mb", most=80),
        Target(field="polls", most=2.5),
    ),
    rivals=True,
)
NIGHTS = {
    "given": Night(
        work="100 jobs, 50 in flight, 5 s, 20/s given",
        jobs=100,
        duration="5",
        rate=20,
        window=50,
        targets=(Target(field="total_s", most=18), Target(field="rejected", most=10)),
        rivals=True,
    ),
    "auto": Night(
        work="100 jobs, 50 in flight, 5 s, 20/s to be found",
        jobs=100,
        duration="5",
        rate=20,
        window=50,
        given=False,
        targets=(Target(field="total_s", most=25), Target(field="rejected", most=40)),
    ),
    "long": Night(
        work="100 tasks of 8-16 s at 10/s given",
        jobs=100,
        duration="8:16",
        rate=10,
        targets=(Target(field="total_s", most=31),),
        rivals=True,
    ),
    "wide": WIDE,
    "wider": replace(WIDE, work="500 jobs, 200 in flight, 10 s, 60/s given", rate=60, rivals=False),
    "slow": Night(
        work="1,000 of 60-180 s at 2/s, 20 times faster",
        jobs=1000,
        duration="3:9",
        rate=40,
        note="3-9 s at 40/s",
        targets=(Target(field="ratio", most=1.1),),
    ),
}


Measure = Callable[[Path], list[Line]]


def works(folder: Path, *, quick: bool, rivals_python: str, say: Callable[[str], None]) -> dict[str, Measure]:
    """Return what can be measured, in the order it is.

    Args:
        folder: Where what several works share is made.
        quick: A tenth of everything that has a size; no works that last a minute.
        rivals_python: An interpreter that has the SDKs.
        say: Takes lines for whoever waits.
    """
    from tests.bench import costs, scale

    part = 10 if quick else 1

    @cache
    def finished() -> scale.Finished:
        place = folder / "finished"
        place.mkdir()
        return scale.Finished(place, 100_000 // part, say)

    def night(one: Night) -> Measure:
        return lambda at: one.run(at, say, rivals_python)

    found: dict[str, Measure] = {
        "transport": lambda at: costs.transports(at, 500 // part),
        "engine": lambda at: costs.engine(at, 1000 // part, 100),
        "writer": lambda at: costs.writer(at, 5 / part),
        "csv": lambda at: [scale.plan(at, 100_000 // part, "csv")],
        "jsonl": lambda at: [scale.plan(at, 100_000 // part, "jsonl")],
        "yaml": lambda at: [scale.plan(at, 10_000 // part, "yaml")],
        "nothing": lambda at: [finished().nothing_to_do(edited=edited) for edited in (False, True)],
        "resume": lambda at: [finished().resume(own=False), finished().resume(own=True)],
        "virtual": lambda at: _virtual(1000 // part, 50 // part),
        **{name: night(one) for name, one in NIGHTS.items()},
        "several": lambda at: _several(at, 500 // part, say),
        "crowd": lambda at: crowd(at, 10_000 // part, 60 / part, say),
    }
    return {name: work for name, work in found.items() if not quick or name not in LASTING}


def _several(at: Path, jobs: int, say: Callable[[str], None]) -> list[Line]:
    from tests.bench.several import several

    return several(at, say, jobs=jobs, rate=60, duration="10")


def _virtual(jobs: int, seeds: int) -> list[Line]:
    # Late: it holds our scheduler in this process, and the others look at ours from outside.
    from tests.bench import virtual

    return [virtual.slow_account(jobs, seeds), *virtual.regimes(seeds)]


LASTING = ("long", "wide", "wider", "slow")


def measured(work: Measure, folder: Path, name: str, repeat: int) -> Iterator[Line]:
    """Yield the lines of a work; of several rounds, each line's median by total time."""
    rounds: list[list[Line]] = []
    for number in range(repeat):
        place = folder / f"{name}-{number}"
        place.mkdir()
        rounds.append(work(place))
    for same in zip(*rounds, strict=False):
        yield sorted(same, key=lambda line: line.total_s or line.value or 0)[len(same) // 2]


def main(argv: list[str] | None = None) -> int:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="a work, or a pattern; may be repeated"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of it, without what lasts long")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="the median of N rounds")
    parser.add_argument("--markdown", action="store_true", help="print the table as markdown")
    parser.add_argument(
        "--rivals-python", default=sys.executable, metavar="PATH", help="an interpreter that has the SDKs"
    )
    options = parser.parse_args(argv)
    # A shell that starts us in the background may have SIGINT ignored, and what we start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="rivya-bench-") as name:
        folder = Path(name)
        known = works(folder, quick=options.quick, rivals_python=options.rivals_python, say=say)
        wanted = {
            work: run
            for work, run in known.items()
            if not options.only or any(fnmatch.fnmatchcase(work, pattern) for pattern in options.only)
        }
        if not wanted:
            parser.error(f"no work of that name; there are: {', '.join(known)}")
        about = machine_lines()
        for work, run in wanted.items():
            began = time.monotonic()
            say(f"measuring  {work} ...")
            try:
                lines.extend(measured(run, folder, work, options.repeat))
            except Exception as exc:  # the other works are worth having
                lines.append(Line(work=work, note=f"FAILED: {type(exc).__name__}: {str(exc).strip()[-200:]}"))
            say(f"           {time.monotonic() - began:.0f} s")
        # Before the folder goes: two hundred thousand files take their time.
        print("\n".join(about) + "\n")
        print(as_markdown(lines) if options.markdown else as_text(lines), flush=True)
    return int(any(line.missed or line.note.startswith("FAILED") for line in lines))


if __name__ == "__main__":
    sys.exit(main())
