"""What the sandbox can be told when it starts: one record, and the flags that fill it."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.sandbox.faults import ANSWER_KINDS, PLACES, RESULT_KINDS, TASK_KINDS
from runner.sandbox.presets import PRESETS


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs here, where all of `params` were sent with these values (compared as text)."""

    model: str
    credits: float
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """How the imitation behaves. Times are in seconds, money in credits."""

    host: str = "127.0.0.1"
    port: int = 0  # 0: the port remembered in the state file if it is free, else any
    state: str = ":memory:"
    announce_fd: int = 1
    die_with_stdin: bool = False
    contracts: Path | None = None  # None: the contracts shipped with the package
    # account
    keys: Mapping[str, str] = field(default_factory=dict)  # key -> account; empty: any rvya_sk_ key is good
    credits: float = 100_000
    # money
    prices: tuple[Price, ...] = ()
    price_factor: float = 1
    failed_charge: bool = False  # a failed task keeps what was reserved
    insufficient: str = "402"  # the status, or "task"
    # tasks
    durations_s: tuple[float, float] = (0.5, 2.0)
    model_durations_s: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    seed: int = 0
    max_in_flight: int | None = None
    clock_ahead_s: float = 0  # of this machine's
    # answers
    create_status: int = 201
    replay: str = "original"  # or "current": what a repeated key is answered with
    key_retention_s: float = 86_400
    file_ttl_s: float | None = None
    result_ttl_s: float | None = None
    result_ranges: bool = True
    # rate
    rate: float = 0  # requests per second, 0: no limit
    rate_kind: str = "bucket"
    rate_window_s: float = 60
    burst: int | None = None  # bucket only; None: as many as one second brings
    retry_after: str = "seconds"
    # misbehaviour
    faults: tuple[Mapping[str, Any], ...] = ()
    chaos: float = 0


