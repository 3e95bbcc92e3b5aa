"""A plan in words: groups of jobs, what was edited, what it costs and how that is known; no line is wider than `WIDTH`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from runner.model import Basis
from runner.money.budget import EPSILON
from runner.progress.figures import (
    columns,
    counted,
    credits_in_words,
    day_in_words,
    in_credits,
    near,
    size,
    span,
)
from runner.words import harmless, json_text

if TYPE_CHECKING:
    from runner.api.plan import Plan
    from runner.api.plans.compare import Comparison
    from runner.api.plans.groups import Group, Grouped, Known, Range, Totals
    from runner.store.plan_groups import Edited, GroupedJob
    from runner.store.price_books import Charged

WIDTH = 80
HEAD = 11  # columns of `credits    `
MARKS = {
    "new": "+",
    "planned": "+",
    "changed": "~",
    "renamed": ">",
    "running": "…",
    "done": "✓",
    "failed": "✗",
    "uncertain": "?",
    "abandoned": "-",
    "off": "\N{MIDDLE DOT}",
    "orphaned": "o",
}
NAMES = {"off": "switched off"}  # of what is called otherwise than in JSON
# Of a line that begins with a mark, or shows the old or the new text of an edited job.
COLOURS = {"+": "32", "~": "33", "✗": "31", "?": "31", "      - ": "31", "      + ": "32"}
MOST_KNOWN, MOST_MODELS = 6, 8
PROMPT_LINES = 3  # of a sample; that of the first group is shown whole


# Half of a command, pasted from two lines, would be another one.
_WORD: Final = re.compile(r"(?:`rivya-batch [^`]*`|\S)+")


def wrapped(text: str, *, indent: str = "", first: str | None = None, most: int | None = None) -> list[str]:
    """Return text as lines of `WIDTH` columns at most, broken between words only, and never inside a command of ours.

    Args:
        text: On one line.
        indent: What each line begins with.
        first: What the first line begins with, if not that.
        most: So many lines; the last of them then ends in `…`.
    """
    lines, line, empty = list[str](), indent if first is None else first, True
    for word in _WORD.findall(text):
        for piece in _pieces(word, WIDTH - columns(indent)):
            if not empty and columns(line) + 1 + columns(piece) > WIDTH:
                lines.append(line)
                line, empty = indent, True
            line += piece if empty else f" {piece}"
            empty = False
    lines.append(line)
    if most is not None and len(lines) > most:
        lines = [*lines[: most - 1], f"{lines[most - 1][: WIDTH - 2].rstrip()} …"]
    return lines


def _pieces(word: str, room: int) -> Iterator[str]:
    """Yield a word; in parts where it is wider than a line and its letters are wide, as scripts without spaces are."""
    if columns(word) <= room or columns(word) == len(word):
        yield word
        return
    piece = ""
    for letter in word:
        if columns(piece) + columns(letter) > room:
            yield piece
            piece = ""
        piece += letter
    yield piece


def field(name: str, text: str) -> list[str]:
    """Return a line of the summary: its name, and what it says from the same column on."""
    return wrapped(text, indent=" " * HEAD, first=f"{name:<{HEAD}}")


# --- groups -----------------------------------------------------------------------------------------------------------


def group_lines(found: Grouped, summary: Mapping[str, int]) -> Iterator[str]:
    """Yield the groups of a plan, each with an example; what was edited; and what the manifest no longer lists."""
    told_whole = False
    edited = sum(group.change == "changed" for group in found.groups)
    for place, group in enumerate(found.groups):
        pays = group.sends > 0
        yield from _head(group)
        if pays and group.change != "changed":
            yield from _sample(group.sample, alone=group.jobs == 1, whole=not told_whole)
            told_whole = True
        if pays and group.differs and group.change != "changed":
            yield from wrapped(
                ", ".join(map(harmless, group.differs)), indent=" " * 15, first="    differ in: "
            )
        if place == edited - 1:  # those that were changed come first
            yield from _edited(found, summary["changed"])
    if found.more:
        yield f"  … and {counted(found.more, 'more job')}; --all shows each"
    if orphaned := summary["orphaned"]:
        yield from wrapped(_kept(orphaned, found.superseded), indent="    ", first=f"{MARKS['orphaned']} ")


def colour_of(line: str) -> str:
    """Return the colour of a line of `group_lines`; empty where it has none."""
    return next((colour for begin, colour in COLOURS.items() if line.startswith(f"{begin.rstrip(' ')} ")), "")


def _head(group: Group) -> Iterator[str]:
    price = f", {each_in_words(group.each)}{' each' if group.jobs > 1 else ''}" if group.sends else ""
    text = f"{group.jobs:,} {NAMES.get(group.change, group.change)}: {harmless(group.grid)}{price}"
    yield from wrapped(text, indent="    ", first=f"{MARKS[group.change]} ")


def _sample(job: GroupedJob, *, alone: bool, whole: bool) -> Iterator[str]:
    params = ", ".join(f"{name} {_said(value)}" for name, value in json.loads(job.params).items())
    files = ", ".join(item["path"] for item in json.loads(job.refs))
    facts = ", ".join(part for part in (job.model, params, files) if part)
    label = "" if alone else f"{job.job}: "
    yield from wrapped(harmless(f"{label}{facts}", limit=1000), indent="      ", first="    ")
    if job.prompt:
        limit = len(job.prompt) + 1
        yield from wrapped(
            harmless(f"“{job.prompt}”", limit=limit + 2), indent="    ", most=None if whole else PROMPT_LINES
        )


def comparison_lines(found: Comparison) -> list[str]:
    """Return how a plan differs from another."""
    this, other = found.this, found.other
    lines = field(
        "compare",
        f"with {other.path}: {counted(len(other.jobs), 'job')}, {range_in_words(other.all)} credits",
    )
    more = this.all.expected - other.all.expected
    percent = f" ({100 * more / other.all.expected:+.0f}%)" if other.all.expected else ""
    here = f"here {counted(len(this.jobs), 'job')}, {range_in_words(this.all)} credits"
    words = (
        "the same"
        if abs(more) <= EPSILON
        else f"{'+' if more > 0 else '-'}{credits_in_words(abs(more))}{percent}"
    )
    lines += field("", f"{here}: {words}")
    parts = [
        (
            found.dearer + found.cheaper,
            f"{found.dearer:,} dearer here, {found.cheaper:,} cheaper",
            found.differing,
        ),
        (found.only_here, f"{counted(found.only_here, 'job')} only here", found.here),
        (found.only_there, f"{counted(found.only_there, 'job')} only there", found.there),
    ]
    for number, text, ids in parts:
        if number:
            some = ", ".join(harmless(each) for each in ids) + (", …" if number > len(ids) else "")
            lines += field("", f"{text}: {some}")
    return lines


MOST_CHARGED = 5


def charged_lines(prices: Sequence[Charged], *, silent: bool = False) -> list[str]:
    """Return the lines after a run: what was expected, what was charged, and where these differ, by price.

    Of a `silent` service, which names no amounts, nobody knows what was charged.
    """
    jobs = sum(each.jobs for each in prices)
    if not jobs:
        return []
    expected, charged = sum(each.expected for each in prices), sum(each.charged for each in prices)
    of = f"for {counted(jobs, 'job')}"
    off = [each for each in prices if abs(each.charged - each.expected) > EPSILON]
    if not off and silent:
        return field("counted", f"{credits_in_words(charged)} {of}: the service names no amounts")
    if not off:
        return field("charged", f"{credits_in_words(charged)} {of}, just as expected")
    percent = f" ({100 * (charged / expected - 1):+.0f}%)" if expected else ""
    lines = field(
        "charged",
        f"{credits_in_words(charged)} {of}, where {credits_in_words(expected)} was expected{percent}",
    )
    params = [json.loads(each.params) for each in prices]
    names = sorted({name for each in params for name in each})
    differing = [name for name in names if len({_said(each.get(name)) for each in params}) > 1] or names
    for each in off[:MOST_CHARGED]:
        options = json.loads(each.params)
        told = [f"{name} {_said(options[name])}" for name in differing if name in options]
        paid = credits_in_words(each.least)
        if each.most > each.least:
            paid += f" to {credits_in_words(each.most)}"
        one = credits_in_words(round(each.expected / each.jobs, 2))
        text = f"{', '.join([each.model, *told])}: {paid} each, {one} expected ({counted(each.jobs, 'job')})"
        lines += wrapped(harmless(text, limit=400), indent=" " * (HEAD + 2), first=" " * HEAD)
    if len(off) > MOST_CHARGED:
        lines.append(f"{' ' * HEAD}and {counted(len(off) - MOST_CHARGED, 'more price')}")
    return lines


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)


def _edited(found: Grouped, number: int) -> Iterator[str]:
    """Yield what was edited, of so many jobs in all: the old and the new text, and what is paid again."""
    edited = found.edited
    jobs, credits = found.paid_again
    if jobs:
        yield f"    {counted(jobs, 'job')} made again: {in_credits(credits)} paid again"
    for job in edited:
        yield f"    {harmless(job.job)}: {', '.join(job.cause.split()) or 'something'} changed"
        for old, new in _differences(job):
            yield from wrapped(harmless(old, limit=2000), indent="        ", first="      - ")
            yield from wrapped(harmless(new, limit=2000), indent="        ", first="      + ")
    if number > len(edited):
        yield f"    … and {counted(number - len(edited), 'more changed job')}"


def _differences(job: Edited) -> Iterator[tuple[str, str]]:
    if job.model != job.old_model:
        yield job.old_model, job.model
    if job.prompt != job.old_prompt:
        yield job.old_prompt or "(no prompt)", job.prompt or "(no prompt)"
    old, new = json.loads(job.old_params), json.loads(job.params)
    changed = [name for name in (*new, *(set(old) - set(new))) if old.get(name) != new.get(name)]
    if changed:
        yield _named(changed, old), _named(changed, new)
    if "reference" in job.cause:
        yield _files(job.old_refs), _files(job.refs)


def _named(names: Sequence[str], params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_said(params[name]) if name in params else '(left out)'}" for name in names)


def _files(refs: str) -> str:
    """Return references with the beginning of their hashes: the same path may hold another picture."""
    files = (
        f"{item['path']} ({item['sha256'][:8]})" if item["sha256"] else item["path"]
        for item in json.loads(refs)
    )
    return ", ".join(files) or "(no references)"


def _kept(orphaned: int, superseded: int) -> str:
    """Return what is known of rows that the manifest no longer lists."""
    parts = []
    if superseded:
        parts.append(f"{counted(superseded, 'old version')} of edited jobs")
    if orphaned > superseded:
        parts.append(f"{counted(orphaned - superseded, 'job')} no longer in the manifest")
    return f"kept: {', '.join(parts)}; --all shows each"


# --- money ------------------------------------------------------------------------------------------------------------


def each_in_words(price: Range) -> str:
    """Return the price of one of several jobs: `12 credits`, `10 to 12 credits`, `at least 3 to 10 credits`."""
    words = range_in_words(price)
    if price.high is None and price.expected > price.low + EPSILON:
        words += f" to {credits_in_words(price.expected)}"
    return f"{words} credit{'' if words.split()[-1] == '1' else 's'}"


def range_in_words(price: Range) -> str:
    """Return credits: `12`, `10 to 12`, `at least 10`."""
    if price.high is None:
        return f"at least {credits_in_words(price.low)}"
    low, high = credits_in_words(price.low), credits_in_words(price.high)
    return low if low == high else f"{low} to {high}"


def known_in_words(known: Known, now_s: float) -> str:
    """Return how prices are known: `seen 14 times, last yesterday`."""
    words = known.words
    if known.basis is Basis.FITTED:
        words = f"fitted: {words}"
    if known.basis is Basis.LISTED and words == "listed":
        words = "listed: never paid here, the real price may be higher"
    if known.at:
        words += f", last {day_in_words(known.at, now_s)}"
    for beyond in known.beyond:
        words += f"; some lie beyond what was paid for ({beyond})"
    return words


def summary_words(plan: Plan, credits: dict[str, Any]) -> str:
    """Return the counts and the money of a plan as a few lines."""
    return "\n".join(_summary(plan, credits))


def _summary(plan: Plan, credits: dict[str, Any]) -> Iterator[str]:
    total = plan.summary["total"] - plan.summary["orphaned"]
    counts = ", ".join(
        f"{number:,} {NAMES.get(change, change)}"
        for change, number in plan.summary.items()
        if number and change not in ("total", "orphaned")
    )
    yield from wrapped(f"{plan.name}: {counted(total, 'job')}: {counts or 'none'}", indent="  ", first="")
    totals = plan.totals
    yield from field("credits", _money(credits, totals))
    if len(totals.by_model) > 1:
        yield from _by_model(totals)
    for axis, values in totals.by_axis.items():
        sums = (f"{harmless(value, limit=40)} = {range_in_words(each)}" for value, each in values.items())
        yield from field("by axis", f"{harmless(axis, limit=40)}: {', '.join(sums)}")
    ordered = sorted(totals.known, key=lambda known: -known.jobs)
    for known in ordered[:MOST_KNOWN]:
        jobs = "" if len(totals.known) == 1 else f"{counted(known.jobs, 'job')}, "
        each = f"{each_in_words(known.each)}{' each' if known.jobs > 1 else ''}"
        yield from field("price", f"{known_in_words(known, plan.now_s)} ({jobs}{each})")
    if len(ordered) > MOST_KNOWN:
        yield from field("price", f"and {counted(len(ordered) - MOST_KNOWN, 'more kind')} of price")
    yield from _work(plan)
    yield from _warnings(credits)
    if plan.sandbox:
        yield from field("sandbox", "nothing is paid: these are credits of the sandbox")
    new = "" if plan.database_exists else " (new: no run yet)"
    yield from field("database", f"{near(plan.database)}{new}")


def _by_model(totals: Totals) -> Iterator[str]:
    models = sorted(totals.by_model.items(), key=lambda each: -each[1][1].expected)
    for place, (model, (jobs, price)) in enumerate(models[:MOST_MODELS]):
        text = f"{model}: {range_in_words(price)} ({counted(jobs, 'job')})"
        yield from field("" if place else "by model", text)
    if len(models) > MOST_MODELS:
        yield from field("", f"and {counted(len(models) - MOST_MODELS, 'more model')}")


def _money(credits: dict[str, Any], totals: Totals) -> str:
    least = "at least " if totals.all.high is None else ""
    money = [f"{least}{credits_in_words(credits['to_spend'])} to spend"]
    if totals.all.high is not None and totals.all.high > totals.all.low + EPSILON:
        money[0] += f" ({range_in_words(totals.all)})"
    if credits["spent"]:
        money.append(f"{credits_in_words(credits['spent'])} spent before")
    if credits["reserved"]:
        money.append(f"{credits_in_words(credits['reserved'])} reserved")
    if credits["max_credits"] is not None:
        money.append(f"cap {credits_in_words(credits['max_credits'])}")
    if credits["balance"] is not None:
        money.append(f"balance {credits_in_words(credits['balance'])}")
    return ", ".join(money)


def _work(plan: Plan) -> Iterator[str]:
    if not (plan.submits or plan.summary["running"]):
        yield from field("work", "nothing to submit")
        return
    bytes_ = f" ({size(plan.upload_bytes)})" if plan.upload_bytes else ""
    uploads = f", {counted(plan.uploads, 'upload')}{bytes_}" if plan.uploads else ""
    going = f", {counted(plan.summary['running'], 'job')} under way" if plan.summary["running"] else ""
    yield from field(
        "work",
        f"{counted(plan.submits, 'job')} to submit{going}{uploads}, about {counted(plan.requests, 'request')},"
        f" roughly {span(plan.seconds)}",
    )


def _warnings(credits: dict[str, Any]) -> Iterator[str]:
    cap = credits["max_credits"]
    # A run sets aside for each job what jobs like it came to at most: it has to find that much room for the last one.
    wanted = credits["to_spend"] + credits["margin"]
    if cap is not None and wanted + credits["spent"] + credits["reserved"] > cap + EPSILON:
        yield from field("warning", "costs more than max_credits: the run will stop at the cap (exit 8)")
    if above := credits["jobs_above_cap"]:
        yield from field(
            "warning",
            f"{counted(above, 'job')} of these {'costs' if above == 1 else 'cost'} more than max_credits_per_job"
            f" ({credits_in_words(credits['max_credits_per_job'])}) and will not be sent (exit 8)",
        )
    day = credits["max_credits_per_day"]
    if day is not None and wanted + credits["last_day"] > day + EPSILON:
        yield from field(
            "warning",
            f"with the {credits_in_words(credits['last_day'])} of the last 24 hours this is more than"
            f" max_credits_per_day ({credits_in_words(day)}): the run will stop there (exit 8)",
        )
    balance, most = credits["balance"], credits["up_to"]
    if balance is not None and credits["to_spend"] > balance:
        yield from field("warning", "the balance is lower than this run may cost")
    elif balance is not None and most is not None and most > balance + EPSILON:
        yield from field("warning", f"it may cost up to {credits_in_words(most)}, and the balance is lower")


def question(plan: Plan, balance: float | None) -> str:
    """Return what is asked before credits are spent: the sum, the balance, and how sure the sum is."""
    totals = plan.totals
    of = f" of your {credits_in_words(balance)}" if balance is not None else ""
    text = f"Spend {range_in_words(totals.all)}{of} credits? ({_sure(totals.known, plan.now_s)})"
    answers = "_" * len(" [y/N]:")  # the room for what click adds
    return "\n".join(wrapped(text + answers)).removesuffix(answers)


def _sure(known: Sequence[Known], now_s: float) -> str:
    unseen = [each for each in known if each.basis is Basis.LISTED]
    if unseen:
        shapes = sum(each.shapes for each in unseen)
        if len(unseen) < len(known):
            return f"lower bound: {counted(shapes, 'price')} of these {'was' if shapes == 1 else 'were'} never seen"
        return "lower bound: " + (
            "this price was never seen" if shapes == 1 else "these prices were never seen"
        )
    if len(known) == 1 and known[0].basis is not Basis.FITTED:
        return known_in_words(known[0], now_s)
    bases = {each.basis for each in known}
    words = {
        Basis.OBSERVED: "seen before",
        Basis.GIVEN: "given",
        Basis.FITTED: "fitted to other charges",
    }
    return ", ".join(text for basis, text in words.items() if basis in bases) or "nothing is known of it"
