"""What a generation object of Rivya says, read leniently: its fields, its words for states, its results. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from runner.model import Json, TaskId
from runner.service.amounts import credits_of
from runner.service.protocol import FailureClass, TaskStatus, TaskView
from runner.service.rivya.failures import failure_class
from runner.words import LONGEST_WORDS, harmless

_STATUS_WORDS = {status.value: status for status in TaskStatus}
_UNDER_WAY = frozenset({TaskStatus.QUEUED, TaskStatus.PROCESSING})
# The lifecycle page calls the end SUCCESS where the API says `succeeded`; the others mean the same in plain English.
_SUCCESS_WORDS = frozenset({"success", "successful", "complete", "completed", "done", "finished"})
# Words of an end without a result, none of them documented. None is taken for `failed`: that may be paid for again.
_ENDED_WORDS = frozenset(
    {"cancelled", "canceled", "expired", "error", "errored", "failure", "aborted", "rejected", "timeout",
     "timedout", "deleted", "dead", "killed", "fail", "failed", "terminated", "stopped", "blocked", "moderated",
     "refunded", "denied", "refused", "revoked", "lost", "invalid", "notfound", "interrupted", "discarded"}
)  # fmt: skip
_ENDS = _SUCCESS_WORDS | _ENDED_WORDS | {"succeeded"}
# Words of a task under way: what it names meanwhile may be a preview.
_UNDER_WAY_WORDS = frozenset(
    {"queued", "pending", "waiting", "running", "progress", "started", "created", "submitted", "accepted",
     "scheduled", "partial", "preview", "paused", "retry"}
)  # fmt: skip


def read_task(data: Mapping[str, Json] | None, *, asked: str | None = None) -> TaskView | None:
    """Read a generation object, as it is or wrapped; None when there is none with a usable id.

    Args:
        data: The answer.
        asked: The id of the task that was asked for. An object that names no id is that task then, and so is one
            that names it beside another.
    """
    found = _task_in(data, deep=3, asked=asked)
    if found is None:
        return None
    data, task_id = found
    word = _word_of(data)
    error = data.get("error")
    if not isinstance(error, dict):
        error = {"message": error} if isinstance(error, str) else {}
    code = said_by(error.get("code"))
    status = _status_of(word)
    charge = data.get("final_credits")
    final = credits_of(charge)
    return TaskView(
        id=TaskId(task_id),
        status=status,
        word=said_by(word),
        model=_text(data.get("model")),
        reserved=credits_of(data.get("reserved_credits")),
        final=final,
        urls=_urls(data.get("result")),
        code=code,
        message=said_by(error.get("message")),
        created_at=_text(data.get("created_at")),
        updated_at=_text(data.get("updated_at")),
        cls=failure_class(code=code, status=None) if code else FailureClass.GENERATION,
        under_way=status in _UNDER_WAY or (status is TaskStatus.OTHER and _is_under_way(word)),
        ended=status is TaskStatus.OTHER and _is_an_end(word),
        unread=said_by(charge if isinstance(charge, str) else repr(charge))
        if final is None and charge is not None and charge != ""
        else "",
    )


_PLACE = re.compile(r"(?:https?://[^/?#]+)?(?:/[^?#]*)?/generations/([^/?#]+)/?")


def task_at(location: str | None) -> TaskView | None:
    """Read the task that a `Location` header names, of an answer whose body names none; None where it is no task's."""
    found = _PLACE.fullmatch(location or "")
    return read_task({"id": unquote(found[1]), "status": TaskStatus.QUEUED.value}) if found else None


_OTHER_ID_NAMES = ("task_id", "taskId", "generation_id", "generationId")
_WRAPPERS = ("data", "generation", "task", "result", "response", "payload", "items", "output")
_TASK_FIELDS = ("object", "model", "reserved_credits", "final_credits", "created_at", "result")


def _task_in(value: Json, *, deep: int, asked: str | None = None) -> tuple[Mapping[str, Json], str] | None:
    """Return the generation object inside an answer, and its id.

    An answer may be wrapped: `{"data": {…}}`, `{"data": {"task": {…}}}`, a list of one. The wrapping may have
    an id of its own, which is that of the request then: what has a task's fields or names its id a task's
    comes first.
    """
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        return None
    own = _asked_for(value, asked) or _id_of(value)
    if own is not None and (own == asked or _is_generation(value)):
        return value, own
    for name in _WRAPPERS:
        if name in ("result", "items", "output") and own is not None:
            continue  # the results of a task; they may have ids too
        inner = _task_in(value.get(name), deep=deep - 1, asked=asked) if deep else None
        if inner is not None and (own is None or _speaks_of_a_task(inner[0])):
            return inner
    return None if own is None else (value, own)


