"""What the exchanges of one job show of a service: facts, each only where it was truly seen. No request is made here.

Each function returns (value for rules, words for people), or None where nothing can be said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import parse_qs, urlsplit

from runner.api.checks.watch import Exchange
from runner.host.clock import epoch
from runner.results.ranges import body_length, is_chunked
from runner.service.protocol import Answer, Meaning, TaskStatus, TaskView
from runner.service.seen import ANOTHER_TASK, NO_RANGES, NOT_THE_END
from runner.service.transports.listening import AnswerHead
from runner.words import harmless

Told = tuple[str, str]
SLACK_S = 1.5  # times cut to whole seconds, by them and in `Date`
SURELY_LATER_S = 3.0  # an end so long before it was asked for was not made up by the question
DOCUMENTED = frozenset({"queued", "processing", "succeeded", "failed"})
_EPOCH_NAMES = ("expires", "exp", "e", "expiry", "x-expires")
_SPAN_NAMES = ("x-amz-expires", "x-goog-expires", "x-oss-expires", "x-cos-expires")


def facts_of_run(
    exchanges: Sequence[Exchange], heads: Sequence[AnswerHead], *, listed: float | None
) -> dict[str, Told]:
    """Return what a job's own life has shown.

    Args:
        exchanges: What was asked and answered, in order.
        heads: Of the answers of result hosts.
        listed: The starting price of its model, in credits.
    """
    found = {
        "create_status": create_status(exchanges),
        "states": states(exchanges),
        "poll_id": poll_id(exchanges),
        "price": price(exchanges, listed),
        "final_credits": final_credits(exchanges),
        "failed_charge": failed_charge(exchanges),
        "rate_limit": rate_limit(exchanges),
        "bare_429": bare_429(exchanges),
        "url_life": url_life(exchanges),
        "result_type": result_type(heads),
        "result_key": result_key(heads),
    }
    if any(accepted(each) for each in exchanges):
        found["key_form"] = ("taken", "a key of ours was taken")
        found["request_id_form"] = ("taken", "the same text as the key was taken")
    return {key: told for key, told in found.items() if told is not None}


def accepted(exchange: Exchange) -> bool:
    """Say whether a submit was answered with a task."""
    return (
        exchange.call == "submit"
        and exchange.answer.meaning is Meaning.OK
        and exchange.answer.task is not None
    )


def tasks(exchanges: Sequence[Exchange]) -> Iterator[tuple[Exchange, TaskView]]:
    """Yield the exchanges that tell of a task, in order."""
    for each in exchanges:
        if each.answer.meaning is Meaning.OK and each.answer.task is not None:
            yield each, each.answer.task


def create_status(exchanges: Sequence[Exchange]) -> Told | None:
    """Return with which status a submit was accepted, and what came."""
    first = next((each.answer for each in exchanges if accepted(each)), None)
    if first is None or first.status is None or first.task is None:
        return None
    return str(first.status), f"HTTP {first.status}, state {first.task.word!r}; {_fields(first)}"


def _fields(answer: Answer) -> str:
    names = [harmless(str(name), limit=40) for name in answer.data or {}]
    return f"fields: {', '.join(names[:14])}{', …' if len(names) > 14 else ''}"


def states(exchanges: Sequence[Exchange]) -> Told | None:
    """Return which words for states came, in their order."""
    words = list(dict.fromkeys(task.word for _, task in tasks(exchanges)))
    if not words:
        return None
    odd = [word for word in words if word not in DOCUMENTED]
    told = ", ".join(word or "none" for word in words)
    return ("other", f"{told} (not documented: {', '.join(odd)})") if odd else ("documented", told)


def poll_id(exchanges: Sequence[Exchange]) -> Told | None:
    """Return whether polls name the task's id."""
    polled = [each.answer for each, _ in tasks(exchanges) if each.call == "poll"]
    if not polled:
        return None
    named = all(_names(answer.data, str(answer.task.id)) for answer in polled if answer.task is not None)
    return ("named", "polls name it") if named else ("nameless", "some polls do not name it")


def _names(data: object, task_id: str) -> bool:
    if isinstance(data, Mapping):
        return any(_names(value, task_id) for value in data.values())
    if isinstance(data, (list, tuple)):
        return any(_names(value, task_id) for value in data)
    return str(data) == task_id