def parse_options(argv: Sequence[str]) -> SandboxOptions:
    """Read flags into `Options`; a mistake prints usage and exits with 2."""
    arguments = vars(_parser().parse_args(argv))
    models: dict[str, tuple[float, float]] = {}
    everywhere = SandboxOptions().durations_s
    for model, span in arguments.pop("duration"):
        if model is None:
            everywhere = span
        else:
            models[model] = span
    rules: list[Mapping[str, Any]] = []
    chaos = arguments.pop("chaos")
    for preset_rules, preset_chaos in arguments.pop("faults"):
        rules.extend(preset_rules)
        chaos = max(chaos, preset_chaos)
    return SandboxOptions(
        **{**arguments, "keys": dict(arguments["keys"]), "prices": tuple(arguments["prices"])},
        durations_s=everywhere,
        model_durations_s=models,
        faults=tuple(rules),
        chaos=chaos,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rivya-batch sandbox",
        description="A local imitation of the Rivya API: it costs nothing and misbehaves on request.",
        epilog='A rule of --faults: {"on": "submit", "do": "echo_key", "times": 1}; many in a list. On: '
        f"{', '.join(PLACES)}. Do: {', '.join((*ANSWER_KINDS, *RESULT_KINDS, *TASK_KINDS))}. What each"
        " does is in runner/sandbox/README.md.",
        allow_abbrev=False,
    )
    defaults = SandboxOptions()
    where = parser.add_argument_group("where")
    where.add_argument("--host", default=defaults.host, help="loopback address (default %(default)s)")
    where.add_argument(
        "--port", type=_port, default=0, metavar="PORT", help="0: the one used last with this state, else any"
    )
    where.add_argument(
        "--state", default=defaults.state, metavar="FILE", help="file of its ledger (default: in memory)"
    )
    where.add_argument(
        "--announce-fd",
        type=_announce_fd,
        default=1,
        metavar="N|-",
        help="where to print the address; -: stdout",
    )
    where.add_argument("--die-with-stdin", action="store_true", help="stop when standard input ends")
    where.add_argument("--contracts", type=Path, metavar="DIR", help="other model contracts")
    account = parser.add_argument_group("account and money")
    account.add_argument(
        "--key", dest="keys", action="append", default=[], type=_key, metavar="KEY[=ACCOUNT]",
        help="accept only these keys (default: any that begins with rvya_sk_, each its own account)",
    )  # fmt: skip
    account.add_argument("--credits", type=float, default=defaults.credits, help="balance of a new account")
    account.add_argument(
        "--price", dest="prices", action="append", default=[], type=_price, metavar="MODEL[PARAM=V,...]=N",
        help="the true price of a model, or of a model with these params",
    )  # fmt: skip
    account.add_argument("--price-factor", type=float, default=1, help="a factor on the listed prices")
    account.add_argument("--failed-charge", action="store_true", help="failed tasks are not refunded")
    account.add_argument("--insufficient", choices=("402", "400", "403", "409", "task"), default="402")
    tasks = parser.add_argument_group("tasks and answers")
    tasks.add_argument(
        "--duration", action="append", default=[], type=_duration, metavar="[MODEL=]LOW[:HIGH]",
        help="how long tasks take, in seconds (default 0.5:2)",
    )  # fmt: skip
    tasks.add_argument("--seed", type=int, default=0)
    tasks.add_argument("--max-in-flight", type=int, metavar="N", help="429 above so many running tasks")
    tasks.add_argument(
        "--clock-ahead", dest="clock_ahead_s", type=float, default=0, metavar="S",
        help="its clock is S seconds ahead of this machine's (behind: --clock-ahead=-S)",
    )  # fmt: skip
    tasks.add_argument("--create-status", type=int, choices=(200, 201, 202), default=201)
    tasks.add_argument("--replay", choices=("original", "current"), default="original")
    tasks.add_argument("--key-retention", dest="key_retention_s", type=float, default=86_400, metavar="S")
    tasks.add_argument("--file-ttl", dest="file_ttl_s", type=float, metavar="S", help="uploads expire")
    tasks.add_argument(
        "--result-ttl", dest="result_ttl_s", type=float, metavar="S", help="result urls expire"
    )
    tasks.add_argument(
        "--no-ranges", dest="result_ranges", action="store_false", help="results without range requests"
    )
    rate = parser.add_argument_group("rate limit")
    rate.add_argument(
        "--rate", type=float, default=0, help="requests per second for each account; 0: no limit"
    )
    rate.add_argument("--rate-kind", choices=("bucket", "window", "log"), default="bucket")
    rate.add_argument("--rate-window", dest="rate_window_s", type=float, default=60, metavar="S")
    rate.add_argument("--burst", type=int, metavar="N", help="bucket size (default: one second's worth)")
    rate.add_argument("--retry-after", choices=("seconds", "date", "none", "past"), default="seconds")
    trouble = parser.add_argument_group("misbehaviour")
    trouble.add_argument(
        "--faults", action="append", default=[], type=_faults, metavar="PRESET|JSON|@FILE",
        help=f"rules, or one of: {', '.join(PRESETS)}",
    )  # fmt: skip
    trouble.add_argument(
        "--chaos", type=_share, default=0, metavar="P", help="share of requests with a harmless fault"
    )
    return parser


def _announce_fd(text: str) -> int:
    return 1 if text == "-" else int(text)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError(f"{port} is not a port: 0 to 65535")
    return port


def _key(text: str) -> tuple[str, str]:
    key, _, account = text.partition("=")
    return key, account or key


def _price(text: str) -> Price:
    match = re.fullmatch(r"([^\[=]+)(?:\[([^\]]+)\])?=(\d+(?:\.\d+)?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not MODEL=N or MODEL[param=value,...]=N")
    model, params, amount = match.groups()
    pairs = (pair.partition("=") for pair in (params or "").split(",") if pair)
    return Price(model=model, credits=float(amount), params={key: value for key, _, value in pairs})


def _duration(text: str) -> tuple[str | None, tuple[float, float]]:
    model, found, span = text.rpartition("=")
    low, _, high = span.partition(":")
    try:
        bounds = float(low), float(high or low)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not LOW:HIGH in seconds") from None
    if not 0 <= bounds[0] <= bounds[1]:
        raise argparse.ArgumentTypeError(f"{text!r}: LOW must be at least 0 and not above HIGH")
    return (model if found else None), bounds


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _faults(text: str) -> tuple[list[Mapping[str, Any]], float]:
    """Return (rules, chaos) of a preset's name, of JSON, or of a file that holds JSON."""
    if text in PRESETS:
        preset = PRESETS[text]
        return list(preset.rules), preset.chaos
    try:
        found = json.loads(Path(text[1:]).read_text("utf-8") if text.startswith("@") else text)
    except (OSError, ValueError) as exc:
        known = ", ".join(PRESETS)
        raise argparse.ArgumentTypeError(f"{text!r} is not a preset ({known}) or JSON: {exc}") from exc
    return (found if isinstance(found, list) else [found]), 0.0