def _asked_for(value: Mapping[str, Json], asked: str | None) -> str | None:
    """Return the id that was asked for where an object is that task: it names it, or none, and looks like a task."""
    if asked is None:
        return None
    ids = [found for name in ("id", *_OTHER_ID_NAMES) if (found := _usable(value.get(name))) is not None]
    if any(found.strip().lower() == asked.strip().lower() for found in ids):
        return asked
    # Without its id nothing fails a job: another round may follow that unasked.
    nameless = not ids and _is_generation(value) and _status_of(_word_of(value)) is not TaskStatus.FAILED
    return asked if nameless else None


def _is_generation(value: Mapping[str, Json]) -> bool:
    return _known_status(value) and any(name in value for name in _TASK_FIELDS)


def _speaks_of_a_task(value: Mapping[str, Json]) -> bool:
    return _known_status(value) or any(_usable(value.get(name)) for name in _OTHER_ID_NAMES)


def _known_status(value: Mapping[str, Json]) -> bool:
    return _status_of(_word_of(value)) is not TaskStatus.OTHER


def _id_of(value: Mapping[str, Json]) -> str | None:
    """Return the task's id that an object names itself, None when it names none."""
    plain = _usable(value.get("id"))
    if plain is not None and _is_generation(value):
        return plain
    named = other_id(value)
    if named is not None or plain is None:
        return named
    # `req_…` is what ids of requests look like in the documentation.
    of_request = plain.startswith("req_") or plain in (value.get("requestId"), value.get("request_id"))
    return None if of_request else plain


def other_id(value: Mapping[str, Json]) -> str | None:
    """Return the task's id that an object which is no task names, None where it names none."""
    return next((found for name in _OTHER_ID_NAMES if (found := _usable(value.get(name)))), None)


def _usable(task_id: Json) -> str | None:
    if isinstance(task_id, int) and not isinstance(task_id, bool) and task_id > 0:
        task_id = str(task_id)  # accepted is accepted, whatever the type of the id
    if not isinstance(task_id, str) or not task_id.strip(" \t\n\r.") or len(task_id) > 500:
        return None
    return task_id


def said_by(value: Json) -> str:
    """Return words of the service's as they are recorded: one line, not endless, obeyed by no terminal."""
    return harmless(str(value or ""), limit=LONGEST_WORDS)


def _word_of(data: Mapping[str, Json]) -> str:
    return next(
        (said for name in ("status", "state") if isinstance(said := data.get(name), str) and said), ""
    )


def _status_of(word: str) -> TaskStatus:
    plain = word.strip().lower()
    if plain in _SUCCESS_WORDS:
        return TaskStatus.SUCCEEDED
    return _STATUS_WORDS.get(plain, TaskStatus.OTHER)


def _text(value: Json) -> str | None:
    return said_by(value) if isinstance(value, str) else None


_URL_NAMES = ("primary_url", "url", "urls")  # the first and the last are documented


def _urls(result: Json) -> tuple[str, ...]:
    """Return the urls that a result names, each once and in their order."""
    return tuple(dict.fromkeys(_urls_in(result, deep=2)))


def _urls_in(result: Json, *, deep: int) -> Iterator[str]:
    if isinstance(result, str):
        if url := result.strip():
            yield url
    elif isinstance(result, (list, tuple)):
        for each in result:
            yield from _urls_in(each, deep=deep)
    elif isinstance(result, dict) and deep:
        for name in _URL_NAMES:
            yield from _urls_in(result.get(name), deep=deep - 1)


def _is_under_way(word: str) -> bool:
    parts = _parts(word)
    # What has ended in part has ended: `partial_success`. What is being finished has not: `completing`.
    if not any(part.endswith("ing") for part in parts) and _ENDS & {*parts}:
        return False
    return any(part.endswith("ing") or part in _UNDER_WAY_WORDS for part in parts)


def _is_an_end(word: str) -> bool:
    parts = _parts(word)
    return "".join(parts) in _ENDED_WORDS or (bool(_ENDED_WORDS & {*parts}) and not _is_under_way(word))


def _parts(word: str) -> list[str]:
    """Return the words of a state, also those of `camelCase`."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", word)]
