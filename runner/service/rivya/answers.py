"""What an answer of Rivya means: which statuses and bodies prove that a request was not accepted. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from runner.model import Json, Upload
from runner.service.addresses import is_loopback
from runner.service.amounts import credits_of, number_of
from runner.service.hiding import MARK
from runner.service.protocol import Answer, FailureClass, Meaning, TaskStatus, TaskView
from runner.service.reply import Reply
from runner.service.rivya.bodies import model_of, reference_urls
from runner.service.rivya.described import missing_in
from runner.service.rivya.failures import NO_CREDITS, failure_class, names_a_reference, says_empty
from runner.service.rivya.model_list import contracts_from_list
from runner.service.rivya.tasks import other_id, read_task, said_by, task_at

# 4xx that speak of a request under way, or of what was behind it: not of what it asked for.
_MAY_HAVE_WORKED = frozenset({408, 423, 424, 425, 499})
_NOT_FOUND = frozenset({404, 410})
_FILE_REFUSED = frozenset({413, 415})
# Codes of what stands in front of the API and wraps its errors as the API does: it may have passed the request on.
_BETWEEN = (
    "timeout",
    "timed_out",
    "upstream",
    "gateway",
    "proxy",
    "unavailable",
    "overloaded",
    "busy",
    "waf",
)
# Codes of limits on how much an account may spend or use: no job is at fault, and nothing but time or a person ends them.
_QUOTA_WORDS = (
    "quota",
    "daily",
    "weekly",
    "monthly",
    "per_day",
    "per_month",
    "billing",
    "spending",
    "spend_limit",
    "usage_limit",
    "plan_limit",
    "account_limit",
)
# Of those on how much or how often, whatever their status: nothing was made, and later it may be.
_LIMIT_WORDS = (*_QUOTA_WORDS, "rate_limit", "too_many_requests", "throttl", "hourly_limit", "concurren")
# The same in a sentence, where the code says no more than that we may not.
_QUOTA_SAID = re.compile(r"\bquota\b|\b(daily|weekly|monthly|usage|spending|billing|plan|credit) limit\b")
# The documented codes are words in small letters. What stands in front of an API may wrap its errors alike, but
# says "403", "Forbidden" or "FUNCTION_TIMEOUT" there.
_CODE = re.compile(r"[a-z][a-z0-9_.-]*(\s|$)", re.ASCII)


def understand(reply: Reply, *, body: bytes | None = None, asked: str | None = None) -> Answer:
    """Say what a reply means: where a `body` is named, to a submit of it, which is to bring a task's id.

    With `asked`, it is to a question for that task.

    Nothing but an error in the API's own shape, `{"error": {"code": …}}`, speaks for the API. A page, or JSON
    of another shape, comes from something in between, which may well have passed the request on: whatever
    its status, it proves nothing. Statuses decide then, but `insufficient_credits` is known by its code
    only, and the documented codes of a conflict and of a limit hold for any 4xx.
    """
    said = reply.data.get("error") if reply.data else None
    error: Mapping[str, Json] = said if isinstance(said, Mapping) else {}
    code = error.get("code")
    code = said_by(code) if isinstance(code, str) and _CODE.match(code) else ""
    task = None
    status = reply.status
    is_error = bool(code) or (status or 0) >= 400
    about_our_key = code.startswith(("api_key", "api_scope"))
    # 403 would blame our key, which may be good.
    forbidden = status == 403 and bool(code) and not about_our_key
    speaks_of_quota = any(word in code for word in _QUOTA_WORDS) or (
        forbidden and _QUOTA_SAID.search(said_by(error.get("message")).lower()) is not None
    )

    def answer(meaning: Meaning, words: str = "") -> Answer:
        return Answer(
            meaning=meaning,
            shaped=bool(code),
            bare=reply.status is not None and reply.data is None and not reply.page,
            code=code,
            message=said_by(error.get("message")) or words or reply.detail,
            status=reply.status,
            retry_after_s=reply.retry_after_s,
            request_id=said_by(error.get("requestId")) or reply.request_id,
            skew_s=reply.skew_s,
            finding=reply.finding,
            data=reply.data,
            cls=failure_class(code=code, status=reply.status) if is_error else FailureClass.OTHER,
            success=200 <= (reply.status or 0) < 300,
            not_found=reply.status in _NOT_FOUND,
            file_refused=reply.status in _FILE_REFUSED,
            about_quota=speaks_of_quota,
            bad_key=reply.status == 401 and bool(code),
            about_key=reply.status == 401 or about_our_key,
            task=task,
        )

    if status is None:
        return answer(Meaning.UNCLEAR if reply.sent else Meaning.NEVER_LEFT)
    if 200 <= status < 300:
        task = read_task(reply.data, asked=asked)
        if body is not None and task is None and not error:
            task = task_at(reply.location)
        if body is not None and task is None:
            return answer(Meaning.UNCLEAR, "and no task id in the answer")
        return answer(Meaning.OK if task is not None or reply.data is not None else Meaning.UNCLEAR)
    if status == 303 and body is not None and (task := task_at(reply.location)) is not None:
        return answer(Meaning.OK)  # "see other": the task that was made
    if status < 400:
        return answer(Meaning.UNCLEAR)
    if code == NO_CREDITS or (status < 500 and says_empty(code)):
        return answer(Meaning.NO_CREDITS)
    if status == 429 or (status < 500 and (speaks_of_quota or _is_limit(code, status, reply.retry_after_s))):
        return answer(Meaning.RATE_LIMITED)
    if status == 402 and code and not any(word in code for word in _BETWEEN):
        return answer(Meaning.NO_CREDITS)  # "payment required" is about the account, whatever the code
    if body is not None and (named := _made_before(reply.data, error, code, status, body)) is not None:
        task = named
        return answer(Meaning.OK)
    if status == 409 or (code == "idempotency_conflict" and status < 500):
        return _with_task(answer(Meaning.CONFLICT), reply.data, error)
    if code == "public_api_disabled":
        return answer(Meaning.DISABLED)
    if not code or status >= 500 or status in _MAY_HAVE_WORKED or any(word in code for word in _BETWEEN):
        return answer(Meaning.UNCLEAR)
    if status in (401, 403):
        return answer(Meaning.KEY_REFUSED)
    refused = answer(Meaning.REFUSED)
    urls = reference_urls(body) if body is not None else ()
    if urls and names_a_reference(refused.code, refused.message, urls):
        return replace(refused, stale_urls=urls)
    return refused


# Codes that say of a key, or of a `client_request_id`, that it is known.
_KNOWN_KEY = ("idempoten", "duplicate", "already", "exists")


def _made_before(
    data: Mapping[str, Json] | None, error: Mapping[str, Json], code: str, status: int, body: bytes
) -> TaskView | None:
    """Return the task that a refusal shows as what this key has made already; None where it shows none.

    Only a whole generation object of the same model counts, and none that failed: another round may follow that.
    """
    if status >= 500 or not (any(word in code for word in _KNOWN_KEY) if code else status == 409):
        return None
    for place in (data, error, error.get("details")):
        task = read_task(place) if isinstance(place, Mapping) else None
        known = task is not None and task.status not in (TaskStatus.OTHER, TaskStatus.FAILED)
        if task is not None and known and task.model == model_of(body):
            return task
    return None


def _with_task(answer: Answer, data: Mapping[str, Json] | None, error: Mapping[str, Json]) -> Answer:
    """Return a conflict whose message names the task that it is about, if any: a person may attach it."""
    places = (error, error.get("details"), data)
    found = (other_id(place) for place in places if isinstance(place, Mapping))
    task_id = said_by(next(filter(None, found), None))
    if not task_id or task_id in answer.message:
        return answer
    return replace(answer, message=f"{answer.message}; it names task {task_id}")


def _is_limit(code: str, status: int, retry_after_s: float | None) -> bool:
    """Say whether a 4xx in the API's own shape is about how much or how often, whatever its status."""
    if code == "rate_limited" or any(word in code for word in _LIMIT_WORDS):
        return True
    return bool(code) and retry_after_s is not None and status in (400, 402, 403, 422)