def price(exchanges: Sequence[Exchange], listed: float | None) -> Told | None:
    """Return what a job was listed at, what was reserved and when that was told, and what it was charged."""
    told = list(tasks(exchanges))
    end = ended(exchanges)
    if not told:
        return None
    at = next((number for number, (_, task) in enumerate(told) if task.reserved), None)
    if at is None:
        when, reserved = "never", "no reservation was named"
    else:
        when = "at once" if told[at][0].call == "submit" else "late"
        amounts = list(dict.fromkeys(task.reserved for _, task in told if task.reserved))
        reserved = f"{', then '.join(f'{amount:g}' for amount in amounts)} reserved, named {when}"
    charged = ""
    if end is not None:
        charged = ", no charge was named" if end[1].final is None else f", {end[1].final:g} charged"
    return when, f"{'nothing' if listed is None else f'{listed:g}'} listed, {reserved}{charged}"


def final_credits(exchanges: Sequence[Exchange]) -> Told | None:
    """Return how a success tells its charge."""
    end = ended(exchanges)
    if end is None or end[1].status is not TaskStatus.SUCCEEDED:
        return None
    match end[1].final:
        case None:
            return "absent", "a success names no charge"
        case 0:
            return "zero", "a success says 0"
        case amount:
            return "named", f"a success says {amount:g}"


def failed_charge(exchanges: Sequence[Exchange]) -> Told | None:
    """Return what a failed task says of its charge."""
    end = ended(exchanges)
    if end is None or end[1].status is not TaskStatus.FAILED:
        return None
    final = end[1].final
    return (
        ("absent", "a failed task names no charge") if final is None else (f"{final:g}", f"{final:g} charged")
    )


def rate_limit(exchanges: Sequence[Exchange]) -> Told | None:
    """Return what a 429 carries, if one came by."""
    limited = [each.answer for each in exchanges if each.answer.status == 429]
    if not limited:
        return None
    one = limited[0]
    wait = "no time to wait" if one.retry_after_s is None else f"Retry-After of {one.retry_after_s:g} s"
    form = (
        f"code {one.code}"
        if one.shaped
        else "no body that says anything"
        if one.bare
        else "a page or other JSON"
    )
    value = "no time" if one.retry_after_s is None else "time"
    return value, f"{len(limited)} of {len(exchanges)} requests got 429, with {wait} and {form}"


def bare_429(exchanges: Sequence[Exchange]) -> Told | None:
    """Return that a submit which got a 429 without a word was not accepted: its repeat made the task."""
    answers = [each.answer for each in exchanges if each.call == "submit"]
    if not any(one.status == 429 and one.bare for one in answers[:-1]) or answers[-1].task is None:
        return None
    return "refused", "refused for then: the same key was accepted later"


def ended(exchanges: Sequence[Exchange]) -> tuple[Exchange, TaskView] | None:
    """Return the first answer that told of a task's end."""
    ends = (TaskStatus.SUCCEEDED, TaskStatus.FAILED)
    return next(((each, task) for each, task in tasks(exchanges) if task.status in ends), None)


def updated_at(exchanges: Sequence[Exchange], again: Exchange | None) -> Told | None:
    """Return whether `updated_at` is when a task ended.

    Args:
        exchanges: Those until its end.
        again: The same question, two seconds and more after the first answer that told of the end.
    """
    end = ended(exchanges)
    if end is None:
        return None
    said = epoch(end[1].updated_at)
    if said is None:
        return "absent", "it is not told" if not end[1].updated_at else "it is no time"
    later = (
        epoch(again.answer.task.updated_at) if again is not None and again.answer.task is not None else said
    )
    if later is not None and abs(later - said) > 0.001:
        return NOT_THE_END, f"it moves after the end too: by {later - said:.3g} s when asked again"
    before = [each for each, task in tasks(exchanges) if task.under_way]
    earliest = before[-1].told_s - SLACK_S if before else None
    if earliest is not None and said < earliest:
        return (
            NOT_THE_END,
            f"it is {earliest + SLACK_S - said:.0f} s before an answer that the task was under way",
        )
    if said > end[0].told_s + SLACK_S:
        return NOT_THE_END, f"it is {said - end[0].told_s:.0f} s after the answer that told of the end"
    if again is None or end[0].told_s - said < SURELY_LATER_S:
        return None  # it may be when we asked: only an end that was asked for late tells
    return "the end", f"the end: {end[0].told_s - said:.0f} s before it was asked for, and it stays"


