"""Named sets of faults for people who rehearse a run before they pay for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Rules (see faults.py) and a share of requests that get something harmless."""

    about: str
    rules: tuple[Mapping[str, Any], ...] = ()
    chaos: float = 0


PRESETS: Mapping[str, Preset] = {
    "flaky": Preset(about="one request in ten goes wrong in a way that costs nothing", chaos=0.1),
    "lost-answers": Preset(
        about="one create answer in ten is lost after the task was accepted and charged",
        rules=({"on": "submit", "do": "drop_after", "probability": 0.1},),
    ),
    "overnight": Preset(
        about="a long night: hiccups, an outage, a slow patch, some failed tasks, some bad results",
        rules=(
            {"on": "submit", "do": "503", "after": 40, "times": 6},
            {"on": "poll", "do": "502", "after": 200, "times": 15},
            {"on": "submit", "do": "drop_after", "probability": 0.03},
            {"on": "submit", "do": "slow", "seconds": 3, "probability": 0.02},
            {"on": "task", "do": "task_fails", "probability": 0.02},
            {"on": "task", "do": "slow_task", "seconds": 30, "probability": 0.01},
            {"on": "result", "do": "truncated", "probability": 0.03},
            {"on": "result", "do": "expired", "probability": 0.03},
        ),
        chaos=0.01,
    ),
    "bad-results": Preset(
        about="one result in three arrives broken the first time",
        rules=(
            {"on": "result", "do": "truncated", "probability": 0.1},
            {"on": "result", "do": "html", "probability": 0.08},
            {"on": "result", "do": "empty", "probability": 0.08},
            {"on": "result", "do": "expired", "probability": 0.08},
        ),
    ),
    "odd-results": Preset(
        about="of every sixteen results one has bytes behind its end, one is a ZIP, two say that they are packed, one"
        " drips; a second result is refused for ever",
        # Ids of tasks end in a hex digit: each rule has results of its own, the same whenever they are asked for.
        rules=(
            {"on": "result", "do": "extra_bytes", "match": {"path_contains": "0/0."}},
            {"on": "result", "do": "zip", "match": {"path_contains": "1/0."}},
            {"on": "result", "do": "gzip", "match": {"path_contains": "2/0."}},
            {"on": "result", "do": "said_gzip", "match": {"path_contains": "3/0."}},
            {"on": "result", "do": "drip", "bytes_per_s": 10_000, "match": {"path_contains": "4/0."}},
            {"on": "result", "do": "expired", "match": {"path_contains": "5/1."}},
        ),
    ),
    "gateway": Preset(
        about="a gateway in front of the service answers with its own pages",
        rules=(
            {"on": "api", "do": "502", "probability": 0.05},
            {"on": "api", "do": "504", "when": "after", "probability": 0.05},
            {"on": "submit", "do": "gives_up", "probability": 0.03},
            {"on": "submit", "do": "page", "when": "after", "probability": 0.02},
        ),
    ),
    "bad-night": Preset(
        about="a stray 401 now and then, a gateway's page for 20 s, a daily quota for a minute, lost answers",
        rules=(
            {"on": "api", "do": "page", "after": 60, "lasts": 20},
            {"on": "submit", "do": "429", "code": "daily_limit", "seconds": 60, "after": 50, "lasts": 60},
            {"on": "api", "do": "401", "probability": 0.01},
            {"on": "submit", "do": "drop_after", "probability": 0.02},
        ),
    ),
    "dead-ends": Preset(
        about="some tasks vanish, end in words nobody has documented, or succeed without a result",
        rules=(
            {"on": "task", "do": "vanishes", "probability": 0.05},
            {"on": "task", "do": "odd_end", "code": "provider_error", "probability": 0.05},
            {"on": "task", "do": "odd_end", "status": "completed", "result": True, "probability": 0.1},
            {"on": "task", "do": "succeed_without_urls", "probability": 0.05},
        ),
    ),
    "surprise-prices": Preset(
        about="everything costs four times what is listed",
        rules=({"on": "task", "do": "price", "factor": 4},),
    ),
    "odd-prices": Preset(
        about="one credit is reserved for each task and the end tells what it cost: three times as much for some, and"
        " twenty times as much from the thirty-first on",
        rules=(
            {"on": "task", "do": "price", "factor": 3, "probability": 0.3},
            {"on": "task", "do": "price", "factor": 20, "after": 30},
            {"on": "task", "do": "told_reserved", "credits": 1},
        ),
    ),
    "absurd-charge": Preset(
        about="the sixth task is charged 40,500 credits",
        rules=({"on": "task", "do": "final_price", "credits": 40_500, "nth": 6},),
    ),
    "failing-tasks": Preset(
        about="one task in five fails and is refunded",
        rules=({"on": "task", "do": "task_fails", "probability": 0.2},),
    ),
}