def understand_upload(reply: Reply, *, base_url: str, now: str) -> Answer:
    """Say what a reply to an upload means; a success without a usable url is unclear.

    Args:
        reply: What came.
        base_url: The service's: a file of one on this machine may have an http url.
        now: RFC 3339, when it came.
    """
    answer = understand(reply)
    if answer.meaning is not Meaning.OK:
        return answer
    copy = read_upload(answer.data or {}, base_url=base_url, now=now)
    if copy is None:
        return Answer(
            meaning=Meaning.UNCLEAR,
            status=answer.status,
            success=answer.success,
            message="the answer to an upload names no usable url",
        )
    return replace(answer, copy=copy)


def understand_credits(reply: Reply) -> Answer:
    """Say what a reply to the question for our credits means, and how many there are."""
    answer = understand(reply)
    if answer.meaning is not Meaning.OK:
        return answer
    return replace(answer, balance=credits_of((answer.data or {}).get("current_credits")))


def understand_models(reply: Reply) -> Answer:
    """Say what a reply to the question for the models means, and which there are."""
    answer = understand(reply)
    return (
        replace(answer, contracts=contracts_from_list(answer.data))
        if answer.meaning is Meaning.OK
        else answer
    )


def understand_description(reply: Reply) -> Answer:
    """Say what a reply to the question for the API's description means, and what that lacks."""
    answer = understand(reply)
    return replace(answer, lacks=missing_in(answer.data)) if answer.meaning is Meaning.OK else answer


def read_upload(data: dict[str, Json] | object, *, base_url: str, now: str) -> Upload | None:
    """Read a file object leniently: its fields are undocumented beyond `url` and `duration_token`.

    Returns:
        None when it has no https url (http where the base url is loopback).
    """
    if not isinstance(data, dict):
        return None
    inner = _file_in(data, deep=3)
    url = inner.get("url")
    url = url.strip() if isinstance(url, str) else None
    if url is None or not _may_be_sent(url, base_url):
        return None
    file_id = inner.get("id") or inner.get("file_id")
    token = inner.get("duration_token")
    seconds = inner.get("duration_seconds")
    return Upload(
        url=url,
        file_id=file_id if isinstance(file_id, str) else None,
        duration_token=token if isinstance(token, str) else None,
        duration_s=number_of(seconds),
        uploaded_at=now,
    )


def _file_in(data: Mapping[str, Json], *, deep: int) -> Mapping[str, Json]:
    """Return the file object in an answer, as it is or wrapped."""
    if "url" in data or not deep:
        return data
    for name in ("file", "data", "files", "result"):
        inner = data.get(name)
        if isinstance(inner, (list, tuple)) and len(inner) == 1:
            inner = inner[0]
        if isinstance(inner, Mapping):
            return _file_in(inner, deep=deep - 1)
    return data


def _may_be_sent(url: str, base_url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if MARK in url:  # it held our key, which goes into no body, and so into no row
        return False
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(base_url))
    )
