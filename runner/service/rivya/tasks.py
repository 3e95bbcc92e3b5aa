"""What a generation object of Rivya says, read leniently: its fields, its words for states, its results. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from runner.model import Json, TaskId
from runner.service.amounts import credits_of
from runner.service.protocol import TaskStatus, TaskView
from runner.service.rivya.failures import failure_class
from runner.words import LONGEST_WORDS, harmless

_STATUS_WORDS = {status.value: status for status in TaskStatus}
_UNDER_WAY = frozenset({TaskStatus.QUEUED, TaskStatus.PROCESSING})
# The lifecycle page calls the end SUCCESS where the API says `succeeded`; the others mean the same in plain English.
_SUCCESS_WORDS = frozenset({"success", "successful", "complete", "completed", "done", "finished"})
# Words of an end without a result, none of them documented. None is taken for `failed`: that may be paid for again.
_ENDED_WORDS = frozenset(
    {"cancelled", "canceled", "expired", "error", "errored", "failure", "aborted", "rejected", "timeout",
     "timedout", "deleted", "dead", "killed"}
)  # fmt: skip
# Words of a task under way: what it names meanwhile may be a preview.
_UNDER_WAY_WORDS = frozenset(
    {"queued", "pending", "waiting", "running", "progress", "started", "created", "submitted", "accepted",
     "scheduled", "partial", "preview", "paused", "retry"}
)  # fmt: skip


def read_task(data: Mapping[str, Json] | None) -> TaskView | None:
    """Read a generation object, as it is or wrapped; None when there is none with a usable id."""
    found = _task_in(data, deep=3)
    if found is None:
        return None
    data, task_id = found
    word = _word_of(data)
    error = data.get("error")
    if not isinstance(error, Mapping):
        error = {"message": error} if isinstance(error, str) else {}
    code = said_by(error.get("code"))
    status = _status_of(word)
    return TaskView(
        id=TaskId(task_id),
        status=status,
        word=said_by(word),
        model=_text(data.get("model")),
        reserved=credits_of(data.get("reserved_credits")),
        final=credits_of(data.get("final_credits")),
        urls=_urls(data.get("result")),
        code=code,
        message=said_by(error.get("message")),
        created_at=_text(data.get("created_at")),
        updated_at=_text(data.get("updated_at")),
        cls=failure_class(code=code, status=None),
        under_way=status in _UNDER_WAY or _is_under_way(word),
        ended=status is TaskStatus.OTHER and _is_an_end(word),
    )


_OTHER_ID_NAMES = ("task_id", "taskId", "generation_id", "generationId")
_WRAPPERS = ("data", "generation", "task", "result", "response")
_TASK_FIELDS = ("object", "model", "reserved_credits", "final_credits", "created_at", "result")


def _task_in(value: Json, *, deep: int) -> tuple[Mapping[str, Json], str] | None:
    """Return the generation object inside an answer, and its id.

    An answer may be wrapped: `{"data": {…}}`, `{"data": {"task": {…}}}`, a list of one. The wrapping may have
    an id of its own, which is that of the request then: what has a task's fields or names its id a task's
    comes first.
    """
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if not isinstance(value, Mapping):
        return None
    own = _id_of(value)
    if own is not None and _is_generation(value):
        return value, own
    for name in _WRAPPERS:
        if name == "result" and own is not None:
            continue  # the results of a task; they may have ids too
        inner = _task_in(value.get(name), deep=deep - 1) if deep else None
        if inner is not None and (own is None or _speaks_of_a_task(inner[0])):
            return inner
    return None if own is None else (value, own)


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
    named = next((found for name in _OTHER_ID_NAMES if (found := _usable(value.get(name)))), None)
    if named is not None or plain is None:
        return named
    # `req_…` is what ids of requests look like in the documentation.
    of_request = plain.startswith("req_") or plain in (value.get("requestId"), value.get("request_id"))
    return None if of_request else plain


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


def _urls(result: Json) -> tuple[str, ...]:
    if not isinstance(result, Mapping):
        return ()
    listed = result.get("urls")
    found: list[str] = []
    primary = result.get("primary_url")
    for url in [primary, *(listed if isinstance(listed, (list, tuple)) else [])]:
        if isinstance(url, str) and url.strip() and url not in found:
            found.append(url)
    return tuple(found)


def _is_under_way(word: str) -> bool:
    parts = re.findall(r"[a-z]+", word.lower())
    return any(part.endswith("ing") or part in _UNDER_WAY_WORDS for part in parts)


def _is_an_end(word: str) -> bool:
    return "".join(re.findall(r"[a-z]+", word.lower())) in _ENDED_WORDS
