"""Which request is to go wrong, and how. Rules are data; what they do to an answer is in misbehave.py.

A rule: `{"on": "submit", "do": "503", "times": 3, "after": 10, "probability": 0.5, "match": {...}}`.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

API = ("submit", "poll", "upload", "file", "credits", "models", "openapi")
PLACES = (*API, "result", "task", "api")

# Kinds that end a request of the API before or after it was processed, with the default for `when`.
ANSWER_KINDS: Mapping[str, str] = {
    "error": "before",  # any status and code: {"status": 418, "code": "teapot", "message": "..."}
    "401": "before",
    "403": "before",
    "404": "before",
    "409": "before",
    "429": "before",
    "500": "before",
    "502": "before",
    "503": "before",
    "504": "before",
    "page": "before",
    "api_key_missing": "before",
    "api_key_invalid": "before",
    "api_key_revoked": "before",
    "api_key_expired": "before",
    "drop": "before",
    "drop_before": "before",
    "drop_after": "after",
    "hang": "before",
    "hang_after": "after",
    "slow": "before",
    "truncated": "after",
    "garbage": "after",
    "empty": "after",
    "wrong_content_type": "after",
    "no_id": "after",
    "wrapped": "after",
    "gives_up": "before",
    "redirect": "before",
    "refuse": "before",
    "refuse_reference_url": "before",
    "insufficient_credits": "before",
    "echo_key": "before",
    "kill_client": "before",
}
# Kinds for downloads of results; those of ANSWER_KINDS work there too.
RESULT_KINDS = (
    "expired", "truncated_no_length", "wrong_length", "html", "drip", "no_ranges", "gzip_bomb", "gzip", "said_gzip",
    "extra_bytes", "zip",
    "wrong_range",
)  # fmt: skip
# Kinds that decide what becomes of a task; judged when it is accepted. `on` may be "task" or "submit".
TASK_KINDS = (
    "task_fails", "fails_without_error", "unknown_status", "succeed_without_urls", "stuck", "slow_task", "results_at",
    "odd_end", "vanishes",
    "price", "final_price", "final_null", "final_absent", "final_zero", "told_reserved",
)  # fmt: skip

# Kinds that spoil an answer, so that there has to be one first.
SPOILERS = frozenset(
    {"truncated", "garbage", "empty", "wrong_content_type", "no_id", "wrapped", *RESULT_KINDS}
)
WHEN = ("before", "after", "answered")
NUMBERS = ("seconds", "credits", "factor", "bytes_per_s", "megabytes", "keep", "length")
FORMS = ("null", "empty", "list")
CONTROLS = frozenset({"on", "do", "times", "after", "nth", "lasts", "probability", "match", "when"})

# What chaos may do: nothing that costs money, refuses a key, or fails a job. (kind, options, weight).
CHAOS_API: tuple[tuple[str, Mapping[str, Any], int], ...] = (
    ("429", {}, 3),
    ("500", {}, 2),
    ("500", {"when": "after"}, 2),
    ("502", {}, 2),
    ("502", {"when": "after"}, 1),
    ("503", {}, 1),
    ("504", {"when": "after"}, 1),
    ("drop_before", {}, 3),
    ("drop_after", {}, 3),
    ("slow", {"seconds": 0.3}, 3),
    ("truncated", {}, 2),
    ("garbage", {}, 1),
    ("wrong_content_type", {}, 1),
)
CHAOS_RESULT: tuple[tuple[str, Mapping[str, Any], int], ...] = (
    ("500", {}, 2),
    ("502", {}, 2),
    ("drop_before", {}, 2),
    ("truncated", {}, 4),
    ("truncated_no_length", {}, 1),
    ("expired", {}, 2),
    ("html", {}, 1),
    ("empty", {}, 1),
    ("slow", {"seconds": 0.3}, 2),
)


class BadRule(ValueError):
    """A fault rule that cannot be understood; the text says why."""


@dataclass(slots=True, kw_only=True)
class Rule:
    """One rule and how often it has come into play."""

    on: frozenset[str]
    do: str
    times: int | None = None  # None: for ever
    after: int = 0  # skip the first so many matching requests
    lasts_s: float = math.inf  # from the first time it fires
    probability: float = 1
    match: Mapping[str, Any] = field(default_factory=dict)
    when: str = "before"
    options: Mapping[str, Any] = field(default_factory=dict)
    seen: int = 0
    fired: int = 0
    until: float = math.inf

    def spent(self, now: float) -> bool:
        """Whether it has fired as often, or for as long, as it may."""
        return now >= self.until or (self.times is not None and self.fired >= self.times)

    def describe(self) -> dict[str, Any]:
        """Return the rule as JSON, with its counters."""
        return {
            "on": sorted(self.on), "do": self.do, "times": self.times, "after": self.after,
            "lasts": None if self.lasts_s == math.inf else self.lasts_s, "probability": self.probability,
            "match": dict(self.match), "when": self.when, **self.options,
            "seen": self.seen, "fired": self.fired,
        }  # fmt: skip


class Faults:
    """The rules in force, in order, and the seeded dice they are played with."""

    def __init__(
        self,
        rules: Iterable[Mapping[str, Any]] = (),
        *,
        chaos: float = 0,
        seed: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rules = [parse_rule(rule) for rule in rules]
        self._now = now
        self.chaos = chaos
        self._random = random.Random(seed)

    def add(self, rules: Iterable[Mapping[str, Any]]) -> None:
        """Add rules behind the present ones; all or none."""
        self.rules.extend([parse_rule(rule) for rule in rules])

    def clear(self) -> None:
        """Drop all rules, and chaos."""
        self.rules.clear()
        self.chaos = 0

    def pick(self, place: str, facts: Mapping[str, Any]) -> Rule | None:
        """Return what happens to this request: the first rule that fires, else perhaps some chaos."""
        for rule in self.rules:
            if rule.do not in TASK_KINDS and self._fires(rule, place, facts):
                return rule
        if self.chaos and self._random.random() < self.chaos:
            return self._chaos(place)
        return None

    def pick_for_task(self, facts: Mapping[str, Any]) -> list[Rule]:
        """Return every rule that shapes the task now being accepted."""
        return [rule for rule in self.rules if rule.do in TASK_KINDS and self._fires(rule, "task", facts)]

    def _fires(self, rule: Rule, place: str, facts: Mapping[str, Any]) -> bool:
        now = self._now()
        if place not in rule.on or rule.spent(now) or not _matches(rule.match, facts):
            return False
        rule.seen += 1
        if rule.seen <= rule.after or (rule.probability < 1 and self._random.random() >= rule.probability):
            return False
        if not rule.fired:
            rule.until = now + rule.lasts_s
        rule.fired += 1
        return True

    def _chaos(self, place: str) -> Rule:
        menu = CHAOS_RESULT if place == "result" else CHAOS_API
        kind, options, _ = self._random.choices(menu, weights=[weight for _, _, weight in menu])[0]
        return parse_rule({"on": place, "do": kind, **options})


def parse_rule(raw: Any) -> Rule:
    """Read one rule.

    Raises:
        BadRule: With a sentence that names the key and what it may be.
    """
    if not isinstance(raw, Mapping):
        raise BadRule("a fault rule must be an object")
    do = str(raw.get("do", ""))
    if do not in ANSWER_KINDS and do not in RESULT_KINDS and do not in TASK_KINDS:
        raise BadRule(
            f"do: {do!r} is unknown; use one of {', '.join((*ANSWER_KINDS, *RESULT_KINDS, *TASK_KINDS))}"
        )
    when = raw.get("when", ANSWER_KINDS.get(do, "before"))
    if when not in WHEN:
        raise BadRule(f"when: must be one of {', '.join(WHEN)}")
    if do in SPOILERS:
        when = "after"
    if raw.get("form", "null") not in FORMS:
        raise BadRule(f"form: must be one of {', '.join(FORMS)}")
    after, times = raw.get("after", 0), raw.get("times")
    if "nth" in raw:
        after, times = int(raw["nth"]) - 1, 1
    if do == "kill_client":
        _check_pid(raw.get("pid"))
    try:
        return Rule(
            on=_places(raw.get("on"), do),
            do=do,
            times=None if times is None else int(times),
            after=int(after),
            lasts_s=float(raw.get("lasts", math.inf)),
            probability=float(raw.get("probability", 1)),
            match=dict(raw.get("match", {})),
            when=when,
            options={k: float(v) if k in NUMBERS else v for k, v in raw.items() if k not in CONTROLS},
        )
    except (TypeError, ValueError) as exc:
        raise exc if isinstance(exc, BadRule) else BadRule(f"{do}: {exc}") from exc


def _places(on: Any, do: str) -> frozenset[str]:
    names = [on] if isinstance(on, str) else list(on or ())
    unknown = [name for name in names if name not in PLACES]
    if unknown or not names:
        raise BadRule(f"on: must be one or more of {', '.join(PLACES)}")
    if do in TASK_KINDS:
        return frozenset({"task"})
    places = {place for name in names for place in (API if name == "api" else (name,))}
    if do in RESULT_KINDS and places != {"result"}:
        raise BadRule(f"{do}: only works on result")
    if "task" in places:
        raise BadRule(f"{do}: does not work on task")
    return frozenset(places)


def _check_pid(pid: Any) -> None:
    if isinstance(pid, bool) or not isinstance(pid, int) or pid <= 1 or pid == os.getpid():
        raise BadRule("kill_client: needs the pid of the client")


def _matches(match: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Compare with what is known of the request; `prompt_contains` and the like look inside."""
    for name, wanted in match.items():
        if name.endswith("_contains"):
            if str(wanted) not in str(facts.get(name.removesuffix("_contains")) or ""):
                return False
        elif facts.get(name) != wanted:
            return False
    return True