def same_key(answer: Answer, task_id: str, *, after_s: float) -> dict[str, Told]:
    """Return what a repeated key with the same bytes brought, so many seconds after the first send."""
    if answer.task is not None and answer.meaning is Meaning.OK:
        if answer.task.id != task_id:
            return {"same_key": (ANOTHER_TASK, f"another task is made and paid for (HTTP {answer.status})")}
        now = answer.task.status in (TaskStatus.SUCCEEDED, TaskStatus.FAILED)
        shown = "as it is now" if now else "as it was at first"
        return {
            "same_key": ("same task", f"the first task comes back, {shown} (HTTP {answer.status})"),
            "key_life": (f"{after_s:.0f}", f"at least {after_s:.0f} s"),
        }
    if answer.meaning is Meaning.CONFLICT:
        return {"same_key": ("conflict", f"refused: {answer.words()}")}
    if answer.meaning is Meaning.REFUSED:
        return {"same_key": ("refused", f"refused: {answer.words()}")}
    return {}


def other_body(answer: Answer, task_id: str) -> Told | None:
    """Return what the key of a task with another body brought."""
    if answer.task is not None and answer.meaning is Meaning.OK:
        if answer.task.id == task_id:
            return "same task", f"the first task comes back, whatever the body says (HTTP {answer.status})"
        return ANOTHER_TASK, f"another task is made and paid for (HTTP {answer.status})"
    if answer.meaning in (Meaning.CONFLICT, Meaning.REFUSED):
        return str(answer.status), f"refused: {answer.words()}"
    return None


def ranges(head: AnswerHead) -> Told | None:
    """Return whether a host answers a request for the first byte with that byte."""
    if head.status == 206:
        return "yes", f"the host gives parts (HTTP 206){', with an ETag' if head.headers.get('etag') else ''}"
    if head.status == 200:
        return NO_RANGES, "the host gives all of it, whatever part is asked for (HTTP 200)"
    return None


def result_type(heads: Sequence[AnswerHead]) -> Told | None:
    """Return what a host says of a result."""
    found = next((head for head in heads if 200 <= head.status < 300), None)
    if found is None:
        return None
    kind = harmless(found.headers.get("content-type", "none"), limit=80)
    length = body_length(found.headers)
    framing = (
        "chunked" if is_chunked(found.headers) else "length told" if length is not None else "no length told"
    )
    hops = sum(300 <= head.status < 400 for head in heads)
    return kind, f"{kind}, {framing}{f', after {hops} redirects' if hops else ''}"


def result_key(heads: Sequence[AnswerHead]) -> Told | None:
    """Return that results come without our key, which is never sent for them."""
    return ("not needed", "not needed") if any(200 <= head.status < 300 for head in heads) else None


def url_life(exchanges: Sequence[Exchange]) -> Told | None:
    """Return how long a result's url lives, by what it says itself, and whether each answer names another one."""
    named = [(each, task.urls) for each, task in tasks(exchanges) if task.urls]
    if not named:
        return None
    life_s = life_of(named[0][1][0], named[0][0].told_s)
    told = "its url names no end" if life_s is None else f"{life_s:.0f} s by its url"
    if len(named) > 1:
        told += "; another url each time" if named[0][1] != named[-1][1] else "; the same url each time"
    return ("none" if life_s is None else f"{life_s:.0f}"), told


def life_of(url: str, now_s: float) -> float | None:
    """Return for how long a signed url says that it is good, in seconds from `now_s`; None where it does not say."""
    try:
        query = parse_qs(urlsplit(url).query)
    except ValueError:
        return None
    given = {name.lower(): values[0] for name, values in query.items()}
    for name in _SPAN_NAMES:
        if re.fullmatch(r"\d{1,9}", given.get(name, "")):
            return float(given[name])
    for name in _EPOCH_NAMES:
        if re.fullmatch(r"\d{9,13}", given.get(name, "")):
            at = float(given[name])
            return max((at / 1000 if at > 1e11 else at) - now_s, 0.0)
    ends = epoch(given.get("se"))  # Azure
    return max(ends - now_s, 0.0) if ends is not None else None


def upload(answer: Answer, before: float | None, after: float | None) -> Told | None:
    """Return what the answer to an upload names, and whether the balance moved."""
    if answer.copy is None:
        return None
    cost = ""
    if before is not None and after is not None:
        cost = (
            "; the balance did not move" if before == after else f"; the balance moved by {after - before:+g}"
        )
    token = ", a duration token" if answer.copy.duration_token else ""
    return str(answer.status), f"HTTP {answer.status}; {_fields(answer)}{token}{cost}"
